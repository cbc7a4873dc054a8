"""The numbers in the lesson on Model 2."""

import math

import pytest
import recording
import torch
from aerogpt.config import PRESETS
from aerogpt.functional import cross_entropy, gelu, normal_cdf
from aerogpt.layers import Embedding
from aerogpt.models import Model1, Model2
from prose import SMALL, count, gpt, says

MODEL2 = "04_buildgpt/aero_llm_010_posion_embedding.md"
V, D = 5000, 256


@pytest.fixture(scope="module")
def values() -> dict[str, dict[str, float]]:
    return {name: cell["values"] for name, cell in recording.cells(MODEL2).items()}


def normal_mean(function) -> float:
    """The mean of a function of a standard normal number."""
    x = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    return torch.trapezoid(function(x) * torch.exp(-x * x / 2) / math.sqrt(2 * math.pi), x).item()


def test_parameters_of_model_2():
    vocabulary, context, width = SMALL.vocab_size, SMALL.n_ctx, SMALL.n_embd
    parts = vocabulary * width, context * width, 2 * width
    with torch.device("meta"):
        model = Model2(vocabulary, context, width)
    assert count(model) == sum(parts)
    assert [count(model.wte), count(model.wpe), count(model.ln_f)] == list(parts)
    says(MODEL2, f"($V = {vocabulary}$, $T_{{\\max}} = {context}$, $d = {width}$) đó là "
         + " + ".join(f"{part:,}" for part in parts) + f" = {sum(parts):,}")


def test_what_tying_saves():
    saved = {}
    for size in ("small", "XL"):
        model = gpt(size)
        matrix = model.transformer.wte.weight.numel()
        saved[size] = f"{matrix / (count(model) + matrix):.1%}"
    says(MODEL2, f"Con số đúng là {saved['small']} với GPT-2 nhỏ và chỉ {saved['XL']} với XL",
         f"giảm {saved['small']} tham số ở GPT-2 nhỏ, {saved['XL']} ở XL")
    model1, model2 = Model1(V, D), Model2(V, 64, D)
    assert 0.45 < model2.wte.weight.numel() / (count(model2) + model2.wte.weight.numel()) < 0.5 < count(model1)


def test_initial_vectors_are_small():
    says(MODEL2, rf"$0.02\sqrt{{2}} \approx {0.02 * math.sqrt(2):.3f}$", f"phương sai {2 * 0.02**2:.4f}")


def test_means_of_gelu():
    square = normal_mean(lambda x: gelu(x) ** 2)
    says(MODEL2, rf"\operatorname{{E}}[\mathrm{{GELU}}(X)^2] \approx {square:.3f}", rf"s = \sigma \sqrt{{{square:.3f}\, d}}")
    assert normal_mean(lambda x: x * gelu(x)) == pytest.approx(normal_mean(lambda x: x * x * normal_cdf(x)), abs=1e-12)
    assert normal_mean(lambda x: x * gelu(x)) == pytest.approx(1 / 2, abs=1e-9)


def own_and_width(std: float) -> tuple[float, float]:
    """What the lesson predicts: the logit of the token just read, and the width of the others."""
    return std * D / (2 * math.sqrt(2)), std * math.sqrt(normal_mean(lambda x: gelu(x) ** 2) * D)


def test_predicted_logits():
    (own, width), (small_own, small_width) = own_and_width(1.0), own_and_width(0.02)
    says(MODEL2, f"ta được {own:.1f}, trong khi các logit khác chỉ rộng $s \\approx {width:.1f}$", f"mất mát vì thế cỡ {round(own, -1):.0f}",
         f"hai số ấy là {small_own:.2f} và {small_width:.2f}", rf"$\sigma d / 2 = {D // 2}$", f"$d = {D}$, đó là {math.isqrt(D)}")


