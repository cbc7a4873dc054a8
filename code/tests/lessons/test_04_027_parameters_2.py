"""The numbers in the lesson on where the parameters of GPT-2 are."""

import math

import pytest
import torch
from aerogpt.benchmark import forward_flops
from aerogpt.config import PRESETS, GPTConfig
from aerogpt.layers import LayerNorm
from aerogpt.model import GPT
from aerogpt.parameters import GROUPS, group_parameters
from prose import SIZES, SMALL, count, gpt, says

LESSON = "04_buildgpt/aero_llm_027_codechallenge_how_many_parameters_part_2_.md"


@pytest.fixture(scope="module")
def models() -> dict[str, GPT]:
    return {size: gpt(size) for size in SIZES}


@pytest.fixture(scope="module")
def groups(models) -> dict[str, dict[str, int]]:
    return {size: group_parameters(model) for size, model in models.items()}


@pytest.fixture(scope="module")
def shares(groups) -> dict[str, dict[str, float]]:
    return {size: {group: number / sum(parts.values()) for group, number in parts.items()} for size, parts in groups.items()}


def test_the_formulas_of_the_groups(models, groups):
    for size, model in models.items():
        c = model.config
        V, T, L, d = c.vocab_size, c.n_ctx, c.n_layer, c.n_embd
        assert groups[size] == {
            "token embedding": V * d, "position embedding": T * d, "attention": L * (4 * d * d + 4 * d),
            "MLP": L * (8 * d * d + 5 * d), "LayerNorm": 2 * d * (2 * L + 1),
        }
        assert sum(groups[size].values()) == count(model)
    says(LESSON, r"| chú ý | $L(4d^2 + 4d)$ |", r"| MLP | $L(8d^2 + 5d)$ |", r"| LN | $2d(2L + 1)$ |")


def test_the_order_of_the_groups(groups):
    small, xl = groups["small"], groups["XL"]
    assert small["MLP"] > small["token embedding"] > small["attention"]
    assert xl["MLP"] > xl["attention"] > xl["token embedding"]


def test_unknown_names_are_not_lost():
    assert list(GROUPS)[-1] == "other" and GROUPS["other"] == ""
    assert group_parameters(torch.nn.Linear(3, 2)) == {"other": 8}


def test_truncated_and_rounded_shares(shares):
    pairs = [(100 * share["attention"], 100 * share["MLP"]) for share in shares.values()]
    says(LESSON, ", ".join(f'"{math.floor(a)} và {math.floor(m)}"' for a, m in pairs))
    says(LESSON, ", ".join(f"{a:.0f} và {m:.0f}" for a, m in pairs) + " phần trăm")


def test_shares_from_small_to_xl(shares):
    small, xl = shares["small"], shares["XL"]
    said = {"nhúng token": ("token embedding", 1), "chú ý": ("attention", 1), "MLP": ("MLP", 1), "LN": ("LayerNorm", 3)}
    says(LESSON, ", ".join(f"{name} {small[group]:.{digits}%} → {xl[group]:.{digits}%}"
                           for name, (group, digits) in said.items()))


def test_the_token_table_grows_while_its_share_falls(groups, shares):
    small, xl = (groups[size]["token embedding"] for size in ("small", "XL"))
    says(LESSON, f"từ {small:,} lên {xl:,} tham số, gấp {xl / small:.2f} lần",
         ", ".join(f"{share['token embedding']:.1%}" for share in shares.values()))


def test_mlp_over_attention(groups):
    for size, parts in groups.items():
        d = PRESETS[SIZES[size]].n_embd
        assert parts["MLP"] * (4 * d + 4) == parts["attention"] * (8 * d + 5)
        assert parts["MLP"] / parts["attention"] == pytest.approx(2 - 3 / (4 * d + 4), abs=1e-12)
        assert parts["MLP"] < 2 * parts["attention"]


def test_growth(models):
    small, xl = models["small"], models["XL"]
    one = count(xl.transformer.h[0]) / count(small.transformer.h[0])
    assert one == pytest.approx((1600 / 768) ** 2, abs=0.005)
    stack = count(xl.transformer.h) / count(small.transformer.h)
    tables = xl.transformer.wte.weight.numel() / small.transformer.wte.weight.numel()
    says(LESSON, f"gấp {one:.2f} lần khối của bản nhỏ", f"Số khối tăng {xl.config.n_layer // small.config.n_layer} lần nữa",
         f"cả chồng khối tăng {stack:.2f} lần. Bảng nhúng chỉ tăng {tables:.2f} lần, và cả mô hình tăng {count(xl) / count(small):.2f} lần")


