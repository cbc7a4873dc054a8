"""The numbers and the claims in the lesson on memory and inference. No timing is asserted."""

import math
import re

import pytest
import recording
import torch
from aerogpt.attention import KVCache
from aerogpt.benchmark import forward_flops
from aerogpt.config import PRESETS, GPTConfig
from aerogpt.model import GPT
from aerogpt.optimization import TrainConfig, make_optimizer
from prose import DOCS, SIZES, count, gpt, says
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

LESSON = "01_llm_course/aero_llm_03_bo_nho_va_suy_luan.md"
XL, GIB = PRESETS["gpt2-xl"], 2**30
N = {size: count(gpt(size)) for size in SIZES}
PEAK, BANDWIDTH = 312e12, 1555e9                                        # A100 40 GB (NVIDIA 2020)


@pytest.fixture(scope="module")
def printed() -> dict[str, str]:
    """What each cell printed or returned as text."""
    return {name: recording.printed(cell) for name, cell in recording.cells(LESSON, "m013-").items()}


def n_bytes(tensors) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def one_pass(c: GPTConfig, rows: int, new: int, past: int, size: int = 2) -> tuple[int, int]:
    """FLOPs and bytes as the lesson counts them."""
    blocks, head = 12 * c.n_layer * c.n_embd**2, c.vocab_size * c.n_embd
    flops = 2 * rows * new * blocks + 2 * rows * head + 4 * c.n_layer * rows * new * (past + new) * c.n_embd
    return flops, size * (blocks + head + 2 * c.n_layer * rows * (past + new) * c.n_embd)


def test_units():
    says(LESSON, f"$2^{{30}} = {GIB:,}$ byte".replace(",", "{,}"), f"nhiều hơn {GIB / 1e9 - 1:.1%}")
    says(LESSON, f"có {N['XL'] / 1e9:.2f} tỉ tham số")
    assert 24e9 < 16 * N["XL"] < 24 * GIB
    says(LESSON, f"{16 * N['XL'] / 1e9:.2f} GB, con số sẽ gặp ở dưới, lọt vào 24 GiB nhưng không lọt vào 24 GB")
    assert 3e9 < 2 * N["XL"] < 3.2e9                                    # "chỉ hơn 3 GB"


def test_sixteen_bytes_a_parameter():
    model = GPT(GPTConfig(vocab_size=50, n_ctx=8, n_layer=2, n_head=2, n_embd=16))
    optimizer, ids = make_optimizer(model, TrainConfig()), torch.randint(50, (2, 9))
    model.loss(ids[:, :-1], ids[:, 1:]).backward()
    optimizer.step()
    parameters, states = list(model.parameters()), optimizer.state.values()
    assert set(next(iter(states))) == {"step", "exp_avg", "exp_avg_sq"}
    moments = [state[name] for state in states for name in ("exp_avg", "exp_avg_sq")]
    assert n_bytes([*parameters, *(p.grad for p in parameters), *moments]) == 16 * count(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):                   # the right column: all of it stays float32
        model.loss(ids[:, :-1], ids[:, 1:]).backward()
    assert {t.dtype for p in parameters for t in (p, p.grad)} == {torch.float32}


def test_columns_of_mixed_precision_add_up():
    table = [line for line in (DOCS / LESSON).read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    start = next(i for i, line in enumerate(table) if "torch.autocast" in line)
    rows = [[int(cell) for cell in line.strip("| ").split("|")[1:]] for line in table[start + 2 : start + 7]]
    assert [sum(column) for column in zip(*rows[:-1])] == rows[-1] == [16, 16, 16]


def test_table_of_the_four_sizes(printed):
    for size, n in N.items():
        row = next(line for line in printed["bon-co"].splitlines() if f"{n:,}" in line)
        for k in (2, 4, 16):
            assert f"{k * n / 1e9:.2f} GB = {k * n / GIB:.2f} GiB" in row
    assert 16 * N["XL"] < 24 * GIB                                      # the states alone fit, with a piece of text not


def saved_bytes(model: GPT, rows: int, length: int, backend: SDPBackend) -> int:
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def keep(t):
        if (storage := t.untyped_storage()).data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t), sdpa_kernel(backend):
        model.hidden(torch.randint(model.config.vocab_size, (rows, length)))
    return sum(storage.nbytes() for storage in kept.values())


