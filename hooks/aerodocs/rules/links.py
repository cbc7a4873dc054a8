"""Links: files by their exact names, anchors by the ids that the site makes, addresses by their form. The network is never asked."""

import difflib
import html
import posixpath
import re
from collections import defaultdict
from urllib.parse import unquote, urlsplit

from markdown.extensions.toc import unique
from math_core import LatexError, LatexToMathML
from pymdownx.slugs import slugify

from aerodocs import inline
from aerodocs.course import SUFFIXES
from aerodocs.rules.prose import Link
from aerodocs.rules.subject import Facts, Site, Subject

CODES = {
    "empty-link-target": "error",
    "broken-link": "error",
    "wrong-case": "error",
    "absolute-link": "warning",
    "missing-anchor": "error",
    "missing-footnote": "error",
    "forbidden-scheme": "error",
    "bad-address": "error",
    "image-budget": "warning",
}

_IMAGE_BYTES = 1_000_000
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_HOST = re.compile(r"(?:[\w-]+\.)*[\w-]+(?::\d{1,5})?|\[[0-9a-fA-F:.]+\](?::\d{1,5})?")
_ADDRESS = re.compile(r"[^@\s,]+@[\w-]+(?:\.[\w-]+)+")
_ATTRIBUTES = re.compile(r"[ \t]+\{:?[ ]*([^{}\n]*?)[ ]*\}[ \t]*$")
_MATH = re.compile(r"(`+)(?:(?!\1).)+\1|\$(?=[^\s$])([^$]*?[^\s$\\])\$(?!\d)")
_AUTOLINK = re.compile(r"<((?:https?|ftp|mailto):[^<>\s]+|[^<>\s@]+@[^<>\s]+)>")
_slug = slugify(case="lower")
_converter = LatexToMathML(fancy_error=False)


def page(subject: Subject) -> None:
    """What can be said of a page's links without other files, and the rest for the site."""
    facts, prose = subject.facts, subject.prose
    for link in prose.links:
        if _about_address(subject, link):
            facts.links.append(link)
    facts.ids = prose.ids | {f"cell-{cell.id}" for cell in subject.lesson.cells}
    facts.headings = [chunk.text for chunk in prose.chunks if chunk.heading]
    if "[^" in prose.text:
        _footnotes(subject)


def site(site: Site) -> None:
    """Every link inside the site."""
    finder = _Finder(site)
    for path, facts in site.pages.items():
        for link in facts.links:
            finder.check(path, link)


def _footnotes(subject: Subject) -> None:
    """Notes that are explained, and on a page that has any, those that are not."""
    text = subject.prose.text
    notes = set(re.findall(r"^\[\^([^\]\s]+)\]:", text, re.MULTILINE))
    subject.facts.ids.update(f"fn:{note}" for note in notes)
    for match in re.finditer(r"\[\^([^\]\s]+)\](?!:)", text):
        if notes and match[1] not in notes:
            cure = _or_else(match[1], notes, f"thêm dòng “[^{match[1]}]: …”")
            subject.report(subject.prose.at(match.start()), "missing-footnote", f"chú thích [^{match[1]}] không có lời giải", cure)


def _about_address(subject: Subject, link: Link) -> bool:
    """Report what is wrong with the form of a target; True if it leads to a place inside the site."""
    target = html.unescape(link.target)
    what = "ảnh" if link.image else "liên kết"
    if not target:
        label = f" “{_short(' '.join(link.label.split()))}”" if link.label.strip() else ""
        subject.report(link.line, "empty-link-target", f"{what}{label} không có địa chỉ", "ghi địa chỉ hoặc bỏ liên kết")
        return False
    scheme = _SCHEME.match(target)
    if target.startswith("//") or (scheme and scheme[1].lower() in ("http", "https")):
        if reason := _about_web(target):
            subject.report(link.line, "bad-address", f"địa chỉ {_short(target)} sai: {reason}", "sửa địa chỉ")
        return False
    if scheme and scheme[1].lower() == "mailto":
        if not all(_ADDRESS.fullmatch(unquote(part)) for part in target[7:].partition("?")[0].split(",")):
            subject.report(link.line, "bad-address", f"địa chỉ thư {_short(target)} sai", "viết như mailto:ten@example.org")
        return False
    if scheme and scheme[1].lower() in ("tel", "ftp", "doi"):
        return False
    if scheme and len(scheme[1]) > 1:
        message = f"{what} dùng {scheme[1]}:, không được phép trên trang web"
        subject.report(link.line, "forbidden-scheme", message, "dùng https:, mailto: hoặc đường dẫn tương đối")
        return False
    if re.match(r"(?:www\.[\w-]+\.|https?//)", target):
        fixed = "https://" + re.sub(r"^https?//", "", target)
        subject.report(link.line, "bad-address", f"địa chỉ {_short(target)} thiếu https:", f"viết {_short(fixed)}")
        return False
    if re.match(r"[A-Za-z]:[\\/]", target) or "\\" in target:
        message = f"đường dẫn {_short(target)} có dấu \\ hay tên ổ đĩa"
        subject.report(link.line, "bad-address", message, "dùng / và đường dẫn tương đối")
        return False
    if link.spaced:
        cure = f"viết <{_short(target)}> hoặc thay dấu cách bằng %20"
        subject.report(link.line, "bad-address", f"địa chỉ {_short(target)} có dấu cách", cure)
        return False
    return True


