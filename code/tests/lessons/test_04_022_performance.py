"""The numbers in the lesson on timing GPT-2 and on judging timings by arithmetic. No timing is asserted."""

import math
import re

import pytest
import torch
from aerogpt.benchmark import forward_flops, training_flops
from aerogpt.config import PRESETS
from prose import DOCS, SMALL, gpt, says
from torch.utils.flop_counter import FlopCounterMode

LESSON = "04_buildgpt/aero_llm_022_anh_gia_hieu_nang_gpt_2_tren_cpu_va_gpu.md"
B, T = 8, 1024
FORWARD, STEP = forward_flops(SMALL, B, T), training_flops(SMALL, B, T)
MATRICES = 12 * SMALL.n_layer * SMALL.n_embd**2 + SMALL.vocab_size * SMALL.n_embd
ATTENTION = 4 * SMALL.n_layer * B * T**2 * SMALL.n_embd
PEAK = {"float32": 19.5e12, "TF32": 156e12, "bfloat16": 312e12}     # A100, dense (NVIDIA 2020)
GPU, CPU = {"forward": 0.03, "backward": 1.6}, {"forward": 20, "backward": 60}


def test_forward_is_derived():
    assert FORWARD == 2 * B * T * MATRICES + ATTENTION
    says(LESSON, f"$BT = {B * T}$ token", f"{MATRICES:,}".replace(",", "{,}"),
         rf"\approx {2 * B * T * MATRICES / 1e12:.2f} \times 10^{{12}}", rf"\approx {ATTENTION / 1e12:.2f} \times 10^{{12}}",
         f"Tổng là {FORWARD / 1e12:.2f} **TFLOP**",
         f"là {FORWARD / 1e12:.2f} TFLOP: {2 * B * T * MATRICES / 1e12:.2f} từ ma trận trọng số, {ATTENTION / 1e12:.2f} từ chú ý",
         f"nhiều nhất {ATTENTION / 2 / FORWARD:.1%} của lượt xuôi")


def test_counted_forward_and_backward():
    model = gpt("small")
    with FlopCounterMode(display=False) as counter:
        out = model(torch.zeros(B, T, dtype=torch.long, device="meta"))
        assert counter.get_total_flops() == FORWARD
        out.sum().backward()
    assert counter.get_total_flops() == 3 * FORWARD == STEP


def test_matrices_are_those_of_the_model():
    weights = dict(gpt("small").named_parameters())
    assert MATRICES == sum(w.numel() for name, w in weights.items() if w.ndim == 2 and "wpe" not in name)
    n = sum(w.numel() for w in weights.values())
    says(LESSON, f"{n:,} tham số", f"{n:,}".replace(",", "{,}") + r" \times 4$ byte, khoảng " + f"{4 * n / 1e6:.0f} MB")


def test_what_the_benchmark_measures():
    source = (DOCS.parent / "code/benchmarks/phases.py").read_text(encoding="utf-8")
    (batch, length), gpu = (map(int, pair) for pair in re.findall(r"\((\d+), (\d+)\)", source))
    assert tuple(gpu) == (B, T)
    says(LESSON, f"CPU nhận {batch} đoạn {length} token, GPU nhận {B} đoạn {T} token",
         f'({batch}, {length}) if thiet_bi == "cpu" else ({B}, {T})')
    assert "warmup=1" in source and "torch.float32" in source
    assert not any(word in source for word in ("compile(", "autocast", "tf32", "set_float32_matmul_precision"))
    assert not torch.backends.cuda.matmul.allow_tf32


def test_orders_of_magnitude():
    ratio = CPU["forward"] / GPU["forward"]
    says(LESSON, rf"$20 / 0.03 \approx {ratio:.0f}$, và $\log_{{10}} {ratio:.0f} \approx {math.log10(ratio):.1f}$",
         f"là {ratio:.0f} lần, {math.log10(ratio):.1f} bậc")
    assert 2 < math.log10(ratio) < 3
    four = CPU["forward"] / 1e4
    says(LESSON, f"xong trong {1e3 * four:.0f} ms, tức {FORWARD / four / 1e12:,.0f} TFLOP/s, "
         f"gấp {FORWARD / four / max(PEAK.values()):.1f} lần")
    backward = CPU["backward"] / GPU["backward"]
    says(LESSON, f'"hơn {backward:.1f} lần" ($60 / 1.6$)')
    assert math.log10(backward) == pytest.approx(1.5, abs=0.1)


def test_rounding_cannot_make_four_orders():
    largest = 25 / 0.025                                             # still "about" 20 and 0.03
    says(LESSON, f"$25 / 0.025 = {largest:.0f}$ mới là ba bậc")
    assert math.log10(largest) == pytest.approx(3)


def test_readings_of_the_table():
    five, one = 5 * FORWARD / GPU["forward"], FORWARD / GPU["forward"]
    assert five > max(PEAK.values())
    says(LESSON, f"{5 * FORWARD / 1e12:.1f} TFLOP trong 30 ms là {five / 1e12:.0f} TFLOP/s, vượt 312",
         f"{five / 1e12:.0f} TFLOP/s trên A100")
    assert PEAK["float32"] < one < PEAK["TF32"]
    says(LESSON, f"{one / 1e12:.1f} TFLOP/s gấp {one / PEAK['float32']:.1f} lần 19.5")
    steps, alone = 5 * STEP / GPU["backward"], 5 * 2 * FORWARD / GPU["backward"]
    assert alone < PEAK["float32"] < steps
    says(LESSON, f"cũng cần {steps / 1e12:.1f} TFLOP/s, vượt", f"chỉ năm lượt ngược thì {alone / 1e12:.1f}")
    ratio = GPU["backward"] / GPU["forward"]
    says(LESSON, rf"$1.6 / 0.03 \approx {ratio:.0f}$", f"nhanh gấp {ratio / (STEP / FORWARD):.1f} lần",
         f"việc gấp {5 * STEP // FORWARD}, còn lệch {ratio / (5 * STEP / FORWARD):.1f} lần")
    says(LESSON, f"$60/20 = {CPU['backward'] // CPU['forward']}$", f"khoảng {CPU['forward'] * 5 * STEP // FORWARD} giây")
    says(LESSON, f"trần của A100 đổi {PEAK['bfloat16'] / PEAK['float32']:.0f} lần",
         *(f"{peak / 1e12:g}" for peak in PEAK.values()))


def test_tf32_keeps_ten_bits():
    assert -math.log2(torch.finfo(torch.float16).eps) == 10          # TF32: float16's mantissa, float32's exponent
    says(LESSON, "10 bit phần định trị")


def test_cpu_challenge():
    peak, flops = 8 * 3e9 * (2 * 8 * 2), forward_flops(PRESETS["gpt2-medium"], B, T)
    says(LESSON, rf"$2 \cdot 8 \cdot 2 = {2 * 8 * 2}$ FLOP mỗi nhịp", f"cần gấp {flops / 2 / peak:.1f} lần đỉnh",
         f"phải mất {flops / peak:.1f} giây")


def test_bandwidth_challenge():
    milliseconds = 1e3 * 4 * MATRICES / 1555e9
    assert milliseconds > 0.1 and 2 * MATRICES / 0.1e-3 < PEAK["float32"]
    assert 2 * MATRICES > 40e6                                       # even 16 bits exceed the cache
    says(LESSON, f"đã cần {milliseconds:.2f} ms")
