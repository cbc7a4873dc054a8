"""The numbers in the lesson on softmax: applied to itself, with an outlier, and twice before the cross-entropy."""

import math

import pytest
import torch
from aerogpt.functional import cross_entropy, entropy, log_softmax, softmax
from prose import gpt, power_of_ten, says
from torch.nn import functional as F

SOFTMAX = "04_buildgpt/aero_llm_08_ham_softbank.md"
OUTLIER, RIVALS, VOCABULARY = 6.0, 100, 50_257


def uniform_logits(draws: int, half_range: float, rivals: int = RIVALS, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return half_range * (2 * torch.rand(draws, rivals, generator=generator, dtype=torch.float64) - 1)


def outlier_probability(rivals: torch.Tensor, temperature: float) -> torch.Tensor:
    logits = torch.cat([torch.full_like(rivals[:, :1], OUTLIER), rivals], dim=1)
    return softmax(logits, temperature=temperature)[:, 0]


def closed_form(half_range: float, temperature: float, rivals: int = RIVALS) -> float:
    ratio = half_range / temperature
    return 1 / (1 + rivals * math.exp(-OUTLIER / temperature) * math.sinh(ratio) / ratio)


def repeated(x: torch.Tensor, passes: int) -> list[float]:
    spreads = [x.std().item()]
    for _ in range(passes):
        x = softmax(x)
        spreads.append(x.std().item())
    return spreads


# Softmax repeated


@pytest.mark.parametrize("seed", range(5))
def test_each_pass_divides_the_spread_by_n(seed):
    generator = torch.Generator().manual_seed(seed)
    spreads = repeated(torch.randn(20, generator=generator, dtype=torch.float64), 8)
    assert [later / earlier for earlier, later in zip(spreads[3:], spreads[4:])] == pytest.approx([1 / 20] * 5, rel=1e-3)
    says(SOFTMAX, f"Mọi số chạy về $1/20 = {1 / 20}$", "sát $1/20$. Ta chứng minh")


def test_softmax_halves_distances_everywhere():
    torch.manual_seed(0)
    for scale in (0.1, 1.0, 10.0, 100.0):
        x = scale * torch.randn(2000, 20, dtype=torch.float64)
        uniform = torch.full_like(x, 1 / 20)
        assert ((softmax(x) - uniform).norm(dim=1) <= 0.5 * (x - uniform).norm(dim=1)).all()
        p = softmax(x)
        jacobians = torch.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)
        assert torch.linalg.eigvalsh(jacobians).max() <= 0.5 + 1e-12
    says(SOFTMAX, r"$[0, \frac{1}{2}]$")


def test_jacobian_at_the_uniform_point():
    uniform = torch.full((20,), 1 / 20, dtype=torch.float64)
    expected = (torch.eye(20, dtype=torch.float64) - 1 / 20) / 20
    torch.testing.assert_close(torch.autograd.functional.jacobian(softmax, uniform), expected)
    torch.testing.assert_close(softmax(uniform), uniform)


def test_spacing_of_float32():
    below = torch.nextafter(torch.tensor(0.05), torch.tensor(0.0))
    spacing = (torch.tensor(0.05).double() - below.double()).item()
    assert spacing == 2**-28
    says(SOFTMAX, rf"$2^{{-28}} \approx {power_of_ten(spacing, 1)}$")
    torch.manual_seed(0)
    assert repeated(torch.randn(20, dtype=torch.float64), 7)[7] < spacing


# An outlier among one hundred logits


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("half_range", [0.4, 1.0, 5.0])
def test_closed_form_against_other_draws(half_range, temperature):
    p = outlier_probability(uniform_logits(5000, half_range), temperature)
    formula = closed_form(half_range, temperature)
    error = 4 * (p.std() / math.sqrt(len(p))).item()
    assert p.mean().item() >= formula - error  # Jensen
    assert p.mean().item() == pytest.approx(formula, abs=0.012)
    assert (softmax(uniform_logits(1, half_range) * 0, temperature=temperature) == 1 / RIVALS).all()


def test_mean_of_the_exponential():
    z = torch.linspace(-5, 5, 1_000_001, dtype=torch.float64)
    for temperature in (0.5, 1.0, 3.0):
        mean = torch.trapezoid((z / temperature).exp(), z).item() / 10
        assert mean == pytest.approx(math.sinh(5 / temperature) / (5 / temperature), rel=1e-8)


