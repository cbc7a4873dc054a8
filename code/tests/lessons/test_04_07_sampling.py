"""The numbers in the lesson on sampling tokens."""

import math

import pytest
import torch
from aerogpt.sampling import apply_temperature, greedy, min_p, top_k, top_p
from prose import SMALL, says

SAMPLING = "04_buildgpt/aero_llm_07_token_sampling_methods.md"
COFFEE = [0.34, 0.285, 0.2, 0.1, 0.05, 0.025]
PEAKED = [0.96, 0.02, 0.01, 0.005, 0.003, 0.002]
FLAT = [0.1, 0.095, 0.09, 0.088, 0.085, 0.083, 0.081, 0.08, 0.078, 0.076, 0.074, 0.07]


def logits(probabilities: list[float]) -> torch.Tensor:
    assert math.isclose(sum(probabilities), 1)
    assert probabilities == sorted(probabilities, reverse=True)
    return torch.tensor(probabilities, dtype=torch.float64).log()


def kept(cut: torch.Tensor) -> int:
    return int(cut.isfinite().sum())


def test_the_distributions_are_those_of_the_lesson():
    says(SAMPLING, f"xac_suat = torch.tensor({COFFEE})", f"nhon = torch.tensor({PEAKED})")
    says(SAMPLING, f"phang = torch.tensor({[round(1000 * p) for p in FLAT]}) / 1000")


def test_counts_under_the_multinomial():
    n, coffee, tea = 100, *COFFEE[:2]
    expected, variance, covariance = n * coffee, n * coffee * (1 - coffee), -n * coffee * tea
    says(SAMPLING, f"kỳ vọng ${expected:g}$, phương sai ${variance:g}$, và hiệp phương sai ${covariance:g}$ với trà")


def test_the_tail_adds_up():
    says(SAMPLING, rf"chiếm tổng cộng 5%. Qua 50 bước, xác suất trúng ít nhất một token lạc đề là "
                   rf"$1 - 0.95^{{50}} \approx {100 * (1 - (1 - 0.05) ** 50):.1f}\%$")


def test_both_cuts_of_the_coffee():
    for cut, total, where in (
        (top_k(logits(COFFEE), 3), sum(COFFEE[:3]), "Top-k với $k = 3$ giữ ba token, tổng {total:.3f}; cà phê từ 0.34 thành "),
        (top_p(logits(COFFEE), 0.9), sum(COFFEE[:4]), "tổng là {total:.3f}: hạt nhân có 4 token, và cà phê thành "),
    ):
        share = cut.softmax(-1)[0].item()
        assert share == pytest.approx(COFFEE[0] / total)
        says(SAMPLING, where.format(total=total) + rf"$0.34/{total:.3f} \approx {share:.3f}$")
    assert kept(top_p(logits(COFFEE), 0.9)) == 4


def test_adaptivity():
    low, high = 100 * sum(FLAT[:3]), 100 * sum(PEAKED[:3])
    says(SAMPLING, f"$k = 3$ luôn giữ 3 token, dù chúng chiếm {high:.0f}% (nhọn) hay {low:.1f}% (phẳng)")
    one, four, eleven = (kept(top_p(logits(q), 0.9)) for q in (PEAKED, COFFEE, FLAT))
    says(SAMPLING, f"$p = 0.9$ giữ {one}, {four}, rồi {eleven} token")


def test_a_token_of_0_003():
    before = sum(PEAKED[:4])
    says(SAMPLING, f"token 0.003 có tổng {before:.3f}, nên nó bị loại với $p$ bằng 0.9, 0.95 và cả 0.99")
    for p in (0.9, 0.95, 0.99):
        assert not top_p(logits(PEAKED), p)[PEAKED.index(0.003)].isfinite()
    behind = 1 - 0.9 - 0.003
    fewest = math.floor(behind / 0.003) + 1
    says(SAMPLING, f"$1 - 0.9 - 0.003 = {behind:.3f}$, tức ít nhất {fewest} token nữa")
    for n_behind in (fewest - 1, fewest):  # as heavy a tail as 0.003 allows, the rest in the first token
        row = logits([1 - 0.003 * (n_behind + 1), *[0.003] * (n_behind + 1)])
        assert top_p(row, 0.9)[1].isfinite() == (n_behind == fewest)


