"""The numbers and claims in the lesson on the transformer block in code."""

import copy
import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from aerogpt.attention import attention_manual, merge_heads, sdpa, split_heads
from aerogpt.block import Block
from aerogpt.config import PRESETS, GPTConfig
from aerogpt.functional import gelu_tanh
from aerogpt.model import GPT
from prose import SMALL, count, says
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

LESSON = "04_buildgpt/aero_llm_017_the_transformer_block_code_.md"
B, T, C, H = 5, 8, 128, 4
CONFIG = GPTConfig(vocab_size=1, n_ctx=T, n_layer=1, n_head=H, n_embd=C)
NAMES = {"ln_1": "norm1", "ln_2": "norm2", "attn.c_attn.": "self_attn.in_proj_",
         "attn.c_proj": "self_attn.out_proj", "mlp.c_fc": "linear1", "mlp.c_proj": "linear2"}
BLOCKED = torch.ones(T, T).triu(1).bool()


@pytest.fixture
def block() -> Block:
    torch.manual_seed(7)
    block = Block(CONFIG).double()
    with torch.no_grad():
        for parameter in block.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, 0, parameter.shape[1] ** -0.5)
            else:
                parameter.add_(0.5 * torch.randn_like(parameter))
    return block


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(B, T, C, dtype=torch.float64, generator=torch.Generator().manual_seed(8))


def encoder_layer(block: Block, **changes) -> nn.TransformerEncoderLayer:
    options = dict(dim_feedforward=4 * C, dropout=0.0, activation=gelu_tanh, batch_first=True, norm_first=True)
    layer = nn.TransformerEncoderLayer(C, H, **(options | changes)).double()
    state = {}
    for name, tensor in block.state_dict().items():
        for old, new in NAMES.items():
            name = name.replace(old, new)
        state[name] = tensor
    layer.load_state_dict(state)
    return layer


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    says(LESSON, r"khớp đến $10^{-10}$")
    return torch.allclose(a, b, rtol=1e-10, atol=1e-10)


def written_out(block: Block, x: torch.Tensor) -> torch.Tensor:
    """The block without any module of the package, and without torch's attention, GELU and norm."""
    p = block.state_dict()

    def norm(x, name):
        centred = x - x.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * p[name + ".weight"] + p[name + ".bias"]

    def linear(x, name):
        return x @ p[name + ".weight"].T + p[name + ".bias"]

    q, k, v = linear(norm(x, "ln_1"), "attn.c_attn").chunk(3, -1)
    heads = []
    for i in range(H):
        of_head = slice(i * C // H, (i + 1) * C // H)
        scores = q[..., of_head] @ k[..., of_head].mT / math.sqrt(C // H) + torch.zeros(T, T).masked_fill(BLOCKED, -math.inf)
        heads.append(scores.softmax(-1) @ v[..., of_head])
    u = x + linear(torch.cat(heads, -1), "attn.c_proj")
    wide = linear(norm(u, "ln_2"), "mlp.c_fc")
    wide = wide / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)))
    return u + linear(wide, "mlp.c_proj")


def test_example_of_the_lesson():
    says(LESSON, f"$B = {B}$, $T = {T}$, $C = {C}$, $H = {H}$")
    says(LESSON, f"vào $({B}, {T}, {C})$, ra $({B}, {T}, {C})$")
    says(LESSON, f"{3 * C} cột là $Q$, $K$, $V$ xếp cạnh nhau, {4 * C} là bốn lần bề rộng")
    says(LESSON, f"GPT-2 nhỏ xếp {SMALL.n_layer} khối")


def test_block_is_its_written_out_form(block, x):
    assert close(block(x), written_out(block, x))


def test_shapes_between_the_projections(block, x):
    """In the order of the text: what no hook sees."""
    columns = block.attn.c_attn(block.ln_1(x))
    part = columns.chunk(3, -1)[0]
    q, k, v = (split_heads(part, H) for part in columns.chunk(3, -1))
    heads, weights = attention_manual(q, k, v)
    shapes = [f"${tuple(tensor.shape)}$" for tensor in (columns, part, q, weights, heads, merge_heads(heads))]
    says(LESSON, "{} cắt thành ba lần {}; mỗi phần tách đầu thành {}; điểm và trọng số chú ý cỡ {}; "
                 "kết quả {} ghép lại thành {}".format(*shapes))


def test_hooks_see_modules_only_and_only_calls(block, x):
    seen = []
    for name, module in block.named_modules():
        module.register_forward_hook(lambda module, inputs, output, name=name: seen.append(name))
    block(x)
    assert seen == ["ln_1", "attn.c_attn", "attn.c_proj", "attn.dropout", "attn",
                    "ln_2", "mlp.c_fc", "mlp.c_proj", "mlp.dropout", "mlp", ""]
    seen.clear()
    block.forward(x)
    assert "" not in seen and "attn" in seen


