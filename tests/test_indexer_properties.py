"""What holds for any text: bytes outside the regions stay, two runs equal one, a doubtful page stops everything."""

import re
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from aerodocs import indexer, regions
from aerodocs.document import parse
from aerodocs.settings import Settings
from aerodocs.textfile import NotText, decode, newline_of, split_lines
from hypothesis import assume, event, example, given
from hypothesis import strategies as st

START, END = "<!-- Aero-{}-Start -->", "<!-- Aero-{}-End -->"
KINDS = ("Navigation", "Index", "Footer")
# Lines that look like what the generator reads, and ordinary ones.
LINES = [
    *(edge.format(kind) for kind in KINDS for edge in (START, END)),
    "<!-- Aero-Footer-End sum=0123456789 -->", "  <!-- Aero-Footer-Start -->", "<!-- aero-footer-start -->", "x <!-- Aero-Footer-Start --> y",
    "# Một", "## Hai", "chữ", "chữ  ", "", "  ", "\t", "```", "````", "~~~", "    ```", "> ```", "- mục", "- ```", "---", "...", "title: Tên", "draft: true",
    "a: [", "<!--", "-->", "<!-- x -->", "<pre>", "</pre>", "<script>", "</script>", "| a | b |", "!!! note", "\ufeff", "e\u0302\u0301", "\u2028", "\x0c", "\x85", "\ufffd",
]  # fmt: skip
ENDS = st.sampled_from(["\n", "\n", "\r\n", "\r"])
LINE = st.one_of(st.sampled_from(LINES), st.text(st.characters(exclude_categories=["Cs"]), max_size=6))
PAIRED = st.builds(lambda kind, inside: [START.format(kind), *inside, END.format(kind)], st.sampled_from(KINDS), st.lists(LINE, max_size=2))
BODY = st.lists(st.one_of(LINE.map(lambda line: [line]), PAIRED), max_size=8).map(lambda parts: sum(parts, []))


@st.composite
def pages(draw):
    lines = draw(BODY)
    if draw(st.booleans()):
        lines = ["---", draw(st.sampled_from(["title: Tên", "order: 3", "# chỉ chú thích", "a: [", "- a", ""])), "---", *lines]
    text = "".join(line + draw(ENDS) for line in lines)
    if draw(st.booleans()):
        text = text.rstrip("\r\n")
    return ("\ufeff" if draw(st.booleans()) and draw(st.booleans()) else "") + text


def outside(data: bytes) -> bytes:
    """What is left of a page without its checksummed regions, and without line ends: written without any of the package's own functions."""
    region = rb"<!-- Aero-(Navigation|Index|Footer)-Start -->[\r\n]+(?:(?!<!-- Aero-).)*?<!-- Aero-\1-End sum=[0-9a-f]{10} -->"
    return re.sub(rb"[\r\n]", b"", re.sub(region, b"", data, flags=re.DOTALL))


def without_old(text: str, document) -> bytes:
    """The page as its author wrote it, by the line numbers of its regions."""
    lines = re.split(r"(?<=\n)|(?<=\r)(?!\n)", text)
    for region in document.regions:
        lines[region.start : region.end + 1] = [""] * (region.end + 1 - region.start)
        lines[region.start] = "\ufeff" if region.start == 0 and document.bom else ""
    return "".join(lines).replace("\r", "").replace("\n", "").encode()


def index(docs: Path, force: bool = False):
    plan = indexer.plan(docs, Settings(author="A", year="2026"), force=force)
    if not plan.doubtful:
        assert indexer.write(plan) == (len(plan.changes), [])
    return plan


def files(docs: Path) -> dict[str, bytes]:
    return {path.relative_to(docs).as_posix(): path.read_bytes() for path in docs.rglob("*") if path.is_file()}


@given(st.dictionaries(st.sampled_from(["index.md", "01_a.md", "02_b.md", "m/index.md", "m/README.md", "m/1.md"]), pages(), min_size=1, max_size=3))
@example({"01_a.md": "# A\n<!-- Aero-Footer-Start -->\n\n<!-- Aero-Footer-End -->"})
@example({"01_a.md": "---\n# A\n---\n"})
@example({"01_a.md": "---\ntitle: A\n---"})
@example({"m/index.md": "- ```"})
@example({"index.md": '---\n"\n<!-- Aero-Navigation-Start -->\n<!-- Aero-Navigation-End -->\n'})
@example({"m/index.md": "", "m/README.md": "<!-- Aero-Navigation-Start -->\n<!-- Aero-Navigation-End -->\n"})
def test_any_tree(texts):
    with tempfile.TemporaryDirectory() as folder:
        docs = Path(folder).resolve()
        for path, text in texts.items():
            (docs / path).parent.mkdir(exist_ok=True)
            (docs / path).write_bytes(text.encode())
        before = files(docs)
        plan = index(docs)
        after = files(docs)
        if plan.doubtful:
            event("doubtful")
            assert after == before
            return
        event("sound")
        for path, text in texts.items():
            if path in plan.course.left_out:
                assert after[path] == before[path]
                continue
            assert outside(after[path]) == without_old(text, parse(path, text)), path
        again = index(docs)
        assert not again.changes and not again.doubtful and files(docs) == after
        assert {path for path in after if path not in before} == {page.path for page in plan.course.pages.values() if page.created}


