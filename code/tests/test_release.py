"""From a training run to package data."""

import json

import pytest
import torch

from aerogpt import weights
from aerogpt.corpus import synthetic_vietnamese
from aerogpt.release import main, release
from aerogpt.tokenizer import BPETokenizer
from aerogpt.train import main as train_main


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder for package data with a text in it, and a short run on that text."""
    folder = tmp_path_factory.mktemp("data")
    corpus = folder / "nho-corpus.txt"
    corpus.write_text("\n\n".join(synthetic_vietnamese(12_000).split("\n")), encoding="utf-8")
    BPETokenizer.train(corpus.read_text(encoding="utf-8"), 300).save(folder / "bpe.json")
    options = "--preset nano --steps 4 --eval-every 2 --batch-size 4 --warmup-steps 1".split()
    arguments = ["--corpus", str(corpus), "--tokenizer", str(folder / "bpe.json"), "--out", str(folder / "run")]
    assert train_main(arguments + options) == 0
    return folder


def test_a_release_is_complete_and_half_as_large(trained):
    provenance = release(trained / "run", "nho", "tạm thời", trained)
    assert json.loads((trained / "nho.json").read_text(encoding="utf-8")) == provenance
    assert provenance["note"] == "tạm thời"
    assert provenance["sha256"] == {
        name: weights.file_sha256(trained / name) for name in ("nho.safetensors", "nho-tokenizer.json", "nho-corpus.txt")
    }
    full, _ = weights.load(trained / "run" / "model.safetensors")
    half, _ = weights.load(trained / "nho.safetensors")
    for left, right in zip(full.parameters(), half.parameters(), strict=True):
        assert torch.equal(left.half(), right.half())
    size = (trained / "nho.safetensors").stat().st_size
    assert size < 0.6 * (trained / "run" / "model.safetensors").stat().st_size
    assert provenance["float16"]["bits_per_byte"] == pytest.approx(provenance["best"]["bits_per_byte"], rel=1e-3)


def test_another_text_is_refused(trained, tmp_path):
    (tmp_path / "nho-corpus.txt").write_text("khác", encoding="utf-8")
    with pytest.raises(ValueError, match="another text"):
        release(trained / "run", "nho", "", tmp_path)
    assert not (tmp_path / "nho.safetensors").exists()


def test_bad_input_to_the_command_is_one_line(tmp_path, capsys):
    assert main([str(tmp_path), "--note", "x"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("lỗi: ") and error.count("\n") == 1 and "run.json" in error
