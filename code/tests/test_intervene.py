"""Interventions do what they say to the computation, and leave nothing behind."""

import copy

import pytest
import torch

from aerogpt.attention import attention_manual, merge_heads, split_heads
from aerogpt.config import GPTConfig
from aerogpt.intervene import ablated_attention, ablated_blocks, ablated_heads, ablated_mlp, replaced_qkv
from aerogpt.model import GPT

CONFIG = GPTConfig(vocab_size=31, n_ctx=16, n_layer=3, n_head=4, n_embd=32)
IDS = torch.arange(24).reshape(2, 12)  # (24,) -> (B, T)


@pytest.fixture
def model():
    """A model in which biases and LayerNorms are not zeros and ones: a forgotten one would show."""
    model = GPT(CONFIG).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.1, 0.3)
    return model


def state(model):
    """A copy of the state dict that later changes do not reach."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(model, before):
    """Names of the tensors that differ."""
    return [name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])]


CONTEXTS = {
    "noise": lambda m: replaced_qkv(m, "q"),
    "zeros": lambda m: replaced_qkv(m, "qkv", fill="zeros", layers=[0, 2], heads=1),
    "heads": lambda m: ablated_heads(m, 1, [0, 3]),
    "attention": lambda m: ablated_attention(m, 0),
    "mlp": lambda m: ablated_mlp(m, range(2)),
    "blocks": lambda m: ablated_blocks(m),
}


@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
def test_everything_returns_bit_for_bit(model, context):
    before, logits = state(model), model(IDS)
    tensors = {name: tensor.data_ptr() for name, tensor in model.named_parameters()}
    with context(model):
        assert (model(IDS) - logits).abs().max() > 1e-3
        assert "transformer.wte.weight" not in changed(model, before)
    assert not changed(model, before)
    assert torch.equal(model(IDS), logits)
    assert {name: tensor.data_ptr() for name, tensor in model.named_parameters()} == tensors
    assert model.lm_head.weight is model.transformer.wte.weight


@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS)
def test_everything_returns_after_an_error_and_after_training(model, context):
    before = {name: tensor for name, tensor in state(model).items() if "c_attn" in name or "c_proj" in name}
    touched = []
    with pytest.raises(KeyboardInterrupt), context(model):
        touched = [name for name in before if not torch.equal(model.get_parameter(name), before[name])]
        model.loss(IDS[:, :-1], IDS[:, 1:]).backward()
        torch.optim.SGD(model.parameters(), lr=1.0).step()
        raise KeyboardInterrupt
    assert touched
    assert all(torch.equal(model.get_parameter(name), before[name]) for name in touched)


@pytest.mark.parametrize("fill", ["zeros", "noise"])
@pytest.mark.parametrize("part", "qkv")
def test_the_right_part_of_the_fused_matrix(model, part, fill):
    """The attention of block 1 equals attention by hand in which that one of Q, K, V was replaced."""
    attention = model.transformer.h[1].attn
    x = torch.randn(2, 9, CONFIG.n_embd)
    original = dict(zip("qkv", attention.c_attn(x).chunk(3, dim=-1)))  # (B, T, 3C) -> 3 times (B, T, C)
    with replaced_qkv(model, part, layers=1, fill=fill):
        replaced = dict(zip("qkv", attention.c_attn(x).chunk(3, dim=-1)))
        output = attention(x)
    for name in "qkv":
        assert torch.equal(replaced[name], original[name]) == (name != part)
    if fill == "zeros":
        assert replaced[part].abs().max() == 0  # the bias too
    q, k, v = (split_heads(replaced[name], CONFIG.n_head) for name in "qkv")  # (B, T, C) -> (B, H, T, D)
    expected = attention.c_proj(merge_heads(attention_manual(q, k, v)[0]))  # (B, H, T, D) -> (B, T, C)
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)


def test_only_the_chosen_layers_and_heads_change(model):
    before = state(model)
    with replaced_qkv(model, "kv", layers=[0, 2], heads=[1, 3]):
        names = changed(model, before)
        rows = (model.transformer.h[2].attn.c_attn.bias != before["transformer.h.2.attn.c_attn.bias"]).tolist()
    assert names == [f"transformer.h.{layer}.attn.c_attn.{kind}" for layer in (0, 2) for kind in ("weight", "bias")]
    heads = [(part, head) for part in "qkv" for head in range(4) for _ in range(8)]  # who owns each of the 3C rows
    assert rows == [part in "kv" and head in (1, 3) for part, head in heads]


def test_noise_has_the_mean_and_spread_of_what_it_replaces():
    model = GPT(GPTConfig(vocab_size=8, n_ctx=8, n_layer=1, n_head=2, n_embd=256))
    attention = model.transformer.h[0].attn.c_attn
    with torch.no_grad():
        attention.weight[:128].normal_(0.5, 0.1)  # head 0 of Q, unlike head 1
        attention.bias[:256].normal_(-3, 2)
    with replaced_qkv(model, "q"):
        for values, mean, std in [(attention.weight[:128], 0.5, 0.1), (attention.weight[128:256], 0, 0.02),
                                  (attention.bias[:256], -3, 2)]:
            assert values.mean().item() == pytest.approx(mean, abs=0.3 * std)
            assert values.std().item() == pytest.approx(std, rel=0.2)


def test_noise_depends_on_seed_and_place_alone(model):
    def weights(**options):
        with replaced_qkv(model, **options):
            return model.transformer.h[1].attn.c_attn.weight.detach().clone()

    alone = weights(parts="k", layers=1, heads=2, seed=7)[48:56]  # the rows of head 2 of K
    assert torch.equal(weights(parts="qkv", seed=7)[48:56], alone)
    assert torch.equal(weights(parts="vk", layers=[2, 1], seed=7)[48:56], alone)
    assert not torch.equal(weights(parts="k", layers=1, heads=2, seed=8)[48:56], alone)
    with replaced_qkv(model, "q", fill="noise"):
        assert not torch.equal(model.transformer.h[0].attn.c_attn.weight[:32],
                               model.transformer.h[1].attn.c_attn.weight[:32])


def test_a_query_of_zeros_attends_to_all_the_past_equally(model):
    x = torch.randn(1, 6, CONFIG.n_embd)
    attention = model.transformer.h[0].attn
    with replaced_qkv(model, "q", layers=0, fill="zeros"):
        v = attention.c_attn(x).chunk(3, dim=-1)[2]  # (B, T, 3C) -> (B, T, C)
        means = v.cumsum(1) / torch.arange(1, 7).view(1, 6, 1)
        torch.testing.assert_close(attention(x), attention.c_proj(means), rtol=1e-4, atol=1e-4)


def test_ablated_heads_equal_attention_without_their_outputs(model):
    attention = model.transformer.h[1].attn
    x = torch.randn(2, 9, CONFIG.n_embd)
    q, k, v = (split_heads(part, 4) for part in attention.c_attn(x).chunk(3, dim=-1))  # (B, T, C) -> (B, H, T, D)
    outputs = attention_manual(q, k, v)[0]
    outputs[:, [0, 3]] = 0
    with ablated_heads(model, 1, [0, 3]):
        torch.testing.assert_close(attention(x), attention.c_proj(merge_heads(outputs)), rtol=1e-4, atol=1e-4)


def test_ablated_sublayers_add_nothing(model):
    x = torch.randn(2, 9, CONFIG.n_embd)
    block = model.transformer.h[1]
    with ablated_attention(model, 1):
        torch.testing.assert_close(block(x), x + block.mlp(block.ln_2(x)))
    with ablated_mlp(model, 1):
        torch.testing.assert_close(block(x), x + block.attn(block.ln_1(x)))
    with ablated_blocks(model, [1]):
        assert torch.equal(block(x), x)
        assert not torch.equal(model.transformer.h[0](x), x)
    with ablated_blocks(model):
        embedded = model.transformer.wte(IDS) + model.transformer.wpe(torch.arange(12))
        torch.testing.assert_close(model.hidden(IDS), model.transformer.ln_f(embedded))


def test_contexts_nest(model):
    before = state(model)
    with replaced_qkv(model, "q", layers=0):
        middle = state(model)
        with replaced_qkv(model, "qk", layers=[0, 1], fill="zeros"), ablated_mlp(model, 0):
            assert model.transformer.h[0].attn.c_attn.weight[:64].abs().max() == 0
        assert not changed(model, middle)
    assert not changed(model, before)
    with replaced_qkv(model, "qkv", layers=[]):  # the first step of an experiment that adds layers
        assert not changed(model, before)


def test_a_model_without_biases():
    model = GPT(GPTConfig(vocab_size=8, n_ctx=8, n_layer=1, n_head=2, n_embd=8, bias=False))
    before = state(model)
    with replaced_qkv(model, "v"), ablated_blocks(model):
        assert len(changed(model, before)) == 3
    assert not changed(model, before)


@pytest.mark.parametrize(
    "context, message",
    [
        (lambda m: replaced_qkv(m, ""), "letters q, k and v, got ''"),
        (lambda m: replaced_qkv(m, "qo"), "got 'qo'"),
        (lambda m: replaced_qkv(m, "q", fill="ones"), "fill must be 'zeros' or 'noise', got 'ones'"),
        (lambda m: replaced_qkv(m, "q", layers=3), "layers 0 to 2, got 3"),
        (lambda m: replaced_qkv(m, "q", heads=[0, -1]), "heads 0 to 3, got -1"),
        (lambda m: ablated_heads(m, 0, 4), "heads 0 to 3, got 4"),
        (lambda m: ablated_mlp(m, -1), "layers 0 to 2, got -1"),
    ],
)
def test_bad_requests_change_nothing(model, context, message):
    before = state(model)
    with pytest.raises(ValueError, match=message), context(model):
        raise AssertionError("the body ran")
    assert not changed(model, before)


@pytest.mark.gpu
def test_the_noise_of_a_seed_is_the_same_on_cuda(model):
    on_gpu = copy.deepcopy(model).cuda()
    before = state(on_gpu)
    with replaced_qkv(model, "qk", seed=3), replaced_qkv(on_gpu, "qk", seed=3):
        for ours, theirs in zip(model.parameters(), on_gpu.parameters()):
            torch.testing.assert_close(ours, theirs.cpu())
    assert not changed(on_gpu, before)
