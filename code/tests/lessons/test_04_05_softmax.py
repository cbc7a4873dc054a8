"""The numbers in the lesson on softmax and temperature, and the values that are often printed wrong."""

import math

import pytest
import recording
import torch
from aerogpt.config import PRESETS
from aerogpt.functional import cross_entropy, entropy, log_softmax, softmax
from prose import power_of_ten, says, signed
from torch.nn import functional as F

SOFTMAX = "04_buildgpt/aero_llm_05_softmax_temperature_academic_analysis.md"
V = PRESETS["gpt2"].vocab_size


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def by_hand(logits: list[float], temperature: float = 1) -> list[float]:
    """The definition in plain Python, on its own."""
    powers = [math.exp((z - max(logits)) / temperature) for z in logits]
    return [power / sum(powers) for power in powers]


@pytest.fixture(scope="module")
def printed() -> dict[str, str]:
    """What each cell printed or returned as text."""
    return {name: recording.printed(cell) for name, cell in recording.cells(SOFTMAX).items()}


@pytest.mark.parametrize("logits, temperature, known", [
    ([2.0, 3.0, 8.0], 2, (0.0440, 0.0725, 0.8835)),
    ([2.0, 3.0, 8.0], 5, (0.1805, 0.2204, 0.5991)),
    ([2.0, 3.0, 8.0], 10, (0.2546, 0.2814, 0.4640)),
    ([2.0, 1.0, 0.1], 0.5, (0.8638, 0.1169, 0.0193)),
    ([2.0, 1.0, 0.1], 1, (0.6590, 0.2424, 0.0986)),
    ([2.0, 1.0, 0.1], 2, (0.5017, 0.3043, 0.1940)),
])
def test_worked_tables(printed, logits, temperature, known):
    expected = by_hand(logits, temperature)
    assert expected == pytest.approx(known, abs=5e-5)
    assert softmax(numbers(*logits), temperature=temperature).tolist() == pytest.approx(expected)
    table = printed["softmax-bang-nhiet-do"].split(f"z = {logits}")[1].split("z =")[0]
    assert f"T = {temperature:<4} {'  '.join(f'{p:.4f}' for p in expected)}" in table


def test_steps_of_the_first_example():
    first, second, third = (f"{p:.3f}" for p in by_hand([2, 1, 0.1]))
    says(SOFTMAX, f"Ba xác suất là {first}, {second} và {third}")
    says(SOFTMAX, rf"$e \approx {math.e:.3f}$", rf"tức $-\ln {first}$")


def test_range_of_floating_point_numbers():
    largest, half = torch.finfo(torch.float32).max, torch.finfo(torch.float16).max
    says(SOFTMAX, rf"${power_of_ten(largest, 1)}$ (tức $e^{{{math.log(largest):.2f}}}$)")
    says(SOFTMAX, rf"tới {half:.0f} (tức $e^{{{math.log(half):.2f}}}$)", rf"${power_of_ten(math.ulp(0), 1)}$")
    assert torch.tensor(88.72).exp().isfinite() and torch.tensor(88.73).exp().isinf()


def test_large_and_small_logits(printed):
    for z in (torch.tensor([1000.0, 1001, 1002]), torch.tensor([-1002.0, -1001, -1000])):
        assert (z.exp() / z.exp().sum()).isnan().all()
        torch.testing.assert_close(F.softmax(z, dim=-1), softmax(z))
        assert softmax(z).tolist() == pytest.approx(by_hand([0, 1, 2]), abs=1e-6)
    assert printed["softmax-tran-so"].count("[nan, nan, nan]") == 2
    for bad in ([math.nan, 0.0], [math.inf, 0.0], [-math.inf, -math.inf]):
        assert F.softmax(torch.tensor(bad), dim=-1).isnan().all()

    exponent = (-1000 - math.log(math.exp(-1000) + 1 + math.e)) / math.log(10)
    says(SOFTMAX, rf"${10 ** (exponent - math.floor(exponent)):.1f} \times 10^{{{math.floor(exponent)}}}$")
    zero, small, large = by_hand([-1000, 0, 1])
    assert zero == 0 and printed["softmax-tran-so"].count(f"[0.0, {small:.3f}, {large:.3f}]") == 3
    says(SOFTMAX, f"{small:.3f} và {large:.3f}, không vì thế mà đổi")


