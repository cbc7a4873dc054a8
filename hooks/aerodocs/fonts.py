"""The font of formulas: the part of STIX Two Math that a site uses.

Without a font that has a MATH table browsers draw roots and braces at one size, so the site brings its own.
The original (SIL Open Font License) lies in the package `ziamath`; only its file is read, its code is never imported.
"""

import html
import io
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from fontTools import subset

_MATH = re.compile(r"<math\b.*?</math>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_ITALIC = {"h": "ℎ"}  # the one hole in Unicode's block of italic letters
# What browsers put in by themselves: the sign of roots, and a minus for a hyphen.
_ALWAYS = frozenset("√−")
_NAMES = [0, 1, 2, 3, 4, 5, 6, 13, 14]  # with copyright and licence, as the licence asks


def characters(page: str) -> set[str]:
    """The characters that the formulas in `page` (HTML) show, among them the italic letter that browsers draw for a single letter."""
    shown = set(html.unescape("".join(_TAG.sub("", formula) for formula in _MATH.findall(page))))
    return shown | {_italic(character) for character in shown}


def _italic(character: str) -> str:
    if "A" <= character <= "Z":
        return chr(0x1D434 + ord(character) - ord("A"))
    if "a" <= character <= "z":
        return _ITALIC.get(character, chr(0x1D44E + ord(character) - ord("a")))
    if "Α" <= character <= "Ω":
        return chr(0x1D6E2 + ord(character) - ord("Α"))
    if "α" <= character <= "ω":
        return chr(0x1D6FC + ord(character) - ord("α"))
    return {"ϵ": "𝜖", "ϑ": "𝜗", "ϰ": "𝜘", "ϕ": "𝜙", "ϱ": "𝜚", "ϖ": "𝜛", "∂": "𝜕"}.get(character, character)


@lru_cache(maxsize=1)
def math_font(shown: frozenset[str]) -> bytes:
    """STIX Two Math with the glyphs of `shown`, everything they stretch to and the MATH table, as WOFF."""
    source = Path(find_spec("ziamath").submodule_search_locations[0], "fonts", "STIXTwoMath-Regular.ttf")
    options = subset.Options(layout_features=["ssty", "dtls", "flac"], name_IDs=_NAMES, hinting=False, recalc_timestamp=False)
    options.flavor = "woff"
    result = io.BytesIO()
    with subset.load_font(str(source), options) as font:
        subsetter = subset.Subsetter(options)
        subsetter.populate(text="".join(sorted(shown | _ALWAYS)))
        subsetter.subset(font)
        subset.save_font(font, result, options)
    return result.getvalue()
