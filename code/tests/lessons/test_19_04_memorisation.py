"""The lesson on memorisation: its formulas, its measure, and what it concludes from the recorded runs."""

import itertools
import math
import re

import pytest
import recording
import torch
from aerogpt.config import GPTConfig
from aerogpt.generate import generate
from aerogpt.model import GPT
from prose import says
from torch import nn

LESSON = "19_ai_safety/aero_llm_04_ro_ri_du_lieu_huan_luyen.md"


@pytest.fixture(scope="module")
def lesson() -> dict:
    """The names that the lesson's cells define before any training."""
    names: dict = {}
    exec(recording.source(LESSON, "m194-du-lieu"), names)
    training = recording.source(LESSON, "m194-huan-luyen")
    exec(training[: training.index("buoc_day_du")], names)
    measuring = recording.source(LESSON, "m194-do")
    exec(measuring[: measuring.index("ket_qua = ")], names)
    return names


@pytest.fixture(scope="module")
def cells() -> dict[str, dict]:
    return recording.cells(LESSON, "m194-")


@pytest.fixture(scope="module")
def values(cells) -> dict[str, dict]:
    return {name: cell["values"] for name, cell in cells.items()}


@pytest.fixture(scope="module")
def groups(cells) -> dict[int, tuple[int, float, float]]:
    """{repetitions: (extracted, exposure, bits)} as printed."""
    rows = re.findall(r"^ *(\d+) +(\d+)/10 +([\d.]+) +([\d.]+)$", recording.printed(cells["do"]), re.MULTILINE)
    return {int(n): (int(hits), float(exposure), float(bits)) for n, hits, exposure, bits in rows}


@pytest.fixture(scope="module")
def arms(cells) -> list[tuple[int, float, float, float]]:
    """Extracted, exposure of what was in the data and of what was not, loss on new sentences: original, same passes, same steps."""
    rows = re.findall(r" (\d+)/60 +([\d.]+) / ([\d.]+) +([\d.]+)$", recording.printed(cells["khu-lap"]), re.MULTILINE)
    return [(int(hits), *map(float, rest)) for hits, *rest in rows]


def test_exposure_of_a_random_rank():
    logs = torch.arange(1, 129, dtype=torch.float64).log2()
    mean, sd = (7 - logs).mean().item(), logs.std(correction=0).item()
    says(LESSON, f"là {mean:.2f} bit chứ không phải 0", f"{mean:.2f} bit, không phải 0", f"thứ hạng ngẫu nhiên là {mean:.2f}")
    says(LESSON, f"sai số chuẩn khoảng {sd / math.sqrt(10):.2f} bit", r"$\log_2 128 = 7$", "127 bí mật lấy ngẫu nhiên")
    assert mean == pytest.approx(7 - math.lgamma(129) / math.log(2) / 128)
    many = torch.arange(1, 2**20 + 1, dtype=torch.float64).log2()
    assert (20 - many).mean().item() == pytest.approx(1 / math.log(2), abs=1e-4)
    says(LESSON, rf"$1/\ln 2 \approx {1 / math.log(2):.2f}$")
    assert (7 - logs >= 3).double().mean() > 0.1                    # 3 or 4 bits by luck
    assert (7 - logs >= 4).double().mean() > 0.05


def test_numbers_in_prose():
    says(LESSON, rf"$6 \log_2 10 \approx {6 * math.log2(10):.1f}$", f"mức {6 * math.log2(10):.1f} bit")
    says(LESSON, f"nếu xác suất trích thật là {1 - 0.05 ** (1 / 10):.0%}", "khoảng 5% số lần")
    says(LESSON, f"lên đến khoảng {1 - 0.05 ** (1 / 120):.1%}", "120 đoạn")


def test_planted_data(lesson):
    repeated, canaries = lesson["ban_lap"], lesson["moi"]
    everything = list(itertools.chain.from_iterable(canaries.values()))
    assert len({prefix for prefix, _ in everything}) == len(everything) == 70
    assert not {secret for _, secret in everything} & set(lesson["ung_vien"])
    assert len(set(lesson["ung_vien"])) == 127 and len(set(lesson["cau_nen"])) == 600
    for count, group in canaries.items():
        assert len(group) == 10 and all(repeated.count(f"{prefix}{secret}.") == count for prefix, secret in group)
    assert len(lesson["khu_lap"]) == 600 + 60
    assert (len(repeated) - 600) / len(repeated) > 0.5
    says(LESSON, "600 câu nền", "mỗi nhóm 10 câu mồi", "chiếm hơn nửa số câu")
    assert not any(character.isdigit() for sentence in lesson["cau_nen"] for character in sentence)
    assert not set(lesson["cau_nen"]) & set(lesson["cau_la"])
    assert {len(lesson["tach"].encode(secret)) for _, secret in everything} == {6}
    fits = [len(lesson["tach"].encode(prefix + secret)) + 2 for prefix, secret in everything]
    assert max(fits) <= 33                                          # no canary is cut off
    for prefix, secret in everything:
        whole = lesson["tach"].encode(prefix + secret)
        assert whole == lesson["tach"].encode(prefix) + lesson["tach"].encode(secret)


