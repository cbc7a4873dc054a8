"""Weights on disk: our own files, and OpenAI's GPT-2. Always safetensors, which holds numbers and no code."""

import hashlib
import json
import os
import re
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from aerogpt.config import PRESETS, GPTConfig
from aerogpt.model import GPT

DATA = Path(__file__).parent / "data"
OPENAI = ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")
FILES = ("config.json", "model.safetensors")

# One block in OpenAI's files: the names are ours, but the matrices (True) are (in, out), as TensorFlow multiplied them.
# All four are transposed, by this table and never by shape: attn.c_proj is square and would be taken as it is.
BLOCK = {
    "ln_1.weight": False, "ln_1.bias": False,
    "attn.c_attn.weight": True, "attn.c_attn.bias": False,
    "attn.c_proj.weight": True, "attn.c_proj.bias": False,
    "ln_2.weight": False, "ln_2.bias": False,
    "mlp.c_fc.weight": True, "mlp.c_fc.bias": False,
    "mlp.c_proj.weight": True, "mlp.c_proj.bias": False,
}
# Not parameters: buffers with the causal mask, which some of the files carry.
MASK_BUFFER = re.compile(r"h\.\d+\.attn\.(masked_)?bias")


def save(model: GPT, path: str | os.PathLike, metadata: dict[str, str] | None = None) -> None:
    """Write the parameters, in the dtype they have, with the configuration and ``metadata`` in the file's header.

    The tied matrix is written once. The same model gives the same bytes.
    """
    tensors = model.state_dict()
    del tensors["lm_head.weight"]
    # One entry: the order of several in the file is left to chance.
    header = json.dumps({"config": asdict(model.config), "metadata": metadata or {}}, sort_keys=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, {"aerogpt": header})


def load(path: str | os.PathLike, *, sha256: str | None = None) -> tuple[GPT, dict[str, str]]:
    """The model that ``save`` wrote, in float32 and in evaluation mode, and its metadata.

    Raises FileNotFoundError; ValueError if the file's hash is not ``sha256``, or it is damaged, or not by ``save``.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint {path}")
    if sha256 is not None and (found := file_sha256(path)) != sha256:
        raise ValueError(f"{path} is not the recorded file: its sha256 is {found}, expected {sha256}")
    tensors, header = _read(path)
    try:
        header = json.loads(header["aerogpt"])
        config, metadata = GPTConfig(**header["config"]), header["metadata"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} was not written by aerogpt.weights.save: no valid configuration in its header "
                         f"(GPT-2 by OpenAI is read by load_gpt2)") from error
    return _model(config, tensors, path), metadata


def load_vi_tiny(folder: Path = DATA) -> tuple[GPT, dict]:
    """The course's own trained model and its provenance (vi-tiny.json), which records the hash of the weights.

    Raises FileNotFoundError where it was not made yet; ValueError as ``load``.
    """
    provenance = folder / "vi-tiny.json"
    if not provenance.is_file():
        raise FileNotFoundError(f"no {provenance}: train the model with `python -m aerogpt.train --preset vi-tiny`, "
                                f"then `python -m aerogpt.release`")
    facts = json.loads(provenance.read_text(encoding="utf-8"))
    model, _ = load(folder / "vi-tiny.safetensors", sha256=facts["sha256"]["vi-tiny.safetensors"])
    return model, facts


def load_gpt2(name_or_path: str | os.PathLike, download: bool = False) -> GPT:
    """GPT-2 as OpenAI trained it, in float32 and in evaluation mode.

    ``name_or_path``: a safetensors file in the format of the Hugging Face hub, a folder with ``model.safetensors``
    (``config.json`` beside it is used if present), or one of OPENAI, looked up in the hub's cache. The network is used
    only with ``download``. Raises FileNotFoundError that says how to get the file; ValueError for a file that is
    damaged or is not a GPT-2.
    """
    path = _find(name_or_path, download)
    tensors, _ = _read(path)
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    tensors = {name: tensor for name, tensor in tensors.items() if not MASK_BUFFER.fullmatch(name)}
    head = tensors.pop("lm_head.weight", None)
    for name in ("wte.weight", "wpe.weight"):
        if name not in tensors or tensors[name].ndim != 2:
            raise ValueError(f"{path} is not a GPT-2: it has no matrix {name}")
    if head is not None and not torch.equal(head, tensors["wte.weight"]):
        raise ValueError(f"{path} is not a GPT-2: lm_head.weight differs from wte.weight")

    config = _openai_config(path, tensors)
    for layer in range(config.n_layer):
        for name, transposed in BLOCK.items():
            name = f"h.{layer}.{name}"
            if transposed and name in tensors:
                if tensors[name].ndim != 2:
                    raise ValueError(f"{path}: {name} must be a matrix, got shape {tuple(tensors[name].shape)}")
                tensors[name] = tensors[name].T                         # (in, out) -> (out, in)
    return _model(config, {f"transformer.{name}": tensor for name, tensor in tensors.items()}, path)


def file_sha256(path: str | os.PathLike) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file, and the strings in its header."""
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}): fetch or write it again") from error


