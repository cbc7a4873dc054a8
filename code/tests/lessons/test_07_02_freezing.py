"""The numbers and conclusions of the lesson on freezing parameters."""

import re

import pytest
import recording
import torch
from aerogpt.generate import load_model
from aerogpt.parameters import preset_model
from prose import SMALL, says
from torch import nn

LESSON = "07_fine_tune_pretrained_models/aero_llm_02_dong_bang_tham_so.md"
RATES = (5e-4, 2e-3, 8e-3)


@pytest.fixture(scope="module")
def cells() -> dict[str, dict]:
    return recording.cells(LESSON, "m072-")


@pytest.fixture(scope="module")
def results(cells) -> dict[str, list[tuple[float, float]]]:
    """(new, old) loss at the three learning rates, as the page shows them."""
    rows = [re.split(r"\s{2,}(?=\d)", line, maxsplit=1) for line in recording.printed(cells["do"]).splitlines()[1:]]
    pair = re.compile(r"([\d.]+) ?/ ?([\d.]+)")
    return {name.strip(): [(float(new), float(old)) for new, old in pair.findall(rest)] for name, rest in rows}


def test_counts_of_gpt2(cells):
    d, L = SMALL.n_embd, SMALL.n_layer
    total = sum(p.numel() for p in preset_model("gpt2").parameters())
    block = 12 * d * d + 13 * d
    counts = {
        "tất cả": total,
        "mọi khối": L * block,
        "nửa trên": L // 2 * block,
        "khối cuối": block,
        "khối đầu": block,
        "bảng token": SMALL.vocab_size * d,
        "LayerNorm": (2 * L + 1) * 2 * d,
    }
    lines = recording.printed(cells["dem"]).splitlines()[1:]
    assert len(lines) == len(counts)
    for line, (name, count) in zip(lines, counts.items(), strict=True):
        assert line.startswith(name)
        assert f" {count:,} " in line
        assert f"{count / total:.2%}" in line
        assert f"{(4 * total + 12 * count) / 1e6:,.0f} MB" in line
    says(LESSON, f"học tất cả cần {16 * total / 1e6:,.0f} MB, chỉ học khối cuối cần {(4 * total + 12 * block) / 1e6:,.0f} MB")
    table = counts["bảng token"]
    says(LESSON, f"đã là {table / total:.2%} của GPT-2 nhỏ, hơn năm lần một khối", f"$Vd$ tham số: {table:,} ở GPT-2 nhỏ")
    assert 5 < table / block < 6


def test_optimizer_state_is_8_bytes_a_trained_parameter():
    layer = nn.Linear(30, 20)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 30)).sum().backward()
    optimizer.step()
    tensors = [t for state in optimizer.state.values() for t in state.values()]
    assert sum(t.numel() * t.element_size() for t in tensors) == 8 * (30 * 20 + 20) + 4 * 2


def test_adamw_moves_what_has_a_zero_gradient(cells):
    """By the formula of the page, beside what PyTorch did in the cell."""
    lr, decay, beta1, beta2, eps = 0.1, 0.1, 0.9, 0.999, 1e-8
    m, v = beta1 * (1 - beta1), beta2 * (1 - beta2)  # a gradient of 1, then of 0
    momentum = -lr * (m / (1 - beta1**2)) / ((v / (1 - beta2**2)) ** 0.5 + eps)
    moved = [float(line.split()[-1]) for line in recording.printed(cells["bay-adamw"]).splitlines()]
    assert moved == pytest.approx([0, 0, -lr * decay, momentum, -lr], abs=6e-5)
    says(LESSON, rf"$-\eta\lambda p = -0.1 \cdot 0.1 \cdot 1 = {-lr * decay:g}$")


def test_sgd_alone_leaves_a_zero_gradient_in_place():
    p = nn.Parameter(torch.ones(3))
    p.grad = torch.zeros(3)
    torch.optim.SGD([p], lr=0.1).step()
    assert torch.equal(p.detach(), torch.ones(3))


