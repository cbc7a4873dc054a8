"""The parameter counts that several lessons state."""

import pytest
from aerogpt.attention import MultiHeadAttention
from aerogpt.config import PRESETS, GPTConfig
from prose import SIZES, SMALL, count, gpt, power_of_ten, says

ARCHITECTURE = "04_buildgpt/kien_truc_mo_hinh_ngon_ngu_lon.md"
EMBEDDING = "04_buildgpt/aero_llm_03_embedding_linear.md"
MULTI_HEAD = "04_buildgpt/aero_llm_019_multihead_attention_theory_and_implementation.md"


@pytest.mark.parametrize("size", SIZES)
def test_tying_saves_the_share_in_the_table(size):
    model = gpt(size)
    tied = count(model)
    untied = tied + model.lm_head.weight.numel()
    width = model.config.n_embd
    says(EMBEDDING, f"| {size} | {width} | {untied:,} | {tied:,} | {1 - tied / untied:.1%} |")
    says(ARCHITECTURE, f"{tied:,}")
    d, layers = width, model.config.n_layer
    assert tied == 50257 * d + 1024 * d + layers * (12 * d * d + 13 * d) + 2 * d
    assert count(model.transformer.h[0]) == 12 * d * d + 13 * d
    assert count(model.transformer.h[0].attn) == 4 * d * d + 4 * d
    assert count(model.transformer.h[0].mlp) == 8 * d * d + 5 * d


def test_tying_in_millions():
    tied = count(gpt("small"))
    untied = tied + SMALL.vocab_size * SMALL.n_embd
    says(EMBEDDING, f"từ {untied / 1e6:.1f} triệu xuống {tied / 1e6:.1f} triệu", f"{1 - tied / untied:.1%} ở GPT-2 nhỏ")
    says(ARCHITECTURE, f"GPT-2 nhỏ có {untied // 10**6} triệu tham số")


def test_share_of_the_token_table():
    small, xl = (model.lm_head.weight.numel() / count(model) for model in (gpt("small"), gpt("XL")))
    says(ARCHITECTURE, f"Bảng token giảm từ {small:.1%} ở cỡ nhỏ xuống {xl:.1%} ở XL")


def test_lora_and_gpt3():
    added = SMALL.n_layer * 8 * sum(MultiHeadAttention(SMALL).c_attn.weight.shape)
    says(ARCHITECTURE, f"= {added:,}".replace(",", "{,}") + "$ tham số", f"khoảng {added / count(gpt('small')):.2%} mô hình")
    says(ARCHITECTURE, rf"$12 L d^2 \approx {power_of_ten(12 * 96 * 12288**2, 2)}$")


def test_attention_parameters():
    one = count(MultiHeadAttention(SMALL))
    says(MULTI_HEAD, f"= {one:,}$".replace(",", "{,}"), f"Mười hai tầng cộng lại là {12 * one:,}")
    says(MULTI_HEAD, f"tức {12 * one / count(gpt('small')):.1%} mô hình")


def test_every_gpt2_has_heads_of_64():
    for name in SIZES.values():
        assert PRESETS[name].head_size == 64
        says(MULTI_HEAD, f"{PRESETS[name].n_embd}/{PRESETS[name].n_head}")


def test_the_number_of_heads_changes_no_parameter():
    counts = {count(MultiHeadAttention(GPTConfig(10, 8, 1, heads, 128))) for heads in (1, 2, 4, 8, 16, 32)}
    assert counts == {4 * 128**2 + 4 * 128}
