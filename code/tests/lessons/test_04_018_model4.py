"""The numbers and the claims in the lesson on Model 4, a stack of blocks."""

import math
import re
from dataclasses import replace

import pytest
import recording
import torch
from aerogpt.block import Block
from aerogpt.config import GPTConfig
from aerogpt.functional import gelu_tanh
from aerogpt.models import Model4
from numpy.polynomial.hermite_e import hermegauss
from prose import SIZES, SMALL, count, gpt, power_of_ten, says
from torch import nn

MODEL4 = "04_buildgpt/aero_llm_018_model_4_multiple_transformer_blocks_.md"


@pytest.fixture(scope="module")
def recorded() -> dict[str, dict]:
    return recording.cells(MODEL4, "mo-hinh-4-")


@pytest.fixture(scope="module")
def values(recorded) -> dict[str, dict]:
    return {name: cell["values"] for name, cell in recorded.items()}


@pytest.fixture(scope="module")
def printed(recorded) -> dict[str, str]:
    """What each cell printed or returned as text."""
    return {name: recording.printed(cell) for name, cell in recorded.items()}


def stack(config: GPTConfig) -> int:
    with torch.device("meta"):
        return count(Model4(config))


def losses(text: str) -> dict[tuple[int, int], list[float]]:
    """{(blocks, width): losses of the seeds} of a cell that trains."""
    rows = re.findall(r"(\d+) khối rộng (\d+), tốc độ học [\d.]+: ([\d. ]+)", text)
    return {(int(blocks), int(width)): [float(loss) for loss in row.split()] for blocks, width, row in rows}


def test_blocks_of_their_own_and_one_block_three_times():
    config = GPTConfig(vocab_size=100, n_ctx=16, n_layer=3, n_head=1, n_embd=32)
    own, one = Model4(config).h, Block(config)
    repeated = nn.Sequential(*[one] * 3)
    assert count(own) == 3 * count(repeated) and len({id(p) for p in own.parameters()}) == 3 * len(list(one.parameters()))
    says(MODEL4, f"Mỗi khối có {count(one):,} tham số **của riêng nó**", f"có {count(own):,}. Chồng", f"chỉ có {count(repeated):,}")
    model = Model4(config)
    weights = [block.mlp.c_fc.weight for block in model.h]
    assert all(not torch.equal(a, b) for i, a in enumerate(weights) for b in weights[:i])


def test_parameters_are_linear_in_the_number_of_blocks():
    d, counts = SMALL.n_embd, [stack(replace(SMALL, n_layer=n)) for n in (1, 2, 3, 12)]
    block = 12 * d**2 + 13 * d
    assert counts == [(SMALL.vocab_size + SMALL.n_ctx + 2) * d + n * block for n in (1, 2, 3, 12)]
    assert counts[-1] == count(gpt("small")) and stack(replace(SMALL, n_head=1)) == counts[-1]
    says(MODEL4, f"đúng {counts[-1]:,} tham số của GPT-2 nhỏ: mỗi khối thêm {block:,}", r"N(L) = (V + n + 2)\,d + L\left(12d^2 + 13d\right)")


def test_numbers_of_blocks():
    blocks = [gpt(size).config.n_layer for size in SIZES]
    says(MODEL4, "có {}, {}, {} và {} khối: {} là XL, còn large có {}".format(*blocks, blocks[3], blocks[2]))
    # Brown et al. 2020, table 2.1; Chowdhery et al. 2022, table 1.
    says(MODEL4, "GPT-3 có 96", "PaLM 540B có 118", f"{SMALL.n_layer} lần ở GPT-2 nhỏ, 96 lần ở GPT-3")
    xl = gpt("XL").config
    says(MODEL4, f"{xl.n_layer} khối rộng {xl.n_embd}, hình dạng của GPT-2 XL")   # Kaplan et al. 2020, figure 5


def test_the_stream_is_the_embedding_plus_all_parts(printed):
    assert printed["tong"].strip() == f"({2 * SMALL.n_layer}, True, True)"
    says(MODEL4, "Hai mươi bốn phần")


