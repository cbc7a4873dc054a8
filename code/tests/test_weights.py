"""Files: ours come back as they were, OpenAI's become the same model, and everything else is refused with a reason."""

import json
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from aerogpt import weights
from aerogpt.config import GPTConfig
from aerogpt.model import GPT

NANO = GPTConfig.preset("nano")
IDX = torch.tensor([[0, 2, 1, 1, 0, 2]])


def random_model(config=NANO):
    model = GPT(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture
def saved(tmp_path):
    model = random_model()
    weights.save(model, tmp_path / "model.safetensors", {"note": "thử"})
    return model, tmp_path / "model.safetensors"


def edit(path, change, metadata=True):
    """Apply ``change`` to the dictionary of tensors in a file; the header stays, or is dropped."""
    tensors, header = weights._read(path)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    change(tensors)
    save_file(tensors, path, header if metadata else None)


# Our own files

def test_a_saved_model_comes_back(saved):
    model, path = saved
    loaded, metadata = weights.load(path)
    assert metadata == {"note": "thử"} and loaded.config == model.config and not loaded.training
    assert loaded.lm_head.weight is loaded.transformer.wte.weight
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert torch.equal(loaded(IDX), model(IDX))


def test_the_tied_matrix_is_written_once_and_the_mask_never(saved):
    model, path = saved
    assert set(load_file(path)) == {name for name, _ in model.named_parameters()}


def test_the_same_model_gives_the_same_bytes(saved, tmp_path):
    model, path = saved
    weights.save(model, tmp_path / "again.safetensors", {"note": "thử"})
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_float16_halves_the_file_and_loads_as_float32(saved, tmp_path):
    model, path = saved
    half = tmp_path / "half.safetensors"
    weights.save(GPT(NANO).half(), half)
    assert half.stat().st_size < 0.6 * path.stat().st_size
    loaded, _ = weights.load(half)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


def test_a_loaded_model_does_not_change_with_its_file(saved):
    model, path = saved
    loaded, _ = weights.load(path)
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(loaded(IDX), model(IDX))


def test_the_recorded_hash_is_demanded(saved):
    _, path = saved
    good = weights.file_sha256(path)
    weights.load(path, sha256=good)
    content = bytearray(path.read_bytes())
    content[-2] ^= 1                                                    # one bit of one weight
    path.write_bytes(content)
    weights.load(path)
    with pytest.raises(ValueError, match=f"is not the recorded file: its sha256 is .*, expected {good}"):
        weights.load(path, sha256=good)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint .*nowhere"):
        weights.load(tmp_path / "nowhere")


@pytest.mark.parametrize("damage", [
    lambda content: b"", lambda content: content[:100], lambda content: content[:-1], lambda content: content + b"x",
    lambda content: b"\xff" * 8 + content[8:], lambda content: b"PK\x03\x04 a torch pickle" * 9,
], ids=["empty", "header cut", "data cut", "too long", "header length", "other format"])
@pytest.mark.parametrize("load", [weights.load, weights.load_gpt2])
def test_a_damaged_file_is_refused(saved, damage, load):
    _, path = saved
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="is not a whole safetensors file .*: fetch or write it again"):
        load(path)


def no_ln_f(tensors):
    del tensors["transformer.ln_f.bias"]


def extra(tensors):
    tensors["transformer.h.3.ln_1.bias"] = torch.zeros(48)


def more_words(tensors):
    tensors["transformer.wte.weight"] = torch.zeros(4, 48)


def not_a_number(tensors):
    tensors["transformer.h.1.mlp.c_fc.weight"][5, 5] = torch.nan


@pytest.mark.parametrize("change, message", [
    (no_ln_f, "1 tensors are missing, the first is transformer.ln_f.bias"),
    (extra, "1 tensors are no part of the model, the first is transformer.h.3.ln_1.bias"),
    (more_words, r"transformer.wte.weight has shape \(4, 48\), the configuration needs \(3, 48\), .*vocab_size=3"),
    (not_a_number, "transformer.h.1.mlp.c_fc.weight holds values that are not finite"),
])
def test_wrong_tensors_are_named(saved, change, message):
    _, path = saved
    edit(path, change)
    with pytest.raises(ValueError, match=message):
        weights.load(path)


