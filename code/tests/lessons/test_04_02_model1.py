"""The numbers and the claims in the lesson on Model 1."""

import inspect
import math
import re
from collections import Counter
from pathlib import Path

import aerogpt
import pytest
import tiktoken_ext.openai_public
import torch
from aerogpt.config import GPTConfig
from aerogpt.corpus import read_documents
from aerogpt.functional import cross_entropy, gelu
from aerogpt.models import Model1, Model2, Model3, Model4, Model5
from prose import count, says

MODEL1 = "04_buildgpt/aero_llm_02_transformer.md"
V, D = 100_277, 64  # cl100k_base, and the width of the lesson
SMALL, T = 50, 8


@pytest.fixture(scope="module")
def text() -> str:
    """The text of the lesson, letters and single blanks."""
    documents = read_documents([Path(aerogpt.__file__).parent / "data" / "vi-tiny-corpus.txt"])
    letters = re.sub(r"\$[^$]*\$", " ", "\n".join(documents).lower())
    return " ".join(re.findall(r"[^\W\d_]+", letters))[:50_000]


@pytest.fixture(scope="module")
def ids(text) -> torch.Tensor:
    alphabet = sorted(set(text))
    return torch.tensor([alphabet.index(character) for character in text])


def test_size_of_the_vocabulary():
    last = max(map(int, re.findall(r"\b\d{6}\b", inspect.getsource(tiktoken_ext.openai_public).split("def o200k")[0])))
    assert last + 1 == V
    says(MODEL1, f"Ta lấy $V = {V}$, cỡ bộ từ vựng `cl100k_base`")


def test_parameters():
    for vocabulary in (V, 100_000):
        with torch.device("meta"):
            n = count(Model1(vocabulary, D))
        assert n == vocabulary * (2 * D + 1)
        if vocabulary == V:
            says(MODEL1, rf"${V} \cdot {2 * D + 1}$, tức khoảng {n / 1e6:.1f} triệu", f"Model 1 chỉ giữ {n / 1e6:.1f} triệu số")
            says(MODEL1, f"bảng có {V * V:,} ô", f"ít hơn khoảng {V * V / n:.0f} lần")
        else:
            says(MODEL1, f"làm tròn $V$ thành {vocabulary:,} thì được đúng {n:,}")
    says(MODEL1, rf"$B \cdot T = {5 * 8}$ dự đoán")


def test_ratio_of_probabilities_is_exp_of_the_difference():
    high, low = 3.1, 0.5
    ratio = math.exp(high - low)
    says(MODEL1, f"Logit {high} và {low} cách nhau {high - low:.1f}", rf"$e^{{{high - low:.1f}}} \approx {ratio:.2f}$, khoảng {ratio:.1f}:1")
    says(MODEL1, f"${high} / {low} = {high / low:.1f}$ không nói lên điều gì")
    for others in ([], [-1.0], [5.0, 2.0, 0.0]):
        p = torch.tensor([high, low, *others], dtype=torch.float64).softmax(dim=0)
        assert (p[0] / p[1]).item() == pytest.approx(ratio)
    assert (high + 10) / (low + 10) != pytest.approx(high / low)


def influence(model: torch.nn.Module) -> torch.Tensor:
    """Row t, column s: whether another token at s changes a bit of the logits at t."""
    idx = torch.randint(SMALL, (1, T))
    changed = torch.zeros(T, T, dtype=torch.bool)
    with torch.no_grad():
        before = model(idx)[0]
        for s in range(T):
            other = idx.clone()
            other[0, s] = (other[0, s] + 1) % SMALL
            changed[:, s] = (model(other)[0] != before).any(dim=-1)
    return changed


def test_what_each_of_the_five_models_sees():
    torch.manual_seed(0)
    blocks = GPTConfig(vocab_size=SMALL, n_ctx=T, n_layer=2, n_head=2, n_embd=16)
    alone, past = torch.eye(T, dtype=torch.bool), torch.ones(T, T, dtype=torch.bool).tril()
    for model, seen, row in (
        (Model1(SMALL, 16), alone, "| Model 1 | nhúng, GELU, giải nhúng | chỉ $x_t$ |"),
        (Model2(SMALL, T, 16), alone, "dùng chung trọng số | $x_t$ và con số $t$ |"),
        (Model3(SMALL, T, 16), past, r"một đầu chú ý | $x_1, \ldots, x_t$ |"),
        (Model4(blocks), past, r"nhiều khối transformer xếp chồng | $x_1, \ldots, x_t$ |"),
        (Model5(blocks), past, r"chú ý đa đầu, kích thước GPT-2 | $x_1, \ldots, x_t$ |"),
    ):
        assert torch.equal(influence(model), seen), type(model)
        says(MODEL1, row)


def test_model_2_knows_the_position_and_model_1_does_not():
    same = torch.full((1, T), 3)
    for model, equal in ((Model1(SMALL, 16), True), (Model2(SMALL, T, 16), False)):
        first, last = model(same)[0, [0, -1]]
        assert torch.allclose(first, last) == equal


def test_model_1_is_a_table_of_low_rank_and_needs_no_gelu():
    torch.manual_seed(0)
    model, idx = Model1(SMALL, 4), torch.randint(SMALL, (3, T))
    with torch.no_grad():
        table = model(torch.arange(SMALL)[None])[0]
        torch.testing.assert_close(model(idx), table[idx])
        assert torch.linalg.matrix_rank(table, rtol=1e-5) == 4 + 1
        assert torch.linalg.matrix_rank(table - model.lm_head.bias, rtol=1e-5) == 4
        torch.testing.assert_close(model.lm_head(gelu(model.wte.weight)), table)


def test_loss_is_the_entropy_of_bigrams_plus_divergences(text, ids):
    pairs, first = Counter(zip(text, text[1:])), Counter(text[:-1])
    floor = -sum(n * math.log(n / first[a]) for (a, _), n in pairs.items()) / (len(text) - 1)
    alphabet = sorted(set(text))
    torch.manual_seed(0)
    for model in (Model1(len(alphabet), 8), Model1(len(alphabet), D)):
        with torch.no_grad():
            log_p = model(torch.arange(len(alphabet))[None])[0].double().log_softmax(dim=-1)
            loss = cross_entropy(model(ids[None, :-1]), ids[None, 1:]).item()
        divergence = sum(
            n * (math.log(n / first[a]) - log_p[alphabet.index(a), alphabet.index(b)].item()) for (a, b), n in pairs.items()
        ) / (len(text) - 1)
        assert divergence > 0 and loss == pytest.approx(floor + divergence, abs=1e-5)
    assert len(pairs) < len(alphabet) ** 2  # pairs that never occur: softmax can only come near the floor
    says(MODEL1, "softmax không cho số 0, còn bảng đếm thì có")


def test_text_of_the_lesson(text):
    assert len(text) == 50_000
    assert set(re.findall("ngôn n(.)", text)) == {"g"}
    says(MODEL1, '"ngôn n" **luôn** đi với "g"')
    assert len(set(text)) < 2 * D + 1  # so Model 1 is larger than the table
    says(MODEL1, "$V(2d + 1) = V^2$ khi $d = (V - 1)/2$", "Model 1 **lớn hơn** bảng mà nó học", "$V$ lớn hơn $2d + 1$")