def test_clamping_changes_the_distribution(printed):
    z = [-5.0, 3.0, 0.0, 10.0, -2.0]
    assert max(by_hand(z)) == pytest.approx(0.99904, abs=5e-6)
    clamped = by_hand([min(max(value, -5), 5) for value in z])
    assert max(clamped) < 0.9 and str(round(max(clamped), 3)) in printed["softmax-kep"]
    assert by_hand([50, 50, 50]) == pytest.approx([1 / 3] * 3)


def test_ratio_at_temperature_two():
    low, high = by_hand([2, 3, 8], 2)[1:]
    says(SOFTMAX, rf"gấp $e^{{2.5}} \approx {math.exp(2.5):.1f}$ lần xác suất của 3: {high:.4f} so với {low:.4f}")
    assert high / low == pytest.approx(math.exp(2.5))


def test_limits_of_temperature():
    z = numbers(2, 8, 8)
    torch.testing.assert_close(softmax(z, temperature=1e-3), numbers(0, 0.5, 0.5))
    torch.testing.assert_close(softmax(z, temperature=1e9), numbers(1 / 3, 1 / 3, 1 / 3))
    says(SOFTMAX, rf"$\ln 2 / \ln 3 \approx {math.log(2) / math.log(3):.3f}$")
    with pytest.raises(ValueError):
        softmax(z, temperature=0)
    for temperature in (0.1, 1, 100):
        assert (softmax(numbers(2, 1, 0.1), temperature=temperature).diff() < 0).all()


def test_temperature_ten_over_a_range_of_nineteen(printed):
    z = torch.arange(-9, 11, dtype=torch.float64)
    p = softmax(z, temperature=10)
    assert p.max() / p.min() == pytest.approx(math.exp(1.9))
    says(SOFTMAX, f"tức $R = {z.max() - z.min():.0f}$", "gần bảy lần", "Gần 200")
    assert round((p.max() / p.min()).item()) == 7
    needed = 19 / math.log(1.1)
    assert printed["softmax-thu-thach-deu"].startswith(f"({needed:.1f}") and 190 < needed < 200


def test_entropy_grows_with_temperature_by_variance_over_its_cube():
    for z in (numbers(2, 3, 8), numbers(1, 7, 8), numbers(2, 1, 0.1)):
        for value in (0.7, 2.0, 10.0):
            T = torch.tensor(value, dtype=torch.float64, requires_grad=True)
            p = F.softmax(z / T, dim=-1)
            (slope,) = torch.autograd.grad(entropy(p), T)
            variance = (p * (z - (p * z).sum()) ** 2).sum()
            torch.testing.assert_close(slope, variance / T**3)
            assert slope > 0
    assert entropy(softmax(numbers(1, 1, 1))).item() == pytest.approx(math.log(3))


def test_middle_logit_rises_until_the_mean_falls_below_it():
    z = numbers(1, 7, 8)
    says(SOFTMAX, rf"$16/3 \approx {z.mean():.2f}$")
    grid = torch.logspace(-1, 3, 401, dtype=torch.float64)
    p = torch.stack([softmax(z, temperature=T) for T in grid.tolist()])
    peak = p[:, 1].argmax()
    assert 0 < peak < 400 and (p[peak] * z).sum().item() == pytest.approx(7, abs=0.02)


def test_log_softmax(printed):
    z = numbers(100, 101, 102)
    first, second, third = (signed(value) for value in log_softmax(z).tolist())
    says(SOFTMAX, f"là {first}, {second} và {third}.")
    assert (first, second, third) == ("−2.408", "−1.408", "−0.408")
    total = math.exp(-2) + math.exp(-1) + 1
    says(SOFTMAX, rf"\approx {total:.3f}$, không phải 1", rf"$\ln {total:.3f} \approx {math.log(total):.3f}$")
    lse = torch.logsumexp(z, dim=-1).item()
    assert f"LSE: {lse:.3f}" in printed["softmax-log"] and z.max() <= lse <= z.max() + math.log(3)
    assert softmax(torch.tensor([0.0, 200.0])).log()[0] == -math.inf
    assert log_softmax(torch.tensor([0.0, 200.0]))[0] == -200


