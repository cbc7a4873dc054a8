"""Fast decoding: the same tokens from the same model, which has its own parameters again afterwards."""

import functools

import pytest
import torch

from aerogpt.config import GPTConfig
from aerogpt.decoding import fast_decoding, packed
from aerogpt.generate import generate
from aerogpt.intervene import ablated_mlp
from aerogpt.layers import Linear
from aerogpt.lora import add_lora
from aerogpt.model import GPT

IDS = torch.arange(12).reshape(2, 6)  # (12,) -> (B, T)


@pytest.fixture
def model():
    model = GPT(GPTConfig(vocab_size=61, n_ctx=64, n_layer=2, n_head=2, n_embd=32)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0.1, 0.3)
    return model


def test_packed_matrices_are_equal_and_lie_the_other_way_round():
    wide, narrow = torch.randn(6, 4), torch.randn(4, 6)
    assert torch.equal(packed(wide), wide)
    assert packed(wide).t().is_contiguous()
    assert packed(narrow) is narrow
    assert packed(wide.bfloat16()).is_contiguous()


def test_the_same_tokens(model):
    expected = generate(model, IDS, 30, temperature=0)
    with fast_decoding(model):
        assert model.transformer.h[0].attn.c_attn.weight.t().is_contiguous()
        assert torch.equal(generate(model, IDS, 30, temperature=0), expected)
        assert torch.equal(generate(model, IDS, 30, temperature=0, use_cache=False), expected)
    assert torch.equal(generate(model, IDS, 30, temperature=0), expected)


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.bfloat16])
def test_the_model_has_its_own_parameters_again(model, dtype):
    own = dict(model.named_parameters(remove_duplicate=False))
    values = {name: tensor.clone() for name, tensor in own.items()}
    with pytest.raises(KeyboardInterrupt), fast_decoding(model, dtype=dtype):
        assert {p.dtype for p in model.parameters()} == {dtype or torch.float32}
        generate(model, IDS, 3)
        raise KeyboardInterrupt
    after = dict(model.named_parameters(remove_duplicate=False))
    assert all(after[name] is own[name] and torch.equal(own[name], values[name]) for name in own)
    assert own.keys() == after.keys()
    assert model.lm_head.weight is model.transformer.wte.weight
    model.loss(IDS, IDS).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_bfloat16_is_close(model):
    with torch.no_grad():
        expected = model(IDS).softmax(-1)
        with fast_decoding(model, dtype=torch.bfloat16):
            assert (model(IDS).float().softmax(-1) - expected).abs().max() < 0.05


@pytest.mark.parametrize("n_batch", [1, 2])
def test_one_compiled_step_serves_every_length(model, monkeypatch, n_batch):
    graphs = []

    def counting(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=counting))
    idx = IDS[:n_batch]
    expected = generate(model, idx, 30, temperature=0)
    with fast_decoding(model, compile=True):
        for n_new in (30, 11, 25):
            assert torch.equal(generate(model, idx, n_new, temperature=0), expected[:, : 6 + n_new])
        assert len(graphs) == 1
        (step,) = graphs
        assert (torch.nn.functional.linear in {node.target for node in step.graph.nodes}) == (n_batch > 1)
        assert torch.equal(generate(model, idx, 30, temperature=0, use_cache=False), expected)
    assert "forward" not in vars(model)
    assert {type(module) for module in model.modules() if isinstance(module, Linear)} == {Linear}
    generate(model, idx, 5)
    assert len(graphs) == 1


def test_together_with_adapters_and_interventions(model):
    add_lora(model, ["c_attn"])
    with ablated_mlp(model, 0):
        expected = generate(model, IDS, 20, temperature=0)
    with fast_decoding(model), ablated_mlp(model, 0):
        assert torch.equal(generate(model, IDS, 20, temperature=0), expected)
    assert not torch.equal(generate(model, IDS, 20, temperature=0), expected)
