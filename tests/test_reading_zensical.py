"""The successor of the theme builds the same sources: lessons say the same on both, with outputs, tabs, snippets and formulas."""

import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest
from browsing import offline, online, reading  # noqa: F401 (fixtures)

pytest.importorskip("zensical", reason="zensical chưa được cài (pip install -e '.[test]')")

LESSONS = ["90_mau/01_mau", "04_buildgpt/aero_llm_03_embedding_linear", "04_buildgpt/aero_llm_019_multihead_attention_theory_and_implementation"]


@pytest.fixture(scope="module")
def zensical(online, reading) -> Path:
    """The course of `reading`, built by `zensical build` as a whole process."""
    result = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--clean"], cwd=reading.folder, capture_output=True, text=True, encoding="utf-8", env={**os.environ}
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return reading.folder / "site"


def lesson(site: Path, path: str) -> str:
    """The article of a page, without what only mkdocs adds around it: reading time, edit link, notebook."""
    page = (site / path / "index.html").read_text(encoding="utf-8")
    article = re.search(r"<article\b.*?</article>", page, re.DOTALL).group()
    return re.sub(r'<(p|div) class="aero-(?:tools|notebook)".*?</\1>', "", article, flags=re.DOTALL)


def text(article: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<(script|style)\b.*?</\1>", "", article, flags=re.DOTALL))).split())


@pytest.mark.parametrize("path", LESSONS)
def test_lesson_says_the_same_on_both(online, zensical, path):
    ours, theirs = lesson(online, path), lesson(zensical, path)
    assert len(text(ours)) > 1000
    assert text(theirs) == text(ours)
    for part in ("<math", 'class="aero-output"', 'class="tabbed-set', "<img", "<abbr", "aero-header", "aero-footer"):
        assert theirs.count(part) == ours.count(part), part
