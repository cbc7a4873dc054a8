"""The numbers and the claims in the lesson on Model 3."""

import math
import re
from collections import Counter
from pathlib import Path

import aerogpt
import pytest
import torch
from aerogpt.attention import SingleHead
from aerogpt.config import GPTConfig
from aerogpt.corpus import read_documents, split_documents
from aerogpt.functional import cross_entropy, entropy
from aerogpt.models import Model1, Model2, Model3, Model4, add_positions
from prose import count, gpt, says

MODEL3 = "04_buildgpt/aero_llm_015_model.md"
V, D, N_CTX, T = 50_257, 64, 64, 8


def wide_head(std: float = D**-0.5) -> SingleHead:
    """A head with weights so large that its attention is far from uniform."""
    head = SingleHead(D).double()
    for layer in (head.query, head.key, head.value, head.projection):
        torch.nn.init.normal_(layer.weight, 0, std)
        torch.nn.init.normal_(layer.bias)
    return head


def test_parameters():
    with torch.device("meta"):
        n = count(Model3(V, N_CTX, D))
        head = count(SingleHead(D))
    assert head == 4 * (D * D + D)
    assert n == V * D + N_CTX * D + head + 2 * 2 * D
    says(MODEL3, r"N = Vd + nd + 4(d^2 + d) + 2 \cdot 2d", "$N = Vd + nd + 4(d^2 + d) + 4d$")
    wide = 12_288  # GPT-3
    says(MODEL3, rf"$d = {wide}$ của GPT-3 (Brown và cộng sự, 2020), $4(d^2 + d)$ đã là {4 * (wide**2 + wide):,} tham số")


def test_gpt2_has_biases_in_q_k_v():
    block = gpt("small").transformer.h[0]
    assert block.attn.c_attn.bias.shape == (3 * 768,)
    says(MODEL3, "GPT-2 **có**, ở cả ba phép chiếu")


def test_which_biases_matter():
    torch.manual_seed(0)
    head, x, shift = wide_head(), torch.randn(1, T, D).double(), torch.randn(D).double()
    with torch.no_grad():
        before = head(x)[0]
        head.key.bias += shift
        torch.testing.assert_close(head(x)[0], before)
        head.value.bias += shift
        torch.testing.assert_close(head(x)[0], before + head.projection.weight @ shift)
        before = head(x)[0]
        head.query.bias += shift
        assert (head(x)[0] - before).abs().max() > 0.1
    says(MODEL3, "$b_K$ vô tác dụng", "$b_V$ gộp được vào $b_0$", "$b_Q$ vào vector dịch của")


def test_biases_of_q_k_v_fit_into_the_shift_of_the_norm_and_the_last_bias():
    """But not because of the normalising: the shift alone, without the last bias, gives something else."""
    torch.manual_seed(0)
    head, x = wide_head(), torch.randn(1, T, D).double()
    with torch.no_grad():
        before, b_q, b_v = head(x)[0], head.query.bias.clone(), head.value.bias.clone()
        for layer in (head.query, head.key, head.value):
            layer.bias.zero_()
        shift = torch.linalg.solve(head.query.weight, b_q)
        assert not torch.allclose(head(x)[0], before, atol=0.1)
        assert not torch.allclose(head(x + shift)[0], before, atol=0.1)
        head.projection.bias += head.projection.weight @ (b_v - head.value.weight @ shift)
        torch.testing.assert_close(head(x + shift)[0], before)


def test_any_length_up_to_the_context():
    torch.manual_seed(0)
    model, idx = Model3(100, N_CTX, D), torch.randint(100, (1, N_CTX))
    for length in (1, T, N_CTX):
        logits, weights = model(idx[:, :length], return_attention=True)
        assert logits.shape == (1, length, 100) and weights.shape == (1, length, length)
        torch.testing.assert_close(logits, model(idx)[:, :length])
    with pytest.raises(ValueError, match=f"{N_CTX + 1} tokens"):
        model(torch.zeros(1, N_CTX + 1, dtype=torch.long))
    says(MODEL3, f"logit ở {T} vị trí đầu không biết", f"không có hàng thứ {N_CTX + 1}")