def second_moment(s: float) -> float:
    """E[GELU(s Z)^2] by Gauss-Hermite quadrature."""
    z, weight = (torch.from_numpy(a) for a in hermegauss(80))
    return ((gelu_tanh(s * z) ** 2 * weight).sum() / math.sqrt(2 * math.pi)).item()


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("n_layer", [4, 32])
def test_variances_add(n_layer, scaled):
    """The prediction of the lesson for a first token, on other sizes than the lesson's."""
    d, sigma = 96, 0.02
    residual = sigma / math.sqrt(2 * n_layer) if scaled else sigma
    attention = d * residual**2 * d * sigma**2
    mlp = 4 * d * residual**2 * second_moment(sigma * math.sqrt(d))
    measured = []
    for seed in range(12):
        torch.manual_seed(seed)
        model = Model4(GPTConfig(vocab_size=64, n_ctx=1, n_layer=n_layer, n_head=1, n_embd=d))
        with torch.no_grad():
            for block in model.h:
                for part in (block.attn, block.mlp):
                    part.c_proj.weight *= residual * math.sqrt(2 * n_layer) / sigma
            measured.append(model.h(model.wte.weight[:, None] + model.wpe.weight).square().mean().item())
    assert sum(measured) / 12 == pytest.approx(2 * sigma**2 + n_layer * (attention + mlp), rel=0.08)


def test_scaling_takes_depth_away(values, printed):
    rows = re.findall(r"(không|có) +(\d+) +([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+)", printed["lon-len-bang"])
    assert len(rows) == 8 and all(float(last) < float(first) for _, _, _, first, last, _ in rows)
    theory = {kind: [float(row[2]) for row in rows if row[0] == kind] for kind in ("không", "có")}
    assert len(set(theory["có"])) == 1 and theory["không"] == sorted(theory["không"])
    v = values["lon-len-bang"]
    assert v["lech"] < 0.06 and v["khong_48"] < v["khong_6"] / 2 and v["co_48"] == pytest.approx(v["co_6"], rel=0.05)
    says(MODEL4, "Token cuối (thứ 16) thấp hơn ở cả tám hàng", "Có hệ số, nó đứng yên")


def test_last_norm_fixes_the_width_of_the_logits(values):
    v = values["ln-cuoi"]
    width = 0.02 * math.sqrt(192)
    says(MODEL4, rf"gần $\sigma\sqrt{{d}} \approx {width:.3f}$")
    assert v["tho_nhieu"] / v["tho_it"] > 5 and all(abs(v[name] / width - 1) < 0.05 for name in ("co_it", "co_nhieu"))


def test_depth_and_width(values, printed):
    """What the prose concludes from the recorded runs: it must be written anew if they ever say something else."""
    slow, fast, shape = losses(printed["sau-rong"]), losses(printed["toc-do"]), values["du-lieu"]
    deep, wide, one = (4, 48), (1, shape["rong"]), (1, 48)
    assert set(slow) == {deep, wide, one} and set(fast) == {deep, wide} and all(len(row) == 3 for row in (*slow.values(), *fast.values()))
    assert max(slow[deep]) < min(slow[one])
    assert max(slow[wide]) < min(slow[deep])
    says(MODEL4, "Lần kém nhất của nó vẫn hơn lần tốt nhất của bên kia")
    v = values["toc-do"]
    assert v["rong_nhanh"] > v["bon_nhanh"] and v["rong_kem"] > v["bon_nhanh"] + 0.2
    assert all(max(fast[stack]) - min(fast[stack]) > 5 * (max(slow[stack]) - min(slow[stack])) for stack in (deep, wide))
    says(MODEL4, "ba hạt giống của mỗi bên cách xa nhau hẳn", "chỉ thử mức 0.01, ta đã kết luận ngược lại")
    assert v["bon_tot"] == values["sau-rong"]["bon_48"] < v["bon_nhanh"] and v["rong_tot"] == values["sau-rong"]["mot_rong"] < v["rong_nhanh"]
    assert v["rong_tot"] < v["bon_tot"]
    says(MODEL4, "ở đây cả hai đều là 0.003")
    parameters = [stack(GPTConfig(93, 32, blocks, 1, width)) for blocks, width in (deep, wide)]
    assert parameters[1] == pytest.approx(parameters[0], rel=0.01)