@pytest.mark.parametrize("header", [
    None, {"aerogpt": "not json"}, {"aerogpt": "[]"}, {"aerogpt": '{"config": {"n_layer": 3}, "metadata": {}}'},
])
def test_a_file_without_our_header_is_refused(saved, header):
    _, path = saved
    save_file({name: tensor.clone() for name, tensor in load_file(path).items()}, path, header)
    with pytest.raises(ValueError, match="not written by aerogpt.weights.save.*load_gpt2"):
        weights.load(path)


# The course's own model

def test_vi_tiny_is_loaded_with_its_provenance_and_only_with_its_hash(tmp_path):
    with pytest.raises(FileNotFoundError, match="vi-tiny.json: train the model with"):
        weights.load_vi_tiny(tmp_path)
    model = random_model()
    path = tmp_path / "vi-tiny.safetensors"
    weights.save(model, path)
    provenance = {"note": "tạm thời", "sha256": {path.name: weights.file_sha256(path)}}
    (tmp_path / "vi-tiny.json").write_text(json.dumps(provenance), encoding="utf-8")
    loaded, facts = weights.load_vi_tiny(tmp_path)
    assert facts == provenance and torch.equal(loaded(IDX), model(IDX))
    weights.save(random_model(), path)
    with pytest.raises(ValueError, match="is not the recorded file"):
        weights.load_vi_tiny(tmp_path)


# OpenAI's files

@pytest.fixture
def hub_folder(gpt_and_reference, tmp_path):
    """A folder as transformers writes it: matrices (in, out), the square attn.c_proj among them."""
    _, reference = gpt_and_reference
    reference.save_pretrained(tmp_path / "gpt")
    return tmp_path / "gpt"


def assert_same(model, gpt_and_reference):
    expected, reference = gpt_and_reference
    idx = torch.randint(101, (2, 32))
    assert torch.equal(model(idx), expected(idx))
    torch.testing.assert_close(model(idx), reference(idx).logits, atol=1e-5, rtol=1e-5)
    assert model.lm_head.weight is model.transformer.wte.weight and not model.training
    assert all(parameter.is_contiguous() for parameter in model.parameters())


def test_a_folder_and_a_file_by_transformers_are_read(hub_folder, gpt_and_reference):
    assert_same(weights.load_gpt2(hub_folder), gpt_and_reference)
    assert_same(weights.load_gpt2(str(hub_folder / "model.safetensors")), gpt_and_reference)


def test_the_hubs_own_files_have_no_prefix_and_hold_masks_and_a_second_head(hub_folder, gpt_and_reference):
    path = hub_folder / "model.safetensors"
    tensors = {name.removeprefix("transformer."): tensor.clone() for name, tensor in load_file(path).items()}
    for layer in range(3):
        tensors[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 32, 32).tril()
        tensors[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    tensors["lm_head.weight"] = tensors["wte.weight"].clone()
    save_file(tensors, path)
    assert_same(weights.load_gpt2(hub_folder), gpt_and_reference)
    tensors["lm_head.weight"][0, 0] += 1
    save_file(tensors, path)
    with pytest.raises(ValueError, match="is not a GPT-2: lm_head.weight differs"):
        weights.load_gpt2(hub_folder)


@pytest.mark.parametrize("owner", ["openai-community--", ""])
@pytest.mark.parametrize("variable, below", [("HF_HUB_CACHE", ""), ("HF_HOME", "hub"),
                                             ("XDG_CACHE_HOME", "huggingface/hub")])
def test_the_hubs_cache_is_searched(hub_folder, gpt_and_reference, tmp_path, monkeypatch, owner, variable, below):
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path / "cache"))
    repository = tmp_path / "cache" / below / f"models--{owner}gpt2"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123abcd\n")
    (repository / "snapshots").mkdir()
    hub_folder.rename(repository / "snapshots" / "0123abcd")
    assert_same(weights.load_gpt2("gpt2"), gpt_and_reference)


