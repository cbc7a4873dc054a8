"""Recordings: the file, its seal, and when it is stale."""

import json

import pytest
from aerodocs import recordings
from aerodocs.fingerprints import file_key
from aerodocs.recordings import RecordingError, load, stale_cells
from handmade import CPU, cell, figure, lesson, record, result, stream

TEXT = cell("a", "x = 1") + "\n" + cell("b", "x") + "\nLà `{cell:a.x}`.\n"


@pytest.fixture
def file(tmp_path):
    return record(tmp_path, "m/a.md", TEXT, {"a": [stream("một\nhai\n")], "b": [result("1")]}, {"a": {"x": 1}})


def stale(root, text=TEXT, device="cpu"):
    return stale_cells(root, lesson(text, "m/a.md"), recordings.read(root, "m/a.md", device), device)


def test_comes_back_as_it_was(tmp_path, file):
    assert file == tmp_path / "recordings/m/a/cpu.json"
    recording = load(file)
    assert recording.lesson == "m/a.md" and recording.provenance == CPU
    assert recording.cell("a").values == {"x": 1} and recording.cell("b").outputs == [result("1")] and recording.cell("c") is None


def test_file_is_made_for_diffs(file):
    data = file.read_bytes()
    assert data.endswith(b"}\n") and b"\r" not in data and "một".encode() in data
    parsed = json.loads(data)
    assert list(parsed) == sorted(parsed) and '      "hai\\n"' in data.decode()
    recording = load(file)
    assert recordings.dump(recording) == data


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda data: data.replace(b'"x": 1', b'"x": 2'), "sửa bằng tay"),
        (lambda data: data.replace(b"hai", b"ba"), "sửa bằng tay"),
        (lambda data: data[: len(data) // 2], r"cpu\.json:\d+: bản ghi bị hỏng"),
        (lambda data: b"", "bị hỏng"),
        (lambda data: b"[]", "bị hỏng"),
        (lambda data: b"\xff", "bị hỏng"),
        (lambda data: data.replace(b'"schema": 1', b'"schema": 2'), "lược đồ 2, ở đây cần 1"),
        (lambda data: b"<<<<<<< HEAD\n" + data, "bị hỏng"),
    ],
    ids=["value", "output", "cut", "empty", "list", "binary", "schema", "conflict"],
)
def test_what_cannot_be_used_says_why_and_what_to_do(file, spoil, said):
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(RecordingError, match=said) as caught:
        load(file)
    assert "run.py" in str(caught.value)


def test_reformatting_is_no_editing(file):
    file.write_text(json.dumps(json.loads(file.read_bytes())), encoding="utf-8")
    assert load(file).cell("a").values == {"x": 1}


def test_missing_parts_with_a_right_seal(file):
    data = json.loads(file.read_bytes())
    del data["seal"], data["cells"][0]["key"]
    data["seal"] = recordings._seal(data)
    file.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(RecordingError, match="thiếu hoặc thừa mục"):
        load(file)


def test_fresh(tmp_path, file):
    assert stale(tmp_path) == []


@pytest.mark.parametrize(
    "text, expected",
    [
        (TEXT.replace("x = 1", "x = 2"), ["a", "b"]),
        (TEXT.replace("\nx\n", "\n-x\n"), ["b"]),
        (TEXT + cell("c"), ["c"]),
        (TEXT + "`{cell:b.x}`\n", ["b"]),
        (TEXT.replace("x = 1", "x = 1  # một"), []),
        (TEXT.replace("\nLà `{cell:a.x}`.\n", ""), []),
        (TEXT.replace("#b}", "#c}"), ["c"]),
    ],
    ids=["first", "second", "new", "value", "comment", "value gone", "renamed"],
)
def test_stale_after_an_edit(tmp_path, file, text, expected):
    assert stale(tmp_path, text) == expected


def test_code_and_data_make_all_cells_stale(tmp_path):
    code, data = tmp_path / "code" / "a.py", tmp_path / "code" / "d.txt"
    code.parent.mkdir()
    code.write_text("def f():\n    return 1\n", encoding="utf-8")
    data.write_text("1", encoding="utf-8")
    record(tmp_path, "m/a.md", TEXT, {}, {"a": {"x": 1}}, code={"code/a.py": file_key(code), "code/d.txt": file_key(data)})
    assert stale(tmp_path) == []
    code.write_text("def f():\n    'Text.'\n    return 1  # một\n", encoding="utf-8")
    assert stale(tmp_path) == []
    code.write_text("def f():\n    return 2\n", encoding="utf-8")
    assert stale(tmp_path) == ["a", "b"]
    code.write_text("def f():\n    return 1\n", encoding="utf-8")
    data.write_text("2", encoding="utf-8")
    assert recordings.code_changes(tmp_path, recordings.read(tmp_path, "m/a.md", "cpu")) == ["code/d.txt"]
    data.unlink()
    assert stale(tmp_path) == ["a", "b"]


def test_devices(tmp_path):
    text = cell("a", "1", "device: cpu") + "\n" + cell("b", "2")
    assert recordings.devices_of(lesson(text)) == ["cpu", "cuda"] and recordings.devices_of(lesson(cell("a", "1", "device: cuda"))) == ["cuda"]
    record(tmp_path, "m/a.md", text, {}, device="cuda")
    assert stale(tmp_path, text, "cuda") == [] and stale(tmp_path, text, "cpu") == ["a", "b"]


def test_figures_that_are_not_shown_any_more_go(tmp_path):
    record(tmp_path, "m/a.md", TEXT, {"a": [figure("cpu-a-1"), figure("cpu-a-2")]})
    record(tmp_path, "m/a.md", TEXT, {"a": [figure("cuda-a-1")]}, device="cuda")
    folder = record(tmp_path, "m/a.md", TEXT, {"a": [figure("cpu-a-1")]}).parent
    assert sorted(path.name for path in folder.iterdir()) == [
        "cpu-a-1-dark.svg",
        "cpu-a-1-light.svg",
        "cpu.json",
        "cuda-a-1-dark.svg",
        "cuda-a-1-light.svg",
        "cuda.json",
    ]