def test_sixteen_activations_a_token_a_layer(printed):
    torch.manual_seed(0)
    c = GPTConfig(vocab_size=50, n_ctx=64, n_layer=2, n_head=2, n_embd=32)
    one, two = GPT(c), GPT(GPTConfig(vocab_size=50, n_ctx=64, n_layer=4, n_head=2, n_embd=32))
    rows, length = 2, 64
    a_layer = (saved_bytes(two, rows, length, SDPBackend.FLASH_ATTENTION)
               - saved_bytes(one, rows, length, SDPBackend.FLASH_ATTENTION)) / 2
    # 16 vectors, mean and scale of two norms, log-sum-exp of each head
    assert a_layer == 4 * rows * length * (16 * c.n_embd + 4 + c.n_head)
    extra = (saved_bytes(one, rows, length, SDPBackend.MATH)
             - saved_bytes(one, rows, length, SDPBackend.FLASH_ATTENTION)) / c.n_layer
    assert extra == 4 * rows * c.n_head * (length**2 - length)          # weights more, log-sum-exp less
    text = (DOCS / LESSON).read_text(encoding="utf-8")
    vectors = [int(k or 1) for k in re.findall(r"\| [^|]+ \| [^|]+ \| \$(\d*)d\$ \|", text)]
    assert sum(vectors) == 16 and len(vectors) == 6
    says(LESSON, "Cộng lại $16d$", r"$16 \cdot 2$, cộng hai mặt nạ dropout", f"${16 * 2 + 2}\\,BTd$")
    for line in printed["trung-gian"].splitlines()[1:]:
        ratio, extra = re.search(r"  (1\.\d+) ", line)[1], line.split()[-1]
        assert 1 < float(ratio) < 1.03 and 0.95 < float(extra) <= 1
    fp32, half = map(float, re.findall(r"([\d.]+)·d", printed["autocast"]))
    assert fp32 == pytest.approx(64, rel=0.05) and 32 < half < 48       # "chưa đến một nửa" is saved
    assert half > fp32 / 2


def test_activations_and_logits_of_gpt2():
    small = PRESETS["gpt2"]
    activations = 16 * small.n_layer * 8 * 1024 * small.n_embd * 4
    says(LESSON, f"giá trị trung gian là {activations / 1e9:.2f} GB, còn $16N$ là {16 * N['small'] / 1e9:.2f} GB")
    says(LESSON, f"là {8 * 1024 * small.vocab_size * 4 / 1e9:.2f} GB ở `float32`")


def test_cache(printed):
    for size, name in SIZES.items():
        c = PRESETS[name]
        cache = KVCache(c, 1, c.n_ctx, dtype=torch.bfloat16, device="meta")
        size_of_all = n_bytes(cache.keys + cache.values)
        assert size_of_all == 2 * c.n_layer * c.n_embd * c.n_ctx * 2
        row = next(line for line in printed["kv"].splitlines() if line.split()[0] == name)
        assert f"{size_of_all // c.n_ctx:,}" in row and f"= {size_of_all // 2**20} MiB" in row
        assert float(row.split()[-1]) == pytest.approx(2 * N[size] / size_of_all, abs=0.051)
    assert math.ceil(2 * N["XL"] / size_of_all) == 10
    says(LESSON, "bộ đệm của 10 câu đã nặng hơn chính mô hình")


@pytest.mark.parametrize("rows, new, past", [(1, 5, 0), (2, 1, 6), (3, 4, 2)])
def test_flops_of_a_pass(rows, new, past):
    c = GPTConfig(vocab_size=40, n_ctx=16, n_layer=2, n_head=2, n_embd=8)
    with torch.device("meta"):
        model, cache = GPT(c), KVCache(c, rows, past + new)
        ids = torch.zeros(rows, new, dtype=torch.long)
    cache.length = past
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(ids, cache=cache, last_only=True)
    assert counter.get_total_flops() == one_pass(c, rows, new, past)[0]
    head = 2 * rows * c.vocab_size * c.n_embd
    assert one_pass(c, rows, new, 0)[0] == forward_flops(c, rows, new) - (new - 1) * head


