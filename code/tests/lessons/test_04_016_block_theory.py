"""The numbers and the claims in the lesson on the theory of the transformer block."""

import math

import pytest
import torch
from aerogpt.benchmark import forward_flops
from aerogpt.block import Block
from aerogpt.config import PRESETS, GPTConfig
from aerogpt.functional import gelu_tanh, layer_norm
from aerogpt.layers import MLP, LayerNorm, Linear
from aerogpt.model import GPT
from prose import DOCS, SIZES, SMALL, count, gpt, says
from torch import Tensor, nn
from torch.nn import functional as F

BLOCK = "04_buildgpt/aero_llm_016_the_transformer_block_theory_.md"
T, C = 5, 6


@pytest.fixture
def block() -> Block:
    """Weights of unit gain and biases that are not 0, in double precision."""
    torch.manual_seed(7)
    made = Block(GPTConfig(vocab_size=1, n_ctx=T, n_layer=1, n_head=2, n_embd=C)).double()
    for module in made.modules():
        if isinstance(module, Linear):
            nn.init.normal_(module.weight, 0, module.weight.shape[1] ** -0.5)
            nn.init.normal_(module.bias)
        elif isinstance(module, LayerNorm):
            nn.init.normal_(module.weight, 1, 0.3)
            nn.init.normal_(module.bias)
    return made


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(8)
    return torch.randn(1, T, C, dtype=torch.float64)


def jacobian(function, at: Tensor) -> Tensor:
    """(T C, T C): rows are outputs."""
    return torch.autograd.functional.jacobian(function, at).reshape(at.numel(), at.numel())


def share(part: int, whole: int, digits: int = 1) -> str:
    return f"{100 * part / whole:.{digits}f}%"


def mlps(size: str) -> int:
    return sum(count(block.mlp) for block in gpt(size).transformer.h)


# the residual stream

def test_share_of_the_blocks():
    small, xl = (gpt(size) for size in ("small", "XL"))
    says(BLOCK, f"giữ {share(count(small.transformer.h), count(small))} tham số của bản nhỏ "
                f"và {share(count(xl.transformer.h), count(xl))} của bản XL")
    says(BLOCK, f"lặp lại {len(small.transformer.h)} lần", f"lặp lại nó {len(xl.transformer.h)} lần")


def test_stream_is_the_embedding_plus_what_the_parts_add():
    torch.manual_seed(1)
    model = GPT(GPTConfig(vocab_size=50, n_ctx=9, n_layer=3, n_head=2, n_embd=16))
    ids = torch.randint(50, (2, 9))
    total = model.transformer.wte(ids) + model.transformer.wpe(torch.arange(9))
    for each in model.transformer.h:                                    # what each part adds, worked out by hand
        total = total + each.attn(each.ln_1(total))
        total = total + each.mlp(each.ln_2(total))
    assert torch.equal(model.transformer.ln_f(total), model.hidden(ids))
    says(BLOCK, r"x_{2L} = x_0 + \sum_{k=1}^{2L} f_k(x_{k-1})")


# who mixes positions

@pytest.mark.parametrize("watched", range(T))
def test_mlp_and_norm_see_one_token_alone(block, x, watched):
    others = [t for t in range(T) if t != watched]
    changed = x.clone()
    changed[:, others] = torch.randn(len(others), C, dtype=x.dtype)
    for part in (lambda v: block.mlp(block.ln_2(v)), block.ln_1, block.mlp):
        torch.testing.assert_close(part(changed)[:, watched], part(x)[:, watched], rtol=0, atol=1e-14)
        assert not torch.allclose(part(changed)[:, others], part(x)[:, others])


def test_attention_sees_the_past_but_not_its_order(block, x):
    changed = x.clone()
    changed[:, 0, 0] += 1                                               # not all of its numbers: the norm would undo it
    permuted = x[:, [2, 1, 0, 3, 4]]

    def last(v: Tensor) -> Tensor:
        return block.attn(block.ln_1(v))[:, -1]

    assert not torch.allclose(last(changed), last(x), atol=1e-4)
    torch.testing.assert_close(last(permuted), last(x))
    assert not torch.allclose(block(block(permuted))[:, -1], block(block(x))[:, -1])     # two layers do see it


# the Jacobian

