"""The page that a builder is rendering: its path, where it goes, and the place of something in its file."""

import posixpath
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from markdown import Markdown
from pymdownx.superfences import SuperFencesException

if TYPE_CHECKING:
    from mkdocs.structure.files import File, Files  # Zensical comes without


class LessonError(SuperFencesException):
    """Something in a lesson that must not get onto a page: `file:line: what, cure`. The build stops at it."""


def path_of(md: Markdown) -> str:
    """Path of the page relative to the docs folder; empty if the builder does not tell."""
    if file := file_of(md):
        return file.src_uri
    context = md.preprocessors["rendering_context"] if "rendering_context" in md.preprocessors else None  # Zensical
    return str(context.page.path) if context else ""


def drop_emoji_icon(md: Markdown) -> None:
    """Zensical's theme takes the front matter's `icon` for the name of an SVG file; ours is an emoji. (For mkdocs a hook does it.)"""
    context = md.preprocessors["rendering_context"] if "rendering_context" in md.preprocessors else None
    if context and not str(context.page.meta.get("icon", "")).isascii():
        del context.page.meta["icon"]


def place(md: Markdown, needle: str) -> str:
    """`file:line` of the page where `needle` first stands, as far as the builder tells which page it is."""
    path = path_of(md)
    if not path:
        return "?"
    first = needle.strip().splitlines()[0] if needle.strip() else "```python {.snippet"
    file = file_of(md)
    # The builder has stripped the front matter and may have renewed the regions: lines are counted in the author's file.
    if file is None:
        docs = Path(md.preprocessors["rendering_context"].config["docs_dir"])
        text = (docs / path).read_text(encoding="utf-8") if (docs / path).is_file() else ""
    else:
        text = Path(file.src_dir, file.src_uri).read_text(encoding="utf-8") if file.src_dir else file.content_string
    return f"{path}:{next((number for number, line in enumerate(text.splitlines(), 1) if first in line), 1)}"


def address_from(file: "File", target: str) -> str:
    """Address, from the page of `file`, of what is at `target` in the site; right at every depth, and for `file://`."""
    return quote(posixpath.relpath(target, posixpath.dirname(file.dest_uri) or "."))


def page_address(target: str, file: "File", files: "Files") -> str:
    """What a relative link to a file of the course has to be on the page of `file`: what mkdocs does for Markdown alone."""
    other = files.get_file_from_path(posixpath.normpath(posixpath.join(posixpath.dirname(file.src_uri), unquote(target))))
    return other.url_relative_to(file) if other else target


def site_address(path: str, directories: bool) -> str:
    """Address, from the root of the site, of what is at `path` in the docs folder; `directories` is mkdocs' `use_directory_urls`."""
    if path.endswith((".md", ".ipynb")):
        stem = path.rpartition(".")[0]
        if posixpath.basename(stem) in ("index", "README"):
            folder = posixpath.dirname(stem)
            path = f"{folder}/" if folder else ""
        else:
            path = f"{stem}/" if directories else f"{stem}.html"
    return quote(path)


def file_of(md: Markdown) -> "File | None":
    """The file of mkdocs that the page comes from; None in another builder."""
    relpath = md.treeprocessors["relpath"] if "relpath" in md.treeprocessors else None
    return getattr(relpath, "file", None)