def test_one_number_decides_the_shares(shares):
    even = (50257 + 1024) / 12
    says(LESSON, rf"tức $s \approx {even:.0f}$")
    s = {size: PRESETS[name].n_layer * PRESETS[name].n_embd for size, name in SIZES.items()}
    says(LESSON, rf"$s = 12 \cdot 768 = {s['small']}$", f"$s = {s['XL']:,}$".replace(",", "{,}"))
    for size, share in shares.items():
        total = 50257 + 1024 + 12 * s[size]
        approximations = 50257 / total, 4 * s[size] / total, 8 * s[size] / total
        assert [share[g] for g in ("token embedding", "attention", "MLP")] == pytest.approx(approximations, abs=4e-4)


def test_limits():
    with torch.device("meta"):
        parts = group_parameters(GPT(GPTConfig(50257, 1024, 2, 1, 2**24)))
    total = sum(parts.values())
    assert parts["attention"] / total == pytest.approx(1 / 3, abs=1e-4)
    assert parts["MLP"] / total == pytest.approx(2 / 3, abs=1e-4)


def test_layer_norms(models, groups, shares):
    counts = [parts["LayerNorm"] for parts in groups.values()]
    says(LESSON, f"{counts[0]:,}, {counts[1]:,}, {counts[2]:,} và {counts[3]:,}")
    of = [share["LayerNorm"] for share in shares.values()]
    says(LESSON, f"{of[0]:.3%} ở bản nhỏ, {of[1]:.3%}, {of[2]:.3%}, rồi {of[3]:.3%} ở XL")
    assert min(of) > 1e-4
    says(LESSON, f"phải vượt khoảng {1 / (3 * 1e-4):.0f}")
    norm = LayerNorm(768)
    assert [tuple(p.shape) for p in norm.parameters()] == [(768,), (768,)] and norm.eps == 1e-5
    for model in models.values():
        assert sum(isinstance(m, LayerNorm) for m in model.modules()) == 2 * model.config.n_layer + 1


def test_products_of_small(shares):
    T, d, L = 1024, SMALL.n_embd, SMALL.n_layer
    total = forward_flops(SMALL, 1, T) / (2 * T)
    attention, mlp = L * (4 * d * d + 2 * T * d) / total, L * 8 * d * d / total
    small = shares["small"]
    says(LESSON, f"chú ý giữ {small['attention']:.1%} tham số mà tốn {attention:.1%} phép nhân; "
         f"MLP thì ngược lại, {small['MLP']:.1%} và {mlp:.1%}")
    longer = forward_flops(SMALL, 1, 2 * T) / (4 * T)
    assert L * (4 * d * d + 4 * T * d) / longer > attention


def test_gpt3():
    for layers, heads, d, digits in ((32, 32, 4096, 1), (96, 96, 12288, 2)):
        share = 50257 / (50257 + 2048 + 12 * layers * d)
        says(LESSON, rf"$50257/(50257 + 2048 + 12 \cdot {layers * d}) \approx {100 * share:.{digits}f}\%$")
        with torch.device("meta"):
            parts = group_parameters(GPT(GPTConfig(50257, 2048, layers, heads, d)))
        total = sum(parts.values())
        assert parts["token embedding"] / total == pytest.approx(share, abs=1e-4)
        assert parts["LayerNorm"] / total == pytest.approx(1 / (3 * d), rel=0.05)
    says(LESSON, f"tức {1 / (3 * 4096):.3%} và {1 / (3 * 12288):.4%}")


def test_llama():
    transformers = pytest.importorskip("transformers")
    c = transformers.LlamaConfig()
    assert (c.num_hidden_layers, c.hidden_size, c.vocab_size) == (32, 4096, 32_000) and not c.tie_word_embeddings
    assert c.intermediate_size == 256 * math.ceil(8 * c.hidden_size / 3 / 256)
    with torch.device("meta"):
        llama = transformers.LlamaForCausalLM(c)
    attention = sum(p.numel() for name, p in llama.named_parameters() if ".self_attn." in name)
    mlp = sum(p.numel() for name, p in llama.named_parameters() if ".mlp." in name)
    d, h = c.hidden_size, c.intermediate_size
    assert (attention, mlp) == (32 * 4 * d * d, 32 * 3 * d * h)
    total = count(llama)
    assert total == attention + mlp + 2 * 32_000 * d + 65 * d
    assert 0.31 < attention / total < 1 / 3 and 0.64 < mlp / total < 2 / 3
    says(LESSON, f"Tổng là {total / 1e9:.2f} tỉ, khớp với {total / 1e9:.1f} tỉ trong bài báo")