def _about_web(target: str) -> str:
    """What is wrong with the form of a web address; empty if nothing is."""
    if re.search(r"\s", target):
        return "có dấu cách"
    try:
        parts = urlsplit(target)
        host = parts.netloc.rpartition("@")[2]
        parts.port
    except ValueError:
        return "tên máy chủ hoặc cổng không hợp lệ"
    if not host:
        return "thiếu tên máy chủ"
    if not _HOST.fullmatch(host) or ".." in host:
        return f"tên máy chủ {host} không hợp lệ"
    return ""


class _Finder:
    """Finds what a link inside the site leads to, and the closest thing if it leads nowhere."""

    def __init__(self, site: Site):
        self.site = site
        self.folded = {path.casefold(): path for path in site.files | site.folders}
        self.by_name: dict[str, list[str]] = defaultdict(list)
        self.by_folder: dict[str, list[str]] = defaultdict(list)
        for path in sorted(site.files):
            self.by_name[posixpath.basename(path).casefold()].append(path)
            self.by_folder[posixpath.dirname(path)].append(path)
        self.heavy: set[str] = set()
        self.known: dict[str, set[str]] = {}

    def check(self, path: str, link: Link) -> None:
        """Report what is wrong with a link of the page `path`."""
        site, target = self.site, html.unescape(link.target)
        address, _, anchor = target.partition("#")
        address = unquote(address.partition("?")[0])
        folder = posixpath.dirname(path)
        if not address:
            self._anchor(path, link, path, unquote(anchor))
            return
        if address.startswith("/"):
            there = address.lstrip("/")
            cure = f"viết {_relative(there, folder)}" if there in site.files else "dùng đường dẫn tương đối đến tập tin"
            site.warn(path, link.line, "absolute-link", f"đường dẫn {_short(address)} tính từ gốc máy chủ, sai khi trang web ở dưới một thư mục", cure)
            return
        place = posixpath.normpath(posixpath.join(folder, address))
        if place in site.files and not address.endswith("/"):
            if place in site.pages and site.pages[place].page.draft and not site.pages[path].page.draft:
                site.report(path, link.line, "broken-link", f"{_short(address)} là bản nháp, không được xuất bản", "bỏ liên kết hoặc bỏ draft ở trang kia")
            self._anchor(path, link, place, unquote(anchor))
            self._weight(path, link, place)
        elif place.startswith(".."):
            self._broken(path, link, address, f"ra ngoài thư mục {site.docs.name}, nơi trang web không có gì")
        elif place in site.folders or place == ".":
            place = "" if place == "." else f"{place}/"
            index = next((place + name for name in ("index.md", "README.md") if place + name in site.files), "")
            cure = f"viết {_relative(index, folder)}" if index else "liên kết đến một trang trong thư mục"
            site.report(path, link.line, "broken-link", f"{_short(address)} là thư mục, không phải trang", cure)
        elif (there := self.folded.get(place.casefold())) is not None:
            message = f"{_short(address)} sai chữ hoa, chữ thường: tập tin tên là {posixpath.basename(there)}"
            site.report(path, link.line, "wrong-case", message, f"viết {_relative(there, folder)}")
        else:
            self._broken(path, link, address, "không có tập tin này")

    def _broken(self, path: str, link: Link, address: str, why: str) -> None:
        near = self._closest(address, posixpath.dirname(path))
        self.site.report(path, link.line, "broken-link", f"{_short(link.target)}: {why}", f"có phải là {near}?" if near else "sửa đường dẫn hoặc tạo tập tin")

    def _closest(self, address: str, folder: str) -> str:
        """The likely target: a file of the same name elsewhere, a page in the place of its HTML or without suffix, or a similar name nearby."""
        name = posixpath.basename(address.rstrip("/"))
        stem = re.sub(r"\.(?:html?|md)$", "", name)
        names = [name, *(stem + suffix for suffix in SUFFIXES)]
        if stem == name and address.endswith("/"):
            names.append(f"{name}.md")
        found = [path for candidate in dict.fromkeys(names) for path in self.by_name.get(candidate.casefold(), [])]
        if found and (name.casefold() not in ("index.md", "readme.md", "index.html") or len(found) == 1):
            wanted = [part for part in address.split("/") if part not in ("..", ".")]
            return _relative(max(found, key=lambda path: (_shared_tail(wanted, path.split("/")), -len(path))), folder)
        place = posixpath.normpath(posixpath.join(folder, address))
        nearby = self.by_folder.get(posixpath.dirname(place)) or self.by_folder.get(folder, [])
        near = difflib.get_close_matches(name, [posixpath.basename(path) for path in nearby[:500]], n=1, cutoff=0.75)
        return _relative(next(path for path in nearby if posixpath.basename(path) == near[0]), folder) if near else ""

    def _anchor(self, path: str, link: Link, place: str, anchor: str) -> None:
        facts = self.site.pages.get(place)
        if not anchor or facts is None or place.endswith(".ipynb") or anchor.startswith((":~:", "fnref:", "__")):
            return
        if place not in self.known:
            self.known[place] = ids_of(facts)
        known = self.known[place]
        if anchor not in known and anchor != "top":
            where = "trang này" if place == path else posixpath.basename(place)
            cure = _or_else(anchor, known, "ghi id của một mục", f"{link.target.partition('#')[0]}#")
            self.site.report(path, link.line, "missing-anchor", f"{where} không có mục #{_short(anchor)}", cure)

    def _weight(self, path: str, link: Link, place: str) -> None:
        if not link.image or place in self.heavy:
            return
        try:
            size = (self.site.docs / place).stat().st_size
        except OSError:
            return
        if size > _IMAGE_BYTES:
            self.heavy.add(place)
            message = f"ảnh {posixpath.basename(place)} nặng {size / 1e6:.1f} MB, hơn {_IMAGE_BYTES / 1e6:.0f} MB"
            self.site.warn(path, link.line, "image-budget", message, "nén hoặc thu nhỏ ảnh")