def test_intensity(printed):
    says(LESSON, rf"$P/R \approx {PEAK / BANDWIDTH:.0f}$ FLOP/byte", f"chạm {PEAK / BANDWIDTH:.0f}")
    flops, size = one_pass(XL, 1, 1, 1023)
    assert flops == size                                                # exactly 1
    says(LESSON, f"nhanh hơn {1e3 * size / BANDWIDTH:.1f} ms mỗi token, dù phép tính chỉ đòi {1e3 * flops / PEAK:.3f} ms")
    prefill = one_pass(XL, 1, 1024, 0)
    says(LESSON, f"nhiều nhất {2 * XL.n_layer * 1024**2 * XL.n_embd / prefill[0]:.1%}")
    assert prefill[0] / prefill[1] > 2 * PEAK / BANDWIDTH
    for size_of_number in (2, 4):
        flops, size = one_pass(XL, 1, 1, 500, size_of_number)
        assert flops / size == 2 / size_of_number
    says(LESSON, f"khoảng {round(PEAK / BANDWIDTH, -1):.0f} lần ở 16 bit")


def test_batches():
    matrices = 12 * XL.n_layer * XL.n_embd**2 + XL.vocab_size * XL.n_embd
    for length in (16, 1024):
        cache = 2 * XL.n_layer * length * XL.n_embd
        for rows in (1, 7, 4096):
            flops, size = one_pass(XL, rows, 1, length - 1)
            assert flops / size == pytest.approx(rows * (matrices + cache) / (matrices + rows * cache))
    limit = (matrices + cache) / cache
    says(LESSON, f"không bao giờ vượt {limit:.1f} FLOP/byte")
    flops, size = one_pass(XL, 10**9, 1, 1023)
    assert limit * 0.999 < flops / size < limit < PEAK / BANDWIDTH
    enough = next(b for b in range(1, 2000) if (lambda f, s: f / s)(*one_pass(XL, b, 1, 15)) >= PEAK / BANDWIDTH)
    says(LESSON, f"ít nhất {enough} câu để chạm")
    bounds = [max(f / PEAK, s / BANDWIDTH) for f, s in (one_pass(XL, b, 1, 1023) for b in (1, 2, 4, 8, 16))]
    assert bounds == sorted(bounds) and len(set(bounds)) == 5           # the latency's bound only grows


def test_decoding_1024_tokens(printed):
    prefill, steps = one_pass(XL, 1, 1024, 0), [one_pass(XL, 1, 1, n) for n in range(1024)]
    flops, size = map(sum, zip(*steps))
    assert flops / prefill[0] == pytest.approx(1, abs=0.01)             # "gần đúng bằng"
    assert 950 < size / prefill[1] < 1000                               # "gần một nghìn lần"
    bound = sum(max(f / PEAK, s / BANDWIDTH) for f, s in steps)
    assert f"nạp {1e3 * max(prefill[0] / PEAK, prefill[1] / BANDWIDTH):.1f} ms, giải mã {1e3 * bound:.0f} ms" in printed["thu-thach-1024"]


def test_24_gib(printed):
    fits = {}
    for size, name in SIZES.items():
        c = PRESETS[name]
        extra = 16 * c.n_layer * 1024 * c.n_embd * 4 + 4 * 1024 * c.vocab_size
        fits[size] = [(k * N[size] + extra) / GIB for k in (16, 8)]
        row = next(line for line in printed["thu-thach-24"].splitlines() if line.split()[0] == name)
        assert [float(x) for x in re.findall(r"([\d.]+) GiB", row)] == pytest.approx(fits[size], abs=0.051)
        assert [word == "vừa" for word in re.findall(r"GiB (KHÔNG vừa|vừa)", row)] == [x < 24 for x in fits[size]]
    assert fits["XL"][0] > 24 > fits["XL"][1]
    states, activations = 16 * N["XL"] / GIB, 16 * XL.n_layer * 1024 * XL.n_embd * 4 / GIB
    says(LESSON, f"riêng $16N$ là {states:.1f} GiB, chỉ còn {24 - states:.1f} GiB, mà giá trị trung gian cần {activations:.1f} GiB")
