"""The numbers and claims in the lesson on inspecting OpenAI's GPT-2."""

import json
import math
import re

import pytest
import torch
from aerogpt import weights
from aerogpt.config import GPTConfig
from aerogpt.functional import gelu_tanh
from aerogpt.model import GPT
from prose import DOCS, SMALL, count, gpt, says

LESSON = "04_buildgpt/aero_llm_023_inspecting_openai_s_gpt2.md"
TINY = GPTConfig.preset("vi-tiny")


@pytest.fixture(scope="module")
def small() -> GPT:
    return gpt("small")


def by_number(number: int) -> str:
    return f"{number:,}"


def test_named_parameters_lists_the_tied_matrix_once(small):
    once = sum(p.numel() for _, p in small.named_parameters())
    twice = sum(p.numel() for _, p in small.named_parameters(remove_duplicate=False))
    assert once == count(small) and twice == sum(t.numel() for t in small.state_dict().values())
    assert twice - once == SMALL.vocab_size * SMALL.n_embd
    says(LESSON, f"## Đếm: {once:,}", f"tổng là {once:,}. Con số {twice:,}", f"`named_parameters()` cho {once:,}; {twice:,} là")
    product = by_number(twice - once).replace(",", "{,}")
    says(LESSON, rf"${SMALL.vocab_size} \cdot {SMALL.n_embd} = {product}$ số")
    says(LESSON, f"có người đếm ra {twice / 1e6:.0f} triệu")
    masked = once + SMALL.n_layer * SMALL.n_ctx**2
    says(LESSON, f"Còn {masked:,} là tổng khi cộng nhầm cả mười hai mặt nạ", f"có người {masked / 1e6:.0f} triệu")
    assert SMALL.n_layer == 12 and SMALL.n_ctx == 1024
    says(LESSON, f"Tập tin thật nặng khoảng {4 * masked / 1e6:.0f} MB", "mỗi cái $1024^2$ số")


def test_only_the_square_matrix_is_silent(small):
    """The table: each shape in the file and in Linear; an equal shape passes ``load_state_dict`` unnoticed."""
    for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
        out, n_in = small.get_parameter(f"transformer.h.0.{name}.weight").shape
        effect = "**im lặng**" if out == n_in else "báo lỗi"
        says(LESSON, f"| `{name}.weight` | {n_in} × {out} | {out} × {n_in} | {effect} |")
    matrices = {name for name, transposed in weights.BLOCK.items() if transposed}
    assert matrices == {f"{name}.weight" for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")}
    says(LESSON, rf"$3 \cdot {SMALL.n_embd} = {3 * SMALL.n_embd}$", f"bản thật có đến `h.{SMALL.n_layer - 1}`")


def test_the_file_in_the_cell_has_openais_names(small):
    """The listing typed in the first cell is what transformers' GPT-2 of this width has."""
    transformers = pytest.importorskip("transformers")
    text = (DOCS / LESSON).read_text(encoding="utf-8")
    listing = re.search(r"kich_thuoc = (\{.*?\n\})", text, re.DOTALL)[1]
    shapes = eval(listing, {"V": 500, "T_max": 64, "d": 768})
    with torch.device("meta"):
        theirs = transformers.GPT2Model(transformers.GPT2Config(
            vocab_size=500, n_positions=64, n_layer=1, n_head=12, n_embd=768, bos_token_id=0, eos_token_id=0))
    assert shapes == {name: tuple(p.shape) for name, p in theirs.named_parameters()}


def test_config_names_and_the_tanh_gelu():
    transformers = pytest.importorskip("transformers")
    from transformers.activations import ACT2FN
    config = transformers.GPT2Config()
    assert config.activation_function == "gelu_new" and config.n_inner is None
    assert (config.vocab_size, config.n_positions) == (SMALL.vocab_size, SMALL.n_ctx)
    x = torch.linspace(-5, 5, 1001)
    torch.testing.assert_close(ACT2FN["gelu_new"](x), gelu_tanh(x))
    says(LESSON, '`"gelu_new"` chính là GELU dạng tanh', f"có {SMALL.vocab_size:,} và {SMALL.n_ctx} hàng")


def test_temperature_without_do_sample_is_ignored():
    transformers = pytest.importorskip("transformers")
    assert not transformers.GenerationConfig().do_sample
    config = transformers.GPT2Config(vocab_size=101, n_positions=64, n_layer=1, n_head=2, n_embd=16,
                                     bos_token_id=0, eos_token_id=0, initializer_range=0.5)
    model = transformers.GPT2LMHeadModel(config).eval()
    ids = torch.tensor([[5, 7, 9]])

    def write(**options):
        torch.manual_seed(0)
        return model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, pad_token_id=0, **options)

    greedy = write()
    assert all(torch.equal(write(temperature=t), greedy) for t in (0.1, 1.0, 10.0))
    assert not torch.equal(write(temperature=10.0, do_sample=True), greedy)


def test_reference_values_of_vi_tiny():
    model_facts = json.loads((weights.DATA / "vi-tiny.json").read_text("utf-8"))["model"]
    assert {k: model_facts[k] for k in ("n_layer", "n_embd", "vocab_size", "n_ctx")} == {
        "n_layer": TINY.n_layer, "n_embd": TINY.n_embd, "vocab_size": TINY.vocab_size, "n_ctx": TINY.n_ctx}
    d = TINY.n_embd
    says(LESSON, f"{TINY.n_layer} khối rộng {d} và {TINY.vocab_size} token", f"{TINY.n_ctx} hàng rời")
    says(LESSON, rf"một hàng {d} số vào khoảng ${TINY.init_std}\sqrt{{{d}}} \approx {TINY.init_std * math.sqrt(d):.3f}$",
         rf"$1/\sqrt{{{d}}} \approx {1 / math.sqrt(d):.3f}$")
    says(LESSON, rf"$\ln {TINY.vocab_size} \approx {math.log(TINY.vocab_size):.3f}$")


def test_random_vectors_are_nearly_orthogonal():
    pairs = torch.nn.functional.cosine_similarity(*torch.randn(2, 50_000, TINY.n_embd))
    assert pairs.std().item() == pytest.approx(TINY.n_embd**-0.5, rel=0.02)
    # The band of the figure: the mean over the pairs at a distance, outside two deviations by chance alone.
    table = torch.nn.functional.normalize(torch.randn(200, TINY.n_ctx, TINY.n_embd), dim=-1)
    outside = []
    for k in (1, 10, TINY.n_ctx // 2):
        means = (table[:, k:] * table[:, :-k]).sum(-1).mean(-1)
        deviation = 1 / math.sqrt(TINY.n_embd * (TINY.n_ctx - k))
        assert means.std().item() == pytest.approx(deviation, rel=0.15)
        outside.append((means.abs() > 2 * deviation).float().mean().item())
    assert sum(outside) / 3 == pytest.approx(math.erfc(math.sqrt(2)), abs=0.03)
    says(LESSON, f"tính trung bình, ta chờ khoảng {math.erfc(math.sqrt(2)):.0%}")


def test_weights_only_is_the_default(tmp_path):
    torch.save(math.floor, tmp_path / "x.pt")                           # a function, not a weight
    with pytest.raises(Exception, match="[Ww]eights.only"):
        torch.load(tmp_path / "x.pt")
    says(LESSON, "mặc định của PyTorch từ bản 2.6")
