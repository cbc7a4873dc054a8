"""A copy of the course with one lesson broken: the checker says where, for every kind of page that the course has."""

import re
import shutil
from pathlib import Path

import pytest
from aerodocs.rules.inspection import inspect, inspect_page
from aerodocs.settings import find_course

ROOT = Path(__file__).parents[1]
DOCS, SETTINGS = find_course(None, ROOT)
LESSONS = [path.relative_to(DOCS).as_posix() for path in sorted(DOCS.rglob("*.md")) if "{.cell" in path.read_text(encoding="utf-8")]
INDEXES = [path.relative_to(DOCS).as_posix() for path in sorted(DOCS.rglob("index.md"))]
CELL = r"```python \{\.cell #([\w-]+)\}\n"

# name: (what to find, what to put there, codes of which one has to be reported near the change)
LESSON = {
    "no title": (r"^# .*\n", "", {"missing-h1"}),
    "text before the title": (r"^(?=# )", "Lời dẫn.\n\n", {"h1-not-first"}),
    "level skipped": (r"^## (?=.*\n\n[^#])", "#### ", {"heading-jump"}),
    "brace lost": (r"\\sqrt\{(\w+)\}", r"\\sqrt{\1", {"math-parse"}),
    "underscore turned to a star": (r"_\{", "*{", {"star-for-underscore"}),
    "formula not closed": (r"^\$\$\n(?=\n)", "", {"unclosed-math"}),
    "formula without delimiters": (r"\$(\\sqrt\{[^$]*)\$", r"(\1)", {"tex-outside-math"}),
    "fence not closed": (r"^```\n(?=\n## )", "", {"unclosed-fence", "code-does-not-parse", "snippet", "undefined-name"}),
    "cell without id": (CELL, "```python {.cell}\n", {"cell-id"}),
    "cell with capital letters": (CELL, r"```python {.cell #A\1}" + "\n", {"cell-id"}),
    "cell that declares nothing": (CELL, "```python\n", {"undeclared-fence"}),
    "cell of two roles": (CELL, r"```python {.cell .fragment #\1}" + "\n", {"cell-role"}),
    "cell with an unknown option": (CELL, r"```python {.cell #\1}" + "\n#| devise: cpu\n", {"cell-option"}),
    "cell that does not parse": (CELL, r"```python {.cell #\1}" + "\nfor x in:\n", {"code-does-not-parse"}),
    "snippet renamed": (r"^(aerogpt/\w+\.py::\w+)", r"\1_cu", {"snippet"}),
    "link to a page that is gone": (r"\]\(([\w./]+)\.md\)", r"](\1_cu.md)", {"broken-link"}),
    "link with a capital letter": (r"\]\((\w)(\w+)\.md\)(?=[,;. ])", lambda match: f"]({match[1].upper()}{match[2]}.md)", {"wrong-case"}),
    "chat residue": (r"(?<=[a-z])\.\n\n##", " :contentReference[oaicite:1]{index=1}.\n\n##", {"generator-residue"}),
    "not UTF-8": (r"^# ", "# \udcff", {"not-utf8"}),
    "front matter broken": (r'^summary: "', "summary: [", {"front-matter"}),
    "front matter misspelt": (r"^summary:", "sumary:", {"front-matter-key"}),
}
LINKS = {"broken-link", "wrong-case"}  # what only the whole site knows
TITLES = {"no title", "text before the title"}  # no fault where the front matter has the title
# Pages of modules and the portal have their title in the front matter.
INDEX = ["level skipped", "link to a page that is gone", "chat residue", "not UTF-8", "front matter broken", "front matter misspelt"]


def find(lesson: str, name: str) -> re.Match[str] | None:
    """Where the author's part of a lesson can be broken in this way."""
    text = (DOCS / lesson).read_text(encoding="utf-8")
    if name in TITLES and re.search(r"\A---\n(?:.*\n)*?title:", text):
        return None
    generated = [range(match.start(), match.end()) for match in re.finditer(r"<!-- Aero-(\w+)-Start.*?<!-- Aero-\1-End[^\n]*", text, re.DOTALL)]
    matches = re.finditer(LESSON[name][0], text, re.MULTILINE)
    return next((match for match in matches if not any(match.start() in part for part in generated)), None)


CASES = [(lesson, name, match) for lesson in LESSONS + INDEXES for name in (LESSON if lesson in LESSONS else INDEX) if (match := find(lesson, name))]


def test_every_kind_has_its_pages():
    assert {name for _, name, _ in CASES} == set(LESSON) and {lesson for lesson, _, _ in CASES} == {*LESSONS, *INDEXES}


@pytest.mark.parametrize("lesson, name, match", CASES, ids=[f"{lesson}: {name}" for lesson, name, _ in CASES])
def test_a_broken_lesson_is_caught(lesson, name, match, tmp_path):
    _, replacement, codes = LESSON[name]
    if codes & LINKS:
        shutil.copytree(DOCS, tmp_path / "docs")
    (tmp_path / "docs" / lesson).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "code").symlink_to(ROOT / "code")
    instead = match.expand(replacement) if isinstance(replacement, str) else replacement(match)
    text = match.string[: match.start()] + instead + match.string[match.end() :]
    (tmp_path / "docs" / lesson).write_bytes(text.encode("utf-8", "surrogateescape"))
    if codes & LINKS:
        problems = inspect(tmp_path / "docs", SETTINGS).problems
    else:
        problems, _ = inspect_page(tmp_path / "docs", lesson, tmp_path / "docs" / lesson, SETTINGS)
    found = [problem for problem in problems if problem.path == lesson and problem.code in codes]
    assert found
    if not codes & {"unclosed-fence", "missing-h1", "unclosed-math"}:  # these are reported where the page or block begins
        line = match.string.count("\n", 0, match.start()) + 1
        assert any(0 <= problem.line - line <= 2 for problem in found), (line, found)
