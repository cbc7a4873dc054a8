"""Every number that the prose of the lessons states is computed here, and must stand in the lesson as computed."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from aerogpt.attention import MultiHeadAttention
from aerogpt.config import PRESETS, GPTConfig
from aerogpt.functional import gelu, gelu_derivative, gelu_tanh, normal_cdf, relu, softmax
from aerogpt.layers import Embedding, Linear
from aerogpt.model import GPT
from aerogpt.tokenizer import gpt2_encoding

DOCS = Path(__file__).parents[2] / "docs"
ARCHITECTURE = "04_buildgpt/kien_truc_mo_hinh_ngon_ngu_lon.md"
EMBEDDING = "04_buildgpt/aero_llm_03_embedding_linear.md"
GELU = "04_buildgpt/aero_llm_04_gelu_vs_relu_academic_analysis.md"
MULTI_HEAD = "04_buildgpt/aero_llm_019_multihead_attention_theory_and_implementation.md"
PYTHON = "20_python_colab_notebooks/index.md"

SMALL = PRESETS["gpt2"]
SIZES = {"small": "gpt2", "medium": "gpt2-medium", "large": "gpt2-large", "XL": "gpt2-xl"}


def says(lesson: str, *claims: str) -> None:
    """Each claim stands in the lesson, line breaks aside."""
    text = " ".join((DOCS / lesson).read_text(encoding="utf-8").split())
    for claim in claims:
        assert claim in text, f"{lesson} does not say {claim!r}"


def power_of_ten(value: float, digits: int) -> str:
    """The value as the lessons write it in LaTeX."""
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return rf"{mantissa} \times 10^{{{int(exponent)}}}"


def signed(value: float) -> str:
    """Three decimals with the minus sign of running text."""
    return f"{value:.3f}".replace("-", "−")


def gpt(size: str) -> GPT:
    with torch.device("meta"):
        return GPT(PRESETS[SIZES[size]])


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.linspace(-6, 6, 120_001, dtype=torch.float64)


# Parameters


@pytest.mark.parametrize("size", SIZES)
def test_tying_saves_the_share_in_the_table(size):
    model = gpt(size)
    tied = count(model)
    untied = tied + model.lm_head.weight.numel()
    width = model.config.n_embd
    says(EMBEDDING, f"| {size} | {width} | {untied:,} | {tied:,} | {1 - tied / untied:.1%} |")
    says(ARCHITECTURE, f"{tied:,}")
    d, layers = width, model.config.n_layer
    assert tied == 50257 * d + 1024 * d + layers * (12 * d * d + 13 * d) + 2 * d
    assert count(model.transformer.h[0]) == 12 * d * d + 13 * d
    assert count(model.transformer.h[0].attn) == 4 * d * d + 4 * d
    assert count(model.transformer.h[0].mlp) == 8 * d * d + 5 * d


def test_tying_in_millions():
    tied = count(gpt("small"))
    untied = tied + SMALL.vocab_size * SMALL.n_embd
    says(EMBEDDING, f"từ {untied / 1e6:.1f} triệu xuống {tied / 1e6:.1f} triệu", f"{1 - tied / untied:.1%} ở GPT-2 nhỏ")
    says(ARCHITECTURE, f"GPT-2 nhỏ có {untied // 10**6} triệu tham số")


def test_share_of_the_token_table():
    small, xl = (model.lm_head.weight.numel() / count(model) for model in (gpt("small"), gpt("XL")))
    says(ARCHITECTURE, f"Bảng token giảm từ {small:.1%} ở cỡ nhỏ xuống {xl:.1%} ở XL")


def test_lora_and_gpt3():
    added = SMALL.n_layer * 8 * sum(MultiHeadAttention(SMALL).c_attn.weight.shape)
    says(ARCHITECTURE, f"= {added:,}".replace(",", "{,}") + "$ tham số", f"khoảng {added / count(gpt('small')):.2%} mô hình")
    says(ARCHITECTURE, rf"$12 L d^2 \approx {power_of_ten(12 * 96 * 12288**2, 2)}$")


def test_attention_parameters():
    one = count(MultiHeadAttention(SMALL))
    says(MULTI_HEAD, f"= {one:,}$".replace(",", "{,}"), f"Mười hai tầng cộng lại là {12 * one:,}")
    says(MULTI_HEAD, f"tức {12 * one / count(gpt('small')):.1%} mô hình")


def test_every_gpt2_has_heads_of_64():
    for name in SIZES.values():
        assert PRESETS[name].head_size == 64
        says(MULTI_HEAD, f"{PRESETS[name].n_embd}/{PRESETS[name].n_head}")


def test_the_number_of_heads_changes_no_parameter():
    counts = {count(MultiHeadAttention(GPTConfig(10, 8, 1, heads, 128))) for heads in (1, 2, 4, 8, 16, 32)}
    assert counts == {4 * 128**2 + 4 * 128}


# Embedding and Linear


def test_size_of_the_token_table():
    cells = SMALL.vocab_size * SMALL.n_embd
    says(EMBEDDING, f"{cells:,} phép nhân", f"{4 * cells / 1e6:.1f} MB ({4 * cells / 2**20:.1f} MiB")
    assert 8 * 1024 / SMALL.vocab_size < 0.164
    says(EMBEDDING, "nhiều nhất 8192 hàng, tức dưới 16.4% của 50,257 hàng")


def test_default_initialisation_is_torch_s_and_the_formula():
    bound, std = 1 / math.sqrt(70), 1 / math.sqrt(210)
    says(EMBEDDING, rf"$1/\sqrt{{70}} \approx {bound:.4f}$", rf"$1/\sqrt{{210}} \approx {std:.3f}$")
    for linear in (nn.Linear(70, 5000), Linear(70, 5000)):
        assert 0.999 * bound < linear.weight.abs().max() <= bound
        assert linear.weight.std().item() == pytest.approx(std, rel=0.01)
        assert linear.bias.abs().max() <= bound
    for embedding in (nn.Embedding(5000, 70), Embedding(5000, 70)):
        assert embedding.weight.std().item() == pytest.approx(1, rel=0.01)


def test_growth_of_a_signal():
    says(EMBEDDING, rf"$\sqrt{{768}} \approx {math.sqrt(768):.1f}$", rf"$1/\sqrt{{3}} \approx {1 / math.sqrt(3):.3f}$")
    says(EMBEDDING, rf"$0.02\sqrt{{768}} \approx {0.02 * math.sqrt(768):.3f}$")
    says(EMBEDDING, rf"$768^4 \approx {power_of_ten(math.sqrt(768) ** 8, 1)}$")


@pytest.mark.parametrize(
    "layer, argument, error",
    [
        (nn.Linear(14, 3), 14, TypeError),
        (nn.Embedding(20, 3), 14, TypeError),
        (nn.Embedding(20, 3), torch.tensor([1.0]), RuntimeError),
        (nn.Linear(14, 3), torch.arange(14), RuntimeError),
        (nn.Embedding(20, 3), torch.tensor([20]), IndexError),
    ],
)
def test_errors_in_the_table(layer, argument, error):
    with pytest.raises(error) as raised:
        layer(argument)
    assert raised.type is error


def test_gradient_of_an_embedding_is_dense_unless_sparse():
    for sparse, layout in ((False, torch.strided), (True, torch.sparse_coo)):
        table = nn.Embedding(6, 2, sparse=sparse)
        table(torch.tensor([4, 1, 4])).sum().backward()
        gradient = table.weight.grad
        assert gradient.layout is layout
        assert gradient.to_dense()[:, 0].tolist() == [0, 1, 0, 0, 2, 0]


# GELU


def test_minimum_of_gelu(x):
    lowest, where = gelu(x).min().item(), x[gelu(x).argmin()].item()
    says(GELU, f"không bao giờ nhỏ hơn {signed(lowest)}", rf"$x \approx {where:.3f}$, nơi GELU đạt cực tiểu xấp xỉ {signed(lowest)}")
    assert (gelu_derivative(x[x < where - 1e-3]) < 0).all()


@pytest.mark.parametrize("at, digits", [(-0.5, 0), (-1.0, 0), (-2.0, 1), (-3.0, 2)])
def test_what_leaks_through(at, digits):
    value = torch.tensor(at, dtype=torch.float64)
    percent = f"{100 * normal_cdf(value).item():.{digits}f}%"
    says(GELU, f"| {at:g} | {percent} | {signed(gelu(value).item())} |".replace("| -", "| −"))


def test_derivative_of_gelu(x):
    slopes = gelu_derivative(x)
    says(GELU, f"với giá trị khoảng {slopes.max():.3f} và {signed(slopes.min().item())}")
    says(GELU, f"từ {signed(slopes.min().item())} đến {slopes.max():.3f}")
    assert abs(x[slopes.argmax()]) == pytest.approx(math.sqrt(2), abs=1e-4)
    assert x[slopes.argmin()] == pytest.approx(-math.sqrt(2), abs=1e-4)
    assert gelu_derivative(torch.zeros(())) == 0.5
    far = abs(gelu_derivative(torch.tensor(-5.0, dtype=torch.float64)).item())
    says(GELU, rf"$x = -5$ độ lớn chỉ còn khoảng ${power_of_ten(far, 0)}$")


def test_tanh_form(x):
    difference = (gelu(x) - gelu_tanh(x)).abs()
    says(GELU, rf"${power_of_ten(difference.max().item(), 1)}$, ở quanh $x = \pm {x[difference.argmax()].abs():.1f}$")
    torch.testing.assert_close(gelu(x), F.gelu(x))
    torch.testing.assert_close(gelu_tanh(x), F.gelu(x, approximate="tanh"))


def test_mean_outputs_under_a_standard_normal():
    x = torch.linspace(-10, 10, 200_001, dtype=torch.float64)
    density = torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    for function, formula, latex in (
        (relu, 1 / math.sqrt(2 * math.pi), r"$1/\sqrt{2\pi}"),
        (gelu, 1 / (2 * math.sqrt(math.pi)), r"$1/(2\sqrt{\pi})"),
    ):
        assert torch.trapezoid(function(x) * density, x).item() == pytest.approx(formula, abs=1e-8)
        says(GELU, rf"{latex} \approx {formula:.3f}$")


def test_multiplications_for_each_activation():
    products = 2 * 768 * 3072
    says(GELU, f"= {products:,}$".replace(",", "{,}"), f"tức {products // 3072} phép nhân cho mỗi lần")


# Softmax, tokens, shapes


def test_softmax_example():
    says(ARCHITECTURE, "$[" + r",\ ".join(f"{p:.4f}" for p in softmax(torch.tensor([1.0, 2.0, 5.0])).tolist()) + "]$")


def test_tokens():
    encoding = gpt2_encoding()
    assert encoding.n_vocab == SMALL.vocab_size == 50257
    ids = encoding.encode("strawberry")
    pieces = [encoding.decode([token]) for token in ids]
    says(ARCHITECTURE, ", ".join(f"`{piece}`" for piece in pieces), "**số** " + ", ".join(map(str, ids)))
    assert "".join(pieces).count("r") == 3 and pieces[2].count("r") == 2
    assert len(encoding.encode(" strawberry")) == 1


def test_cells_of_a_trigram_table():
    says(ARCHITECTURE, rf"$50257^3 \approx {power_of_ten(50257**3, 2)}$")


def test_broadcasting_riddle():
    says(PYTHON, f"`{tuple((torch.zeros(4, 1, 3) + torch.zeros(5, 1)).shape)}`")