def _model(config: GPTConfig, tensors: dict[str, Tensor], path: Path) -> GPT:
    """A model that holds float32 copies of ``tensors``, which must be exactly its parameters."""
    with torch.device("meta"):                                          # no memory, no random numbers
        model = GPT(config)
    expected = model.state_dict()
    del expected["lm_head.weight"]
    if missing := sorted(expected.keys() - tensors.keys()):
        raise ValueError(f"{path}: {len(missing)} tensors are missing, the first is {missing[0]}")
    if unknown := sorted(tensors.keys() - expected.keys()):
        raise ValueError(f"{path}: {len(unknown)} tensors are no part of the model, the first is {unknown[0]}")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise ValueError(f"{path}: {name} has shape {tuple(tensor.shape)}, the configuration needs "
                             f"{tuple(expected[name].shape)}, matrices as (out, in): {config}")
        if not tensor.isfinite().all():
            raise ValueError(f"{path}: {name} holds values that are not finite numbers")
    # Copies, since those of safetensors change with the file.
    tensors = {name: tensor.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
               for name, tensor in tensors.items()}
    model.load_state_dict(tensors, strict=False, assign=True)
    model.tie_weights()
    return model.eval()


def _openai_config(path: Path, tensors: dict[str, Tensor]) -> GPTConfig:
    """From config.json beside the file, or else from the shapes: OpenAI's heads are 64 wide."""
    file = path.with_name("config.json")
    if not file.is_file():
        vocab_size, n_embd = tensors["wte.weight"].shape
        layers = {name.split(".")[1] for name in tensors if name.startswith("h.")}
        n_ctx = len(tensors["wpe.weight"])
        shape = {"vocab_size": vocab_size, "n_ctx": n_ctx, "n_layer": len(layers), "n_embd": n_embd}
        for name in OPENAI:
            if shape.items() <= asdict(PRESETS[name]).items():
                return PRESETS[name]
        raise ValueError(f"{path} is none of {', '.join(OPENAI)} ({shape}), so its number of heads is unknown: "
                         f"put its config.json beside it")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        config = GPTConfig(vocab_size=found["vocab_size"], n_ctx=found["n_positions"], n_layer=found["n_layer"],
                           n_head=found["n_head"], n_embd=found["n_embd"],
                           layer_norm_epsilon=found["layer_norm_epsilon"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is not the configuration of a GPT-2: {error!r}") from error
    same = {"activation_function": "gelu_new", "n_inner": 4 * config.n_embd, "tie_word_embeddings": True,
            "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False}
    for name, value in same.items():
        if found.get(name) not in (None, value):
            raise ValueError(f"{file}: {name} is {found[name]!r}, GPT-2 has {value!r}")
    return config


def _find(name_or_path: str | os.PathLike, download: bool) -> Path:
    """The safetensors file that is meant: given, in a given folder, in the hub's cache, or downloaded into it."""
    path, name = Path(name_or_path), str(name_or_path)
    if path.is_file():
        return path
    if (path / FILES[1]).is_file():
        return path / FILES[1]
    if name not in OPENAI:
        raise FileNotFoundError(f"no file {path}, no {path / FILES[1]}, and {name!r} is none of {', '.join(OPENAI)}")
    repository = f"openai-community/{name}"
    if download:
        try:
            from huggingface_hub import hf_hub_download
        except ImportError as error:
            raise ImportError("downloading needs one more package: pip install huggingface_hub") from error
        return Path([hf_hub_download(repository, file) for file in FILES][-1])
    cache = _hub_cache()
    for owned in (repository, name):                                    # older versions of the hub had no owner
        folder = cache / f"models--{owned.replace('/', '--')}"
        reference = folder / "refs" / "main"
        if reference.is_file():
            path = folder / "snapshots" / reference.read_text(encoding="utf-8").strip() / FILES[1]
            if path.is_file():
                return path
    raise FileNotFoundError(
        f"{name} is not in the hub's cache {cache}. With a network: load_gpt2({name!r}, download=True). Without: fetch "
        f"{' and '.join(FILES)} of https://huggingface.co/{repository} elsewhere, put them into one folder, and call "
        f"load_gpt2 with the folder")


def _hub_cache() -> Path:
    """Where the hub's own client keeps files, by the environment variables that it reads."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    general = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.environ.get("HF_HOME", f"{general}/huggingface")).expanduser() / "hub"
