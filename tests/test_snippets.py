"""Snippets: a symbol of the package is found by name, and a wrong reference says what would be right."""

import pytest
from aerodocs.snippets import SnippetError, resolve

SOURCE = '''\
"""Module."""
import functools

LIMIT = 3
NAMES: tuple = ("a", "b")


@functools.cache
def area(x):
    """Area.

    Shapes and all.
    """

    # why
    return x * x


class Box:
    """A box."""

    side = 2

    def area(self):
        return area(self.side)

    class Lid:
        def open(self): return True


def only_docstring():
    """Nothing else."""


if LIMIT:
    def twice(x):
        return 2 * x
else:
    def twice(x):
        return x + x
'''


@pytest.fixture
def code(tmp_path):
    (tmp_path / "code" / "package").mkdir(parents=True)
    (tmp_path / "code" / "package" / "shapes.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "secret.py").write_text("key = 1\n", encoding="utf-8")
    return tmp_path / "code"


@pytest.mark.parametrize(
    "symbol, line, source",
    [
        ("area", 8, "@functools.cache\ndef area(x):\n    # why\n    return x * x\n"),
        ("Box.area", 24, "def area(self):\n    return area(self.side)\n"),
        ("Box.Lid.open", 28, "def open(self): return True\n"),
        ("Box.side", 22, "side = 2\n"),
        ("LIMIT", 4, "LIMIT = 3\n"),
        ("NAMES", 5, 'NAMES: tuple = ("a", "b")\n'),
        ("only_docstring", 31, 'def only_docstring():\n    """Nothing else."""\n'),
    ],
)
def test_symbol_is_embedded_without_its_docstring(code, symbol, line, source):
    snippet = resolve(f"package/shapes.py::{symbol}", code)
    assert (snippet.line, snippet.source) == (line, source)


def test_docstring_on_request(code):
    assert '"""Area.' in resolve("package/shapes.py::area", code, docstring=True).source


def test_class_keeps_the_docstrings_of_its_methods(code):
    source = resolve("package/shapes.py::Box", code).source
    assert source.startswith("class Box:\n    side = 2\n") and "def open" in source


@pytest.mark.parametrize(
    "reference, said",
    [
        ("package/shapes.py::aera", "area"),
        ("package/shape.py::area", "package/shapes.py"),
        ("package/shapes.py::twice", "2 lần"),
        ("package/shapes.py", "không phải là tham chiếu"),
        ("", "không phải là tham chiếu"),
        ("../secret.py::key", "không có tập tin"),
    ],
)
def test_wrong_reference_says_what_was_seen(code, reference, said):
    with pytest.raises(SnippetError, match=said):
        resolve(reference, code)


def test_a_changed_file_is_read_again(code):
    assert resolve("package/shapes.py::LIMIT", code).source == "LIMIT = 3\n"
    (code / "package" / "shapes.py").write_text("LIMIT = 40\n", encoding="utf-8")
    assert resolve("package/shapes.py::LIMIT", code).source == "LIMIT = 40\n"


def test_file_that_does_not_parse(code):
    (code / "package" / "broken.py").write_text("def f(:\n", encoding="utf-8")
    with pytest.raises(SnippetError, match="broken.py:1"):
        resolve("package/broken.py::f", code)