def ids_of(facts: Facts) -> set[str]:
    """The ids of a page: set by hand, and made of its headings as Python-Markdown's table of contents does it."""
    given: list[tuple[str, str]] = []  # text and id
    for source in facts.headings:
        attributes = _ATTRIBUTES.search(source)
        chosen = next((part[1:] for part in attributes[1].split() if part.startswith("#")), "") if attributes else ""
        given.append((source[: attributes.start()] if attributes else source, chosen))
    used = {chosen for _, chosen in given if chosen}
    for source, chosen in given:
        if not chosen:
            unique(_slug(heading_text(source), "-"), used)
    return used | facts.ids


def heading_text(source: str) -> str:
    """The text of a heading as the table of contents sees it: formulas as the text of their MathML."""

    def atom(match: re.Match[str]) -> str:
        if match[2] is None:
            return match[0]
        try:
            mathml = _converter.convert_with_local_state(match[2], displaystyle=False)
        except LatexError:
            return match[0]
        return inline.escape(html.unescape(re.sub(r"<[^>]*>", "", mathml)))

    return inline.to_plain(_AUTOLINK.sub(lambda match: inline.escape(match[1]), _MATH.sub(atom, source)))


def _or_else(wanted: str, known: set[str], otherwise: str, prefix: str = "") -> str:
    near = difflib.get_close_matches(wanted, sorted(known), n=1, cutoff=0.6)
    return f"có phải là {prefix}{near[0]}?" if near else otherwise


def _relative(path: str, folder: str) -> str:
    return posixpath.relpath(path, folder or ".")


def _shared_tail(wanted: list[str], path: list[str]) -> int:
    count = 0
    while count < min(len(wanted), len(path)) and wanted[-1 - count] == path[-1 - count]:
        count += 1
    return count


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}…"