def test_dim():
    batch = numbers(1, 2, 3).repeat(2, 1)                        # (3,) -> (2, 3)
    assert (F.softmax(batch, dim=0) == 0.5).all()
    assert not (F.softmax(batch, dim=-1) == 0.5).any()
    says(SOFTMAX, f"tổng mỗi hàng là {F.softmax(batch, dim=0).sum(-1)[0]:.1f}")
    cube = torch.arange(24.0).reshape(2, 3, 4)                   # (24,) -> (B, T, V)
    with pytest.warns(UserWarning, match="dim"):
        assert torch.equal(F.softmax(cube), F.softmax(cube, dim=0))


def test_cross_entropy():
    uniform = cross_entropy(torch.zeros(1, V), torch.tensor([5])).item()
    says(SOFTMAX, rf"$\ln {V} \approx {uniform:.3f}$")
    perfect = F.one_hot(torch.tensor([5]), V).double()
    twice = F.cross_entropy(perfect, torch.tensor([5])).item()
    assert twice == pytest.approx(math.log(math.e + V - 1) - 1)
    says(SOFTMAX, rf"$\ln(e + {V - 1}) - 1 \approx {twice:.3f}$")

    z = numbers(2, 1, 0.1).requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(z, torch.tensor(0)), z)
    torch.testing.assert_close(gradient, softmax(z).detach() - numbers(1, 0, 0))
    assert gradient.sum().abs() < 1e-12


def test_derivatives_are_those_of_autograd():
    z, T = numbers(1, 7, 8), numbers(2)[0]
    by_z, by_T = torch.autograd.functional.jacobian(lambda z, T: F.softmax(z / T, dim=-1), (z, T))
    p = softmax(z, temperature=2)
    torch.testing.assert_close(by_z, (torch.diag(p) - torch.outer(p, p)) / T)
    torch.testing.assert_close(by_T, -p * (z - (p * z).sum()) / T**2)
    nearly_one_hot = softmax(numbers(0, 0, 50))
    assert (torch.diag(nearly_one_hot) - torch.outer(nearly_one_hot, nearly_one_hot)).abs().max() < 1e-12
    wrong = numbers(0, 0, 50).requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(wrong, torch.tensor(0)), wrong)
    assert gradient.abs().max() > 0.99


def test_softmax_maximises_score_plus_temperature_times_entropy():
    z, T = numbers(1, 7, 8), 2.0
    p = torch.distributions.Dirichlet(torch.ones(3, dtype=torch.float64)).sample((1000,))
    best = softmax(z, temperature=T)
    assert ((p @ z + T * entropy(p)) <= best @ z + T * entropy(best)).all()


@pytest.mark.parametrize("alpha, cell", [(1.001, "softmax"), (2, "sparsemax")])
def test_entmax_is_softmax_at_one_and_sparsemax_at_two(printed, alpha, cell):
    """Compared with a search over the simplex that knows nothing of either formula."""
    z = numbers(1, 0.8, 0.1)
    step = 200
    p = torch.tensor([(i, j, step - i - j) for i in range(step + 1) for j in range(step + 1 - i)]).double() / step
    value = p @ z + (p - p**alpha).sum(-1) / (alpha * (alpha - 1))
    best = p[value.argmax()]
    expected = {"softmax": softmax(z), "sparsemax": numbers(0.6, 0.4, 0)}[cell]
    torch.testing.assert_close(best, expected, atol=1 / step, rtol=0)
    assert (best == 0).any() == (cell == "sparsemax")
    rows = printed["softmax-sparsemax"].splitlines()
    row = next(row for row in rows if row.startswith(f"{cell}:")).split("[")[1].split("]")[0]
    assert f"α = {alpha}: [{row}]" in printed["softmax-thu-thach-entmax"]
    assert printed["softmax-thu-thach-entmax"].endswith("(True, True)")


def test_largest_entry_of_gumbel_softmax_follows_softmax():
    z = numbers(2, 1, 0.1)
    uniform = torch.rand(200_000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    noisy = z - (-uniform.log()).log()
    share = torch.bincount(softmax(noisy, temperature=0.3).argmax(-1), minlength=3) / len(noisy)
    torch.testing.assert_close(share.double(), softmax(z), atol=5e-3, rtol=0)
    sharpness = [softmax(noisy, temperature=tau).amax(-1).mean() for tau in (1.0, 0.3, 0.05)]
    assert sharpness == sorted(sharpness)