def test_jacobian_of_the_block(block, x):
    def attention(v: Tensor) -> Tensor:
        return block.attn(block.ln_1(v))

    def mlp(v: Tensor) -> Tensor:
        return block.mlp(block.ln_2(v))

    u = (x + attention(x)).detach()
    of_attention, of_mlp, of_block = jacobian(attention, x), jacobian(mlp, u), jacobian(block, x)
    one = torch.eye(T * C, dtype=x.dtype)
    torch.testing.assert_close(of_block, (one + of_mlp) @ (one + of_attention))
    torch.testing.assert_close(of_block, one + of_attention + of_mlp + of_mlp @ of_attention)
    says(BLOCK, r"\left(I + J_{\mathrm{MLP}}\right)\left(I + J_{\mathrm{Attn}}\right) = "
                r"I + J_{\mathrm{Attn}} + J_{\mathrm{MLP}} + J_{\mathrm{MLP}}\, J_{\mathrm{Attn}}")
    grid_attention, grid_mlp = (J.view(T, C, T, C).abs().amax((1, 3)) for J in (of_attention, of_mlp))
    assert (grid_attention.triu(1) == 0).all() and (grid_attention.tril() > 0)[torch.ones(T, T).tril().bool()].all()
    assert (grid_mlp - grid_mlp.diag().diag() == 0).all() and (grid_mlp.diag() > 0).all()
    for part in (of_attention, of_mlp):                                 # the norm erases two directions of each token
        values = torch.linalg.svdvals(part)
        assert (values < 1e-4).sum() == 2 * T and values[-2 * T - 1] > 10 * 1e-4


def test_number_of_erased_directions_in_the_lesson():
    text = (DOCS / BLOCK).read_text(encoding="utf-8")
    assert "T, d = 6, 8" in text
    says(BLOCK, "Với sáu token", "có mười hai trị kỳ dị gần 0")         # two a token


def test_gradient_of_a_stack_is_the_product(block, x):
    other = Block(GPTConfig(vocab_size=1, n_ctx=T, n_layer=1, n_head=2, n_embd=C)).double()
    g = torch.randn(T * C, dtype=x.dtype)
    v = x.clone().requires_grad_()
    (by_torch,) = torch.autograd.grad(other(block(v)), v, g.view_as(x))
    expected = jacobian(block, x).T @ jacobian(other, block(x).detach()).T @ g
    torch.testing.assert_close(by_torch.flatten(), expected)


def test_a_part_can_erase_the_gradient():
    torch.manual_seed(9)
    v = torch.randn(8, dtype=torch.float64)
    S = (v.var(correction=0) + 1e-5).sqrt()
    one = torch.ones(8, dtype=torch.float64)
    J = torch.autograd.functional.jacobian(lambda w: w - S * layer_norm(w, one), v)
    normal = layer_norm(v, one)
    torch.testing.assert_close(J, (torch.outer(one, one) + torch.outer(normal, normal)) / 8)
    values = torch.linalg.svdvals(J)
    assert (values < 1e-12).sum() == 6
    assert values[:2].tolist() == pytest.approx([1, 1], abs=1e-4)
    says(BLOCK, "Sáu trị kỳ dị bằng 0, hai trị bằng 1")


# the MLP

def test_parameters_of_the_mlp():
    mlp = gpt("small").transformer.h[0].mlp
    narrow, wide = SMALL.n_embd, 4 * SMALL.n_embd
    assert mlp.c_fc.weight.shape == (wide, narrow) and mlp.c_proj.weight.shape == (narrow, wide)
    says(BLOCK, rf"$2 \cdot {narrow} \cdot {wide}$ trọng số cộng ${wide} + {narrow}$ hệ số chệch: {count(mlp):,} tham số")
    assert count(mlp) == 8 * narrow**2 + 5 * narrow
    says(BLOCK, r"$12d^2 + 13d$ tham số, trong đó MLP có $8d^2 + 5d$")
    assert count(gpt("small").transformer.h[0]) == 12 * narrow**2 + 13 * narrow


def test_mlp_is_a_sum_over_neurons(x):
    torch.manual_seed(2)
    mlp = MLP(GPTConfig(vocab_size=1, n_ctx=1, n_layer=1, n_head=1, n_embd=C)).double()
    for parameter in mlp.parameters():
        nn.init.normal_(parameter)
    z = x[0, 0]
    total = mlp.c_proj.bias
    for i in range(4 * C):
        total = total + gelu_tanh(mlp.c_fc.weight[i] @ z + mlp.c_fc.bias[i]) * mlp.c_proj.weight[:, i]
    torch.testing.assert_close(total, mlp(z))


