"""The numbers in the lesson on Embedding and Linear."""

import math

import pytest
import torch
from aerogpt.layers import Embedding, Linear
from prose import SMALL, power_of_ten, says
from torch import nn

EMBEDDING = "04_buildgpt/aero_llm_03_embedding_linear.md"


def test_size_of_the_token_table():
    cells = SMALL.vocab_size * SMALL.n_embd
    says(EMBEDDING, f"{cells:,} phép nhân", f"{4 * cells / 1e6:.1f} MB ({4 * cells / 2**20:.1f} MiB")
    assert 8 * 1024 / SMALL.vocab_size < 0.164
    says(EMBEDDING, "nhiều nhất 8192 hàng, tức dưới 16.4% của 50,257 hàng")


def test_default_initialisation_is_torch_s_and_the_formula():
    bound, std = 1 / math.sqrt(70), 1 / math.sqrt(210)
    says(EMBEDDING, rf"$1/\sqrt{{70}} \approx {bound:.4f}$", rf"$1/\sqrt{{210}} \approx {std:.3f}$")
    for linear in (nn.Linear(70, 5000), Linear(70, 5000)):
        assert 0.999 * bound < linear.weight.abs().max() <= bound
        assert linear.weight.std().item() == pytest.approx(std, rel=0.01)
        assert linear.bias.abs().max() <= bound
    for embedding in (nn.Embedding(5000, 70), Embedding(5000, 70)):
        assert embedding.weight.std().item() == pytest.approx(1, rel=0.01)


def test_growth_of_a_signal():
    says(EMBEDDING, rf"$\sqrt{{768}} \approx {math.sqrt(768):.1f}$", rf"$1/\sqrt{{3}} \approx {1 / math.sqrt(3):.3f}$")
    says(EMBEDDING, rf"$0.02\sqrt{{768}} \approx {0.02 * math.sqrt(768):.3f}$")
    says(EMBEDDING, rf"$768^4 \approx {power_of_ten(math.sqrt(768) ** 8, 1)}$")


@pytest.mark.parametrize(
    "layer, argument, error",
    [
        (nn.Linear(14, 3), 14, TypeError),
        (nn.Embedding(20, 3), 14, TypeError),
        (nn.Embedding(20, 3), torch.tensor([1.0]), RuntimeError),
        (nn.Linear(14, 3), torch.arange(14), RuntimeError),
        (nn.Embedding(20, 3), torch.tensor([20]), IndexError),
    ],
)
def test_errors_in_the_table(layer, argument, error):
    with pytest.raises(error) as raised:
        layer(argument)
    assert raised.type is error


def test_gradient_of_an_embedding_is_dense_unless_sparse():
    for sparse, layout in ((False, torch.strided), (True, torch.sparse_coo)):
        table = nn.Embedding(6, 2, sparse=sparse)
        table(torch.tensor([4, 1, 4])).sum().backward()
        gradient = table.weight.grad
        assert gradient.layout is layout
        assert gradient.to_dense()[:, 0].tolist() == [0, 1, 0, 0, 2, 0]
