"""LoRA: nothing changes at first, only adapters learn, merging changes no output, files hold adapters alone."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from aerogpt.config import GPTConfig
from aerogpt.layers import Linear
from aerogpt.lora import (
    LoRALinear,
    add_lora,
    count_trainable,
    load_lora,
    merge_lora,
    remove_lora,
    save_lora,
    unmerge_lora,
)
from aerogpt.model import GPT

CONFIG = GPTConfig(vocab_size=31, n_ctx=16, n_layer=2, n_head=2, n_embd=12)
IDS = torch.arange(24).reshape(2, 12)  # (24,) -> (B, T)
MATRICES = ("c_attn", "c_proj", "c_fc")  # every Linear of every block


@pytest.fixture
def model():
    return GPT(CONFIG)


def state(model):
    """A copy of the state dict that later changes do not reach."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_same_state(model, before):
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def give_adapters_values(model):
    """Make the corrections as large as the weights, as if they had been trained."""
    for module in model.modules():
        if isinstance(module, LoRALinear):
            torch.nn.init.normal_(module.lora_b, 0, 0.1)


def test_the_formula():
    base = Linear(5, 7)
    layer = LoRALinear(base, rank=2, alpha=6)
    torch.nn.init.normal_(layer.lora_b)
    x = torch.randn(3, 4, 5)
    weight = base.weight + 6 / 2 * layer.lora_b @ layer.lora_a
    torch.testing.assert_close(layer(x), x @ weight.T + base.bias)


def test_a_new_adapter_changes_nothing(model):
    before = model(IDS)
    names = add_lora(model, MATRICES)
    assert len(names) == 4 * CONFIG.n_layer
    assert torch.equal(model(IDS), before)


@pytest.mark.parametrize(
    "targets, names",
    [
        (["c_attn"], ["transformer.h.0.attn.c_attn", "transformer.h.1.attn.c_attn"]),
        (["attn.c_proj"], ["transformer.h.0.attn.c_proj", "transformer.h.1.attn.c_proj"]),
        (["h.1.mlp.c_fc", "h.0.mlp.c_proj"], ["transformer.h.0.mlp.c_proj", "transformer.h.1.mlp.c_fc"]),
    ],
)
def test_targets_are_whole_words_at_the_end_of_a_name(model, targets, names):
    assert add_lora(model, targets) == names
    assert [name for name, module in model.named_modules() if isinstance(module, LoRALinear)] == names


