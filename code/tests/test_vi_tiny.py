"""The course's own model as it ships: whole, described truthfully, and better than knowing nothing about order."""

import hashlib
import json
import math

import pytest
import torch

from aerogpt import weights
from aerogpt.config import GPTConfig
from aerogpt.corpus import SEPARATOR, read_documents, split_documents
from aerogpt.data import encode_documents, token_bytes
from aerogpt.evaluation import bits_per_byte, evaluate
from aerogpt.generate import generate
from aerogpt.tokenizer import load_tokenizer
from aerogpt.weights import DATA, file_sha256


@pytest.fixture(scope="module")
def provenance() -> dict:
    return json.loads((DATA / "vi-tiny.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tokens(provenance) -> tuple[torch.Tensor, torch.Tensor]:
    """Training and held-out ids, from the text that ships."""
    parts = split_documents(read_documents([DATA / "vi-tiny-corpus.txt"]), provenance["text"]["validation_share"])
    return tuple(encode_documents(part, load_tokenizer("vi-tiny")) for part in parts)


@pytest.fixture(scope="module")
def model():
    return weights.load_vi_tiny()[0]


def test_files_are_those_that_were_recorded(provenance):
    assert set(provenance["sha256"]) == {"vi-tiny.safetensors", "vi-tiny-tokenizer.json", "vi-tiny-corpus.txt"}
    for name, recorded in provenance["sha256"].items():
        assert file_sha256(DATA / name) == recorded, name
    assert (DATA / "vi-tiny.safetensors").stat().st_size < 9_000_000


def test_the_provenance_says_where_it_comes_from(provenance, tokens):
    assert provenance["environment"]["date"] in provenance["note"]
    assert provenance["command"].startswith("python -m aerogpt.train ")
    documents = read_documents([DATA / "vi-tiny-corpus.txt"])
    assert provenance["text"]["sha256"] == hashlib.sha256(SEPARATOR.join(documents).encode()).hexdigest()
    assert provenance["tokens"] == {"training": len(tokens[0]), "validation": len(tokens[1])}
    assert provenance["steps"] == len(provenance["history"]["loss"])
    best = min(provenance["history"]["validation"], key=lambda entry: entry[1])
    assert [provenance["best"]["step"], provenance["best"]["validation_loss"]] == best
    assert len(provenance["commit"]) == 40
    assert {"date", "cpu", "threads", "python", "packages"} <= set(provenance["environment"])


def test_the_model_is_the_preset(model):
    assert model.config == GPTConfig.preset("vi-tiny", dropout=model.config.dropout)
    assert model.config.vocab_size == load_tokenizer("vi-tiny").n_vocab
    assert 3.5e6 < sum(parameter.numel() for parameter in model.parameters()) < 4.5e6


def test_the_held_out_loss_is_the_recorded_one(model, tokens, provenance):
    loss = evaluate(model, tokens[1])
    recorded = provenance["float16"]
    assert loss == pytest.approx(recorded["validation_loss"], rel=1e-3)
    bits = bits_per_byte(loss, tokens[1], token_bytes(load_tokenizer("vi-tiny")))
    assert bits == pytest.approx(recorded["bits_per_byte"], rel=1e-3)
    assert recorded["validation_loss"] == pytest.approx(provenance["best"]["validation_loss"], rel=2e-3)


def test_it_beats_token_frequencies_and_a_wrong_order(model, tokens):
    training, validation = tokens
    counts = torch.bincount(training, minlength=model.config.vocab_size) + 1.0
    by_frequency = -(counts / counts.sum()).log()[validation[1:]].mean()
    loss = evaluate(model, validation)
    assert loss < by_frequency - 0.5
    assert loss < evaluate(model, validation[torch.randperm(len(validation))]) - 0.5
    assert loss < math.log(model.config.vocab_size) / 1.3


def test_it_continues_a_text_in_vietnamese_letters(model):
    tokenizer = load_tokenizer("vi-tiny")
    idx = torch.tensor([tokenizer.encode("Mô hình ngôn ngữ")])
    generator = torch.Generator().manual_seed(0)
    text = tokenizer.decode(generate(model, idx, 60, temperature=0.8, generator=generator)[0].tolist())
    assert text.startswith("Mô hình ngôn ngữ")
    assert set("ăâđêôơưạảấầểệịọốồộớợụứừựỳ") & set(text[len("Mô hình ngôn ngữ"):])
