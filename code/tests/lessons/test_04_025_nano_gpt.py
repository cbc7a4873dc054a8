"""The numbers in the lesson on nano-GPT, and that what it concludes from its run is what the run recorded."""

import itertools
import math
import re

import pytest
import recording
import torch
from aerogpt.attention import causal_mask
from aerogpt.block import Block
from aerogpt.config import PRESETS, GPTConfig
from aerogpt.functional import masked_softmax
from aerogpt.model import GPT
from aerogpt.parameters import count_parameters, preset_model
from prose import SMALL, count, gpt, says

NANO_LESSON = "04_buildgpt/aero_llm_025_visualizing_nano_gpt.md"
NANO = PRESETS["nano"]


@pytest.fixture(scope="module")
def cells() -> dict[str, dict]:
    return recording.cells(NANO_LESSON)


@pytest.fixture(scope="module")
def data() -> dict:
    """What the lesson's first cell leaves behind."""
    names: dict = {}
    exec(recording.source(NANO_LESSON, "nano-du-lieu"), names)
    return names


def numbers(line: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.\d+", line)]


def test_parameters():
    V, T, d, L = NANO.vocab_size, NANO.n_ctx, NANO.n_embd, NANO.n_layer
    attention, mlp, norms = 4 * d**2 + 4 * d, 8 * d**2 + 5 * d, 4 * d
    total = V * d + T * d + L * (attention + mlp + norms) + 2 * d
    model = preset_model("nano")
    block = model.transformer.h[0]
    assert (count(block.attn), count(block.mlp), count(block.ln_1) + count(block.ln_2)) == (attention, mlp, norms)
    assert attention + mlp + norms == 12 * d**2 + 13 * d == count(block)
    assert count_parameters(model) == total
    twice = count_parameters(model, unique=False)
    assert twice == total + V * d
    says(
        NANO_LESSON,
        f"$V = {V}$, $T = {T}$, $d = {d}$",
        f"| $Vd$ | {V * d} |",
        f"| $Td$ | {T * d} |",
        f"| $4d^2 + 4d$ | {attention:,} |",
        f"| $8d^2 + 5d$ | {mlp:,} |",
        f"| $4d$ | {norms} |",
        rf"| $3\,(12d^2 + 13d)$ | **{L * count(block):,}** |",
        f"| $2d$ | {2 * d} |",
        f"| **tổng** | | **{total:,}** |",
        f"### Đếm {total:,} tham số",
        f"{L} khối, {d} chiều, {total:,} tham số",
        f"thành {twice:,}",
        f"{L} khối, {NANO.n_head} đầu, {d} chiều: {total:,} tham số, {twice:,} nếu",
    )


def test_drawing():
    model = preset_model("nano")
    block, d = model.transformer.h[0], NANO.n_embd
    shapes = (block.attn.c_attn, block.mlp.c_fc, block.attn.c_proj, block.mlp.c_proj)
    attention, wide, back, narrow = ((layer.weight.shape[1], layer.weight.shape[0]) for layer in shapes)
    says(NANO_LESSON, "c_attn {} → {}: Q".format(*attention), "c_fc {} → {}, rồi".format(*wide))
    says(NANO_LESSON, "c_proj {} → {}".format(*back), "c_proj {} → {}".format(*narrow))
    says(NANO_LESSON, f"{NANO.n_head} đầu, mỗi đầu rộng {NANO.head_size}", f"({NANO.n_head}, {NANO.n_ctx}, {NANO.n_ctx})")
    says(NANO_LESSON, f"bảng vị trí\\n{NANO.n_ctx} × {d}", f"bảng token\\n{NANO.vocab_size} × {d}")
    assert model.lm_head.weight is model.transformer.wte.weight


def test_task(data):
    prompts = list(itertools.product("ABC", repeat=6))
    answers = {tuple(sorted(prompt)) for prompt in prompts}
    assert len(answers) == math.comb(6 + 2, 2) == data["n_dap_an"]
    says(NANO_LESSON, f"$3^6 = {len(prompts)}$ đề nhưng chỉ {len(answers)} đáp án")
    says(NANO_LESSON, f"{len(prompts)} đề chỉ có {len(answers)} đáp án")
    assert NANO.n_ctx == 2 * 6 - 1 and NANO.vocab_size == 3
    learned, seen, new = ({tuple(row) for row in data[name].tolist()} for name in ("hoc", "quen", "moi"))
    assert len(learned | seen | new) == len(learned) + len(seen) + len(new) == len(prompts)
    assert not {row[6:] for row in new} & {row[6:] for row in learned | seen}
    assert len({row[6:] for row in new}) == 7
    held_out = len(seen) + len(new)
    says(NANO_LESSON, f"trung bình bản đồ của {held_out} dãy kiểm tra", f"của {-(-held_out // 20)} dãy, đưa thẳng", f"trên cả {held_out} dãy")
    x, y = data["vao_va_dich"](data["tat_ca"])
    assert x.shape == y.shape == (len(prompts), NANO.n_ctx)
    assert (y[:, :5] == -100).all() and (y[:, 5:] == data["tat_ca"][:, 6:]).all()


def test_block_normalises_inside_its_branches():
    torch.manual_seed(0)
    block, x = Block(NANO), torch.randn(2, 11, 48)
    middle = x + block.attn(block.ln_1(x))
    torch.testing.assert_close(block(x), middle + block.mlp(block.ln_2(middle)))
    wrong = x + block.attn(x)
    assert not torch.allclose(block(x), wrong + block.mlp(wrong), atol=1e-3)


def test_zeros_appear_only_after_softmax(cells):
    future = ~causal_mask(6)
    says(NANO_LESSON, f"trong {future.sum()} ô trên đường chéo", f"cả {future.sum()} ô **sau softmax**")
    assert f"[0, 0, {future.sum()}]" in recording.printed(cells["nano-mat-na"])
    torch.manual_seed(0)
    scores = torch.randn(6, 6)
    assert (masked_softmax(scores, ~future)[future] == 0).all()
    assert (scores.masked_fill(future, 0).softmax(-1)[future] > 0).all()


def test_larger_models():
    rows = {
        "khối": (NANO.n_layer, SMALL.n_layer, 96),
        "chiều": (NANO.n_embd, SMALL.n_embd, 12_288),
        "đầu mỗi khối": (NANO.n_head, SMALL.n_head, 96),
    }
    for name, (nano, small, gpt3) in rows.items():
        says(NANO_LESSON, f"| {name} | {nano} | {small} | {gpt3:,} |")
    says(NANO_LESSON, f"| ngữ cảnh | {NANO.n_ctx} | {SMALL.n_ctx} | 2048 |")
    says(NANO_LESSON, f"| tham số | {count(preset_model('nano')):,} | {count(gpt('small')):,} | 175 tỉ |")
    assert 12 * 96 * 12_288**2 == pytest.approx(175e9, rel=0.01)
    says(NANO_LESSON, f"GPT-2 lớn nhất có {PRESETS['gpt2-xl'].n_layer}")
    says(NANO_LESSON, f"gấp {96 // NANO.n_layer} lần, còn $d^2$ gấp {(12_288 // NANO.n_embd) ** 2:,} lần")


def test_even_attention(cells):
    says(NANO_LESSON, f"thì được {sum(range(6, 12)) / 6:.1f}")
    lines = recording.printed(cells["nano-cat"]).splitlines()[1:4]
    rows = [numbers(line) for line in lines]
    places, cut, even = ([row[start : start + 3] for row in rows] for start in (0, 3, 6))
    whole = 100 * cells["nano-ban-do"]["values"]["goc"]
    assert min(itertools.chain(*places)) == places[2][2]                   # the sharpest map
    assert min(places[0]) > 7                                              # close to even
    assert all(40 < value < 55 for value in cut[0])                        # about a half
    assert all(whole - 3 < value for value in cut[1] + cut[2] + even[1] + even[2])
    assert even[0][1] == pytest.approx(whole, abs=0.1)


def test_recorded_conclusions(cells):
    value = {name: v for cell in cells.values() for name, v in cell["values"].items()}
    assert value["dung_hoc"] == value["dung_quen"] == 1 and 0.5 < value["dung_moi"] < 0.9
    assert value["cat_khoi_2"] < 0.5 and max(value["goc"] - value[name] for name in ("cat_khoi_3", "cat_33")) < 0.01
    assert value["sau_0"] < value["sau_1"] < value["sau_0"] + 0.1 < value["sau_2"] < value["sau_3"]
    assert value["sau_2"] - value["sau_1"] > value["sau_3"] - value["sau_2"]
    assert value["goc"] - value["con_04"] < 0.01 and value["con_05"] < 0.65 and value["con_610"] < 0.05
    assert 0 < value["khong_moi"] < value["dung_moi"] / 2 and 0 < value["khong_quen"] < 0.5

    errors = recording.printed(cells["nano-loi"])
    assert "False" not in errors and errors.count("True") == 4             # three kinds, all learned; one letter off
    stream = recording.printed(cells["nano-dong-du"])
    assert "vừa đọc: True" in stream
    added = [numbers(line) for line in stream.splitlines() if "cộng thêm" in line]
    others = added[0] + added[1] + added[2][:1]
    assert len(others) == 5 and added[2][1] > 3 * max(others)


def test_what_one_head_looks_at(cells):
    rows = [numbers(line) for line in recording.printed(cells["nano-noi-dung"]).splitlines() if "iết" in line]
    nothing, _, _, after_c = rows
    assert max(nothing) == nothing[0] and after_c[2] > 4 * max(after_c[:2])
    assert "CCBBAA [[2, 2, 1, 1, 0, 0]]" in recording.printed(cells["nano-tung-buoc"])
    last = numbers(recording.printed(cells["nano-mat-na"]).split("sau softmax")[1].splitlines()[6])
    assert last[4] + last[5] > 0.6 and max(last[:4]) < 0.2                 # the two letters A


def test_untied_embedding_is_the_second_count():
    torch.manual_seed(0)
    model = GPT(GPTConfig.preset("nano"))
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    says(NANO_LESSON, f"{count_parameters(model):,}; đó cũng là cỡ của bản không dùng chung trọng số")
