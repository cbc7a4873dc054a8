"""The numbers in the lesson on GELU and ReLU."""

import math

import pytest
import torch
from aerogpt.functional import gelu, gelu_derivative, gelu_tanh, normal_cdf, relu
from prose import power_of_ten, says, signed
from torch.nn import functional as F

GELU = "04_buildgpt/aero_llm_04_gelu_vs_relu_academic_analysis.md"


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.linspace(-6, 6, 120_001, dtype=torch.float64)


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
