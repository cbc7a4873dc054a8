"""The terms of the glossary explained where a page uses them for the first time."""

import xml.etree.ElementTree as etree
from pathlib import Path

from markdown import Markdown
from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString

from aerodocs import glossary
from aerodocs.glossary import Glossary, GlossaryError
from aerodocs.page import LessonError, path_of

_SILENT = {"a", "abbr", "button", "code", "h1", "h2", "h3", "h4", "h5", "h6", "kbd", "math", "pre", "summary"}


class TooltipTreeprocessor(Treeprocessor):
    """Explains each term where the page first uses it, outside headings, links, code, formulas and generated regions."""

    def __init__(self, md: Markdown, file: Path, error: type[LessonError]):
        super().__init__(md)
        self.file = file
        self.error = error

    def run(self, root: etree.Element) -> None:
        try:
            terms = glossary.load(self.file)
        except GlossaryError as error:
            raise self.error(f"{self.file.name}:{error}") from None
        if terms and not self.file.with_suffix(".md").as_posix().endswith(f"/{path_of(self.md) or '?'}"):
            terms.begin_page()
            self._explain(root, terms)

    def _explain(self, element: etree.Element, terms: Glossary) -> None:
        children = list(element)
        place = self._split(element, None, element.text, terms, 0)
        for child in children:
            name = child.get("class") or ""
            if child.tag not in _SILENT and name != "arithmatex" and not name.startswith("aero-"):
                self._explain(child, terms)
            place = self._split(element, child, child.tail, terms, place + 1)

    def _split(self, element: etree.Element, before: etree.Element | None, text: str | None, terms: Glossary, place: int) -> int:
        """Put the new terms of `text`, which follows `before` in `element`, into elements from `place` on; returns the next place."""
        if not text or text.isspace() or isinstance(text, AtomicString):
            return place
        end = 0
        for start, stop, term in terms.find(text):
            _put(element, before, text[end:start])
            before = etree.Element("abbr", {"class": "aero-term", "title": term.title, "tabindex": "0"})
            before.text = text[start:stop]
            element.insert(place, before)
            place += 1
            end = stop
        if end:
            _put(element, before, text[end:])
        return place


def _put(element: etree.Element, before: etree.Element | None, text: str) -> None:
    if before is None:
        element.text = text
    else:
        before.tail = text