def wrong_blocks(block: Block, x: torch.Tensor) -> dict[str, torch.Tensor]:
    ln_1, ln_2, attn, mlp = block.ln_1, block.ln_2, block.attn, block.mlp
    erf = copy.deepcopy(block)
    erf.mlp.forward = lambda h: mlp.c_proj(F.gelu(mlp.c_fc(h)))
    epsilon = copy.deepcopy(block)
    epsilon.ln_1.eps = epsilon.ln_2.eps = 1e-6
    after = ln_1(x + attn(x))
    of_norm = ln_1(x)
    of_norm = ln_2(of_norm + attn(of_norm))
    k, q, v = (split_heads(part, H) for part in attn.c_attn(ln_1(x)).chunk(3, -1))
    swapped = x + attn.c_proj(merge_heads(sdpa(q, k, v)))
    q, k, v = (part.unflatten(-1, (H, -1)) for part in attn.c_attn(ln_1(x)).chunk(3, -1))
    unmoved = x + attn.c_proj(sdpa(q, k, v).flatten(2))
    return {
        "eps": epsilon(x),
        "erf": erf(x),
        "mlp reads x": x + attn(ln_1(x)) + mlp(ln_2(x)),
        "swapped": swapped + mlp(ln_2(swapped)),
        "no mask": block(x, torch.ones(T, T).bool()),
        "axes": unmoved + mlp(ln_2(unmoved)),
        "post-norm": ln_2(after + mlp(after)),
        "adds to the norm": of_norm + mlp(of_norm),
        "no residual": mlp(ln_2(attn(ln_1(x)))),
    }


def test_errors_that_do_not_show(block, x):
    """Whatever the weights and the input: nine errors, all of the right shape, two of them below 0.001."""
    right = block(x)
    wrong = wrong_blocks(block, x)
    assert len(wrong) == 9
    assert all(output.shape == right.shape for output in wrong.values())
    distance = {name: (output - right).abs().max().item() for name, output in wrong.items()}
    small = [name for name, value in distance.items() if value < 1e-3]
    assert small == ["eps", "erf"]
    assert all(distance[name] > 1e-10 for name in small)
    assert min(value for name, value in distance.items() if name not in small) > 1
    says(LESSON, "chín cách viết sai", "Bảy lỗi làm đầu ra lệch")


def test_print_does_not_show_the_order():
    class PostNorm(Block):
        def forward(self, x, mask=None, cache=None):
            x = self.ln_1(x + self.attn(x, mask, cache))
            return self.ln_2(x + self.mlp(x))

    printed, other = repr(Block(CONFIG)).splitlines(), repr(PostNorm(CONFIG)).splitlines()
    assert printed[0] != other[0]
    assert printed[1:] == other[1:]
    PostNorm(CONFIG).load_state_dict(Block(CONFIG).state_dict())


def test_names_and_counts(block):
    names = list(block.state_dict())
    says(LESSON, "mười hai tensor tham số", "Mười hai tensor")
    assert len(names) == 12
    assert count(block) == 12 * C**2 + 13 * C
    assert "transformer.h.0.mlp.c_fc.weight" in GPT(CONFIG).state_dict()
    square = [name for name, tensor in block.state_dict().items() if tensor.ndim == 2 and len(set(tensor.shape)) == 1]
    assert square == ["attn.c_proj.weight"]


def test_torchs_layer_is_the_block(block, x):
    y = block(x)
    layer = encoder_layer(block)
    assert close(layer(x, src_mask=BLOCKED), y)
    for changes in (dict(norm_first=False), dict(activation=F.relu)):
        assert (encoder_layer(block, **changes)(x, src_mask=BLOCKED) - y).abs().max() > 0.1
    for mask in (None, ~BLOCKED):
        assert (layer(x, src_mask=mask) - y).abs().max() > 0.1


def test_torchs_defaults_are_not_gpt2s():
    default = nn.TransformerEncoderLayer(8, 2)
    assert default.linear1.out_features == 2048
    assert default.dropout.p == 0.1
    assert default.activation is F.relu
    assert not default.self_attn.batch_first and not default.norm_first
    says(LESSON, "đặt lại năm lựa chọn mặc định")


def test_two_of_the_options_show_themselves_here(block, x):
    with pytest.raises(RuntimeError):
        encoder_layer(block, dim_feedforward=2048)
    says(LESSON, rf'mặt nạ ${T} \times {T}$ không vừa "dãy" dài {B}')
    with pytest.raises(RuntimeError, match="attn_mask"):
        encoder_layer(block, batch_first=False)(x, src_mask=BLOCKED)
    square = x[:1].expand(T, T, C) + torch.arange(T)[:, None, None]
    silent = encoder_layer(block, batch_first=False)(square, src_mask=BLOCKED)
    assert (silent - block(square)).abs().max() > 0.1


def test_torchs_layer_has_one_more_dropout(block, x):
    layer = encoder_layer(block, dropout=0.5).train()
    layer.dropout1.p = layer.dropout2.p = layer.self_attn.dropout = 0.0
    assert not torch.equal(layer(x, src_mask=BLOCKED), layer(x, src_mask=BLOCKED))
    ours = Block(replace(CONFIG, dropout=0.5)).double().train()
    ours.attn.dropout.p = ours.mlp.dropout.p = 0.0
    assert torch.equal(ours(x), ours(x))