def test_inside_the_trained_stack(values, printed):
    exits = [float(loss) for loss in re.search(r"khối: ([\d. ]+)", printed["ben-trong-so"])[1].split()]
    assert len(exits) == 5 and all(later < earlier for earlier, later in zip(exits, exits[1:]))
    says(MODEL4, "mất mát giảm dần")
    v, ln_v = values["ben-trong-so"], values["du-lieu"]["ln_V"]
    assert v["du_0"] > ln_v > v["du_1"] > v["du_4"] and v["lap_lai"] > 0.8
    assert v["phan_x0"] < 0.05 and 0 <= v["bo_x0"] - v["du_4"] < 0.1
    says(MODEL4, "tệ hơn cả đoán đều", "hầu như không dựa vào nó")


def test_removing_a_block(printed):
    whole = float(re.search(r"đủ bốn khối: ([\d.]+)", printed["thu-thach-bo"])[1])
    without = [float(loss) for loss in re.findall(r"bỏ khối \d': ([\d.]+)", printed["thu-thach-bo"])]
    assert len(without) == 4 and min(without) > whole and max(without) == without[0]
    assert all(loss - whole < (without[0] - whole) / 4 for loss in without[1:])
    assert printed["thu-thach-he-so"].strip() == "True"


def test_cost_of_a_large_stack():
    n, tokens = 10**11, 10**12
    assert power_of_ten(n, 0) == r"1 \times 10^{11}" and power_of_ten(tokens, 0) == r"1 \times 10^{12}"
    says(MODEL4, "Với $N = 10^{11}$ và $D = 10^{12}$", f"$C = {power_of_ten(6 * n * tokens, 0)}$")
    bf16, fp32 = torch.bfloat16.itemsize, torch.float32.itemsize
    says(MODEL4, f"| trọng số, bfloat16 | {bf16} | {bf16 * n // 10**9} GB |", f"| gradient, bfloat16 | {bf16} | {bf16 * n // 10**9} GB |")
    says(MODEL4, f"{fp32} + {fp32} + {fp32} | {3 * fp32 * n / 1e12:.1f} TB |")
    total = 2 * bf16 + 3 * fp32
    says(MODEL4, f"| cộng | {total} | {total * n / 1e12:.1f} TB |", rf"$64 \cdot 8 \cdot 8 = {64 * 8 * 8}$ GPU")


def test_zero_stages_tend_to_four_eight_and_the_number_of_gpus(printed):
    """Rajbhandari et al. 2020, figure 1: 16 bytes a parameter, of which 12 are Adam's, 2 gradient, 2 weights."""
    for n in (8, 64, 1024):
        adam, gradient, weight = 12, 2, 2
        stages = [adam / n + gradient + weight, (adam + gradient) / n + weight, (adam + gradient + weight) / n]
        assert f"{n:4} GPU: giảm " + " ".join(f"{16 / stage:.1f} lần" for stage in stages) in printed["bo-nho"]
    huge = 10**9
    says(MODEL4, f"tiến tới {round(16 / (4 + 12 / huge))} và {round(16 / (2 + 14 / huge))} lần khi $n$ lớn; giai đoạn 3 giảm đúng $n$ lần")


def test_bfloat16_keeps_what_float16_loses(printed):
    tiny = torch.tensor(1e-8)
    assert tiny.half() == 0 and tiny.bfloat16().item() == pytest.approx(1e-8, rel=2**-8)
    exponent = {dtype: math.log2(torch.finfo(dtype).tiny) for dtype in (torch.float32, torch.bfloat16, torch.float16)}
    assert exponent[torch.float32] == exponent[torch.bfloat16] < exponent[torch.float16]
    assert "(0.0, 1.0" in printed["bo-nho"]
    says(MODEL4, "gradient $10^{-8}$ thành 0", "bfloat16 có cùng số bit mũ với float32")
