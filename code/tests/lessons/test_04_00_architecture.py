"""The numbers in the lesson on the architecture, and in the introduction of module 20."""

import torch
from aerogpt.functional import softmax
from aerogpt.tokenizer import gpt2_encoding
from prose import SMALL, power_of_ten, says

ARCHITECTURE = "04_buildgpt/kien_truc_mo_hinh_ngon_ngu_lon.md"
PYTHON = "20_python_colab_notebooks/index.md"


def test_softmax_example():
    says(ARCHITECTURE, "$[" + r",\ ".join(f"{p:.4f}" for p in softmax(torch.tensor([1.0, 2.0, 5.0])).tolist()) + "]$")


def test_tokens():
    encoding = gpt2_encoding()
    assert encoding.n_vocab == SMALL.vocab_size == 50257
    ids = encoding.encode("strawberry")
    pieces = [encoding.decode([token]) for token in ids]
    says(ARCHITECTURE, ", ".join(f"`{piece}`" for piece in pieces), "**số** " + ", ".join(map(str, ids)))
    assert "".join(pieces).count("r") == 3 and pieces[2].count("r") == 2
    assert len(encoding.encode(" strawberry")) == 1


def test_cells_of_a_trigram_table():
    says(ARCHITECTURE, rf"$50257^3 \approx {power_of_ten(50257**3, 2)}$")


def test_broadcasting_riddle():
    says(PYTHON, f"`{tuple((torch.zeros(4, 1, 3) + torch.zeros(5, 1)).shape)}`")