def test_the_traps(cells):
    tied, mode, through = (recording.printed(cells[name]) for name in ("bay-dung-chung", "bay-eval", "bay-xuyen"))
    assert re.findall("True|False", tied) == ["False", "True", "True"]
    assert re.findall("True|False", mode) == ["False", "True", "True"]
    assert "{'0'}" in through and "False" in through
    rows = recording.printed(cells["thu-thach-hang"])
    assert re.findall("True|False", rows) == ["True", "True", "True", "False"]


def test_matrix_products_by_place(cells):
    ratio = {line[:11].strip(): float(line.split("=")[1]) for line in recording.printed(cells["phep-tinh"]).splitlines()}
    assert ratio["tất cả"] == pytest.approx(2, abs=0.02)
    assert ratio["khối đầu"] > 2 * ratio["khối cuối"]
    assert ratio["LayerNorm"] == pytest.approx(1, abs=0.02)
    says(LESSON, "Lượt ngược bằng 2 lần lượt xuôi khi học tất cả, nên số phép nhân của một bước không thể giảm quá 3 lần")


def test_the_loss_takes_the_gradient_of_a_frozen_table():
    from aerogpt.loss import _sum_and_gradients

    hidden, weight = torch.randn(4, 8, requires_grad=True), torch.randn(16, 8)
    targets = torch.arange(4)
    _, _, d_weight = _sum_and_gradients(hidden, weight, targets, targets >= 0, True)
    assert d_weight.shape == weight.shape and d_weight.any()


def test_conclusions(cells, results):
    assert set(results) == {"tất cả", "mọi khối", "nửa trên", "khối cuối", "bảng token", "LayerNorm"}
    assert {len(pairs) for pairs in results.values()} == {len(RATES)}
    says(LESSON, f"thấp nhất trong {len(results) * len(RATES)} lần chạy")
    new = {name: [pair[0] for pair in pairs] for name, pairs in results.items()}
    old = {name: [pair[1] for pair in pairs] for name, pairs in results.items()}
    assert new["tất cả"][2] > min(new["tất cả"]) + 0.5
    for name in ("khối cuối", "bảng token", "LayerNorm"):
        assert new[name][2] < min(new[name][:2]) - 0.3
    assert new["tất cả"][0] < new["khối cuối"][2] + 0.1
    assert old["tất cả"][0] < old["khối cuối"][2] - 0.5
    assert new["bảng token"][2] < min(value for name, row in new.items() for value in row if name != "bảng token") - 0.2
    assert old["LayerNorm"][2] < min(row[2] for name, row in old.items() if name != "LayerNorm") - 0.5
    says(LESSON, f"quên ít nhất trong {['không', 'một', 'hai', 'ba', 'bốn', 'năm', 'sáu'][len(results)]} lựa chọn")
    values = cells["do"]["values"]
    assert values["moi_ln"] > 3
    again = [tuple(map(float, re.findall(r"(\d+\.\d\d)(?:\s|$)", line.split("miền mới")[1]))) for line in recording.printed(cells["lap-lai"]).splitlines()]
    (new_all, old_all), (new_last, old_last) = again
    assert abs(new_all - new_last) < 0.5 < old_last - old_all


def test_biases(cells, results):
    model, _ = load_model("vi-tiny")
    biases = sum(p.numel() for name, p in model.named_parameters() if name.endswith("bias"))
    text = recording.printed(cells["thu-thach-bias"])
    assert text.startswith(f"{biases:,} tham số")
    rows = [tuple(map(float, re.findall(r"miền mới ([\d.]+)  miền cũ ([\d.]+)", line)[0])) for line in text.splitlines()[1:]]
    best_new, its_old = min(rows)
    norm_new, norm_old = min(results["LayerNorm"])
    assert best_new < norm_new - 0.2 and its_old > norm_old + 0.3
