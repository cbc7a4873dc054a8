"""A course as a tree: which pages there are, in which order, under which titles, and what comes before and after each."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from aerodocs import inline
from aerodocs.document import Document, readable, title_source

Order = Literal["natural", "lexical"]
SUFFIXES = (".md", ".markdown", ".mdown", ".mkdn", ".mkd")  # what mkdocs takes for Markdown
PORTAL = "Cổng tài liệu"


@dataclass(slots=True)
class Page:
    """A page of the course. `path` is relative to the docs folder; `title` and `summary` are inline Markdown; `number` is the front matter's
    `order`; an unlisted page (empty, or a draft) is shown in no list; a created one is an index that no author has written yet."""

    path: str
    title: str
    summary: str = ""
    icon: str = ""
    number: float | None = None
    quick_nav: bool = False
    listed: bool = True
    draft: bool = False
    created: bool = False

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def label(self) -> str:
        """Icon and title as the text of a link."""
        return f"{self.icon} {inline.to_link_text(self.title)}".lstrip()


@dataclass(slots=True)
class Folder:
    """A folder with pages: its index and, in reading order, its listed lessons and sub-folders."""

    path: str
    index: Page
    entries: list["Page | Folder"] = field(default_factory=list)

    @property
    def lessons(self) -> list[Page]:
        return [entry for entry in self.entries if isinstance(entry, Page)]

    @property
    def folders(self) -> list["Folder"]:
        return [entry for entry in self.entries if isinstance(entry, Folder)]

    def walk(self) -> Iterator[Page]:
        """Every listed page below, in reading order, the index of each folder first."""
        yield self.index
        for entry in self.entries:
            if isinstance(entry, Page):
                yield entry
            else:
                yield from entry.walk()


class Course:
    """The tree over `pages`. Of two pages `index` and `README` in a folder the second is left out, as mkdocs does it."""

    def __init__(self, pages: Iterable[Page], order: Order = "natural"):
        self.order = order
        self.pages: dict[str, Page] = {page.path: page for page in pages}
        self.left_out = [page.path for page in self.pages.values() if self._beside_index(page)]
        for path in self.left_out:
            del self.pages[path]
        self.folders: dict[str, Folder] = {}
        self._add_folders()
        self._fill_folders()
        self.root = self.folders[""]
        sequence = list(self.root.walk())
        self._place = {page.path: number for number, page in enumerate(sequence)}
        self.sequence = sequence

    def _beside_index(self, page: Page) -> bool:
        stem, _, suffix = page.name.rpartition(".")
        return stem == "README" and any(page.path[: -len(page.name)] + "index" + end in self.pages for end in SUFFIXES)

    def _add_folders(self) -> None:
        indexes = {page.folder: page for page in self.pages.values() if is_index(page.path)}
        wanted = {""}
        for page in self.pages.values():
            if page.listed or is_index(page.path):
                wanted.update(ancestors(page.folder))
        for path in sorted(wanted):
            index = indexes.get(path)
            if index is None:
                index = page_of(Document(f"{path}/index.md".lstrip("/"), []))
                index.created = True
                self.pages[index.path] = index
            self.folders[path] = Folder(path, index)
        self.folders[""].index.icon = self.folders[""].index.icon or "🏠"

    def _fill_folders(self) -> None:
        entries: dict[str, list[tuple[tuple, Page | Folder]]] = {path: [] for path in self.folders}
        for page in self.pages.values():
            if page.listed and not is_index(page.path):
                entries[page.folder].append((self._key(page.name, page.number), page))
        for path, folder in self.folders.items():
            if path and folder.index.listed:
                parent, _, name = path.rpartition("/")
                entries[parent].append((self._key(name, folder.index.number), folder))
        for path, folder in self.folders.items():
            folder.entries = [entry for _, entry in sorted(entries[path], key=lambda pair: pair[0])]

    def _key(self, name: str, number: float | None) -> tuple:
        return natural_key(name, number) if self.order == "natural" else (name,)

    def neighbours(self, page: Page) -> tuple[Page | None, Page | None]:
        """The pages before and after `page` in reading order; (None, None) for one that is not listed."""
        place = self._place.get(page.path)
        if place is None:
            return None, None
        before = self.sequence[place - 1] if place else None
        after = self.sequence[place + 1] if place + 1 < len(self.sequence) else None
        return before, after

    def quick_nav(self) -> list[Page]:
        """The portal, then the index of every folder that asks for it (`quick_nav: true`), or, where none does, of every top folder."""
        asked = [page for page in self.sequence[1:] if page.quick_nav and is_index(page.path)]
        return [self.root.index, *(asked or [folder.index for folder in self.root.folders])]


def page_of(document: Document, title: str | None = None) -> Page:
    """The page that a document describes; `title` (inline Markdown) overrides what the document says."""
    path, meta = document.path, document.meta
    folder, _, name = path.rpartition("/")
    index = is_index(path)
    fallback = (readable(folder.rpartition("/")[2]) or PORTAL) if index else readable(name.rpartition(".")[0])
    number = meta.get("order")
    draft = meta.get("draft") is True
    summary, icon = document.text("summary"), document.text("icon")
    return Page(
        path,
        title or title_source(document, fallback),
        summary=summary if "\ufffd" not in inline.to_plain(summary) else "",
        icon=inline.to_link_text(icon) if not icon.isascii() and "\ufffd" not in icon else "",
        number=number if isinstance(number, (int, float)) and not isinstance(number, bool) and number == number else None,
        quick_nav=meta.get("quick_nav") is True,
        listed=not draft and (index or not document.empty),
        draft=draft,
    )


def is_index(path: str) -> bool:
    """Whether the page stands for its folder: `index.md`, or `README.md` as GitHub and mkdocs read it."""
    return path.rpartition("/")[2].rpartition(".")[0] in ("index", "README") and path.endswith(SUFFIXES)


def natural_key(name: str, number: float | None = None) -> tuple:
    """Sort key: by the numbers in the file name, then the name; `number` stands for the numbers; names without any come last."""
    numbers = (number,) if number is not None else tuple(int(digits) for digits in re.findall(r"[0-9]+", name))
    return numbers or (float("inf"),), name


def ancestors(folder: str) -> list[str]:
    """`folder` and all folders above it, the docs folder ("") first."""
    parts = folder.split("/") if folder else []
    return ["/".join(parts[:count]) for count in range(len(parts) + 1)]
