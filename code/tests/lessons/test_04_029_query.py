"""The lesson on replacing Q, K and V: its algebra on a model with large biases, its conclusions on vi-tiny."""

import copy
import json
from contextlib import contextmanager

import pytest
import torch
from aerogpt.attention import attention_manual, causal_mask, split_heads
from aerogpt.config import PRESETS, GPTConfig
from aerogpt.corpus import read_documents, split_documents
from aerogpt.data import consecutive_windows, encode_documents
from aerogpt.generate import load_model
from aerogpt.intervene import ablated_attention, replaced_qkv
from aerogpt.model import GPT
from aerogpt.parameters import count_parameters, preset_model
from aerogpt.weights import DATA
from prose import says
from torch.nn import functional as F

QUERY = "04_buildgpt/aero_llm_029_codechallenge_do_we_really_need_q.md"
TINY = PRESETS["vi-tiny"]
W, T = 8, 128


@pytest.fixture
def noisy():
    """A model whose biases are far from 0."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=31, n_ctx=16, n_layer=2, n_head=4, n_embd=32)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.1, 0.3)
    return model


IDS = torch.arange(24).reshape(2, 12)


@contextmanager
def matrix_only(model, part):
    """Zeros for the matrix of a part; its bias stays."""
    old = [block.attn.c_attn.bias.detach().clone() for block in model.transformer.h]
    rows = slice("qkv".index(part) * model.config.n_embd, ("qkv".index(part) + 1) * model.config.n_embd)
    with replaced_qkv(model, part, fill="zeros"):
        for block, bias in zip(model.transformer.h, old):
            block.attn.c_attn.bias.data[rows] = bias[rows]
        yield


def first_weights(model, ids):
    block = model.transformer.h[0]
    x = block.ln_1(model.transformer.wte(ids) + model.transformer.wpe.weight[: ids.shape[1]])
    q, k, v = (split_heads(part, model.config.n_head) for part in block.attn.c_attn(x).chunk(3, dim=-1))
    return attention_manual(q, k, v)[1]


@torch.no_grad()
def test_zero_queries_are_zero_keys_and_a_forgotten_bias_matters_only_for_queries(noisy):
    mask = causal_mask(IDS.shape[1])
    uniform = mask / mask.sum(1, keepdim=True)
    far, logits = {}, {}
    for part in "qk":
        for name, context in (("all", replaced_qkv(noisy, part, fill="zeros")), ("matrix", matrix_only(noisy, part))):
            with context:
                far[part, name] = (first_weights(noisy, IDS) - uniform).abs().max().item()
                logits[part, name] = noisy(IDS)
    assert max(far["q", "all"], far["k", "all"], far["k", "matrix"]) < 1e-5
    assert far["q", "matrix"] > 0.05
    for case in (("k", "all"), ("k", "matrix")):
        torch.testing.assert_close(logits[case], logits["q", "all"], rtol=1e-4, atol=1e-4)
    assert (logits["q", "matrix"] - logits["q", "all"]).abs().max() > 0.01


@torch.no_grad()
def test_only_the_product_of_query_and_key_matters(noisy):
    other, size = copy.deepcopy(noisy), noisy.config.head_size
    change = torch.linalg.qr(torch.randn(size, size))[0] @ torch.diag(torch.linspace(0.5, 2, size))
    for block in other.transformer.h:
        for tensor in (block.attn.c_attn.weight.data, block.attn.c_attn.bias.data):
            heads = tensor.unflatten(0, (3, 4, size))
            for head in range(4):
                heads[0, head] = change.T @ heads[0, head]
                heads[1, head] = torch.linalg.inv(change) @ heads[1, head]
    assert (other.transformer.h[0].attn.c_attn.weight - noisy.transformer.h[0].attn.c_attn.weight).abs().max() > 0.1
    torch.testing.assert_close(other(IDS), noisy(IDS), rtol=1e-3, atol=1e-3)


def test_a_state_dict_is_no_backup(noisy):
    alias, backup = noisy.state_dict(), copy.deepcopy(noisy.state_dict())
    with replaced_qkv(noisy, "q"):
        now = noisy.state_dict()
        assert all(torch.equal(alias[name], now[name]) for name in now)
        changed = [name for name in now if not torch.equal(backup[name], now[name])]
        assert changed and all("c_attn" in name for name in changed)
        assert all(torch.equal(backup[name][32:], now[name][32:]) for name in changed)  # K and V
    assert all(torch.equal(backup[name], tensor) for name, tensor in noisy.state_dict().items())


@pytest.fixture(scope="module")
def measured():
    """What each intervention in all blocks of vi-tiny adds to the loss, one number a window."""
    model, tokenizer = load_model("vi-tiny")
    share = json.loads((DATA / "vi-tiny.json").read_text("utf-8"))["text"]["validation_share"]
    _, held_out = split_documents(read_documents([DATA / "vi-tiny-corpus.txt"]), share)
    inputs, targets = consecutive_windows(encode_documents(held_out, tokenizer), T)
    chosen = torch.linspace(0, len(inputs) - 2, W).long()
    inputs, targets = inputs[chosen], targets[chosen]

    @torch.no_grad()
    def loss():
        logits = model(inputs)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(W, T).mean(1)

    whole = loss()
    result = {"whole": whole}
    for part in "qkv":
        for fill in ("zeros", "noise"):
            with replaced_qkv(model, part, fill=fill):
                result[part, fill] = loss() - whole
    with replaced_qkv(model, "q", layers=model.config.n_layer - 1):
        result["last"] = loss() - whole
    with ablated_attention(model):
        result["none"] = loss() - whole
    return result


def errors(difference):
    """How many standard errors the mean over windows is away from 0."""
    return (difference.mean() / (difference.std() / W**0.5)).item()


def test_conclusions_about_vi_tiny(measured):
    assert measured["whole"].max() - measured["whole"].min() > 0.5  # windows differ much
    for fill in ("zeros", "noise"):
        assert errors(measured["q", fill]) > 3                      # the model uses its queries
        assert errors(measured["v", fill] - measured["q", fill]) > 2.5  # and its values more
    torch.testing.assert_close(measured["q", "zeros"], measured["k", "zeros"], rtol=1e-3, atol=1e-4)
    assert 0.1 < measured["q", "zeros"].mean() / measured["none"].mean() < 0.9
    assert measured["last"].mean() < measured["q", "noise"].mean()
    says(QUERY, "Vậy mô hình này **có dùng** truy vấn", "Các cửa sổ khó dễ khác nhau nhiều")


def test_numbers():
    d, size = TINY.n_embd, TINY.head_size
    says(QUERY, f"$d = {d}$ và $d_h = {size}$", f"$2 \\cdot {d} \\cdot {size} = {2 * d * size:,}$".replace(",", "{,}"),
         f"${d}^2 = {d * d:,}$".replace(",", "{,}"), f"mô hình tiếng Việt {TINY.n_layer} khối")
    attention = preset_model("vi-tiny").transformer.h[0].attn
    matrices = attention.c_attn.weight.numel() + attention.c_proj.weight.numel()
    assert d * d / matrices == 1 / 4
    says(QUERY, "Ma trận truy vấn chiếm một phần tư số trọng số của chú ý")
    times = count_parameters(preset_model("gpt2")) / count_parameters(preset_model("vi-tiny"))
    says(QUERY, f"Mô hình lớn hơn khoảng {round(times, -1):.0f} lần")
    assert TINY.n_layer + 1 == 7 and W * T > 1000
    says(QUERY, "Bảy điểm của một đường cong (kể cả điểm 0)", "hơn một nghìn token")