def test_gelu_as_a_module_is_lost_on_the_fast_path(block, x):
    y = block(x)
    layer = encoder_layer(block, activation=nn.GELU(approximate="tanh"))
    assert close(layer(x, src_mask=BLOCKED), y)
    layer.eval()
    assert close(layer(x, src_mask=BLOCKED), y)
    with torch.no_grad():
        lost = layer(x, src_mask=BLOCKED)
        kept = encoder_layer(block).eval()(x, src_mask=BLOCKED)
    assert not torch.allclose(lost, y, rtol=0, atol=1e-5)
    assert close(lost, wrong_blocks(block, x)["erf"])
    assert close(kept, y)


def test_torchs_decoder_layer_looks_at_a_second_sequence():
    assert isinstance(nn.TransformerDecoderLayer(8, 2).multihead_attn, nn.MultiheadAttention)


def test_stacks():
    shared, separate = nn.ModuleList([Block(CONFIG)] * 3), nn.ModuleList(Block(CONFIG) for _ in range(3))
    assert shared[0] is shared[2]
    assert 3 * count(shared) == count(separate)
    assert len(shared.state_dict()) == len(separate.state_dict()) == 36
    says(LESSON, f"liệt kê {len(shared.state_dict())} tensor")
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, batch_first=True), 3)
    first, second, _ = encoder.layers
    assert first is not second
    assert torch.equal(first.linear1.weight, second.linear1.weight)


def test_projection_into_the_stream_starts_smaller():
    says(LESSON, "c_proj khởi tạo với 0.02/√(2N)")
    block = Block(replace(PRESETS["gpt2"], n_layer=3))
    assert block.attn.c_proj.weight.std().item() == pytest.approx(0.02 / math.sqrt(6), rel=0.01)


class CountProducts(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.calls[function.overloadpacket.__name__] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("n_head", [1, 4, 12])
def test_calls_of_a_loop_over_heads(n_head):
    attn = Block(replace(CONFIG, n_head=n_head, n_embd=96)).attn
    h = torch.randn(2, T, 96)

    def loop():
        heads = []
        for i in range(n_head):
            rows = slice(i * 96 // n_head, (i + 1) * 96 // n_head)
            q, k, v = (F.linear(h, weight[rows], bias[rows]) for weight, bias
                       in zip(attn.c_attn.weight.chunk(3), attn.c_attn.bias.chunk(3), strict=True))
            heads.append(attention_manual(q, k, v)[0])
        return attn.c_proj(torch.cat(heads, -1))

    def fused():
        q, k, v = (split_heads(part, n_head) for part in attn.c_attn(h).chunk(3, -1))
        return attn.c_proj(merge_heads(attention_manual(q, k, v)[0]))

    outputs, calls = [], []
    for function in (loop, fused):
        with torch.no_grad(), CountProducts() as counter:
            outputs.append(function())
        calls.append(sum(counter.calls[name] for name in ("mm", "addmm", "bmm")))
    torch.testing.assert_close(*outputs, atol=1e-6, rtol=1e-5)
    assert calls == [3 * n_head + 2 * n_head + 1, 4]
    if n_head == SMALL.n_head:
        says(LESSON, f"$H = {n_head}$, lặp cần {calls[0]}")


def test_dropout_divides_by_what_it_keeps():
    torch.manual_seed(0)
    dropped = nn.Dropout(0.2)(torch.ones(10_000))
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.8])
    assert (dropped == 0).float().mean().item() == pytest.approx(0.2, abs=0.02)


def test_who_listens_to_eval(x):
    block = Block(replace(CONFIG, dropout=0.2)).double()
    block.train()
    with torch.no_grad():
        assert not torch.equal(block(x), block(x))
    block.eval()
    assert torch.equal(block(x), block(x))
    q = x.unflatten(-1, (H, -1)).transpose(1, 2)
    assert not torch.equal(sdpa(q, q, q, dropout=0.2), sdpa(q, q, q, dropout=0.2))


@pytest.mark.parametrize("length", [1, T])
def test_which_parameters_get_a_gradient(block, x, length):
    y = block(x[:, :length])
    y.backward(torch.randn_like(y))
    silent = set()
    for name, parameter in block.named_parameters():
        parts = zip("QKV", parameter.grad.chunk(3), strict=True) if "c_attn" in name else [("", parameter.grad)]
        silent |= {(name, part) for part, gradient in parts if gradient.norm() < 1e-9}
    weight, bias = "attn.c_attn.weight", "attn.c_attn.bias"
    assert silent == ({(bias, "K")} if length > 1 else {(weight, "Q"), (weight, "K"), (bias, "Q"), (bias, "K")})


def test_a_module_that_is_not_used_has_no_gradient(x):
    class Forgetful(Block):
        def forward(self, x, mask=None, cache=None):
            x = x + self.attn(self.ln_1(x))
            return x + self.mlp(x)

    block = Forgetful(CONFIG).double()
    block(x).sum().backward()
    assert [name for name, parameter in block.named_parameters() if parameter.grad is None] == ["ln_2.weight", "ln_2.bias"]
