"""GPT against transformers' GPT-2 on the same weights, and everything that GPT promises beyond the logits."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from aerogpt.attention import KVCache
from aerogpt.config import GPTConfig
from aerogpt.model import GPT

CONFIG = GPTConfig(vocab_size=101, n_ctx=32, n_layer=3, n_head=4, n_embd=64)


def ids(*shape):
    return torch.randint(CONFIG.vocab_size, shape)


def test_logits_are_those_of_transformers(gpt_and_reference):
    model, reference = gpt_and_reference
    idx = ids(3, 32)
    logits, expected = model(idx), reference(idx).logits
    assert expected.std() > 1                                           # the comparison has something to compare
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model(idx, last_only=True), expected[:, -1:], atol=1e-5, rtol=1e-5)
    hidden = reference.transformer(idx).last_hidden_state
    torch.testing.assert_close(model.hidden(idx), hidden, atol=1e-5, rtol=1e-5)


def test_at_its_initial_scale_gpt_is_within_1e_5_of_transformers(gpt_and_reference):
    """The design's bar, absolute, with weights of GPT-2's own size and random biases and norms."""
    for module in gpt_and_reference:
        for name, parameter in module.named_parameters():
            if "ln_" not in name:
                parameter.data *= 0.1
    model, reference = gpt_and_reference
    idx = ids(3, 32)
    assert (model(idx) - reference(idx).logits).abs().max() <= 1e-5


def test_the_exact_gelu_would_be_noticed(gpt_and_reference, monkeypatch):
    model, reference = gpt_and_reference
    idx = ids(3, 32)
    gelu = F.gelu
    monkeypatch.setattr(F, "gelu", lambda x, approximate: gelu(x))
    assert (model(idx) - reference(idx).logits).abs().max() > 1e-4


def test_loss_and_gradients_are_those_of_transformers(gpt_and_reference):
    model, reference = gpt_and_reference
    idx = ids(3, 33)
    inputs, targets = idx[:, :-1], idx[:, 1:].clone()
    targets[0, :7] = -100
    loss = model.loss(inputs, targets)
    expected = F.cross_entropy(reference(inputs).logits.flatten(0, 1), targets.flatten())
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    matrices = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    theirs = dict(reference.named_parameters())
    for name, parameter in model.named_parameters():
        gradient = theirs.pop(name).grad
        torch.testing.assert_close(parameter.grad, gradient.T if name.endswith(matrices) else gradient,
                                   atol=1e-5, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")
    assert not theirs


def test_left_padding_changes_nothing(gpt_and_reference):
    model, reference = gpt_and_reference
    lengths = [9, 4, 1]
    rows = [ids(1, length) for length in lengths]
    padded = torch.cat([F.pad(row, (9 - row.shape[1], 0), value=7) for row in rows])
    attention_mask = torch.cat([F.pad(torch.ones_like(row), (9 - row.shape[1], 0)) for row in rows])
    logits = model(padded, attention_mask=attention_mask)
    assert logits.isfinite().all()
    for row, length, found in zip(rows, lengths, logits, strict=True):
        torch.testing.assert_close(found[-length:], model(row)[0], atol=1e-4, rtol=1e-4)
    position_ids = (attention_mask.cumsum(-1) - 1).clamp(min=0)
    expected = reference(padded, attention_mask=attention_mask, position_ids=position_ids).logits
    real = attention_mask.bool()
    torch.testing.assert_close(logits[real], expected[real], atol=1e-4, rtol=1e-4)
    given = model(padded, attention_mask=attention_mask, position_ids=position_ids)
    torch.testing.assert_close(given[real], logits[real])


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("sizes", [[1] * 12, [12], [5, 7], [5, 1, 1, 4, 1]])
def test_a_cache_changes_nothing(gpt_and_reference, sizes, padded):
    model, _ = gpt_and_reference
    idx = ids(2, 12)
    mask = torch.ones_like(idx)
    if padded:
        mask[1, :3] = 0
    expected = model(idx, attention_mask=mask)
    cache = KVCache(CONFIG, 2, 12)
    with torch.no_grad():
        for chunk in idx.split(sizes, dim=1):
            start = cache.length
            end = start + chunk.shape[1]
            logits = model(chunk, cache=cache, attention_mask=mask[:, :end] if padded else None)
            assert cache.length == end
            torch.testing.assert_close(logits[mask[:, start:end] == 1], expected[:, start:end][mask[:, start:end] == 1],
                                       atol=1e-4, rtol=1e-4)


def test_the_cache_is_untouched_by_a_refused_input():
    model, cache = GPT(CONFIG), KVCache(CONFIG, 1, 8)
    with torch.no_grad():
        model(ids(1, 6), cache=cache)
        with pytest.raises(ValueError, match="3 more tokens do not fit: the cache holds 6 of 8"):
            model(ids(1, 3), cache=cache)
        assert cache.length == 6 and not any(keys[:, :, 6:].any() for keys in cache.keys)
        model(ids(1, 2), cache=cache)


@pytest.mark.parametrize("idx, options, message", [
    (torch.zeros(5, dtype=torch.long), {}, r"shape \(batch, at least one token\), got \(5,\)"),
    (torch.zeros(2, 0, dtype=torch.long), {}, r"got \(2, 0\)"),
    (torch.zeros(1, 33, dtype=torch.long), {}, "33 tokens are more than the context of 32: crop"),
    (torch.zeros(2, 4, dtype=torch.long), {"attention_mask": torch.ones(2, 3)}, r"shape \(2, 4\), got \(2, 3\)"),
])
def test_inputs_that_do_not_fit_are_refused(idx, options, message):
    with pytest.raises(ValueError, match=message):
        GPT(CONFIG)(idx, **options)


@pytest.mark.parametrize("bad", [-1, 101])
def test_ids_outside_the_vocabulary_are_refused(bad):
    with pytest.raises(IndexError):
        GPT(CONFIG)(torch.tensor([[bad]]))
    with pytest.raises(RuntimeError, match="out of bounds"):
        GPT(CONFIG).loss(torch.tensor([[0]]), torch.tensor([[bad]]))


def test_targets_must_have_the_shape_of_the_ids():
    with pytest.raises(ValueError, match=r"targets \(2, 3\) must have the shape of the ids \(2, 4\)"):
        GPT(CONFIG).loss(ids(2, 4), ids(2, 3))


@pytest.mark.parametrize("convert", [
    lambda model: model, copy.deepcopy, lambda model: model.double(), lambda model: model.to("cpu", torch.bfloat16),
], ids=["new", "deepcopy", "double", "bfloat16"])
def test_tied_weights_are_one_tensor(convert):
    model = convert(GPT(CONFIG))
    assert model.lm_head.weight is model.transformer.wte.weight
    names = [name for name, _ in model.named_parameters()]
    assert "transformer.wte.weight" in names and "lm_head.weight" not in names


def test_training_the_head_trains_the_embedding():
    model = GPT(CONFIG)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    before = model.transformer.wte.weight.clone()
    model.loss(ids(2, 4), ids(2, 4)).backward()
    optimizer.step()
    assert torch.equal(model.lm_head.weight, model.transformer.wte.weight)
    assert not torch.equal(model.lm_head.weight, before)


def test_the_state_dict_has_openais_names_and_nothing_else():
    state = GPT(GPTConfig.preset("nano")).state_dict()
    block = ["ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"]
    parts = [f"h.{layer}.{part}" for layer in range(3) for part in block] + ["ln_f"]
    assert list(state) == (["transformer.wte.weight", "transformer.wpe.weight"] +
                           [f"transformer.{part}.{kind}" for part in parts for kind in ("weight", "bias")] +
                           ["lm_head.weight"])
    assert state["transformer.h.0.attn.c_attn.weight"].shape == (3 * 48, 48)
    assert state["transformer.h.0.mlp.c_fc.weight"].shape == (4 * 48, 48)


def test_without_biases_there_are_none():
    model = GPT(GPTConfig.preset("nano", bias=False))
    assert not [name for name, _ in model.named_parameters() if name.endswith("bias")]
    assert model(torch.tensor([[0, 1, 2]])).isfinite().all()


def test_initial_values_are_those_of_gpt2():
    config = GPTConfig(vocab_size=1000, n_ctx=100, n_layer=8, n_head=4, n_embd=128)
    for name, parameter in GPT(config).named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "ln_" in name:
            assert (parameter == 1).all(), name
        else:
            expected = 0.02 / math.sqrt(2 * 8) if name.endswith("c_proj.weight") else 0.02
            assert parameter.std().item() == pytest.approx(expected, rel=0.03), name
            assert abs(parameter.mean().item()) < expected / 20, name


def test_a_new_model_is_as_unsure_as_it_can_be():
    config = GPTConfig(vocab_size=5000, n_ctx=32, n_layer=2, n_head=4, n_embd=256)
    idx = torch.randint(5000, (8, 33))
    loss = GPT(config).loss(idx[:, :-1], idx[:, 1:])
    assert loss.item() == pytest.approx(math.log(5000), abs=0.15)


def test_dropout_acts_in_training_only():
    model = GPT(GPTConfig(vocab_size=101, n_ctx=32, n_layer=3, n_head=4, n_embd=64, dropout=0.3))
    idx = ids(2, 8)
    assert not torch.equal(model(idx), model(idx))
    model.eval()
    assert torch.equal(model(idx), model(idx))


def test_the_future_is_invisible(gpt_and_reference):
    model, _ = gpt_and_reference
    idx = ids(1, 12)
    other = idx.clone()
    other[:, 7:] = (other[:, 7:] + 1) % 101
    torch.testing.assert_close(model(idx)[:, :7], model(other)[:, :7])
    assert not torch.allclose(model(idx)[:, 7:], model(other)[:, 7:])


def test_a_few_steps_learn_a_sentence_by_heart():
    torch.manual_seed(0)
    model = GPT(CONFIG)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    idx = ids(1, 33)
    for _ in range(25):
        loss = model.loss(idx[:, :-1], idx[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5


def test_loss_under_autocast_is_near_and_its_gradients_are_float32():
    model = GPT(CONFIG)
    idx, targets = ids(2, 16), ids(2, 16)
    expected = model.loss(idx, targets)
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.loss(idx, targets)
    torch.testing.assert_close(loss, expected, atol=0.02, rtol=0)
    loss.backward()
    assert {parameter.grad.dtype for parameter in model.parameters()} == {torch.float32}


def test_loss_compiles_into_one_graph():
    """Traced and differentiated whole, without the code generator, whose minute of work adds nothing here."""
    model = GPT(GPTConfig(vocab_size=101, n_ctx=32, n_layer=1, n_head=2, n_embd=32))
    idx, targets = ids(2, 32), ids(2, 32)
    compiled = torch.compile(model.loss, fullgraph=True, backend="aot_eager")
    loss, expected = compiled(idx, targets), model.loss(idx, targets)
    torch.testing.assert_close(loss, expected)
    parameters = list(model.parameters())
    torch.testing.assert_close(torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-4), (torch.bfloat16, 0.1), (torch.float16, 0.02)])
def test_on_a_gpu_the_logits_are_near_those_of_the_processor(gpt_and_reference, dtype, tolerance):
    model, _ = gpt_and_reference
    for name, parameter in model.named_parameters():
        if "ln_" not in name:
            parameter.data *= 0.2
    idx = ids(2, 16)
    expected = model(idx)
    model.cuda()
    assert model.lm_head.weight is model.transformer.wte.weight
    with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        torch.testing.assert_close(model(idx.cuda()).float().cpu(), expected, atol=tolerance, rtol=tolerance)
