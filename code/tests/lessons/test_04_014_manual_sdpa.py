"""The numbers in the lesson on attention by hand against the fused kernel."""

import math
import re
import warnings

import pytest
import recording
import torch
from aerogpt.attention import MultiHeadAttention, attention_manual, causal_mask, sdpa
from aerogpt.benchmark import forward_flops, measure_together
from aerogpt.block import Block
from aerogpt.config import PRESETS, GPTConfig
from prose import DOCS, SMALL, gpt, power_of_ten, says
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

LESSON = "04_buildgpt/aero_llm_014_codechallenge_code_attention.md"
B, T, V, D = 4, 8, 40, 10
GPT3 = {"d": 12288, "n_head": 96, "length": 2048}


@pytest.fixture
def qkv() -> torch.Tensor:
    torch.manual_seed(1)
    x = torch.randn(V, D)[torch.randint(V, (B, T))]
    return (x @ (torch.randn(3, D, D) / math.sqrt(D))[:, None])[:, :, None]        # (3, B, 1, T, D)


def block_flops(d: int, n_head: int, length: int) -> dict[str, int]:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        Block(GPTConfig(vocab_size=1, n_ctx=length, n_layer=1, n_head=n_head, n_embd=d))(torch.empty(1, length, d))
    counts = {name: sum(parts.values()) for name, parts in counter.get_flop_counts().items()}
    projections = counts["Block.attn.c_attn"] + counts["Block.attn.c_proj"]
    return {
        "projections": projections,
        "mixing": counts["Block.attn"] - projections,
        "mlp": counts["Block.mlp"],
        "all": counts["Global"],
    }


def test_specification():
    says(LESSON, f"Cho $B = {B}$ câu, mỗi câu $T = {T}$ token lấy từ bộ từ vựng $V = {V}$ token",
         f"vector $d = {D}$ số", f"trên {B * T * D} số của đầu ra", f"như {B}, {T} và {D} của đề bài")


def test_the_three_checks_miss_a_forgotten_scale(qkv):
    q, k, v = qkv
    wrong, weights = attention_manual(q * math.sqrt(D), k, v)
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, 1, T))
    assert (weights[..., ~causal_mask(T)] == 0).all()
    assert torch.equal(wrong[..., 0, :], v[..., 0, :])
    assert (wrong - attention_manual(q, k, v)[0]).abs().max() > 0.01


