"""Each layer against its namesake in torch.nn, and its initial values against their stated law."""

import math

import pytest
import torch
from torch import nn

from aerogpt import functional
from aerogpt.config import GPTConfig
from aerogpt.layers import MLP, Embedding, LayerNorm, Linear

CONFIG = GPTConfig(vocab_size=50, n_ctx=8, n_layer=8, n_head=4, n_embd=64)


def assert_same_function(ours, theirs, x):
    """Equal outputs and equal gradients of all parameters once both hold the same, random ones."""
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    theirs.load_state_dict(ours.state_dict())
    out, expected = ours(x), theirs(x)
    torch.testing.assert_close(out, expected)
    seed = torch.randn_like(out)
    out.backward(seed)
    expected.backward(seed)
    for (name, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=name)


@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_torchs_linear(bias):
    assert_same_function(Linear(12, 7, bias), nn.Linear(12, 7, bias), torch.randn(2, 3, 12))


def test_embedding_is_torchs_embedding_and_a_one_hot_product():
    ids = torch.tensor([[0, 3, 3], [9, 1, 0]])
    ours = Embedding(10, 6)
    assert_same_function(ours, nn.Embedding(10, 6), ids)
    one_hot = nn.functional.one_hot(ids, 10).float()
    torch.testing.assert_close(one_hot @ ours.weight, ours(ids))


@pytest.mark.parametrize("bad", [-1, 10])
def test_embedding_refuses_ids_outside_its_table(bad):
    with pytest.raises(IndexError):
        Embedding(10, 6)(torch.tensor([bad]))


def test_layer_norm_is_torchs_and_the_written_out_formula():
    ours, x = LayerNorm(16, eps=1e-3), torch.randn(2, 3, 16) * 4 + 2
    assert_same_function(ours, nn.LayerNorm(16, eps=1e-3), x)
    torch.testing.assert_close(ours(x), functional.layer_norm(x, ours.weight, ours.bias, eps=1e-3))
    without_bias = LayerNorm(16, bias=False)
    torch.testing.assert_close(without_bias(x), functional.layer_norm(x, without_bias.weight))


def test_mlp_is_its_equation_with_the_tanh_gelu():
    mlp, x = MLP(CONFIG), torch.randn(2, 3, 64)
    for parameter in mlp.parameters():
        nn.init.normal_(parameter)
    up, down = mlp.c_fc, mlp.c_proj
    expected = functional.gelu_tanh(x @ up.weight.T + up.bias) @ down.weight.T + down.bias
    torch.testing.assert_close(mlp(x), expected)


def test_mlp_treats_each_token_by_itself():
    mlp, x = MLP(CONFIG).double(), torch.randn(1, 4, 64, dtype=torch.float64)
    torch.testing.assert_close(mlp(x)[:, 2], mlp(x[:, 2]))


def test_default_initial_values_are_torchs():
    assert Embedding(400, 300).weight.std().item() == pytest.approx(1, abs=0.01)
    linear = Linear(70, 2000)
    bound = 1 / math.sqrt(70)
    for tensor in (linear.weight, linear.bias):
        assert tensor.abs().max().item() == pytest.approx(bound, rel=0.01) and tensor.abs().max() <= bound
        assert tensor.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    norm = LayerNorm(5)
    assert norm.weight.tolist() == [1] * 5 and norm.bias.tolist() == [0] * 5


def test_initial_values_of_gpt2():
    mlp = MLP(CONFIG)
    assert mlp.c_fc.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert mlp.c_proj.weight.std().item() == pytest.approx(0.02 / math.sqrt(2 * 8), rel=0.02)
    assert not mlp.c_fc.bias.any() and not mlp.c_proj.bias.any()


def test_dropout_acts_in_training_only():
    mlp, x = MLP(GPTConfig.preset("nano", dropout=0.5)), torch.randn(1, 4, 48)
    assert (mlp(x) == 0).float().mean().item() == pytest.approx(0.5, abs=0.15)
    mlp.eval()
    assert (mlp(x) != 0).all()


def test_printing_a_layer_says_its_shape():
    assert str(Linear(3, 4, bias=False)) == "Linear(3, 4, bias=False)"
    assert str(Embedding(5, 6)) == "Embedding(5, 6)"
    assert str(LayerNorm(7)) == "LayerNorm(7, bias=True, eps=1e-05)"
