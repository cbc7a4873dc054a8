"""What the generator reads from `mkdocs.yml`: where the pages are, and what `extra.aero` says."""

import posixpath
from dataclasses import dataclass, field
from pathlib import Path

import pathspec
import yaml

from aerodocs.problems import UsageError


@dataclass(frozen=True, slots=True)
class Settings:
    """Configuration of a course. Empty strings leave their line out of the footer; `exclude` is mkdocs' `exclude_docs`; `cells`: every Python
    fence has to declare what it is; `glossary` is the file of terms, relative to the docs folder (empty: none); `terms` maps words that the course avoids to those that it uses."""

    site_name: str = ""
    author: str = ""
    motto: str = ""
    year: str = ""
    exclude: str = ""
    cells: bool = False
    glossary: str = ""
    terms: dict[str, str] = field(default_factory=dict)


class _Loader(yaml.SafeLoader):
    """YAML of mkdocs.yml: tags such as `!!python/name:` and `!ENV` mean nothing here."""


_Loader.add_multi_constructor("", lambda loader, suffix, node: None)


def load(file: Path) -> dict:
    """The data of a `mkdocs.yml`. Raises UsageError if it cannot be read."""
    try:
        data = yaml.load(file.read_bytes(), _Loader)
    except Exception as error:  # YAML's own, the file system's, and whatever a value such as `2024-99-99` raises
        raise UsageError(f"{file}: không đọc được: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise UsageError(f"{file}: phải là một bảng YAML (khóa: giá trị)")
    return data


def settings_of(data: dict, file: str = "mkdocs.yml") -> Settings:
    """Settings from the data of a `mkdocs.yml`. Raises UsageError that names the wrong entry."""
    extra = data.get("extra") or {}
    aero = extra.get("aero") or {} if isinstance(extra, dict) else {}
    if not isinstance(aero, dict):
        raise UsageError(f"{file}: extra.aero: phải là một bảng YAML, không phải {aero!r}")
    values = {"site_name": _line(data.get("site_name"), "site_name", file)}
    for key in ("author", "motto", "year"):
        values[key] = _line(aero.get(key), f"extra.aero.{key}", file)
    exclude = str(data.get("exclude_docs") or "")
    try:
        pathspec.GitIgnoreSpec.from_lines(exclude.splitlines())
    except ValueError as error:
        raise UsageError(f"{file}: exclude_docs: {error}") from None
    if aero.get("cells") not in (None, "required", "optional"):
        raise UsageError(f"{file}: extra.aero.cells: phải là required hoặc optional, không phải {aero['cells']!r}")
    terms = aero.get("terms") or {}
    if not isinstance(terms, dict) or not all(isinstance(word, str) and word and isinstance(terms[word], str) for word in terms):
        raise UsageError(f"{file}: extra.aero.terms: phải là một bảng “từ không dùng: từ nên dùng”")
    values["glossary"] = _glossary(data)
    return Settings(exclude=exclude, cells=aero.get("cells") == "required", terms=terms, **values)


def _glossary(data: dict) -> str:
    """The file of terms that the Markdown extension is told, as a path in the docs folder."""
    extensions = data.get("markdown_extensions")
    for entry in extensions if isinstance(extensions, list) else ():
        options = entry.get("aerodocs.markdown") if isinstance(entry, dict) else None
        if isinstance(options, dict) and options.get("glossary"):
            return posixpath.relpath(str(options["glossary"]), str(data.get("docs_dir") or "docs"))
    return ""


def _line(value: object, name: str, file: str) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int)) or "\n" in str(value).strip():
        raise UsageError(f"{file}: {name}: cần một dòng chữ, không phải {value!r}")
    return str(value).strip()


def find_course(docs: Path | None, start: Path) -> tuple[Path, Settings]:
    """The docs folder and its settings: `docs` if given, else the `docs_dir` of the `mkdocs.yml` in `start`.

    A given folder takes the settings of the `mkdocs.yml` above it that has it as `docs_dir`, or none. Raises UsageError if there is no such folder.
    """
    if docs is None:
        file = start / "mkdocs.yml"
        if not file.is_file():
            raise UsageError(f"không thấy {file}; chạy ở thư mục gốc của khóa học hoặc chỉ rõ --docs THƯ_MỤC")
        data = load(file)
        docs = file.parent / str(data.get("docs_dir") or "docs")
        settings = settings_of(data)
    else:
        settings = Settings()
        for folder in docs.resolve().parents:
            file = folder / "mkdocs.yml"
            if file.is_file():
                data = load(file)
                if (folder / str(data.get("docs_dir") or "docs")).resolve() == docs.resolve():
                    settings = settings_of(data, str(file))
                break
    if not docs.is_dir():
        raise UsageError(f"{docs}: không phải là thư mục; chỉ đúng thư mục chứa các trang bằng --docs")
    return docs, settings
