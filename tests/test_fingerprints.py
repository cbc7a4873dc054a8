"""The two keys of a recording: what changes them, what does not."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from aerodocs import fingerprints
from aerodocs.fingerprints import cell_keys, code_text, file_key
from handmade import cell, lesson

CODE = '''\
"""Module."""
import math


@staticmethod
def area(r: float = 1.0) -> float:
    """Area."""
    # a comment
    return math.pi * r**2
'''


def keys(*cells: str) -> list[str]:
    return list(cell_keys(lesson("\n".join(cells)).cells).values())


def key_of(tmp_path: Path, text: str, name: str = "a.py") -> str:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return file_key(file)


@pytest.mark.parametrize(
    "same",
    [
        CODE.replace("    # a comment\n", ""),
        CODE.replace('    """Area."""\n', ""),
        CODE.replace('"""Module."""\n', '"""Another."""\n'),
        CODE.replace("math.pi * r**2", "(math.pi  *  r ** 2)"),
        CODE.replace("\n\n\n", "\n\n"),
        CODE.replace("\n", "\r\n"),
    ],
    ids=["comment", "docstring", "module docstring", "layout", "blanks", "CRLF"],
)
def test_what_does_not_count_in_code(tmp_path, same):
    assert same != CODE and key_of(tmp_path, same) == key_of(tmp_path, CODE)


@pytest.mark.parametrize(
    "other",
    [
        CODE.replace("r**2", "r**3"),
        CODE.replace("1.0", "1"),
        CODE.replace("1.0", "True"),
        CODE.replace("@staticmethod", "@classmethod"),
        CODE.replace("r: float", "r"),
        CODE.replace("math.pi * r**2", "'math.pi * r**2'"),
        CODE.replace("    return math", "    '''Not a docstring.'''\n    x = 1\n    '''Text'''\n    return math"),
    ],
)
def test_what_counts_in_code(tmp_path, other):
    assert other != CODE and key_of(tmp_path, other) != key_of(tmp_path, CODE)


def test_data_and_broken_code_count_by_their_bytes(tmp_path):
    assert key_of(tmp_path, "a", "d.txt") != key_of(tmp_path, "a ", "d.txt")
    assert key_of(tmp_path, "x = (") != key_of(tmp_path, "x = ( ")


def test_key_of_a_file_follows_the_file(tmp_path):
    first = key_of(tmp_path, "x = 1\n")
    assert key_of(tmp_path, "x = 2\n") != first and key_of(tmp_path, "x = 1\n") == first


def test_constants_of_different_kinds_differ():
    assert len({code_text(text) for text in ("1", "1.0", "True", "'1'", "b'1'", "1j", "None", "...")}) == 8


def test_a_cell_and_all_after_it_change():
    before = keys(cell("a", "x = 1"), cell("b", "x"), cell("c", "x"))
    after = keys(cell("a", "x = 1"), cell("b", "x + 1"), cell("c", "x"))
    assert [old == new for old, new in zip(before, after)] == [True, False, False]


@pytest.mark.parametrize("option", ["raises: ValueError", "tolerance: 0.1", "volatile: true", "stderr: show", "caption: Hình"])
def test_options_that_change_results_count(option):
    assert keys(cell("a", "x", option)) != keys(cell("a", "x"))


@pytest.mark.parametrize("option", ["show: code", "timeout: 3", "device: cpu"])
def test_options_of_presentation_do_not_count(option):
    assert keys(cell("a", "x", option)) == keys(cell("a", "x"))


def test_comments_and_layout_of_a_cell_do_not_count_but_its_docstrings_do():
    assert keys(cell("a", "x = 1  # một\n\n")) == keys(cell("a", "x   = 1"))
    assert keys(cell("a", "def f():\n    'một'")) != keys(cell("a", "def f():\n    'hai'"))


def test_magics_and_errors_on_purpose_count_by_their_lines():
    assert keys(cell("a", "%time x")) == keys(cell("a", "%time x   ")) != keys(cell("a", "%time y"))
    assert keys(cell("a", "x = = 1")) != keys(cell("a", "x = = 2"))


def test_fields_that_only_some_versions_know_do_not_count():
    """A tree of Python 3.12 has an empty `type_params`, one of 3.13 leaves out what is empty: the key is the same."""
    tree = ast.parse(CODE)
    text = list(fingerprints._walk(tree, docstrings=False))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node._fields = (*node._fields, "type_params")
            node.type_params = []
    assert list(fingerprints._walk(tree, docstrings=False)) == text


def test_keys_do_not_depend_on_the_process(tmp_path):
    (tmp_path / "a.py").write_text(CODE, encoding="utf-8")
    code = f"from pathlib import Path; from aerodocs.fingerprints import file_key; print(file_key(Path({str(tmp_path / 'a.py')!r})))"
    for seed in ("1", "2"):
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed, "PATH": ""})
        assert result.stdout.strip() == file_key(tmp_path / "a.py")
