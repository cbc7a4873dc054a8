"""The numbers and the claims in the lesson on the three stages of training, 6 N D, and the scaling law."""

import json
import math
import re

import pytest
import recording
import torch
from aerogpt.benchmark import training_flops
from aerogpt.config import PRESETS, GPTConfig
from aerogpt.data import IGNORED
from aerogpt.model import GPT
from aerogpt.weights import DATA
from prose import SMALL, count, gpt, power_of_ten, says
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

LESSON = "01_llm_course/aero_llm_02_quy_trinh_huan_luyen.md"
N = 124_439_808


@pytest.fixture(scope="module")
def recorded() -> dict[str, dict]:
    return recording.cells(LESSON, "m012-")


@pytest.fixture(scope="module")
def printed(recorded) -> dict[str, str]:
    """What each cell printed or returned as text."""
    return {name: recording.printed(cell) for name, cell in recorded.items()}


@pytest.fixture(scope="module")
def provenance() -> dict:
    return json.loads((DATA / "vi-tiny.json").read_text(encoding="utf-8"))


def test_cross_entropy_of_a_half():
    says(LESSON, rf"$\ln 2 \approx {math.log(2):.3f}$")


def test_mask_of_the_loss_is_no_mask_of_attention():
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=20, n_ctx=16, n_layer=2, n_head=2, n_embd=16))
    ids, n_question = torch.randint(20, (1, 13)), 8
    inputs, targets = ids[:, :-1], ids[:, 1:].clone()
    targets[:, : n_question - 1] = IGNORED
    assert targets[0, n_question - 1] == ids[0, n_question]             # the first token of the answer counts
    loss = model.loss(inputs, targets)
    by_hand = F.cross_entropy(model(inputs)[0, n_question - 1 :], ids[0, n_question:])
    torch.testing.assert_close(loss, by_hand)
    loss.backward()
    assert model.transformer.wpe.weight.grad[: n_question - 1].norm() > 0
    other = inputs.clone()
    other[0, 0] = (other[0, 0] + 1) % 20
    assert model.loss(other, targets) != loss
    says(LESSON, "$n - 1$ đích đầu bị che; đích thứ $n$ đã là token đầu tiên của câu trả lời", f"đặt đích thành −{-IGNORED}")


def test_recorded_losses_of_vi_tiny(recorded, printed):
    rows = [float(nat) for nat in re.findall(r"([\d.]+) nat\n", printed["tien"])]
    values = recorded["tien"]["values"]
    assert len(rows) == values["so_token"]
    assert sum(rows) / len(rows) == pytest.approx(values["tien"], abs=1e-3)
    answer = int(re.search(r"'(\d+) trong", printed["sft"])[1])
    sft = recorded["sft"]["values"]
    assert sum(rows[-answer:]) / answer == pytest.approx(sft["chi_dap"], abs=1e-3)
    assert abs(sft["chi_dap"] - sft["chi_dap_khac"]) > 1e-3             # "đổi từ … thành …"
    assert "False" not in printed["sft"]


def test_one_pair_of_dpo():
    bracket = (-12 + 13) - (-11.5 + 11)
    loss = -math.log(1 / (1 + math.exp(-0.1 * bracket)))
    says(LESSON, f"là $1 - (-0.5) = {bracket}$", rf"$-\log \sigma({0.1 * bracket:.2f}) \approx {loss:.3f}$")
    assert -11.5 > -12                                                  # the loser is still the more probable one
    assert -math.log(1 / (1 + math.exp(0))) == pytest.approx(math.log(2))


def test_reward_and_preferences_have_one_optimum(printed):
    reference = torch.tensor([0.50, 0.30, 0.15, 0.05], dtype=torch.float64)
    reward = torch.arange(4, dtype=torch.float64)
    for beta in (0.5, 1.0, 3.0):
        optimum = reference * (reward / beta).exp()
        optimum /= optimum.sum()
        z = optimum.log().clone().requires_grad_()
        log_pi = z.log_softmax(-1)
        goal = (log_pi.exp() * (reward - beta * (log_pi - reference.log()))).sum()
        h = beta * (log_pi - reference.log())
        wins = torch.sigmoid(reward[:, None] - reward)
        dpo = -(wins * F.logsigmoid(h[:, None] - h)).sum()
        for function in (goal, dpo):
            assert torch.autograd.grad(function, z, retain_graph=True)[0].abs().max() < 1e-12
        for _ in range(20):                                             # and it is the best of its neighbours
            near = (z.detach() + 0.1 * torch.randn(4, dtype=torch.float64)).log_softmax(-1)
            assert (near.exp() * (reward - beta * (near - reference.log()))).sum() < goal
    torch.testing.assert_close(reference * (reward / 1e4).exp(), reference, rtol=1e-3, atol=0)
    greedy = reference * (reward / 0.03).exp()
    assert greedy[3] / greedy.sum() > 0.999                             # a loose rein: one answer
    for name in ("rlhf", "dpo"):
        assert printed[name].endswith("True")


def test_preferences_without_noise_have_no_optimum(printed):
    rows = re.findall(r"(\d+) bước: mất mát ([\d.]+), P\(A\) = (\S+)", printed["thu-thach-dpo"])
    losses, p = [float(row[1]) for row in rows], [float(row[2]) for row in rows]
    assert len(rows) == 4 and losses == sorted(losses, reverse=True) and p == sorted(p, reverse=True)
    assert p[-1] < 1e-3 < float(re.search(r"P\(A\) = ([\d.]+)'", printed["thu-thach-dpo"])[1])