def test_only_adapters_learn(model):
    frozen = state(model)
    names = add_lora(model, MATRICES, rank=3)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.05)
    losses = []
    for _ in range(20):
        loss = model.loss(IDS[:, :-1], IDS[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.05
    for name in names:
        adapter = model.get_submodule(name)
        assert adapter.base.weight.grad is None
        assert adapter.lora_a.grad is not None and adapter.lora_b.abs().sum() > 0
    remove_lora(model)
    assert_same_state(model, frozen)
    assert all(p.requires_grad for p in model.parameters())


def test_the_trainable_share(model):
    total = sum(p.numel() for p in model.parameters())
    add_lora(model, ["c_attn"], rank=4)
    adapters = CONFIG.n_layer * 4 * (12 + 36)  # r (in + out) a layer
    assert count_trainable(model) == (adapters, total + adapters)


def test_the_share_of_gpt2_small_at_rank_8():
    with torch.device("meta"):
        model = GPT(GPTConfig.preset("gpt2"))
        add_lora(model, ["c_attn"], rank=8)
    assert count_trainable(model) == (294_912, 124_439_808 + 294_912)


def test_merging_keeps_the_outputs_and_unmerging_the_bits(model):
    add_lora(model, MATRICES, alpha=8)
    before = state(model)
    plain = model(IDS)
    give_adapters_values(model)
    apart = model(IDS)
    assert (apart - plain).abs().max() > 1e-2  # the corrections matter
    merge_lora(model)
    merge_lora(model)  # once is enough
    torch.testing.assert_close(model(IDS), apart, rtol=1e-5, atol=1e-6)
    unmerge_lora(model)
    unmerge_lora(model)
    assert torch.equal(model(IDS), apart)
    for name, tensor in model.state_dict().items():
        assert name.endswith("lora_b") or torch.equal(tensor, before[name])


def test_a_merged_model_is_a_plain_model_again(model):
    names = list(model.state_dict())
    add_lora(model, MATRICES)
    give_adapters_values(model)
    apart = model(IDS)
    merge_lora(model)
    remove_lora(model)
    assert list(model.state_dict()) == names
    assert model.lm_head.weight is model.transformer.wte.weight
    torch.testing.assert_close(model(IDS), apart, rtol=1e-5, atol=1e-6)
    fresh = GPT(CONFIG)
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(IDS), model(IDS))


def test_seeds(model):
    def first_a(seed):
        names = add_lora(model, generator=torch.Generator().manual_seed(seed))
        value = model.get_submodule(names[0]).lora_a.detach()
        remove_lora(model)
        return value

    assert torch.equal(first_a(1), first_a(1))
    assert not torch.equal(first_a(1), first_a(2))


def test_a_file_holds_adapters_alone(model, tmp_path):
    base = state(model)
    add_lora(model, MATRICES, rank=2, alpha=5)
    give_adapters_values(model)
    save_lora(model, tmp_path / "style.safetensors")
    with safe_open(tmp_path / "style.safetensors", "pt") as file:
        assert {name.rpartition(".")[2] for name in file.keys()} == {"lora_a", "lora_b"}
        assert len(list(file.keys())) == 2 * 4 * CONFIG.n_layer
    other = GPT(CONFIG)
    other.load_state_dict(base)
    load_lora(other, tmp_path / "style.safetensors")
    assert torch.equal(other(IDS), model(IDS))
    assert count_trainable(other) == count_trainable(model)


def test_bad_requests_leave_the_model_as_it_was(model, tmp_path):
    before = state(model)
    for arguments, message in [
        (dict(targets=["c_atn"]), "no Linear is called 'c_atn'; there are .*c_attn"),
        (dict(targets=[]), "at least one Linear"),
        (dict(targets=["attn"]), "no Linear is called 'attn'"),
        (dict(targets=["lm_head"]), "lm_head shares its matrix"),
        (dict(rank=0), "rank must be from 1 to 12 for a 36 x 12 matrix, got 0"),
        (dict(rank=13), "got 13"),
        (dict(alpha=0), "alpha must be positive and finite, got 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            add_lora(model, **arguments)
        assert_same_state(model, before)
        assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(ValueError, match="no adapters to save"):
        save_lora(model, tmp_path / "none")
    add_lora(model)
    with pytest.raises(ValueError, match="has adapters already"):
        add_lora(model)


def test_files_that_do_not_fit_are_refused(model, tmp_path):
    path = tmp_path / "adapters.safetensors"
    before = state(model)
    wider = GPT(GPTConfig(vocab_size=31, n_ctx=16, n_layer=2, n_head=2, n_embd=24))
    deeper = GPT(GPTConfig(vocab_size=31, n_ctx=16, n_layer=3, n_head=2, n_embd=12))
    for other, message in [(wider, r"lora_a must have shape \(8, 12\) for this model, got \(8, 24\)"),
                           (deeper, "no Linear is called 'transformer.h.2.attn.c_attn'")]:
        add_lora(other)
        save_lora(other, path)
        with pytest.raises(ValueError, match=message):
            load_lora(model, path)
        assert_same_state(model, before)
    data = path.read_bytes()
    for bad in (b"", data[:40], data[:-1], b"\xff" * 100):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match="is not a file of LoRA adapters"):
            load_lora(model, path)
    save_file({}, path, metadata={"rank": "8", "alpha": "1"})
    with pytest.raises(ValueError, match="at least one Linear"):
        load_lora(model, path)
    for metadata in (None, {"rank": "8"}, {"rank": "x", "alpha": "1"}):
        save_file({"w": torch.zeros(1)}, path, metadata=metadata)
        with pytest.raises(ValueError, match="is not a file of LoRA adapters"):
            load_lora(model, path)
    with pytest.raises(FileNotFoundError):
        load_lora(model, tmp_path / "absent")


def test_half_precision(model):
    model.bfloat16()
    add_lora(model)
    give_adapters_values(model)
    assert model(IDS).dtype == torch.bfloat16
