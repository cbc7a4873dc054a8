"""Formulas: TeX that does not parse, and TeX that parses but lost something on its way through Markdown."""

import re

from math_core import LatexError, LatexToMathML

from aerodocs.rules.prose import Chunk, Formula
from aerodocs.rules.subject import Subject

CODES = {
    "math-parse": "error",
    "empty-math": "error",
    "unclosed-math": "error",
    "math-not-alone": "warning",
    "star-for-underscore": "error",
    "equals-run": "error",
    "lost-row-break": "error",
    "tex-outside-math": "warning",
}

_converter = LatexToMathML(fancy_error=False)
_BIG = "sum|prod|int|iint|oint|lim|limsup|liminf|max|min|sup|inf|argmax|argmin|bigcup|bigcap|bigoplus|coprod"
_STAR = re.compile(rf"(?<=[A-Za-z0-9}})\]])\*(?=\{{)|(?<=\\)(?:{_BIG})(?P<star>\*)")
_STARRED = re.compile(r"\\(?:operatorname|tag|hspace|vspace|begin|end|DeclareMathOperator|newcommand)\*")
_FONT_STAR = re.compile(r"\\(?:text|mathrm|operatorname|mathcal|mathbf|mathbb|mathit|hat|tilde|bar|vec)\{[^{}]*\}(\*)(?=[A-Za-z])")
_ENVIRONMENT = re.compile(r"\\begin\{([a-z]*matrix|cases|aligned|align\*?|array|gathered|split)\}(.*?)\\end\{\1\}", re.DOTALL)
_COMMANDS = (
    "frac|dfrac|tfrac|sqrt|sum|prod|int|lim|log|exp|mathcal|mathbb|mathrm|mathbf|mathit|operatorname|text|textbf|textit|hat|tilde|bar|vec|left|right"
    "|alpha|beta|gamma|delta|epsilon|varepsilon|zeta|eta|theta|lambda|mu|nu|xi|pi|rho|sigma|tau|phi|varphi|chi|psi|omega|Gamma|Delta|Theta|Lambda"
    "|Sigma|Phi|Psi|Omega|cdot|cdots|ldots|dots|times|odot|otimes|oplus|leq|geq|neq|le|ge|ne|approx|equiv|sim|propto|in|notin|subset|cup|cap|forall|exists"
    "|partial|nabla|infty|to|rightarrow|leftarrow|Rightarrow|mapsto|top|quad|qquad|begin|end|max|min|arg"
)
_TEX = re.compile(rf"(?<![A-Za-z0-9:/\\.])\\(?:{_COMMANDS})(?![A-Za-z])")
_REASONS = [
    (r'Unknown command "(.+)"\.', r"không có lệnh \1"),
    (r'Unknown environment "(.+)"\.', r"không có môi trường \1"),
    (r"Expected argument but reached end of input\.", "thiếu đối số ở cuối công thức"),
    (r'Expected closing token "(.+)", but reached end of input\.', r"thiếu \1"),
    (r'Expected "(.+)", but found "(.+)"\.', r"cần \1 nhưng gặp \2"),
    (r'Unmatched closing token: "(.+)"\.', r"\1 thừa, không có gì mở nó"),
    (r"Duplicate subscript or superscript\.", "hai chỉ số cùng loại liền nhau; đặt trong ngoặc nhọn, ví dụ x_{i_j}"),
    (r"Not valid in text mode\.", r"ký tự này không dùng được trong \\text; viết \\_ thay cho _"),
    (r"Math mode within text mode.*", r"không viết $ trong \\text; đóng \\text trước công thức"),
    (r'Found "&", which may only appear in a table-like environment\.', r"& chỉ dùng trong matrix, cases, aligned …; ký tự & viết \\&"),
    (r'Found "(.+)", which may only appear (.+)\.', r"\1 chỉ dùng được ở chỗ khác (\2)"),
    (r'There must be a parenthesis after "(.+)", but not found\.', r"sau \1 phải là một dấu ngoặc"),
    (r'Expected length with units, found "(.+)"\.', r"cần độ dài có đơn vị, không phải \1"),
    (r'Expected column specification, found "(.+)"\.', r"\1 không phải là kiểu cột (l, c, r)"),
    (r'Unknown color "(.+)"\.', r"không có màu \1"),
    (r'Unexpected "(.+)"\.', r"\1 không đứng được ở đây"),
    (r"Invalid parameter number.*", r"ký tự # phải viết \\#"),
]


def page(subject: Subject) -> None:
    """Every formula of a page, and every paragraph that should hold one."""
    prose = subject.prose
    for formula in prose.formulas:
        _formula(subject, formula)
    _unclosed(subject, prose.unclosed)
    for chunk in prose.chunks:
        if "\\" in chunk.text:
            _outside(subject, chunk)


def reason(message: str) -> str:
    """math-core's reason in Vietnamese; one that is not known yet stays as it is."""
    for pattern, text in _REASONS:
        if match := re.fullmatch(pattern, message):
            return match.expand(text)
    return message


