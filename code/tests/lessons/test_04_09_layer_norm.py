"""The numbers in the lesson on layer normalization."""

import math

import pytest
import torch
from aerogpt.config import PRESETS
from aerogpt.functional import layer_norm
from aerogpt.layers import LayerNorm
from prose import SIZES, SMALL, count, gpt, says
from torch import nn
from torch.nn import functional as F

LAYER_NORM = "04_buildgpt/aero_llm_09_layer_normalization.md"


def norms(model: nn.Module) -> tuple[list[LayerNorm], int]:
    """The norms of a model and the number of their parameters."""
    found = [module for module in model.modules() if isinstance(module, LayerNorm)]
    return found, sum(parameter.numel() for norm in found for parameter in norm.parameters())


def product_norm(s: float, n: int, steps: int, seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    product = torch.randn(n, n, dtype=torch.float64, generator=generator)
    for _ in range(steps):
        product = s * product @ torch.randn(n, n, dtype=torch.float64, generator=generator)
    return product.norm().item()


def theory(s: float, n: int = 30, steps: int = 20) -> float:
    return n * (s * math.sqrt(n)) ** steps


def test_growth_of_the_product():
    says(LAYER_NORM, rf"$1/\sqrt{{30}} \approx {30**-0.5:.3f}$", rf"$0.5\sqrt{{30}} \approx {0.5 * math.sqrt(30):.3f}$")
    powers = [math.floor(math.log10(theory(s))) for s in (1, 0.1)]
    says(LAYER_NORM, "cỡ $10^{{{}}}$ hay cỡ $10^{{{}}}$".format(*powers))
    assert theory(0.5) > 1e10
    assert theory(30**-0.5) == pytest.approx(30)


@pytest.mark.parametrize("s, n, steps", [(1.0, 6, 1), (0.5, 30, 4), (0.1, 30, 4), (30**-0.5, 30, 4)])
def test_mean_square_of_the_product_is_the_formula(s, n, steps):
    squares = torch.tensor([product_norm(s, n, steps, seed) ** 2 for seed in range(400)])
    assert squares.mean().sqrt().item() == pytest.approx(theory(s, n, steps), rel=0.05)


def test_the_threshold_for_numbers_is_one():
    assert theory(1.0, n=1) == 1
    assert product_norm(0.5, 1, 20, 0) < 1e-3


def test_standard_deviation_depends_on_the_divisor():
    torch.manual_seed(1)
    for d in (30, 768):
        ratio = math.sqrt(d / (d - 1))
        says(LAYER_NORM, f"với $d = {d}$ là {ratio:.4f}")
        y = F.layer_norm(torch.randn(50, d, dtype=torch.float64), (d,), eps=0)
        assert y.std(-1).tolist() == pytest.approx([ratio] * 50)
        assert y.mean(-1).abs().max() < 1e-12


def test_scale_and_shift_of_the_output():
    y = layer_norm(torch.randn(4, 30, dtype=torch.float64), torch.full((30,), 3.0), torch.full((30,), 5.0))
    says(LAYER_NORM, rf"mọi $\gamma_i = 3$ và mọi $\beta_i = 5$ thì mỗi vector ra có trung bình {y.mean():.0f} "
                     f"và độ lệch chuẩn {y.std(-1, correction=0).mean():.0f}")


def test_epsilon_of_gpt2():
    mantissa, exponent = f"{SMALL.layer_norm_epsilon:.0e}".split("e")
    assert mantissa == "1"
    says(LAYER_NORM, f"($10^{{{int(exponent)}}}$ ở GPT-2)")


def test_no_component_exceeds_the_root():
    one_hot = F.one_hot(torch.tensor(0), 768).double()
    largest = F.layer_norm(one_hot, (768,), eps=0)[0].item()
    assert largest == pytest.approx(math.sqrt(767))
    says(LAYER_NORM, rf"$\sqrt{{767}} \approx {largest:.1f}$")
    assert F.layer_norm(torch.randn(1000, 5, dtype=torch.float64), (5,), eps=0).abs().max() <= math.sqrt(4)


@pytest.mark.parametrize("eps", [0.0, 1e-5, 0.3])
def test_backward_pass_needs_two_means(eps):
    torch.manual_seed(2)
    x, weight, g = torch.randn(3, 7, dtype=torch.float64).unbind()
    x.requires_grad_()
    (by_torch,) = torch.autograd.grad(layer_norm(x, weight, eps=eps), x, g)
    h, root = weight * g, (x.var(correction=0) + eps).sqrt()
    normalised = (x - x.mean()) / root
    torch.testing.assert_close(by_torch, (h - h.mean() - (h * normalised).mean() * normalised) / root)
    (of_root,) = torch.autograd.grad(root, x)
    torch.testing.assert_close(of_root, normalised.detach() / 7)


def test_share_of_the_embedding_falls_geometrically():
    """Each post-norm divides what came before by sqrt(1 + v) if the new part has variance v and is uncorrelated."""
    torch.manual_seed(3)
    d, v, m = 100_000, 0.5, 6
    start = x = F.layer_norm(torch.randn(d, dtype=torch.float64), (d,))
    for _ in range(m):
        x = F.layer_norm(x + math.sqrt(v) * torch.randn(d, dtype=torch.float64), (d,))
    says(LAYER_NORM, "$(1 + v)^{-m/2}$")
    assert (x @ start).item() / d == pytest.approx((1 + v) ** (-m / 2), abs=0.01)


def test_growth_of_the_number_of_blocks():
    says(LAYER_NORM, rf"$\sqrt{{96/12}} \approx {math.sqrt(96 / 12):.2f}$")


def test_counts():
    model = gpt("small")
    found, parameters = norms(model)
    says(LAYER_NORM, f"GPT-2 nhỏ có {len(found)} tầng LN", f"chiếm {parameters / count(model):.3%} số tham số")
    says(LAYER_NORM, rf"${len(found)} \cdot {2 * SMALL.n_embd} = {parameters:,}$".replace(",", "{,}"))
    says(LAYER_NORM, f"{len(found)} LN, {parameters:,} tham số ở cỡ nhỏ")


@pytest.mark.parametrize("size", SIZES)
def test_formula_of_the_counts(size):
    config = PRESETS[SIZES[size]]
    found, parameters = norms(gpt(size))
    assert len(found) == 2 * config.n_layer + 1
    assert parameters == 2 * config.n_embd * (2 * config.n_layer + 1)


def test_each_norm_of_a_block_feeds_a_linear_layer_with_bias():
    """So that its scale and shift could be merged, while the last norm feeds the tied matrix without a bias."""
    model = gpt("small")
    for block in model.transformer.h:
        assert block.attn.c_attn.bias is not None
        assert block.mlp.c_fc.bias is not None
    assert model.lm_head.bias is None
    assert model.lm_head.weight is model.transformer.wte.weight


def test_torch_names_and_defaults():
    norm = nn.LayerNorm(4)
    assert (norm.weight == 1).all() and (norm.bias == 0).all()
    whole = nn.LayerNorm((3, 4), elementwise_affine=False)(torch.randn(3, 4))
    assert whole.mean().abs() < 1e-6
    assert whole.mean(-1).abs().max() > 1e-3
