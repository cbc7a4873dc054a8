"""Every normaliser by itself, and all together."""

import pytest
from aerodocs import normalize as n

PLACES = n.Places("/home/me/course", "/home/me", "/tmp", "/home/me/course/.venv/lib/site-packages", "/tmp/aero-1")


@pytest.mark.parametrize(
    "function, before, after",
    [
        (n.line_ends, "a\r\nb\rc", "a\nb\rc"),
        (n.progress, "0%\r50%\r100%\nend", "100%\nend"),
        (n.progress, "abc\rX", "Xbc"),
        (n.progress, "ab\b\bX", "Xb"),
        (n.progress, "\b\rx", "x"),
        (n.progress, "  no frame  ", "  no frame  "),
        (n.escapes, "\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
        (n.escapes, "\x1b[2K\x1b[1Aup\x1b]0;title\x07\x1b(B\x00\x07", "up"),
        (n.addresses, "<T object at 0x7f3a12bc9d10> 0xff", "<T object at 0x…> 0xff"),
        (n.warnings, "/x/y.py:12: UserWarning: careful\n  f(x)\nrest", "UserWarning: careful\nrest"),
        (n.warnings, "time 12:30: late\n", "time 12:30: late\n"),
        (n.frames, 'File "code/a.py", line 12, in f', 'File "code/a.py", in f'),
    ],
)
def test_one(function, before, after):
    assert function(before) == after
    assert function(after) == after


def test_text_is_utf8_in_nfc():
    assert n.unicode_text("tiê\u0301ng".encode()) == "tiếng"
    assert n.unicode_text(b"a\xffb") == "a\ufffdb"


def test_paths_by_their_role():
    text = "/home/me/course/code/a.py /home/me/course/.venv/lib/site-packages/torch/x.py /home/me/x /tmp/aero-1/y /tmp/z /home/meow /home/me"
    assert n.paths(text, PLACES) == "code/a.py <packages>/torch/x.py ~/x <work>/y <temp>/z /home/meow ~"


def test_order_frames_before_escapes_before_paths():
    data = "0%\r\x1b[32m100%\x1b[0m /tmp/aero-1/o\r\n<A at 0x7f0000000001>\n".encode()
    assert n.normalize(data, PLACES) == "\x1b[32m100%\x1b[0m <work>/o\n<A at 0x…>\n"