def test_the_last_norm_takes_the_scale_away():
    torch.manual_seed(0)
    model, idx = Model3(100, N_CTX, D), torch.randint(100, (4, T))
    x = add_positions(model.wte(idx), model.wpe)
    y = x + model.attn(model.ln_1(x))[0]
    with_norm = model.lm_head(model.ln_f(y))
    torch.testing.assert_close(model(idx), with_norm)
    assert (model.lm_head(model.ln_f(10 * y)) - with_norm).abs().max() < 0.01 * with_norm.abs().max()
    torch.testing.assert_close(model.lm_head(10 * y), 10 * model.lm_head(y))
    says(MODEL3, "dòng dư dài gấp 10 thì mọi logit gấp 10")


def test_spread_of_the_scores_and_evenness_of_attention():
    torch.manual_seed(0)
    for width, std in ((64, 0.02), (64, 0.125), (64, 0.3), (768, 0.02)):
        model = Model3(500, T, width)
        for layer in (model.attn.query, model.attn.key):
            torch.nn.init.normal_(layer.weight, 0, std)
        idx = torch.randint(500, (100, T))
        with torch.no_grad():
            x = model.ln_1(add_positions(model.wte(idx), model.wpe))
            scores = model.attn.query(x) @ model.attn.key(x).mT / math.sqrt(width)
            weights = model.attn(x)[1]
            evenness = (entropy(weights)[:, 1:] / torch.arange(2, T + 1).log()).mean().item()
            concentrated = (weights[:, 2:].topk(2).values.sum(-1) > 0.9).double().mean()
        assert scores.std().item() == pytest.approx(width * std**2, rel=0.1)
        assert (evenness > 0.99) == (width * std**2 < 0.1)
        assert (evenness < 0.4) == (concentrated > 0.5) == (width * std**2 > 5)
    says(MODEL3, "phần lớn các hàng dồn vào một hai vị trí")
    says(MODEL3, rf"Với $d = {D}$ và $\sigma = 0.02$, con số ấy là {D * 0.02**2:.4f}")
    says(MODEL3, rf"$d = 768$ của GPT-2 nhỏ, cùng $\sigma$, nó đã là {768 * 0.02**2:.3f}")


def test_loss_before_training_is_near_ln_v_however_sharp_attention_is():
    torch.manual_seed(0)
    vocabulary = 5000
    model = Model3(vocabulary, T, D)
    idx, targets = torch.randint(vocabulary, (2, 200, T))
    for factor in (1, 15):
        with torch.no_grad():
            model.attn.query.weight *= factor
            model.attn.key.weight *= factor
            assert cross_entropy(model(idx), targets).item() == pytest.approx(math.log(vocabulary), abs=0.05)


def test_jacobian_of_the_layer():
    torch.manual_seed(0)
    model = Model3(500, T, D).double()
    idx, targets = torch.randint(500, (2, 1, T))

    def branch(x):
        return model.attn(model.ln_1(x))[0]

    x = add_positions(model.wte(idx), model.wpe)[0].detach().requires_grad_()
    y = x + branch(x)
    y.retain_grad()
    cross_entropy(model.lm_head(model.ln_f(y)), targets[0]).backward()
    with torch.no_grad():
        blocks = torch.autograd.functional.jacobian(branch, x.detach())  # (T, d, T, d)
        assert not any(blocks[t, :, s].any() for t in range(T) for s in range(t + 1, T))
        jacobian, identity = blocks.reshape(T * D, T * D), torch.eye(T * D).double()
        torch.testing.assert_close(x.grad.flatten(), (identity + jacobian).T @ y.grad.flatten())
        for t in range(T):  # the same number added to all of one position: the norm takes it away
            direction = torch.zeros(T, D).double()
            direction[t] = 1
            assert (jacobian @ direction.flatten()).abs().max() < 1e-9
        singular = torch.linalg.svdvals(identity + jacobian)
        assert singular[0] > 2 and singular[-1] < 0.5
        assert ((singular > 0.5) & (singular < 1.5)).double().mean() > 0.5
        ratio = x.grad / y.grad
        assert ratio.min() < -1 and ratio.max() > 3 and (ratio < 0).double().mean() > 0.02
        larger = torch.autograd.functional.jacobian(branch, 50 * x.detach()).reshape(T * D, T * D)
        assert torch.linalg.svdvals(larger)[0] < torch.linalg.svdvals(jacobian)[0] / 40
    spread = x.detach().std().item()
    says(MODEL3, rf"$0.02\sqrt 2 \approx {0.02 * math.sqrt(2):.3f}$", f"lên khoảng {1 / (0.02 * math.sqrt(2)):.0f} lần")
    assert spread == pytest.approx(0.02 * math.sqrt(2), rel=0.1)