@pytest.mark.parametrize("std", [1.0, 0.02])
def test_predictions_agree_with_model_2(std):
    torch.manual_seed(11)
    model = Model2(V, 8, D, std=std).requires_grad_(False)
    idx, targets = torch.randint(V, (2, 128, 8))
    logits = model(idx)
    own, width = own_and_width(std)
    assert logits.gather(-1, idx[..., None]).mean().item() == pytest.approx(own, rel=0.04)
    others = torch.full_like(logits, True, dtype=torch.bool).scatter(-1, idx[..., None], False)
    assert logits[others].std().item() == pytest.approx(width, rel=0.04)
    expected = own if std == 1.0 else math.log(V) + width**2 / 2
    assert cross_entropy(logits, targets).item() == pytest.approx(expected, rel=0.04 if std == 1.0 else 0.004)


def test_mean_loss_over_all_targets_is_ln_v_plus_a_divergence():
    log_p = torch.randn(50, dtype=torch.float64).mul(3).log_softmax(-1)
    divergence = (-log_p - math.log(50)).mean()
    by_definition = (torch.full((50,), 1 / 50, dtype=torch.float64) * (math.log(1 / 50) - log_p)).sum()
    assert divergence.item() == pytest.approx(by_definition.item())
    assert divergence > 0


def test_initial_loss_as_recorded(values):
    measured = values["mo-hinh-2-mat-mat-dau"]
    says(MODEL2, rf"Với $\ln V = {math.log(V):.3f}$")
    assert measured["nho"] == pytest.approx(math.log(V), abs=0.05) and measured["H_nho"] == pytest.approx(math.log(V), abs=0.05)
    assert measured["nho"] < measured["chia"] < math.log(V) + 0.5 < measured["doc_lap"] < measured["mot"]
    assert measured["p_mot"] > 0.99


def test_scale_instead_of_initialisation():
    says(MODEL2, rf"$\sqrt{{{D}}} = {math.isqrt(D)}$", rf"$1/\sqrt{{d}} = {1600 ** -0.5:.3f}$", "$d = 1600$ của XL")
    assert PRESETS["gpt2-xl"].n_embd == 1600


def test_gradient_of_a_learned_scale():
    z, target = torch.randn(7, dtype=torch.float64), torch.tensor(3)
    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    cross_entropy(scale * z, target).backward()
    p, y = (scale.detach() * z).softmax(-1), torch.eye(7, dtype=torch.float64)[3]
    torch.testing.assert_close(scale.grad, ((p - y) * z).sum())


def test_training_as_recorded(values):
    """What the lesson concludes from its runs; another text may not bear it out."""
    loss = values["mo-hinh-2-huan-luyen"]
    assert loss["m2"] > loss["m1"] + 0.05
    assert loss["m2_rieng"] < loss["m1"] + 0.01
    assert loss["m2_rong"] > loss["m2_rieng"] + 0.05
    assert loss["m2_khong"] < loss["m2"]
    assert max(loss["m1"], loss["m2_rieng"]) < min(loss["m2"], loss["m2_rong"], loss["m2_khong"], loss["m2_mot"])
    assert loss["m2_mot"] > loss["m2"] + 0.05


def test_a_table_without_the_check_raises_index_error():
    with pytest.raises(IndexError):
        Embedding(32, 4)(torch.arange(33))
    with pytest.raises(ValueError, match="33 tokens"):
        Model2(10, 32, 4)(torch.zeros(1, 33, dtype=torch.int64))


def test_cost():
    says(MODEL2, f"số 32 bit là {8 * 1024 * SMALL.vocab_size * 4 / 1e9:.2f} GB", rf"$8 \cdot 1024 \cdot {SMALL.vocab_size}$")
    block = gpt("small").transformer.h[0]
    weights = sum(p.numel() for p in block.parameters() if p.ndim == 2)
    assert weights == 12 * SMALL.n_embd**2
    says(MODEL2, f"lớn gấp {weights / (2 * 1024 * SMALL.n_embd):.1f} lần phần được kể")


def test_first_challenge():
    says(MODEL2, rf"$\frac{{1}}{{2}}\ln 2 \approx {math.log(2) / 2:.3f}$")
