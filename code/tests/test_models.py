"""The five models: their sizes, what they can and cannot see, and that each can learn what its parts allow."""

import math

import pytest
import torch

from aerogpt.config import GPTConfig
from aerogpt.functional import cross_entropy
from aerogpt.model import GPT
from aerogpt.models import Model1, Model2, Model3, Model4, Model5
from aerogpt.parameters import count_parameters

V, T, C = 29, 8, 16
CONFIG = GPTConfig(vocab_size=V, n_ctx=T, n_layer=2, n_head=1, n_embd=C)
MAKE = {
    "Model1": lambda: Model1(V, C),
    "Model2": lambda: Model2(V, T, C),
    "Model3": lambda: Model3(V, T, C),
    "Model4": lambda: Model4(CONFIG),
    "Model5": lambda: Model5(CONFIG),
}
every_model = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)


@every_model
def test_ids_become_logits(make):
    logits = make()(torch.randint(V, (3, T)))
    assert logits.shape == (3, T, V) and logits.isfinite().all()


def test_exact_sizes():
    assert count_parameters(Model1(100_000, 64)) == 12_900_000
    assert count_parameters(Model2(V, T, C)) == V * C + T * C + 2 * C
    head = 4 * (C * C + C)
    assert count_parameters(Model3(V, T, C)) == V * C + T * C + 4 * C + head
    block = 12 * C * C + 13 * C
    assert count_parameters(Model4(CONFIG)) == V * C + T * C + 2 * C + 2 * block == count_parameters(GPT(CONFIG))


@every_model
def test_no_model_sees_the_future(make):
    model, idx = make(), torch.randint(V, (1, T))
    other = idx.clone()
    other[:, 5:] = (other[:, 5:] + 1) % V
    torch.testing.assert_close(model(idx)[:, :5], model(other)[:, :5])
    assert not torch.allclose(model(idx)[:, 5:], model(other)[:, 5:])


@pytest.mark.parametrize("name, sees_the_past", [("Model1", False), ("Model2", False), ("Model3", True),
                                                 ("Model4", True), ("Model5", True)])
def test_the_past_is_seen_from_model_3_on(name, sees_the_past):
    model, idx = MAKE[name](), torch.randint(V, (1, T))
    other = idx.clone()
    other[:, 0] = (other[:, 0] + 1) % V
    same = torch.allclose(model(idx)[:, -1], model(other)[:, -1], atol=1e-9, rtol=0)
    assert same != sees_the_past


def test_model_1_does_not_know_positions_and_model_2_does():
    idx = torch.full((1, T), 3)
    first, *others = Model1(V, C)(idx)[0]
    assert all(torch.equal(first, other) for other in others)
    first, *others = Model2(V, T, C)(idx)[0]
    assert not any(torch.allclose(first, other) for other in others)


@pytest.mark.parametrize("name", ["Model2", "Model3", "Model4", "Model5"])
def test_contexts_that_are_too_long_are_refused(name):
    with pytest.raises(ValueError, match=f"{T + 1} tokens are more than the context of {T}: crop the input"):
        MAKE[name]()(torch.zeros(1, T + 1, dtype=torch.long))


@pytest.mark.parametrize("name", ["Model2", "Model3", "Model4", "Model5"])
def test_from_model_2_on_embedding_and_unembedding_are_one(name):
    model = MAKE[name]()
    wte = model.transformer.wte if name == "Model5" else model.wte
    assert model.lm_head.weight is wte.weight


def test_tied_weights_need_to_be_small():
    idx, targets = torch.randint(5000, (2, 4, 8))
    assert cross_entropy(Model2(5000, 8, 256)(idx), targets).item() == pytest.approx(math.log(5000), abs=0.1)
    assert cross_entropy(Model2(5000, 8, 256, std=1.0)(idx), targets).item() > 2 * math.log(5000)


def test_model_3_returns_its_attention():
    _, weights = Model3(V, T, C)(torch.randint(V, (2, T)), return_attention=True)
    assert weights.shape == (2, T, T) and not weights.triu(1).any()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, T))


def test_model_4_and_model_5_compute_the_same():
    four, five = Model4(CONFIG), Model5(CONFIG)
    four.load_state_dict({name.removeprefix("transformer."): tensor for name, tensor in five.state_dict().items()})
    idx = torch.randint(V, (2, T))
    torch.testing.assert_close(four(idx), five(idx))


@every_model
def test_every_model_learns_a_cycle(make):
    """The next token follows from the last one, which even Model 1 can learn."""
    model = make()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-2)
    idx = torch.arange(V).repeat(2)
    for step in range(60):
        windows = torch.stack([idx[i:i + T + 1] for i in (torch.arange(0, V, 4) + step) % V])
        loss = cross_entropy(model(windows[:, :-1]), windows[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 1 < math.log(V)