def test_passes_are_exact(lesson):
    assert lesson["so_buoc_cho"](lesson["ban_lap"]) == 4 * math.ceil(len(lesson["ban_lap"]) / 16)
    same_steps = lesson["so_buoc_cho"](lesson["ban_lap"]) / lesson["so_buoc_cho"](lesson["khu_lap"], luot=1)
    says(LESSON, "đúng 4 lượt", "đúng $4n$ lần", f"khoảng {same_steps:.0f} lượt")
    rows = lesson["cua_so"](["mã của an bình là:123456."])
    end = lesson["het"][0]
    ids = rows[0][rows[0] >= 0].tolist()
    assert ids[0] == ids[-1] == end and lesson["tach"].decode(ids[1:-1]) == "mã của an bình là:123456."


def test_measure_agrees_with_generation_and_the_definition(lesson):
    """Extraction by one forward pass is extraction by generating; exposure is by rank among the candidates."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=512, n_ctx=32, n_layer=1, n_head=2, n_embd=32)).eval()
    (prefix, secret), encode = lesson["moi"][0][0], lesson["tach"].encode
    start = torch.tensor([lesson["het"] + encode(prefix)])
    target = torch.tensor([lesson["het"] + encode(prefix + secret)])
    outcomes, parameters = set(), list(model.parameters())
    for _ in range(4):
        hit, exposure, bits = lesson["do"](model, prefix, secret)
        written = generate(model, start, 6, temperature=0)[0, start.shape[1]:].tolist()
        assert hit == (written == encode(secret))
        assert 0 <= exposure <= 7
        outcomes.add(hit)
        for _ in range(40):
            loss = nn.functional.cross_entropy(model(target[:, :-1])[0], target[0, 1:])
            with torch.no_grad():
                for parameter, slope in zip(parameters, torch.autograd.grad(loss, parameters)):
                    parameter -= 0.3 * slope
    assert outcomes == {False, True} and exposure == 7
    logits = model(target[:, :-1])[0, start.shape[1] - 1:]
    expected = nn.functional.cross_entropy(logits, torch.tensor(encode(secret)), reduction="sum").item() / math.log(2)
    assert lesson["do"](model, prefix, secret)[2] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_more_repetition_more_extraction(groups, values):
    assert list(groups) == [0, 1, 2, 4, 8, 16, 32]
    hits, exposures = [row[0] for row in groups.values()], [row[1] for row in groups.values()]
    assert hits[:3] == [0, 0, 0] and hits[-1] >= 9 and max(hits[:4]) < min(hits[-2:])
    assert exposures == sorted(exposures)
    logs = torch.arange(1, 129, dtype=torch.float64).log2()
    error = logs.std(correction=0).item() / math.sqrt(10)
    assert abs(exposures[0] - (7 - logs).mean().item()) < 2 * error         # the control is at chance
    assert exposures[1] > 7 - logs.mean().item() + 2 * error                # one copy is not: "cao hơn hẳn"
    assert groups[0][2] > 6 * math.log2(10) > groups[32][2]
    assert values["do"]["trich_1"] == 0 and values["do"]["trich_32"] == hits[-1]


def test_deduplication(arms, values):
    original, passes, steps = arms
    assert original[0] > 15 and passes[0] <= 1 and steps[0] <= 1
    assert steps[1] > steps[2] + 1.2 and steps[1] > passes[1]               # a trace stays
    assert max(arm[3] for arm in arms) - min(arm[3] for arm in arms) < 0.2
    assert values["khu-lap"]["trich_goc"] == original[0]


def test_vi_tiny(values):
    found = values["vi-tiny"]
    assert found["ty_le_hoc"] < 0.05 and found["ty_le_giu"] < 0.05
    assert found["tb_hoc"] > found["tb_giu"] and found["so_luot"] > 5


def test_challenges(values, cells):
    names: dict = {}
    exec(recording.source(LESSON, "m194-gan-giong").rstrip().rsplit("\n", 1)[0], names)
    assert (names["con_lai_tho"], names["con_lai_chuan"], len(names["so_trong_cau"])) == (6, 2, 1)
    says(LESSON, "So nguyên chuỗi giữ cả 6 bản", "khoảng trắng còn 2", "mới còn 1")
    kept = {int(k): int(n) for k, n in re.findall(r"(\d+): (\d+)", recording.printed(cells["bot-phan-dau"]))}
    assert list(kept.values()) == sorted(kept.values()) and values["bot-phan-dau"]["it_nhat"] == 0
    assert values["bot-phan-dau"]["nhieu_nhat"] == values["do"]["trich_32"]