def test_top_p_by_the_sum_before():
    cumulated = torch.tensor(COFFEE).cumsum(0)
    before = cumulated - torch.tensor(COFFEE)
    with pytest.raises(IndexError):
        (cumulated > 1.0).nonzero()[0]
    says(SAMPLING, f"vẫn còn {int((before < 1e-9).sum())} token; với $p = 1$ còn đủ {int((before < 1).sum())}")
    assert kept(top_p(logits(COFFEE), 1)) == len(COFFEE)


@pytest.mark.parametrize("temperature", [0.3, 0.7, 1.0, 2.5])
def test_what_needs_no_softmax(temperature):
    z = torch.randn(50, 300, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    divided = apply_temperature(z, temperature)
    assert torch.equal(greedy(divided), greedy(z))
    assert torch.equal(greedy(divided.softmax(-1)), greedy(z))
    assert torch.equal(top_k(divided, 20).isfinite(), top_k(divided.softmax(-1), 20).isfinite())
    by_logits = z >= z.amax(-1, keepdim=True) + temperature * math.log(0.1)
    assert torch.equal(min_p(divided, 0.1).isfinite(), by_logits)


def test_order_of_temperature_and_cuts():
    z = logits(COFFEE)
    for temperature in (0.5, 2):
        torch.testing.assert_close(top_k(z / temperature, 3), top_k(z, 3) / temperature)
    cold, plain, hot = (kept(top_p(z / temperature, 0.9)) for temperature in (0.5, 1, 2))
    says(SAMPLING, f"ở mọi $T$ đều giữ {plain} token; chia trước thì hạt nhân còn {cold} token ở $T = 0.5$ và thành {hot} ở $T = 2$")
    assert kept(top_p(top_k(z, 3), 0.7)) == 2
    says(SAMPLING, rf"hai token đầu đạt $0.625/0.825 \approx {sum(COFFEE[:2]) / sum(COFFEE[:3]):.3f}$")
    says(SAMPLING, f"$0.625 < 0.7$, phải thêm nước: {kept(top_k(top_p(z, 0.7), 3))} token")


def test_cost_beside_the_model():
    V = SMALL.vocab_size
    says(SAMPLING, f"cần {V * SMALL.n_embd:,} phép nhân mỗi token, còn sắp xếp {V:,} số cần cỡ "
                   rf"$V \log_2 V \approx {V * math.log2(V) / 1000:.0f}$ nghìn phép so sánh")


def test_sampling_does_not_cure_a_wrong_belief():
    belief = logits([0.55, 0.35, 0.10])
    says(SAMPLING, "Sydney 0.55, Canberra (đáp án đúng) 0.35, Melbourne 0.10")
    for cut in (greedy(belief), greedy(top_p(belief, 0.5))):
        assert cut == 0
    assert top_p(belief, 0.5).softmax(-1)[1] == 0
    right = [(belief / temperature).softmax(-1)[1].item() for temperature in (0.01, 0.3, 1)]
    assert right == sorted(right)  # colder is more often wrong
    anywhere = (belief / torch.logspace(-2, 3, 200)[:, None]).softmax(-1)  # (200, 1) -> (200, 3)
    assert (anywhere[:, 1] < anywhere[:, 0]).all()
    assert anywhere[:, 1].max() < 0.4


def test_greedy_misses_the_best_sequence():
    greedy_path, best = 0.5 * 0.4, 0.4 * 0.9
    says(SAMPLING, rf"$0.5 \cdot 0.4 = {greedy_path:.2f}$; chùm rộng 2 tìm ra B với $0.4 \cdot 0.9 = {best:.2f}$")


def test_speculative_decoding_follows_the_large_model():
    p, q = torch.rand(2, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).softmax(-1)
    taken, rest = torch.minimum(p, q), (p - q).clamp(min=0)
    torch.testing.assert_close(1 - taken.sum(), rest.sum())
    torch.testing.assert_close(taken + (1 - taken.sum()) * rest / rest.sum(), p)