@given(pages())
def test_a_sound_page_keeps_every_byte_exactly(text):
    """The same with line ends: what stands between the regions is a piece of the original, byte for byte."""
    document = parse("a.md", text)
    assume(not document.problems and not document.regions)
    for bodies in ({"Navigation": "x\n", "Footer": "\ny\n"}, {"Navigation": "x\n", "Index": "z\n", "Footer": "\ny\n"}):
        new = regions.splice(document.lines, document.first, [], bodies)
        head, rest = new[: new.index("<!-- Aero-Navigation-Start")], new[new.index("<!-- Aero-Navigation-Start") :]
        end = newline_of(text)
        body = re.sub(r"<!-- Aero-Navigation-Start -->.*?<!-- Aero-Navigation-End sum=\w{10} -->", "", rest, count=1, flags=re.DOTALL)
        body = body[: body.rindex("<!-- Aero-Footer-Start -->")]
        if "Index" in bodies:
            body = body[: body.rindex("<!-- Aero-Index-Start -->")]
        original = text.removeprefix("\ufeff")
        first = "".join(re.split(r"(?<=\n)|(?<=\r)(?!\n)", original)[: document.first])
        assert head.startswith(first) and head[len(first) :] in ("", end, end * 2)
        body, kept = body.removeprefix(end), original[len(first) :]
        assert body in (kept, kept + end, kept + end * 2), (body, kept)


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.lists(ENDS | LINE).map("".join))
def test_splitting_and_joining_lines_is_the_identity(text):
    lines = split_lines(text)
    assert "".join(lines) == text
    assert all(re.fullmatch(r"[^\r\n]*(\r\n|\n|\r)", line) for line in lines[:-1]) and "" not in lines
    assert not lines or re.fullmatch(r"[^\r\n]*(\r\n|\n|\r)?", lines[-1])
    assert not any(a.endswith("\r") and b.startswith("\n") for a, b in zip(lines, lines[1:]))
    assert newline_of(text) == next((line[len(line.rstrip("\r\n")) :] for line in lines if line[-1] in "\r\n"), "\n")


@given(st.binary(max_size=40))
@example(b"a\r\n\r\xff")
def test_decoding_loses_nothing_or_names_the_line(data):
    try:
        assert decode(data).encode() == data
    except NotText as error:
        good = data.decode("utf-8", errors="ignore")
        assert 1 <= error.line <= len(re.split(r"\r\n|\n|\r", good)) and error.byte >= 0x80


@given(st.lists(st.sampled_from(["a", "", "---", "# b", "| x |"]), max_size=4), st.sampled_from(["\n", "\r\n", "\r"]))
def test_a_checksum_does_not_depend_on_line_ends_and_notices_every_edit(body, end):
    text = "".join(line + "\n" for line in body)
    rendered = regions.render("Footer", text, end)
    lines = split_lines(rendered)
    (region,), problems = regions.find("", lines, parse("", rendered).blocks)
    assert problems == [] and not regions.edited(region, lines)
    longer = replace(region, end=region.end + 1)
    assert regions.edited(longer, [*lines[: region.end], "x" + end, *lines[region.end :]])


@pytest.mark.parametrize("doubtful", ["# A\n<!-- Aero-Footer-Start -->\n", "```\n", b"\xff", "---\na: [\n---\n", "<!-- x\n"])
@given(st.lists(pages(), max_size=3))
def test_one_doubtful_page_stops_everything(doubtful, texts):
    with tempfile.TemporaryDirectory() as folder:
        docs = Path(folder).resolve()
        for number, text in enumerate([doubtful, *texts]):
            (docs / f"{number}.md").write_bytes(text if isinstance(text, bytes) else text.encode())
        before = files(docs)
        assert "0.md" in index(docs, force=True).doubtful
        assert files(docs) == before