def _formula(subject: Subject, formula: Formula) -> None:
    tex = formula.tex
    if not tex.strip():
        subject.report(formula.opening, "empty-math", "công thức rỗng", "viết công thức hoặc xóa hai dấu $$")
        return
    if formula.display and not formula.alone:
        what = "công thức $$ không đứng riêng một đoạn, hoặc thụt vào không phải bội số của 4, nên trang web không hiện nó"
        subject.warn(formula.opening, "math-not-alone", what, "thêm dòng trống trước và sau công thức và sửa chỗ thụt, hoặc dùng $…$ trong câu")
    tex = _stars(subject, formula, tex)
    tex = _equals(subject, formula, tex)
    tex = _row_breaks(subject, formula, tex)
    for _ in range(10):
        try:
            _converter.convert_with_local_state(tex, displaystyle=formula.display)
            return
        except LatexError as error:
            place, _, message = str(error).partition(": ")
            at = min(int(place) if place.isdecimal() else 0, len(tex.rstrip()))
            what = f"công thức không đọc được ở ký tự {at + 1}, gần “{_near(tex, at)}”: {reason(message)}"
            subject.report(formula.at(at), "math-parse", what, "sửa công thức")
            if "text mode" not in message or not tex[at : at + 1] or tex[at] in "{}\\":
                return
            tex = f"{tex[:at]}-{tex[at + 1 :]}"  # look for further faults behind this one


def _near(tex: str, at: int) -> str:
    return " ".join((tex[at : at + 12] or tex[-12:]).split())


def _stars(subject: Subject, formula: Formula, tex: str) -> str:
    """Report `*` where `_` was meant: Markdown programs turn pairs of `_` into `*`. Returns the formula as it was meant."""
    if "*" not in tex:
        return tex
    plain = _STARRED.sub(lambda match: match.group()[:-1] + " ", tex)
    places = {match.start("star") if match["star"] else match.start() for match in _STAR.finditer(plain)}
    fonts = [match.start(1) for match in _FONT_STAR.finditer(plain)]
    if places or (fonts and plain.count("*") % 2 == 0):
        places.update(fonts)
    for at in sorted(places):
        what = f"dấu * ở “{_near(tex, max(0, at - 6))}” đứng chỗ của _ (chỉ số dưới)"
        subject.report(formula.at(at), "star-for-underscore", what, "viết _ thay cho *")
    return "".join("_" if at in places else character for at, character in enumerate(tex))


def _equals(subject: Subject, formula: Formula, tex: str) -> str:
    """Report rows of `=`: they stand for one, or make a heading of the lines above them."""
    for match in re.finditer(r"={3,}|(?<=\n)[ \t]*=+[ \t]*(?=\n)", tex):
        row = match.group().strip()
        line = formula.at(match.start() + match.group().index("="))
        what = f"dãy {row} trong công thức" if len(row) > 2 else f"dòng chỉ có {row} trong công thức: GitHub biến các dòng trên nó thành tiêu đề"
        subject.report(line, "equals-run", what, "viết một dấu = trên cùng dòng với vế bên cạnh")
    return re.sub(r"={3,}", "=", tex)


def _row_breaks(subject: Subject, formula: Formula, tex: str) -> str:
    r"""Report rows of a matrix that end in one `\` or in none, where `\\` was meant."""
    meant = tex
    for match in _ENVIRONMENT.finditer(tex):
        body, start = match[2], match.start(2)
        lost = [start + found.start() for found in re.finditer(r"(?<!\\)\\(?=[ \t]*\n)", body)]
        if not lost and "\\\\" not in body:
            lost = [start + found.start() for found in re.finditer(r"(?<=[^\\&\s])[ \t]*\\(?=[ \t]+[^&\s][^&]*&)", body) if "&" in body[: found.start()]]
            rows = [row for row in re.finditer(r"[^\n]+", body) if row.group().strip()]
            if not lost and len(rows) > 1 and all("&" in row.group() and row.group().count("&") == rows[0].group().count("&") for row in rows):
                lost = [start + row.end() - 1 for row in rows[:-1]]
        for at in lost:
            what = f"hàng của {match[1]} không kết thúc bằng hai dấu \\\\, nên dính vào hàng sau"
            subject.report(formula.at(at), "lost-row-break", what, "viết \\\\ ở cuối hàng")
        if lost:
            meant = meant.replace(match[0], re.sub(r"(?<!\\)\\(?=\s)", r"\\\\\\\\", match[0]))
    return meant


def _unclosed(subject: Subject, lines: list[int]) -> None:
    at = 0
    while at < len(lines):
        line, partner = lines[at], lines[at + 1] if at + 1 < len(lines) else 0
        between = [subject.text(n).strip() for n in range(line + 1, partner)]
        if partner > line and partner - line < 60 and "" in between and not any(text.startswith("#") for text in between):
            what = f"công thức $$ có dòng trống bên trong (đến dòng {partner}), nên không thành công thức"
            subject.report(line, "unclosed-math", what, "xóa dòng trống trong công thức")
            at += 2
        else:
            subject.report(line, "unclosed-math", "$$ không có dấu $$ đóng trong cùng đoạn", "thêm $$ ở cuối công thức, hoặc viết \\$\\$ nếu là chữ")
            at += 1


def _outside(subject: Subject, chunk: Chunk) -> None:
    """Warn of TeX commands in the text: once for a bracketed group, else once for a line."""
    text = chunk.masked.replace("\x00", " ")
    covered = 0
    for match in _TEX.finditer(text):
        if match.start() < covered:
            continue
        covered = _group_end(text, match.start())
        what = f"lệnh TeX {match.group()} nằm ngoài công thức"
        subject.warn(chunk.at(match.start()), "tex-outside-math", what, "đặt công thức giữa $…$, hoặc đặt chữ này giữa hai dấu `")


def _group_end(text: str, at: int) -> int:
    """End of the outermost bracketed group around `at` within its line, else of the line."""
    begin, end = text.rfind("\n", 0, at) + 1, text.find("\n", at)
    end = end if end >= 0 else len(text)
    depth, opened = 0, -1
    for position in range(begin, end):
        if text[position] in "([":
            if not depth:
                opened = position
            depth += 1
        elif text[position] in ")]" and depth:
            depth -= 1
            if not depth and opened < at < position:
                return position + 1
    return end
