"""The files of a course below its docs folder: which of them are pages, and what each page holds."""

import errno
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import pathspec

from aerodocs import textfile
from aerodocs.course import SUFFIXES
from aerodocs.document import Document, page
from aerodocs.problems import Problem
from aerodocs.textfile import NotText

_COPY = re.compile(r"(?<![^\W_])copy(?![^\W_])", re.IGNORECASE)


@dataclass(slots=True)
class Tree:
    """What a walk has found. Paths are relative to the docs folder, in the order of the walk; `leftovers` are temporary files of killed runs."""

    pages: dict[str, Path] = field(default_factory=dict)
    others: dict[str, Path] = field(default_factory=dict)
    leftovers: list[Path] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def walk(docs: Path, exclude: str = "") -> Tree:
    """Every file below `docs` that mkdocs takes into the site; `exclude` is its `exclude_docs`. No file is opened."""
    tree = Tree()
    excluded = pathspec.GitIgnoreSpec.from_lines(["/templates/", *exclude.splitlines()])  # mkdocs leaves these out as well

    def report(path: str, code: str, message: str, cure: str, severity: str = "error") -> None:
        tree.problems.append(Problem(path, 0, code, message, cure, severity))

    def unreadable(error: OSError) -> None:
        report(_relative(Path(error.filename), docs), "read", f"không đọc được thư mục: {error.strerror}", "kiểm tra quyền đọc")

    for folder, folders, names in os.walk(docs, onerror=unreadable):
        base = Path(folder)
        for name in [name for name in (*folders, *names) if not _is_text(name)]:
            (folders if name in folders else names).remove(name)
            path = _relative(base, docs) + "/" + os.fsencode(name).decode(errors="backslashreplace")
            report(path.removeprefix("./"), "name", "tên không phải UTF-8", "đổi tên bằng các ký tự UTF-8")
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in [name for name in folders if (base / name).is_symlink()]:
            folders.remove(name)
            path = _relative(base / name, docs)
            report(path, "link-folder", "thư mục là liên kết tượng trưng nên không được đi vào", "dùng thư mục thật", "warning")
        prefix = "" if base == docs else f"{_relative(base, docs)}/"
        for name in sorted(names):
            path = prefix + name
            if textfile.TEMPORARY.fullmatch(name):
                tree.leftovers.append(base / name)
            if name.startswith(".") or excluded.match_file(path):
                continue
            (tree.pages if name.endswith((*SUFFIXES, ".ipynb")) else tree.others)[path] = base / name
    return tree


def read(file: Path, path: str, docs: Path) -> tuple[bytes, Document | None, list[Problem]]:
    """The bytes of a page, its document (None: it cannot be read as text), and what is wrong with it as a file and as a document."""
    problems: list[Problem] = []
    if file.is_symlink() and not Path(os.path.realpath(file)).is_relative_to(docs):  # Path.resolve fails on a loop of links
        what = "liên kết tượng trưng trỏ ra ngoài thư mục docs nên không được ghi"
        problems.append(Problem(path, 0, "link-outside", what, "chép tập tin vào docs", "warning"))
    if _COPY.search(path.rpartition("/")[2].rpartition(".")[0]):
        problems.append(Problem(path, 0, "copy-in-name", "tên có chữ “copy”, thường là bản sao bỏ quên", "đổi tên hoặc xóa", "warning"))
    data, document = b"", None
    try:
        if not file.is_file() and file.exists():
            raise OSError(errno.EINVAL, "không phải là tập tin thường")
        data = file.read_bytes()
        document = page(path, textfile.decode(data))
        problems += document.problems
    except OSError as error:
        problems.append(Problem(path, 0, "read", f"không đọc được: {error.strerror}", "kiểm tra tập tin và quyền đọc"))
    except NotText as error:
        what = f"byte 0x{error.byte:02x} không phải UTF-8"
        problems.append(Problem(path, error.line, "not-utf8", what, "lưu lại tập tin với mã hóa UTF-8"))
    return data, document, problems


def _is_text(name: str) -> bool:
    """Whether the bytes of a file name are UTF-8; Python hands others on as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _relative(file: Path, docs: Path) -> str:
    return file.relative_to(docs).as_posix()