def test_six_is_two_and_four():
    for learns, expected in ((True, 4), (False, 2)):
        x, w = torch.zeros(8, 30, requires_grad=True), torch.zeros(30, 50, requires_grad=learns)
        with FlopCounterMode(display=False) as forward:
            y = x @ w
        with FlopCounterMode(display=False) as backward:
            y.sum().backward()
        assert forward.get_total_flops() == 2 * 8 * w.numel()
        assert backward.get_total_flops() == expected * 8 * w.numel()
    says(LESSON, "lượt ngược chỉ còn 2", f"thì thành ${2 + 4 + 2}ND$")


def test_what_6nd_leaves_out():
    assert count(gpt("small")) == N
    matrices, attention = 12 * 12 * 768**2 + 50257 * 768, 12 * 12 * 1024 * 768
    assert training_flops(SMALL, 1, 1024) / 1024 == 6 * matrices + attention
    assert attention / (72 * 12 * 768**2) == pytest.approx(1024 / (6 * 768))
    says(LESSON, f"với GPT-2 nhỏ {1024 / (6 * 768):.1%}", f"chỉ {2048 / (6 * 12288):.1%}")
    blocks = 12 * (12 * 768**2 + 13 * 768)
    says(LESSON, f"khoảng {blocks / 1e6:.0f} triệu thay vì {N / 1e6:.0f} triệu")


def test_the_table_of_6nd(recorded, printed, provenance):
    run, shape = provenance["training"], GPTConfig(**provenance["model"])
    d_vi = provenance["steps"] * run["batch_size"] * shape.n_ctx
    with torch.device("meta"):
        n_vi = count(GPT(shape))
    values = recorded["sau-nd"]["values"]
    assert values["D_vi"] == d_vi
    assert values["lan_doc"] == pytest.approx(d_vi / provenance["tokens"]["training"])
    table = [re.split(r"  +", line.rstrip()) for line in printed["sau-nd"].splitlines()]
    assert table[0][-2:] == ["GPT-2 nhỏ", "vi-tiny"]
    for column, config, n, d in ((-2, SMALL, N, 20 * N), (-1, shape, n_vi, d_vi)):
        exact = training_flops(config, 1, config.n_ctx) / config.n_ctx * d
        cells = [line[column] for line in table[1:]]
        assert cells[:5] == [f"{n:,}", f"{d:,}", f"{6 * n * d:.3e}", f"{exact:.3e}", f"{exact / (6 * n * d):.4f}"]
        ratio, matrices, attention = map(float, cells[-3:])
        assert ratio == pytest.approx(matrices + attention, abs=1.1e-4)
    assert values["thieu_gpt2"] == pytest.approx(training_flops(SMALL, 1, 1024) / 1024 / (6 * N)) and values["thieu_gpt2"] > 1.1


def test_gpt3(printed):
    compute = 6 * 174.6e9 * 300e9
    says(LESSON, rf"$6ND \approx {power_of_ten(compute, 2)}$")
    assert power_of_ten(compute, 2) == r"3.14 \times 10^{23}"           # what the paper states
    days, n = compute / (1000 * 312e12) / 86_400, math.sqrt(compute / 120)
    assert 6 * n * 20 * n == pytest.approx(compute)
    for text in (f"ít nhất {days:.1f} ngày", f"N = {n:.3g}", f"D = {20 * n:.3g}"):
        assert text in printed["thu-thach-gpt3"]


def test_student_with_one_degree_of_freedom():
    t = math.tan(math.pi * 0.475)
    assert 0.5 + math.atan(t) / math.pi == pytest.approx(0.975)         # Student with 1 is Cauchy
    says(LESSON, rf"$\pm {t:.1f}$ lần sai số chuẩn")


def test_three_points(recorded, printed):
    rows = [(int(n.replace(",", "")), [float(a), float(b)]) for n, a, b in
            re.findall(r"N = +([\d,]+)  mất mát ([\d.]+)  ([\d.]+)", printed["ba-mo-hinh"])]
    sizes, losses = zip(*rows)
    for width, n in zip((16, 32, 64), sizes):
        with torch.device("meta"):
            assert count(GPT(GPTConfig(vocab_size=256, n_ctx=64, n_layer=2, n_head=2, n_embd=width))) == n
    assert all(max(b) < min(a) - 0.05 for a, b in zip(losses, losses[1:]))      # wider is better, beyond both seeds
    values = recorded["ba-mo-hinh"]["values"]
    assert values["buoc_nho_nhat"] > 1.5 * values["cach_hat_giong"]

    x = torch.tensor(sizes, dtype=torch.float64).log()
    y = torch.tensor(losses, dtype=torch.float64).mean(1).log()
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    residual = y - y.mean() - slope * (x - x.mean())
    error = (residual.square().sum() / (x - x.mean()).square().sum()).sqrt()    # one degree of freedom
    fit = recorded["khop"]["values"]
    assert fit["alpha"] == pytest.approx(-slope.item(), abs=2e-3)
    assert fit["nua_khoang"] == pytest.approx(12.706 * error.item(), rel=0.05)
    assert fit["nua_khoang"] > 1.5 * fit["alpha"] > 0                   # "chứa cả số 0"
    assert fit["xa_co_E"] > 1.2 * fit["xa_khong_E"]                     # two laws, two places
    assert fit["alpha_khoi"] < 0.95 * fit["alpha"]
    e, a = (float(re.search(pattern, printed["khop"])[1]) for pattern in (r"E = ([\d.]+)", r"E \+ a N\^-α:  α = ([\d.]+)"))
    slopes = (y.exp() - e).log().diff() / x.diff()
    assert slopes.tolist() == pytest.approx([-a, -a], rel=0.1)          # through all three


def test_presets_are_those_of_the_table():
    assert PRESETS["gpt2"] is SMALL and SMALL.n_ctx == 1024
