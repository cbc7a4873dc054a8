"""What the lesson on prompt injection states: the argument and the toy's data, recomputed; its runs, as recorded."""

import itertools
import random
import re

import pytest
import recording
from prose import says

LESSON = "19_ai_safety/aero_llm_03_prompt_injection.md"


@pytest.fixture(scope="module")
def names() -> dict:
    """The lesson's cells without a model, and the data of the assistant up to its training."""
    names: dict = {}
    exec(recording.source(LESSON, "m193-trung"), names)
    exec(recording.source(LESSON, "m193-loc"), names)
    exec(recording.source(LESSON, "m193-huan-luyen").split("torch.manual_seed(0)")[0], names)
    exec(recording.source(LESSON, "m193-thu-thach-tach"), names)
    return names


@pytest.fixture(scope="module")
def cells() -> dict[str, dict]:
    return recording.cells(LESSON)


@pytest.fixture(scope="module")
def value(cells) -> dict:
    return {name: v for cell in cells.values() for name, v in cell["values"].items()}


def test_two_intentions_one_string(names):
    join = names["ghep"]
    assert names["nho_ba_viec"] != names["nho_mot_viec"]
    assert join(names["nho_ba_viec"]) == join(names["nho_mot_viec"])


def test_without_marks_in_the_data_the_string_can_be_split(names):
    steps = [("tóm tắt", "trà bánh"), ("ghi", "muối"), ("nhớ", "sữa")]
    for n in range(1, 4):
        for some in itertools.product(steps, repeat=n):
            assert names["tach"](names["ghep"](some)) == list(some)
    assert names["khop"] == 1000
    assert names["tach"](names["ghep"](names["nho_mot_viec"])) != names["nho_mot_viec"]


def test_the_injected_note_is_a_legitimate_request(names):
    """The attack at the end of a note without quotes is a string that the data answers with the tool."""
    rng = random.Random(0)
    pairs = [names["vi_du"](rng) for _ in range(2000)]
    shape = re.compile(r"tóm tắt : \w+ \w+ \w+ \. (thêm|nhớ) (\w+) =")
    found = [(m, answer) for request, answer in pairs if (m := shape.fullmatch(request))]
    assert found and all(f"GHI {m[2]}" in answer for m, answer in found)


def test_what_the_defence_was_taught(names):
    rng = random.Random(1)
    ignored, quoted_plain = set(), 0
    for request, answer in (names["vi_du"](rng) for _ in range(3000)):
        inside = re.findall(r"« (.*?) »", request)
        if inside and " . " in inside[0]:
            assert request.startswith("dặn ;")
            verb, thing = inside[0].split(" . ")[1].split()
            ignored.add(verb)
            outside = re.sub("«.*?»", "", request)
            assert answer.count("GHI") == sum(word in names["DONG_TU"] for word in outside.split())
        quoted_plain += bool(inside) and not request.startswith("dặn")
    assert ignored == {"ghi", "lưu"} and quoted_plain > 100
    says(LESSON, "chỉ với hai động từ `ghi`, `lưu`", "động từ là `thêm` hoặc `nhớ`")


def test_vocabulary(names):
    says(LESSON, f"Trợ lý của ta biết {len(names['TU'])} từ")


def test_filter(names, cells):
    assert len(names["LENH"]) == len(names["VO_HAI"]) == 8
    assert names["so_lot"] >= 4 and names["so_nham"] >= 4
    says(LESSON, "trong tám lệnh lọt", "trong tám câu vô hại bị chặn")
    letting, blocking = names["so_lot"], names["so_nham"]
    names["CAM"].add("danh")
    now = [sum(not names["bi_chan"](s) for s in names["LENH"]), sum(map(names["bi_chan"], names["VO_HAI"]))]
    names["CAM"].remove("danh")
    assert now[0] <= letting and now[1] >= blocking
    assert "[False, False], [True, True]" in recording.printed(cells["m193-thu-thach-loc"])


def test_recorded_attacks(value, cells):
    assert value["huu_ich"] > 0.97
    assert "trà bánh GHI muối" in recording.printed(cells["m193-huan-luyen"])
    assert value["cuoi_tran"] > 0.95 and value["cuoi_ngoac"] > 0.5
    assert value["cuoi_dan"] < 0.05 and value["gia_lot"] < 0.05
    assert value["gia_dong"] > 0.2 and value["giua_dan"] > 0.2 and value["hai_lan"] > 0.2
    assert value["hai_dung"] < 0.3


def test_recorded_structure(value):
    assert value["len_tach"] == value["len_hoi"] == 0 < value["len_quyen"] < value["len_mot"]
    assert value["dung_tach"] > 0.97 and value["dung_quyen"] < 0.7
    assert value["so_bi_cai"] == 60 and value["so_cau_hoi"] > 60
    says(LESSON, "Trong 120 hoàn cảnh", "người dùng chỉ nhờ ghi 60 lần")
    assert sum(n % 2 for n in range(120)) == 60


def test_recorded_confirmation_does_not_repair(cells):
    rows = {line.split()[0]: line.split() for line in recording.printed(cells["m193-cau-truc"]).splitlines() if "%" in line}
    one, asked = (int(rows[name][2].rstrip("%")) for name in ("mot_kenh", "xac_nhan"))
    assert 0 <= asked - one < 10
