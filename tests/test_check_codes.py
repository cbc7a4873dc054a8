"""CODES.md: every code of the checker is explained, and its examples are what they say they are."""

import re
from pathlib import Path

import pytest
from aerodocs.rules import CODES
from aerodocs.rules.inspection import inspect
from aerodocs.settings import Settings

PAGE = (Path(__file__).parents[1] / "CODES.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"^### (?=`)", PAGE, flags=re.MULTILINE)[1:]
SEVERITIES = {"lỗi": "error", "cảnh báo": "warning"}
# What a page of text cannot show; other tests meet these on real files.
UNSHOWN = {
    *("not-utf8", "read", "name", "notebook", "link-folder", "link-outside", "hidden-character", "not-nfc", "page-budget", "image-budget"),
    *("missing-recording", "stale-recording", "broken-recording", "own-outputs"),
}


def test_every_code_has_one_section_with_its_severity():
    named = [re.match(r"`([a-z0-9-]+)` \(([^)]+)\)\n", section).groups() for section in SECTIONS]
    assert {code: SEVERITIES[severity] for code, severity in named} == CODES
    assert len(named) == len(CODES)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.split("`")[1])
def test_examples(section, tmp_path):
    code = section.split("`")[1]
    bad, good = re.split(r"^Đúng:$", section, flags=re.MULTILINE)
    assert "Sai:" in bad
    if code in UNSHOWN:
        assert "~~~~text" in bad and "~~~~text" in good
        return
    assert code in found(bad, tmp_path / "bad" / "docs", code)
    assert not found(good, tmp_path / "good" / "docs", code)


def found(text: str, docs: Path, code: str) -> set[str]:
    """Codes of the findings in a course made of the examples in `text`: `code` itself, and errors."""
    for title, content in re.findall(r'^~~~~markdown(?: title="([^"]+)")?\n(.*?)^~~~~$', text, flags=re.MULTILINE | re.DOTALL):
        file = docs / (title or "01_m/01_bai.md")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    settings = Settings(cells=code == "undeclared-fence", terms={"cơ chế tập trung": "cơ chế chú ý"})
    return {problem.code for problem in inspect(docs, settings).problems if problem.code == code or problem.severity == "error"}