def test_floor_of_models_without_context():
    """No function of token and position has a smaller loss than the counted entropy; both models obey."""
    documents = split_documents(read_documents([Path(aerogpt.__file__).parent / "data" / "vi-tiny-corpus.txt"]))
    learned, measured = (
        " ".join(re.findall(r"[^\W\d_]+", re.sub(r"\$[^$]*\$", " ", "\n".join(part).lower()))) for part in documents
    )
    alphabet, n = sorted(set(learned + measured)), 16
    ids = torch.tensor([alphabet.index(character) for character in measured])
    windows = ids.unfold(0, n + 1, 1)
    x, y = windows[:, :-1], windows[:, 1:]
    floor, best = 0.0, torch.zeros(n, len(alphabet), len(alphabet), dtype=torch.float64)
    for t in range(n):
        pairs, first = Counter(zip(x[:, t].tolist(), y[:, t].tolist())), Counter(x[:, t].tolist())
        floor -= sum(m * math.log(m / first[a]) for (a, _), m in pairs.items()) / len(x) / n
        for (a, b), m in pairs.items():
            best[t, a, b] = m / first[a]
    reached = -best[torch.arange(n), x, y].log().mean().item()                  # the table that reaches the floor
    assert reached == pytest.approx(floor, abs=1e-9)
    torch.manual_seed(0)
    for _ in range(20):
        other = best + 0.05 * torch.rand_like(best)
        other /= other.sum(dim=-1, keepdim=True)
        assert -other[torch.arange(n), x, y].log().mean().item() > floor
    for model in (Model1(len(alphabet), D), Model2(len(alphabet), n, D)):
        with torch.no_grad():
            assert cross_entropy(model(x), y).item() > floor
    says(MODEL3, "mỗi bước 16 cửa sổ 16 ký tự", "Nó nhiều tham số hơn")
    assert count(Model3(len(alphabet), n, D)) > count(Model1(len(alphabet), D)) > count(Model2(len(alphabet), n, D))


def test_copying_needs_context():
    says(MODEL3, rf"$\ln 16 \approx {math.log(16):.3f}$", f"$1/16$, tức {1 / 16:.2%}")
    torch.manual_seed(0)
    model = Model3(16, 16, 32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(120):
        x = torch.randint(16, (64, 16))
        loss = cross_entropy(model(x)[:, 2:], x[:, :-2])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = torch.randint(16, (200, 16))
    logits, weights = model(x, return_attention=True)
    assert (logits[:, 2:].argmax(-1) == x[:, :-2]).double().mean() > 0.99
    assert weights.diagonal(-2, 1, 2).mean() > 0.8


def test_without_positions_the_past_is_a_bag_for_one_layer_alone():
    torch.manual_seed(0)
    idx = torch.randint(50, (1, T))
    shuffled = idx.clone()
    shuffled[0, :-1] = idx[0, :-1].flip(0)
    config = GPTConfig(vocab_size=50, n_ctx=T, n_layer=2, n_head=1, n_embd=D)
    for model, is_bag in ((Model3(50, T, D), True), (Model4(config), False)):
        model.double()
        with torch.no_grad():
            assert not torch.allclose(model(idx)[0, -1], model(shuffled)[0, -1], atol=1e-9)
            model.wpe.weight.zero_()
            assert torch.allclose(model(idx)[0, -1], model(shuffled)[0, -1], atol=1e-9) == is_bag
    says(MODEL3, "Với **nhiều** tầng, kết luận này không còn đúng")


def test_keys_and_values_know_their_own_token_alone():
    """Why one layer cannot look for "the token after the last time": key and value of s hold nothing of s - 1."""
    torch.manual_seed(0)
    model, idx = Model3(50, T, D), torch.randint(50, (1, T))
    other = idx.clone()
    other[0, 3] = (other[0, 3] + 1) % 50
    first, second = (model.ln_1(add_positions(model.wte(ids), model.wpe)) for ids in (idx, other))
    for layer in (model.attn.key, model.attn.value):
        same = (layer(first) == layer(second)).all(dim=-1)[0]
        assert same.tolist() == [s != 3 for s in range(T)]
    says(MODEL3, "Khóa và giá trị của vị trí $s$ chỉ tính từ $x_s$ và $s$")