@pytest.mark.parametrize("name", weights.OPENAI)
def test_offline_the_error_says_what_to_do(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError) as error:
        weights.load_gpt2(name)
    text = str(error.value)
    assert f"{name} is not in the hub's cache {tmp_path / 'cache'}" in text
    assert f"load_gpt2('{name}', download=True)" in text
    assert f"config.json and model.safetensors of https://huggingface.co/openai-community/{name}" in text


def test_what_is_neither_a_path_nor_a_name_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file gpt5, no gpt5.model.safetensors, and 'gpt5' is none of gpt2,"):
        weights.load_gpt2("gpt5")
    with pytest.raises(FileNotFoundError, match="no file"):
        weights.load_gpt2(tmp_path)


def test_downloading_happens_only_when_asked(hub_folder, gpt_and_reference, tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    asked = []

    def fetch(repository, file):
        asked.append((repository, file))
        return str(hub_folder / file)

    monkeypatch.setattr(hub, "hf_hub_download", fetch)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError):
        weights.load_gpt2("gpt2")
    assert not asked
    assert_same(weights.load_gpt2("gpt2", download=True), gpt_and_reference)
    assert asked == [("openai-community/gpt2", "config.json"), ("openai-community/gpt2", "model.safetensors")]
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="pip install huggingface_hub"):
        weights.load_gpt2("gpt2", download=True)


def test_without_config_json_the_shapes_decide(hub_folder, gpt_and_reference, monkeypatch):
    (hub_folder / "config.json").unlink()
    with pytest.raises(ValueError, match="is none of gpt2, .*'n_embd': 64.* put its config.json beside it"):
        weights.load_gpt2(hub_folder)
    model, _ = gpt_and_reference
    monkeypatch.setitem(weights.PRESETS, "gpt2-medium", model.config)
    assert_same(weights.load_gpt2(hub_folder), gpt_and_reference)


@pytest.mark.parametrize("change, message", [
    ({"activation_function": "gelu"}, "activation_function is 'gelu', GPT-2 has 'gelu_new'"),
    ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True, GPT-2 has False"),
    ({"n_inner": 128}, "n_inner is 128, GPT-2 has 256"),
    ({"n_head": 5}, "is not the configuration of a GPT-2: .*divisible by n_head 5"),
    ({"n_layer": None}, "is not the configuration of a GPT-2: .*n_layer must be an int"),
    ({"vocab_size": 102}, r"wte.weight has shape \(101, 64\), the configuration needs \(102, 64\)"),
    ({"n_layer": 4}, "12 tensors are missing, the first is transformer.h.3.attn.c_attn.bias"),
    ({"n_layer": 2}, "12 tensors are no part of the model, the first is transformer.h.2.attn.c_attn.bias"),
])
def test_a_config_that_is_not_this_gpt2_is_refused(hub_folder, change, message):
    file = hub_folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        weights.load_gpt2(hub_folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", "\N{SNOWMAN}"])
def test_a_config_that_is_no_config_is_refused(hub_folder, text):
    (hub_folder / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="config.json is not the configuration of a GPT-2"):
        weights.load_gpt2(hub_folder)


@pytest.mark.parametrize("name, tensor, message", [
    ("wte.weight", torch.zeros(64), "is not a GPT-2: it has no matrix wte.weight"),
    ("h.0.mlp.c_fc.weight", torch.zeros(256, 64), r"c_fc.weight has shape \(64, 256\), the configuration needs \(256, 64"),
    ("h.0.attn.c_attn.weight", torch.zeros(64), r"h.0.attn.c_attn.weight must be a matrix, got shape \(64,\)"),
])
def test_tensors_of_another_shape_are_refused(hub_folder, name, tensor, message):
    def change(tensors):
        tensors[f"transformer.{name}"] = tensor

    edit(hub_folder / "model.safetensors", change)
    with pytest.raises(ValueError, match=message):
        weights.load_gpt2(hub_folder)
