"""The numbers in the lesson on the whole GPT-2."""

import math

import pytest
import torch
from aerogpt.attention import MultiHeadAttention
from aerogpt.config import PRESETS, GPTConfig
from aerogpt.functional import gelu_tanh
from aerogpt.model import GPT
from aerogpt.parameters import count_parameters
from aerogpt.tokenizer import END_OF_TEXT, gpt2_encoding
from prose import SMALL, count, gpt, says
from torch import nn
from torch.nn import functional as F

GPT2 = "04_buildgpt/aero_llm_021_mo_hinh_gpt_2_hoan_chinh_tren_gpu.md"
NANO = PRESETS["nano"]


def latex(number: int) -> str:
    return f"{number:,}".replace(",", "{,}")


@pytest.fixture(scope="module")
def small() -> GPT:
    return gpt("small")


def test_one_count_in_three_ways_and_the_double_count(small):
    d, layers = SMALL.n_embd, SMALL.n_layer
    formula = SMALL.vocab_size * d + SMALL.n_ctx * d + layers * (12 * d * d + 13 * d) + 2 * d
    state = small.state_dict()
    once = sum(tensor.numel() for name, tensor in state.items() if name != "lm_head.weight")
    assert formula == count(small) == once
    twice = sum(tensor.numel() for tensor in state.values())
    by_module = sum(p.numel() for module in small.modules() for p in module.parameters(recurse=False))
    assert twice == by_module == count_parameters(small, unique=False)
    table = small.lm_head.weight.numel()
    says(GPT2, f"{twice:,} − {table:,} = {formula:,}", f"giải thích con số {twice:,}", f"{twice:,} là số tham số của",
         f"đếm {formula:,} tham số bằng ba cách", f"{formula:,} tham số. {twice:,} là đếm trùng")
    truncated = twice // 10**6 - table // 10**6
    says(GPT2, f'Cắt {table:,} thành "{table // 10**6} triệu" rồi mới trừ thì ra {truncated}, sai hơn nửa triệu',
         f"có {twice // 10**6} triệu tham số, hoặc {twice // 10**6} − {table // 10**6} = {truncated} triệu")
    assert 0.5e6 < truncated * 10**6 - formula < 0.6e6


def test_another_vocabulary_is_another_model():
    other = 100_277
    parameters = count(gpt("small")) + (other - SMALL.vocab_size) * SMALL.n_embd
    with torch.device("meta"):
        assert count(GPT(GPTConfig.preset("gpt2", vocab_size=other))) == parameters
    says(GPT2, f"`cl100k_base` với {other:,} token thì mô hình có {parameters:,} tham số")
    assert round(parameters / 1e6) == 163


def test_vocabulary_is_bytes_merges_and_one_special_token():
    encoding = gpt2_encoding()
    merges = encoding.n_vocab - 256 - len(encoding.special_tokens_set)
    assert encoding.special_tokens_set == {END_OF_TEXT} and encoding.n_vocab == SMALL.vocab_size
    says(GPT2, f"Con số {encoding.n_vocab:,} gồm 256 byte, {merges:,} phép gộp", f"`{END_OF_TEXT}`")


def test_memory(small):
    n = count(small)
    says(GPT2, f"chừng ấy tham số chiếm {4 * n / 1e6:.1f} MB", f"tổng cộng {16 * n / 1e9:.2f} GB")
    tiny = GPT(NANO)
    optimizer = torch.optim.AdamW(tiny.parameters())
    tiny.loss(torch.tensor([[0, 1]]), torch.tensor([[1, 2]])).backward()
    optimizer.step()
    moments = sum(value.numel() for state in optimizer.state.values() for value in state.values() if value.ndim)
    assert moments == 2 * count(tiny)


