"""What the lesson on instruction tuning states: its data and its mask, recomputed; its run, as it was recorded."""

import math
import re
from math import comb

import pytest
import recording
import torch
from aerogpt.functional import cross_entropy
from prose import says

LESSON = "07_fine_tune_pretrained_models/aero_llm_04_tinh_chinh_theo_chi_dan.md"


@pytest.fixture(scope="module")
def names() -> dict:
    """What the lesson's cells up to the proof leave behind: nothing is trained in them."""
    names: dict = {}
    for cell in ("du-lieu", "khuon", "lo", "chung-minh"):
        exec(recording.source(LESSON, f"m074-{cell}"), names)
    return names


@pytest.fixture(scope="module")
def cells() -> dict[str, dict]:
    return recording.cells(LESSON)


def test_data(names):
    n_words = len(names["TU"])
    sets = comb(n_words, 2) + comb(n_words, 3)
    assert sets == len(names["cac_tap"]) and n_words == 16
    says(LESSON, rf"$\binom{{{n_words}}}{{2}} + \binom{{{n_words}}}{{3}} = {sets}$")
    learned, hidden = ({frozenset(words) for words in names[name]} for name in ("tap_hoc", "tap_giau"))
    assert not learned & hidden and len(learned) + len(hidden) == sets      # no order of a hidden list is learned
    assert names["dai_nhat"] == 1                                           # every word is one token
    says(LESSON, f"có {4 * 256} cặp", "for _ in range(256) for v in VIEC")


def test_every_list_starts_at_the_same_position(names):
    for task in names["VIEC"]:
        prompt = names["de_bai"](task, ("mèo", "chó"))
        assert prompt.index(names["bo_tach"].encode(" mèo")[0]) == 4
    says(LESSON, "từ đầu tiên luôn ở vị trí 4")


def test_mask_and_shift(names):
    prompt, answer = names["de"], names["dap"]
    inputs, targets = (rows[0].tolist() for rows in names["xep_lo"]([(prompt, answer)]))
    n, whole = len(prompt), prompt + answer
    assert inputs == whole[:-1]
    assert targets == [-100] * (n - 1) + answer and targets[-1] == names["het"]
    assert inputs[n - 1] == names["may"]                                     # the first counted place has read it
    _, everything = names["xep_lo"]([(prompt, answer)], tat_ca=True)
    assert everything[0].tolist() == whole[1:]

    longer = names["de_bai"]("nhắc lại", ("gà", "cá")), names["tra_loi"]("nhắc lại", ("gà", "cá"))
    _, batch = names["xep_lo"]([(prompt, answer), longer])
    assert [(row != -100).sum().item() for row in batch] == [4, 3]           # the padding is not counted
    says(LESSON, "che **$n - 1$** ô đầu, không phải $n$")


def test_proof(names, cells):
    assert names["khop"]
    for wrong in ("che_du", "khong_doi"):
        assert abs(names[wrong] - names["dung"]) > 0.05
    n = names["so_de"]
    assert names["o_co_gradient"] == list(range(n - 1, n - 1 + names["so_cham"]))
    assert (names["hang_de"] > 0).all()
    out = recording.printed(cells["m074-chung-minh"])
    assert "khớp: True" in out and "gradient: True" in out


def test_padding_on_the_right_changes_nothing(names):
    model = names["mo_hinh_moi"]()
    short = names["de_bai"]("đếm từ", ("gà", "cá")), names["tra_loi"]("đếm từ", ("gà", "cá"))
    alone, batch = names["xep_lo"]([short])[0], names["xep_lo"]([short, (names["de"], names["dap"])])[0]
    with torch.no_grad():
        torch.testing.assert_close(model(batch)[:1, : alone.shape[1]], model(alone))


def test_nothing_counted_is_nan():
    assert math.isnan(cross_entropy(torch.zeros(1, 3, 5), torch.full((1, 3), -100)))
    says(LESSON, "cho $0/0$, tức NaN")


def test_special_token_needs_permission(names):
    tokenizer = names["bo_tach"]
    assert tokenizer.encode("<|máy|>", allowed_special="all") == [names["may"]]
    assert names["may"] not in tokenizer.encode("<|máy|>") and names["nhu_chu_thuong"] > 1


def test_recorded_runs(cells):
    value = {name: v for cell in cells.values() for name, v in cell["values"].items()}
    assert value["truoc"] < 0.02
    assert min(value["sau"], value["sau_2"]) > max(value["tat_ca"], value["tat_ca_2"]) + 0.04  # the first way is ahead
    assert min(value["sau"], value["sau_2"]) > 0.9
    assert value["som"] > value["khong_nen_som"] + 0.1
    assert value["lo_tat_ca"] > 10 * value["lo_tra_loi"]
    assert min(value["cham_thay"], value["het_thay"]) > value["chuan"] - 0.05
    assert value["hong_nhieu_nhat"] < 0.3
    assert "từng bước cho cùng tỉ lệ: True" in recording.printed(cells["m074-sai-khuon"])
    ratios = [float(n) for n in re.findall(r"([\d.]+)%", recording.printed(cells["m074-thu-thach-ket-thuc"]))]
    assert ratios[0] > 85 and ratios[1] < 10                                 # the words are right, the end is not
    loss, right = map(float, re.search(r"mất mát ([\d.]+), đúng ([\d.]+)%", recording.printed(cells["m074-thu-thach-quen-doi"])).groups())
    assert loss < 0.3 and right < 5
    says(LESSON, "Sau 100 bước", "so_buoc=100", "Tại bước 30", "và 200 đề kiểm tra")
    assert "của 200 đề" in recording.printed(cells["m074-do"])