def test_no_line_separates_two_rings():
    """The value at the centre is the mean over each ring."""
    angle = torch.arange(100, dtype=torch.float64) * 2 * math.pi / 100
    ring = torch.stack([angle.cos(), angle.sin()], -1)
    for w in torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64):
        for radius in (1, 2):
            assert (radius * ring @ w[:2] + w[2]).mean().item() == pytest.approx(w[2].item(), abs=1e-12)


def test_independent_points_can_be_separated_in_any_way():
    a = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for labels in torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * 6):
        torch.testing.assert_close(a @ torch.linalg.solve(a, labels), labels)


def test_xor():
    points = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    score = F.relu(points.sum(1)) - 2 * F.relu(points.sum(1) - 1)
    assert score.tolist() == [0, 1, 1, 0]
    design = torch.cat([points, torch.ones(4, 1)], 1)                   # (w1, w2, b) -> the four values
    contradiction = torch.tensor([1.0, -1.0, -1.0, 1.0])                # class 0 minus class 1: always 0, never negative
    assert (contradiction @ design == 0).all()


# shares

@pytest.mark.parametrize("size", SIZES)
def test_mlp_is_two_thirds_of_a_block(size):
    assert mlps(size) / count(gpt(size).transformer.h) == pytest.approx(2 / 3, abs=1e-3)


def test_shares_of_the_mlp():
    small, xl = (share(mlps(size), count(gpt(size))) for size in ("small", "XL"))
    says(BLOCK, f"MLP chiếm {small} ở bản nhỏ và {xl} ở bản XL", f"{small} tham số ở bản nhỏ, {xl} ở XL")
    values = [mlps(size) / count(gpt(size)) for size in SIZES]
    assert values == sorted(values) and values[0] > 0.45                # never the "40 %" that circulates


def test_share_of_the_blocks_in_the_computation():
    weights = sum(p.numel() for p in gpt("small").transformer.h.parameters() if p.ndim == 2)
    vocabulary = gpt("small").lm_head.weight.numel()
    by_weights = weights / (weights + vocabulary)
    scores = 2 * 1024 * SMALL.n_embd * SMALL.n_layer
    with_scores = (weights + scores) / (weights + scores + vocabulary)
    assert 2 * 1024 * (weights + scores + vocabulary) == forward_flops(SMALL, 1, 1024)
    says(BLOCK, f"khối chiếm {by_weights:.0%} phép nhân với trọng số, và {with_scores:.0%} khi thêm điểm chú ý ở $T = 1024$")
    needed = SMALL.n_layer * 2 * sum(range(1, 1025)) * SMALL.n_embd / 1024      # the scores that are not masked
    half = (weights + scores / 2) / (weights + scores / 2 + vocabulary)
    assert f"{(weights + needed) / (weights + needed + vocabulary):.0%}" == f"{half:.0%}"


def test_share_of_the_blocks_grows_with_the_model():
    shares = []
    for name in SIZES.values():
        c = PRESETS[name]
        blocks = 12 * c.n_layer * c.n_embd**2
        shares.append(blocks / (blocks + c.vocab_size * c.n_embd))
    assert shares == sorted(shares)


# today's variants

def test_rms_norm_takes_the_mean_of_squares():
    torch.manual_seed(3)
    z, gain = torch.randn(4, 9, dtype=torch.float64) + 2, torch.randn(9, dtype=torch.float64)
    expected = gain * z / (z.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(F.rms_norm(z, (9,), gain, 1e-5), expected)
    by_variance = gain * z / (z.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    assert not torch.allclose(by_variance, expected, rtol=0.1)
    assert not torch.allclose(by_variance, F.layer_norm(z, (9,), gain), rtol=0.1)        # nor is it LayerNorm
    says(BLOCK, r"\mathrm{RMSNorm}(x) = \gamma \odot \frac{x}{\sqrt{\frac{1}{d}\sum_{j=1}^{d} x_j^2 + \varepsilon}}")


def test_swiglu_has_as_many_weights():
    narrow, wide = SMALL.n_embd, 4 * SMALL.n_embd
    h = narrow * 8 / 3
    assert h == int(h) and 3 * h == 2 * wide
    assert 3 * narrow * int(h) == 2 * narrow * wide
    says(BLOCK, f"$d = {narrow}$ thì $h = {int(h)}$ và hai số lượng bằng nhau: {2 * narrow * wide:,}")


def test_silu():
    z = torch.randn(10, dtype=torch.float64)
    torch.testing.assert_close(F.silu(z), z * torch.sigmoid(z))
    torch.testing.assert_close(nn.SiLU()(z), F.silu(z))
    with pytest.raises(AttributeError):
        torch.silu(z)
