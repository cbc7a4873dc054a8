"""How long a page takes to read."""

import re

_HEADER = re.compile(r'<nav [^>]*class="aero-header".*?</nav>', re.DOTALL)
_CODE = re.compile(r"<pre\b.*?</pre>", re.DOTALL)
_MATH = re.compile(r"<math\b.*?</math>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")

SYLLABLES_A_MINUTE = 220  # Vietnamese writes a blank after every syllable
SECONDS_A_CODE_LINE = 3
SECONDS_A_FORMULA = 4


def minutes(page: str) -> int:
    """Minutes that a learner needs for `page` (HTML), at least one; generated navigation does not count."""
    text = _HEADER.sub(" ", page).partition('class="aero-footer"')[0]
    lines = sum(code.count("\n") for code in _CODE.findall(text))
    text, formulas = _MATH.subn(" ", _CODE.sub(" ", text))
    syllables = len(_TAG.sub(" ", text).split())
    return max(1, round(syllables / SYLLABLES_A_MINUTE + (lines * SECONDS_A_CODE_LINE + formulas * SECONDS_A_FORMULA) / 60))