def test_logits_of_2048_tokens(small):
    logits = 2048 * SMALL.vocab_size * 4
    says(GPT2, rf"$2048 \cdot 50257 \cdot 4 = {latex(logits)}$ byte, bằng {logits / (4 * count(small)):.0%} cả mô hình")
    padded = -(-SMALL.vocab_size // 64) * 64
    says(GPT2, rf"$512 \cdot {padded} \cdot 4$ byte, khoảng {512 * padded * 4 / 1e6:.0f} MB; {padded:,} là $V$ làm tròn")
    says(GPT2, "Một khúc có 512 hàng, hoặc một phần tám số hàng nếu số ấy lớn hơn", f"Đến {8 * 512:,} token")


@pytest.mark.parametrize("n_rows", [100, 2048, 4096, 8192])
def test_a_chunk_is_512_rows_or_an_eighth(n_rows, monkeypatch):
    from aerogpt import loss
    seen, mm = [], torch.mm

    def spy(a, b, out):
        seen.append(len(a))
        return mm(a, b, out=out)

    monkeypatch.setattr(torch, "mm", spy)
    loss.linear_cross_entropy(torch.randn(n_rows, 2), torch.randn(5, 2), torch.zeros(n_rows, dtype=torch.long))
    assert max(seen) == min(n_rows, max(512, n_rows // 8)) and sum(seen) == n_rows


def test_the_gradient_of_a_row_needs_only_the_row_and_its_target():
    torch.manual_seed(0)
    h, table = (torch.randn(n, 4, dtype=torch.float64, requires_grad=True) for n in (1, 7))
    z = h @ table.T
    loss = F.cross_entropy(z, torch.tensor([2]))
    by_z, by_h, by_table = torch.autograd.grad(loss, [z, h, table])
    expected = z.softmax(-1) - F.one_hot(torch.tensor([2]), 7)
    torch.testing.assert_close(by_z, expected)
    torch.testing.assert_close(by_h, expected @ table)
    torch.testing.assert_close(by_table, expected.T @ h)


def test_fused_projection(small):
    c_attn = small.transformer.h[0].attn.c_attn
    d = SMALL.n_embd
    n_out, n_in = c_attn.weight.shape
    says(GPT2, rf"${n_in} \times {n_out}$; PyTorch cất chuyển vị, $({n_out}, {n_in})$")
    assert count(c_attn) == 3 * d * d + 3 * d


def test_initial_standard_deviations():
    assert SMALL.init_std == 0.02 and SMALL.residual_std == pytest.approx(0.02 / math.sqrt(2 * SMALL.n_layer))
    says(GPT2, rf"\sqrt{{{2 * SMALL.n_layer}}}}} \approx {SMALL.residual_std:.5f}")
    with torch.device("meta"):
        model = GPT(NANO)
    residual = [name for name, _ in model.named_parameters() if name.endswith("c_proj.weight")]
    assert len(residual) == 2 * NANO.n_layer
    says(GPT2, rf"$\sqrt{{48/3}} = {math.sqrt(48 / 3):.0f}$")


def test_first_loss():
    d, log_v = SMALL.n_embd, math.log(SMALL.vocab_size)
    s = SMALL.init_std * math.sqrt(d)
    says(GPT2, rf"$\ln 50257 \approx {log_v:.2f}$", rf"$s \approx 0.02\sqrt{{768}} \approx {s:.3f}$",
         rf"$s^2/2 \approx {s * s / 2:.3f}$", rf"${log_v:.3f} + {s * s / 2:.3f} = {log_v + s * s / 2:.3f}$",
         rf"$0.554/\sqrt{{256}} \approx {s / math.sqrt(256):.3f}$", f"gần $\\ln V$ cộng {s * s / 2:.2f}")
    torch.manual_seed(0)
    z = s * torch.randn(2_000_000, dtype=torch.float64)
    assert (z.logsumexp(0) - z.mean() - math.log(len(z))).item() == pytest.approx(s * s / 2, abs=0.003)


def test_dropout_is_in_three_places_and_off_by_default():
    assert all(config.dropout == 0 for config in PRESETS.values())
    torch.manual_seed(0)
    model = GPT(GPTConfig.preset("nano", dropout=0.1))
    assert {module.p for module in model.modules() if isinstance(module, nn.Dropout)} == {0.1}
    assert isinstance(model.transformer.drop, nn.Dropout)
    attention = MultiHeadAttention(GPTConfig.preset("nano", dropout=0.1))
    x = torch.randn(1, 5, 48)
    attention.dropout.register_forward_hook(lambda module, inputs, output: inputs[0])       # the output undone
    assert not torch.equal(attention(x), attention(x))                                      # the weights are dropped
    attention.eval()
    assert torch.equal(attention(x), attention(x))


def test_fused_attention_does_not_know_the_mode():
    torch.manual_seed(0)
    q = torch.randn(1, 1, 6, 4)
    first, second = (F.scaled_dot_product_attention(q, q, q, dropout_p=0.5) for _ in range(2))
    assert not torch.equal(first, second)


def test_gelu_of_the_model_is_the_tanh_form():
    mlp, z = GPT(NANO).transformer.h[0].mlp, torch.randn(3, 48)
    torch.testing.assert_close(mlp(z), mlp.c_proj(gelu_tanh(mlp.c_fc(z))))


def test_transformers_default_dropout():
    config = pytest.importorskip("transformers").GPT2Config()
    assert config.embd_pdrop == config.attn_pdrop == config.resid_pdrop == 0.1
    says(GPT2, f"cũng đặt {config.embd_pdrop} ở ba chỗ ấy")


def test_assigned_weights_must_be_tied_again():
    model = GPT(NANO)
    model.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()}, assign=True)
    assert model.lm_head.weight is not model.transformer.wte.weight
    model.tie_weights()
    assert model.lm_head.weight is model.transformer.wte.weight


def test_copies_of_the_table_drift_apart():
    torch.manual_seed(0)
    model = GPT(NANO)
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    assert torch.equal(model.lm_head.weight, model.transformer.wte.weight)
    model.loss(torch.tensor([[0, 1]]), torch.tensor([[1, 2]])).backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert not torch.equal(model.lm_head.weight, model.transformer.wte.weight)


@pytest.mark.gpu
def test_positions_on_the_wrong_device_are_an_error():
    with pytest.raises(RuntimeError, match="same device"):
        GPT(NANO).cuda().transformer.wpe(torch.arange(4))