@pytest.mark.parametrize("dtype, bound", [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_output_and_gradients_equal_up_to_rounding(qkv, dtype, bound):
    says(LESSON, f"lệch không quá ${power_of_ten(1e-6, 0).split()[-1]}$ và ${power_of_ten(1e-14, 0).split()[-1]}$")
    q, k, v = (part.to(dtype).requires_grad_() for part in qkv)
    g = torch.randn(B, 1, T, D, dtype=dtype) / math.sqrt(D)
    results = []
    for attention in (lambda *a: attention_manual(*a)[0], sdpa):
        out = attention(q, k, v)
        results.append([out, *torch.autograd.grad((out * g).sum(), (q, k, v))])
    for manual, fused in zip(*results):
        torch.testing.assert_close(manual, fused, atol=bound, rtol=0)


def test_a_forgotten_scale_differs_alike_in_both_precisions(qkv):
    def error(dtype: torch.dtype) -> float:
        q, k, v = qkv.to(dtype)
        return (attention_manual(q * math.sqrt(D), k, v)[0] - sdpa(q, k, v)).abs().max().item()

    assert error(torch.float32) == pytest.approx(error(torch.float64), rel=1e-4)


def test_spacing_of_floats():
    for dtype, exponent in ((torch.float32, 23), (torch.float64, 52)):
        epsilon = torch.finfo(dtype).eps
        assert epsilon == 2.0**-exponent
        says(LESSON, rf"$\varepsilon = 2^{{-{exponent}}} \approx {power_of_ten(epsilon, 1)}$")
    one = torch.tensor([1.0, 1.9])
    gaps = torch.nextafter(one, torch.tensor(2.0)) - one
    assert (gaps == torch.finfo(torch.float32).eps).all()
    says(LESSON, rf"từ 1 đến 2 lệch ít nhất ${power_of_ten(gaps[0].item(), 1)}$")
    assert torch.nextafter(torch.tensor(0.5), torch.tensor(1.0)) - 0.5 > 1e-8


def test_t_reverses_all_axes_and_warns(qkv):
    k = qkv[1, :, 0]                                                        # (B, T, D)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reversed_k = k.T
    assert torch.equal(reversed_k, k.permute(2, 1, 0))
    assert torch.equal(k.mT, k.transpose(-2, -1))
    if caught:                                                              # torch warns once a process
        assert "deprecated" in str(caught[0].message)


def test_fused_kernel_needs_four_axes(qkv):
    def kernels(*parts: torch.Tensor) -> str:
        with profile(activities=[ProfilerActivity.CPU]) as log:
            sdpa(*parts)
        return " ".join(event.key for event in log.key_averages())

    assert "flash" in kernels(*qkv) and "flash" not in kernels(*qkv[:, :, 0])


class Queue:
    """A device on virtual time: an order returns at once, the work is done later."""

    def __init__(self):
        self.now = self.free = 0.0

    def order(self) -> None:
        self.now += 1e-5
        self.free = max(self.free, self.now) + 0.004

    def synchronize(self) -> None:
        self.now = max(self.now, self.free)


def test_wrong_times_of_an_asynchronous_device():
    def milliseconds(after_warmup: bool, at_end: bool) -> float:
        device = Queue()
        for _ in range(5):
            device.order()
        if after_warmup:
            device.synchronize()
        start = device.now
        for _ in range(10):
            device.order()
        if at_end:
            device.synchronize()
        return 1e3 * (device.now - start) / 10

    assert milliseconds(True, True) == pytest.approx(4, rel=0.01)
    assert milliseconds(False, False) == pytest.approx(0.01) == milliseconds(True, False)
    assert milliseconds(False, True) == pytest.approx(4 * 15 / 10, rel=0.01)
    says(LESSON, rf"khoảng $4 \cdot 15/10 = {4 * 15 // 10}$ ms")
    device = Queue()
    options = {"warmup": 5, "clock": lambda: device.now, "synchronize": device.synchronize}
    assert measure_together({"": device.order}, **options)[""].median == pytest.approx(0.004, rel=0.01)


def test_claims_about_other_tables():
    manual, fused, compiled = 4.5, 9.0, 0.05
    says(LESSON, f"tự viết {manual} giây, SDPA {fused} giây, biên dịch {compiled} giây",
         f"**chậm** gấp {fused / manual:.0f} lần", f"nhanh gấp {manual / compiled:.0f} lần")
    says(LESSON, "7.0 và 6.5 giây cho 50,000 lần", f"{7.0 / 50_000 * 1e6:.0f} và {6.5 / 50_000 * 1e6:.0f} µs")
    growth = math.log(3.75) / math.log(512 / 128)
    says(LESSON, f"phải gấp {(512 // 128) ** 2}", rf"$\log 3.75 / \log 4 \approx {growth:.2f}$")


def test_benchmark_program_measures_what_the_lesson_says():
    source = (DOCS.parent / "code/benchmarks/attention.py").read_text(encoding="utf-8")
    heads, width = re.search(r"HEADS, WIDTH = (\d+), (\d+)", source).groups()
    says(LESSON, f"{heads} đầu rộng {width}, cả lượt xuôi lẫn lượt ngược")
    assert "for backward in (False, True)" in source


def test_flops_of_a_block():
    d, length = 768, 512
    flops = block_flops(d, 12, length)
    assert flops["projections"] == 8 * length * d**2
    assert flops["mixing"] == 4 * length**2 * d
    assert flops["mlp"] == 16 * length * d**2
    assert flops["all"] == 24 * length * d**2 + 4 * length**2 * d
    says(LESSON, "$8Td^2$", "$4T^2d$", "$16Td^2$", "$24Td^2 + 4T^2d$")


def test_shares_of_gpt3():
    flops, (d, _, length) = block_flops(**GPT3), GPT3.values()
    mixing, mlp = flops["mixing"] / flops["all"], flops["mlp"] / flops["all"]
    attention = mixing + flops["projections"] / flops["all"]
    assert (mixing, attention, mlp) == pytest.approx(
        (length / (6 * d + length), (2 * d + length) / (6 * d + length), 4 * d / (6 * d + length))
    )
    says(LESSON, f"{mixing:.1%}, {attention:.1%} và {mlp:.1%}", f"FLOP của các khối, {mixing:.1%} ở GPT-3")
    assert mlp > 0.6 > attention


def test_where_attention_reaches_60_percent():
    for d in (64, 768):
        alone, whole = block_flops(d, 4, 9 * d), block_flops(d, 4, 4 * d)
        assert alone["mixing"] / alone["all"] == pytest.approx(0.6)
        assert (whole["mixing"] + whole["projections"]) / whole["all"] == pytest.approx(0.6)
    says(LESSON, f"$T = 9d$, với $d = {GPT3['d']}$ là {9 * GPT3['d']:,} token", f"$T = 4d$, tức {4 * GPT3['d']:,} token")


def test_shares_of_gpt2_small():
    mixing = 4 * SMALL.n_layer * 8 * 1024**2 * SMALL.n_embd
    total = forward_flops(SMALL, 8, 1024)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        gpt("small")(torch.zeros(8, 1024, dtype=torch.long))
    assert counter.get_total_flops() == total
    blocks = total - 2 * 8 * 1024 * SMALL.n_embd * SMALL.vocab_size
    says(LESSON, f"({mixing / blocks:.1%} nếu chỉ tính các khối)")
    values = {name: cell["values"] for name, cell in recording.cells(LESSON).items()}
    assert values["so-sanh-flop-hinh"]["o_1024"] == pytest.approx(mixing / total)
    assert PRESETS["gpt2"].n_ctx == 1024


def test_backward_costs_two_products_for_one():
    layer, x = torch.nn.Linear(8, 8), torch.randn(4, 8, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        out = layer(x)
        forward = counter.get_total_flops()
        out.sum().backward()
    assert counter.get_total_flops() == 3 * forward


@pytest.mark.parametrize("n_head", [1, 2, 4, 8, 16, 32])
def test_flops_do_not_depend_on_heads(n_head):
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        MultiHeadAttention(GPTConfig(1, 256, 1, n_head, 512))(torch.empty(1, 256, 512))
    assert counter.get_total_flops() == 8 * 256 * 512**2 + 4 * 256**2 * 512


@pytest.mark.parametrize("n_head, width", [(1, 64), (4, 16)])
def test_both_are_counted_alike(n_head, width):
    q, k, v = torch.empty(3, 1, n_head, 128, width, device="meta")
    for attention in (attention_manual, sdpa):
        with FlopCounterMode(display=False) as counter:
            attention(q, k, v)
        assert counter.get_total_flops() == 4 * 128**2 * n_head * width
