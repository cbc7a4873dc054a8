"""Lessons with recordings made by hand: sealed as the runner seals them, but nothing has run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import markdown
from aerodocs import recordings
from aerodocs.cells import Lesson, lesson_of
from aerodocs.document import page
from aerodocs.fingerprints import cell_keys
from aerodocs.recordings import CellRecord, Recording

ROOT = Path(__file__).parents[1]
CPU = {"date": "2026-11-25", "cpu": "Ví dụ X1", "python": "3.11.7", "torch": "2.13.0"}
GPU = {**CPU, "gpu": "NVIDIA H100", "cuda": "12.8"}
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20"><rect width="40" height="20" fill="%s"/></svg>'


def lesson(text: str, path: str = "a.md") -> Lesson:
    return lesson_of(page(path, text))


def cell(identifier: str, code: str = "1 + 1", *options: str) -> str:
    lines = "".join(f"#| {option}\n" for option in options)
    return f"```python {{.cell #{identifier}}}\n{lines}{code}\n```\n"


def stream(text: str, name: str = "stdout") -> dict:
    return {"output_type": "stream", "name": name, "text": text.splitlines(keepends=True)}


def result(text: str, **more: str) -> dict:
    data = {"text/plain": text, **{kind.replace("_", "/", 1): value for kind, value in more.items()}}
    data = {kind: value.splitlines(keepends=True) for kind, value in data.items()}
    return {"output_type": "execute_result", "data": data, "metadata": {}}


def figure(stem: str, alt: str = "Đường cong") -> dict:
    names = {"light": f"{stem}-light.svg", "dark": f"{stem}-dark.svg"}
    data = {recordings.FIGURE: {**names, "alt": alt, "width": 40, "height": 20}, "text/plain": [f"<Figure: {alt}>"]}
    return {"output_type": "display_data", "data": data, "metadata": {}}


def record(
    root: Path, path: str, text: str, outputs: dict[str, list], values: dict[str, dict] | None = None, device: str = "cpu", code: dict | None = None
) -> Path:
    """Write the recording of the lesson in `text` with these outputs and values by cell; figures that they name are drawn. Returns its file."""
    found = lesson(text, path)
    keys = cell_keys(found.cells)
    cells = [CellRecord(c.id, keys[c.id], outputs.get(c.id, []), (values or {}).get(c.id, {})) for c in found.cells if device in c.options.device]
    recording = Recording(path, device, GPU if device == "cuda" else CPU, code or {}, cells)
    names = recordings.figure_names(recording)
    recordings.save(root, recording, {name: SVG % (b"white" if "dark" in name else b"black") for name in names})
    return recordings.file_of(root, path, device)


def renderer(root: Path, path: str = "m/a.md", **options: object):
    """Python-Markdown with the project's extensions, as mkdocs would set it up for the page `path`; a function from text to HTML."""

    def render(text: str) -> str:
        md = markdown.Markdown(
            extensions=["abbr", "admonition", "attr_list", "footnotes", "md_in_html", "tables", "toc", "pymdownx.arithmatex", "pymdownx.betterem"]
            + ["pymdownx.details", "pymdownx.highlight", "pymdownx.inlinehilite", "pymdownx.superfences", "pymdownx.tabbed", "aerodocs.markdown"],
            extension_configs={
                "pymdownx.arithmatex": {"generic": True},
                "pymdownx.tabbed": {"alternate_style": True},
                "aerodocs.markdown": {"root": str(root), **options},
            },
        )
        stem = path.rpartition(".")[0]
        file = SimpleNamespace(src_uri=path, dest_uri=f"{stem}/index.html", src_dir=None, content_string=text, use_directory_urls=True)
        md.treeprocessors.register(SimpleNamespace(file=file, run=lambda root: None), "relpath", 0)
        page = md.convert(text)
        render.toc = [token["name"] for token in md.toc_tokens]
        return page

    return render


def project(folder: Path, pages: dict[str, str], *changes: tuple[str, str]) -> Path:
    """A course with the project's configuration, its own pages, and no recordings yet."""
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    config = config.replace("custom_dir: overrides", f"custom_dir: {ROOT}/overrides").replace("- hooks/", f"- {ROOT}/hooks/")
    config = re.sub(r"  # The footer of the old site.*?(?=  - mkdocs-jupyter)", "", config, flags=re.DOTALL)
    for old, new in changes:
        assert old in config
        config = config.replace(old, new)
    (folder / "mkdocs.yml").write_text(config, encoding="utf-8")
    for name in ("code", "recordings"):
        (folder / name).mkdir()
    shutil.copytree(ROOT / "docs" / "assets", folder / "docs" / "assets")
    for path, text in pages.items():
        file = folder / "docs" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


def index(folder: Path) -> None:
    """Write the navigation of a course into its pages."""
    subprocess.run([sys.executable, ROOT / "hooks" / "index.py"], cwd=folder, check=True, capture_output=True)


def build(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "NO_COLOR": "1", "NO_MKDOCS_2_WARNING": "1", **environment},
    )