@pytest.mark.parametrize("half_range, claim", [(0.4, r"ranh giới nằm ở $T \approx {:.2f}$"), (5.0, r"xuống $T \approx {:.2f}$")])
def test_where_the_outlier_loses_the_majority(half_range, claim):
    low, high = 0.1, 6.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if closed_form(half_range, middle) > 0.5 else (low, middle)
    says(SOFTMAX, claim.format(low))


def test_the_outlier_is_the_largest_but_does_not_dominate():
    p = outlier_probability(uniform_logits(1000, 0.4), 3.0)
    assert (1 - p > 0.9).all()
    assert (outlier_probability(uniform_logits(1000, 0.4), 1.0) > 0.5).all()
    says(SOFTMAX, "chiếm hơn chín phần mười", "đúng ở $T = 1$ và sai ở $T = 3$")
    says(SOFTMAX, f"Với {VOCABULARY - 1:,} đối thủ")


def test_softmax_needs_no_range():
    torch.testing.assert_close(softmax(torch.tensor([1000.0, 1001.0])), softmax(torch.tensor([0.0, 1.0])), rtol=0, atol=0)
    model = gpt("small")
    assert not any("BatchNorm" in type(module).__name__ for module in model.modules())
    assert not any("weight_g" in name or "parametrizations" in name for name, _ in model.named_parameters())


# Softmax twice


def twice(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return cross_entropy(softmax(logits), targets)


def test_floor_and_ceiling_of_the_loss():
    for classes in (20, VOCABULARY):
        floor = math.log(math.e + classes - 1) - 1
        says(SOFTMAX, f"Với $V = {classes}$, sàn là {floor:.3f}")
        best = torch.full((1, classes), -1000.0, dtype=torch.float64)
        best[0, 3] = 0
        assert twice(best, torch.tensor([3])).item() == pytest.approx(floor)
        assert twice(best, torch.tensor([4])).item() == pytest.approx(floor + 1)
        logits = 10 * torch.randn(50, classes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        losses = F.cross_entropy(softmax(logits), torch.arange(50) % classes, reduction="none")
        assert (losses >= floor).all() and (losses <= floor + 1).all()
    says(SOFTMAX, rf"$\ln V \approx {math.log(VOCABULARY):.3f}$", rf"softmax hai lần dừng ở sàn {math.log(math.e + 19) - 1:.3f}")


def test_largest_probability_after_two_softmaxes():
    largest = math.e / (math.e + VOCABULARY - 1)
    written = 5.41e-5
    assert written - 1e-7 < largest <= written
    says(SOFTMAX, rf"không token nào có $q$ quá ${power_of_ten(written, 2)}$")


@pytest.mark.parametrize("classes", [5, 20, 1000])
def test_gradient_of_two_softmaxes(classes):
    logits = torch.randn(1, classes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = torch.tensor([3])
    for z in (logits, torch.zeros_like(logits)):
        once, double = (torch.autograd.grad(loss(leaf := z.clone().requires_grad_(), target), leaf)[0]
                        for loss in (cross_entropy, twice))
        p = softmax(z)[0]
        error = softmax(p) - F.one_hot(target[0], classes)
        torch.testing.assert_close(double[0], (torch.diag(p) - torch.outer(p, p)) @ error)
    torch.testing.assert_close(double, once / classes)  # equal logits, the last of the loop
    torch.testing.assert_close(cross_entropy(z, target), twice(z, target))
    says(SOFTMAX, "gradient đúng bằng $1/V$ của gradient bình thường")


def test_log_softmax_is_idempotent():
    z = torch.randn(4, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(log_softmax(log_softmax(z)), log_softmax(z))
    assert not torch.allclose(softmax(softmax(z)), softmax(z))


# Which of the two failures


def test_entropy_tells_saturation_from_collapse():
    z = torch.randn(100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    saturated, collapsed = softmax(100 * z), softmax(0.01 * z)
    assert entropy(saturated) < 0.1 and saturated.max() > 0.95
    assert entropy(collapsed) > 0.99 * math.log(100) and collapsed.max() < 0.02
    assert entropy(softmax(saturated)) > 0.99 * math.log(100)


# The solutions


@pytest.mark.parametrize("temperature, factor", [(0.1, "0.5"), (0.04, "1.25")])
def test_temperature_at_which_the_uniform_point_repels(temperature, factor):
    slope = torch.linalg.eigvalsh(
        torch.autograd.functional.jacobian(
            lambda x: softmax(x, temperature=temperature), torch.full((20,), 0.05, dtype=torch.float64)
        )
    ).max()
    assert float(factor) == pytest.approx(slope.item())
    says(SOFTMAX, f"ở $T = {temperature}$ hệ số là {factor}", f"Với $n = 20$ ranh giới là {1 / 20}")
