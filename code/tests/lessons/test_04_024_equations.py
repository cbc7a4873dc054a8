"""The lesson of GPT-2 in equations: each of its 19 is written out here and must equal what the package computes."""

import inspect
import math
import re
from functools import reduce
from importlib import import_module

import pytest
import torch
from aerogpt import attention, sampling
from aerogpt.benchmark import forward_flops
from aerogpt.config import PRESETS, GPTConfig
from aerogpt.functional import gelu_tanh, layer_norm, masked_softmax, softmax
from aerogpt.generate import generate_plain
from aerogpt.model import GPT
from aerogpt.parameters import count_parameters, preset_model
from prose import DOCS, SIZES, SMALL, says
from torch.utils.flop_counter import FlopCounterMode

LESSON = "04_buildgpt/aero_llm_024_summarizing_gpt_using_equations.md"
TEXT = (DOCS / LESSON).read_text(encoding="utf-8")
BLOCKS, HEADS, WIDTH, VOCABULARY, LENGTH, EPS, TEMPERATURE = 3, 4, 32, 50, 12, 1e-5, 0.7
HEAD = WIDTH // HEADS


class Reads(dict):
    """A state dict that knows which of its tensors were used."""

    def __init__(self, *args):
        super().__init__(*args)
        self.used = set()

    def __getitem__(self, name):
        self.used.add(name)
        return super().__getitem__(name)


class Case:
    """A model in float64 with every parameter random, and all that its modules took in and gave out for one sequence."""

    def __init__(self):
        torch.manual_seed(0)
        self.model = GPT(GPTConfig(VOCABULARY, LENGTH + 4, BLOCKS, HEADS, WIDTH)).double().requires_grad_(False)
        for name, parameter in self.model.named_parameters():
            parameter.normal_(float("ln_" in name and name.endswith("weight")), 0.3)
        self.sd = Reads(self.model.state_dict())
        self.idx, self.targets = torch.randint(VOCABULARY, (2, 1, LENGTH))
        self.into, self.out, self.fused, self.drawn_from = {}, {}, [], []
        for name, module in self.model.named_modules():
            module.register_forward_hook(lambda _, args, result, name=name: self.note(name, args, result))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(attention, "sdpa", self.spy(attention.sdpa, self.fused))
            self.model(self.idx)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sampling, "sample_categorical", self.spy(sampling.sample_categorical, self.drawn_from))
            self.longer = generate_plain(lambda ids: self.out[""], self.idx, 1, temperature=TEMPERATURE)

    def note(self, name, args, result):
        self.into[name], self.out[name] = args[0], result

    def spy(self, function, calls):
        def spying(*args, **options):
            result = function(*args, **options)
            calls.append((args, result))
            return result

        return spying

    def param(self, name):
        return self.sd[f"transformer.{name}"]

    def norm(self, name, x, divisor=WIDTH):
        mean = x.sum(-1, keepdim=True) / WIDTH
        variance = ((x - mean) ** 2).sum(-1, keepdim=True) / divisor
        return self.param(f"{name}.weight") * (x - mean) / (variance + EPS) ** 0.5 + self.param(f"{name}.bias")


@pytest.fixture(scope="module")
def case():
    return Case()


def at(block, name):
    return f"transformer.h.{block}.{name}".rstrip(".")


def every_block(pair):
    """Stack what ``pair(case, block, wrong)`` gives for every block."""
    def stacked(case, wrong):
        written, computed = zip(*(pair(case, block, wrong) for block in range(BLOCKS)))
        return torch.stack(written), torch.stack(computed)

    return stacked


def mask():
    return torch.tensor([[0.0 if s <= t else -math.inf for s in range(LENGTH)] for t in range(LENGTH)])


def row_softmax(scores, dim=-1):
    return scores.exp() / scores.exp().sum(dim, keepdim=True)


# Each function gives what the equation says, from the state dict, and what the package computed.
# With ``wrong`` it is a misreading, named in the comment, that must not agree.

def eq1(case, wrong):                                                   # the position forgotten
    one_hot = torch.eye(VOCABULARY, dtype=torch.float64)[case.idx[0]]
    written = one_hot @ case.param("wte.weight")
    return written if wrong else written + case.param("wpe.weight")[:LENGTH], case.into[at(0, "")][0]


@every_block
def eq2(case, block, wrong):                                            # variance over d - 1
    x = case.into[at(block, "ln_2")][0]
    name = f"h.{block}.ln_2"
    written = case.norm(name, x, WIDTH - 1 if wrong else WIDTH)
    computed = layer_norm(x, case.param(f"{name}.weight"), case.param(f"{name}.bias"), EPS)
    torch.testing.assert_close(computed, case.out[at(block, "ln_2")][0])
    return written, computed


@every_block
def eq3(case, block, wrong):                                            # the other norm of the block
    return case.norm(f"h.{block}.ln_{2 if wrong else 1}", case.into[at(block, "")][0]), case.into[at(block, "attn")][0]


@every_block
def eq4(case, block, wrong):                                            # no biases
    u = case.into[at(block, "attn")][0]
    weight, bias = (case.param(f"h.{block}.attn.c_attn.{kind}") for kind in ("weight", "bias"))
    written = []
    for part in range(3):
        for head in range(HEADS):
            rows = slice(part * WIDTH + head * HEAD, part * WIDTH + (head + 1) * HEAD)
            written.append(u @ weight[rows].T + (0 if wrong else bias[rows]))
    return torch.stack(written).unflatten(0, (3, HEADS)), torch.stack([part[0] for part in case.fused[block][0][:3]])


def manual(case, block):
    """Scores with their mask, weights and output of ``attention_manual`` for the queries, keys, values of a block."""
    calls = []
    q, k, v = (part[0] for part in case.fused[block][0][:3])            # (H, T, D)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "masked_softmax", case.spy(masked_softmax, calls))
        out, weights = attention.attention_manual(q, k, v)
    ((scores, allowed), _), = calls
    return q, k, v, scores.masked_fill(~allowed, -math.inf), weights, out


@every_block
def eq5(case, block, wrong):                                            # divided by the root of d
    q, k, _, scores, _, _ = manual(case, block)
    return q @ k.transpose(-2, -1) / math.sqrt(WIDTH if wrong else HEAD) + mask(), scores


@every_block
def eq6(case, block, wrong):                                            # softmax over the queries
    _, _, _, scores, weights, _ = manual(case, block)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    return row_softmax(scores, -2 if wrong else -1), weights


@every_block
def eq7(case, block, wrong):                                            # the mean of the keys
    _, k, v, _, weights, out = manual(case, block)
    torch.testing.assert_close(out, case.fused[block][1][0])            # the fused kernel that the model runs
    return weights @ (k if wrong else v), out


@every_block
def eq8(case, block, wrong):                                            # no bias
    heads = torch.cat(list(case.fused[block][1][0]), dim=1)
    written = heads @ case.param(f"h.{block}.attn.c_proj.weight").T
    bias = case.param(f"h.{block}.attn.c_proj.bias")
    return written + (0 if wrong else bias), case.out[at(block, "attn")][0]


@every_block
def eq9(case, block, wrong):                                            # the branch in place of the sum
    branch = case.out[at(block, "attn")][0]
    return branch + (0 if wrong else case.into[at(block, "")][0]), case.into[at(block, "ln_2")][0]


@every_block
def eq10(case, block, wrong):                                           # the exact form
    a = case.out[at(block, "mlp.c_fc")][0]
    inner = math.sqrt(2 / math.pi) * (a + 0.044715 * a**3)
    torch.testing.assert_close(gelu_tanh(a), case.into[at(block, "mlp.c_proj")][0])
    return a / 2 * (1 + (torch.erf(a / math.sqrt(2)) if wrong else torch.tanh(inner))), gelu_tanh(a)


@every_block
def eq11(case, block, wrong):                                           # no biases
    x = case.norm(f"h.{block}.ln_2", case.into[at(block, "ln_2")][0])
    for layer, function in (("c_fc", gelu_tanh), ("c_proj", lambda y: y)):
        bias = case.param(f"h.{block}.mlp.{layer}.bias")
        x = function(x @ case.param(f"h.{block}.mlp.{layer}.weight").T + (0 if wrong else bias))
    return x, case.out[at(block, "mlp")][0]


@every_block
def eq12(case, block, wrong):                                           # added to the input of the block, not to R
    stream = case.into[at(block, "" if wrong else "ln_2")][0]
    return stream + case.out[at(block, "mlp")][0], case.out[at(block, "")][0]


def eq13(case, wrong):                                                  # no last norm
    x = case.out[at(BLOCKS - 1, "")][0]
    return x if wrong else case.norm("ln_f", x), case.out["transformer.ln_f"][0]


def eq14(case, wrong):                                                  # another matrix of the same shape
    table = case.param("wte.weight")
    return case.out["transformer.ln_f"][0] @ (table.flip(0) if wrong else table).T, case.out[""][0]


def eq15(case, wrong):                                                  # without the sum over the vocabulary
    z = case.out[""][0]
    return z.exp() if wrong else row_softmax(z), softmax(z)


def eq16(case, wrong):                                                  # the token at t itself, not the next
    p = row_softmax(case.out[""][0])
    answers = case.idx[0] if wrong else case.targets[0]
    losses = [-math.log(p[t, answer]) for t, answer in enumerate(answers.tolist())]
    return torch.tensor(sum(losses) / LENGTH), case.model.loss(case.idx, case.targets)


def eq17(case, wrong):                                                  # logits times the temperature
    z = case.out[""][0, -1]
    ((probabilities,), token), = case.drawn_from
    assert case.longer[0].tolist() == [*case.idx[0].tolist(), token.item()]
    return row_softmax(z * TEMPERATURE if wrong else z / TEMPERATURE).float(), probabilities[0]


def eq18(case, wrong):                                                  # the tied matrix twice
    def n(c):
        d = c.n_embd
        inner = 3 * (d**2 + d) + (d**2 + d) + (8 * d**2 + 5 * d) + 4 * d
        return (c.vocab_size * (1 + wrong) + c.n_ctx) * d + c.n_layer * inner + 2 * d

    names = [*SIZES.values(), "nano", "vi-tiny"]
    return (torch.tensor([n(PRESETS[name]) for name in names]),
            torch.tensor([count_parameters(preset_model(name)) for name in names]))


def flops_per_token(c, length):
    d = c.n_embd
    return 2 * (12 * c.n_layer * d**2 + c.vocab_size * d) + 4 * c.n_layer * length * d


def eq19(case, wrong):                                                  # without scores and averages
    pairs = []
    for batch, length in ((1, 16), (2, 1024)):
        with torch.device("meta"):
            model, idx = preset_model("gpt2"), torch.zeros(batch, length, dtype=torch.long)
        with FlopCounterMode(display=False) as counter:
            model(idx)
        assert counter.get_total_flops() == forward_flops(SMALL, batch, length)
        pairs.append((batch * length * flops_per_token(SMALL, 0 if wrong else length), forward_flops(SMALL, batch, length)))
    return tuple(torch.tensor(column) for column in zip(*pairs))


# number: what the page must show of it, the symbol, the line in the symbol's source, the check
EQUATIONS = {
    1: (r"X^{(0)} = O E + P_{1:T}", "aerogpt/model.py::GPT.hidden",
        "self.transformer.wte(idx) + self.transformer.wpe(position_ids)", eq1),
    2: (r"\mathrm{LN}(u)_i = \gamma_i \, \frac{u_i - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta_i, "
        r"\qquad \mu = \frac{1}{d} \sum_{j=1}^{d} u_j, \qquad \sigma^2 = \frac{1}{d} \sum_{j=1}^{d} (u_j - \mu)^2",
        "aerogpt/functional.py::layer_norm", "normalised = centred / torch.sqrt(variance + eps)", eq2),
    3: (r"U^{(\ell)} = \mathrm{LN}_1^{(\ell)}\left(X^{(\ell-1)}\right)", "aerogpt/block.py::Block.forward",
        "self.ln_1(x)", eq3),
    4: (r"V^{(\ell,h)} &= U^{(\ell)} W_V^{(\ell,h)} + b_V^{(\ell,h)}",
        "aerogpt/attention.py::MultiHeadAttention.forward", "q, k, v = self.c_attn(x).chunk(3, dim=-1)", eq4),
    5: (r"S^{(\ell,h)} = \frac{Q^{(\ell,h)} {K^{(\ell,h)}}^{\top}}{\sqrt{d_h}} + M, "
        r"\qquad M_{ts} = \begin{cases} 0 & s \le t \\ -\infty & s > t \end{cases}",
        "aerogpt/attention.py::attention_manual", "q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])", eq5),
    6: (r"A_{ts}^{(\ell,h)} = \frac{e^{S_{ts}^{(\ell,h)}}}{\sum_{j=1}^{T} e^{S_{tj}^{(\ell,h)}}}",
        "aerogpt/functional.py::masked_softmax", "softmax(scores.masked_fill(~mask, -math.inf))", eq6),
    7: (r"Y^{(\ell,h)} = A^{(\ell,h)} V^{(\ell,h)}", "aerogpt/attention.py::attention_manual",
        "return weights @ v, weights", eq7),
    8: (r"C^{(\ell)} = \left[\, Y^{(\ell,1)} \;\; Y^{(\ell,2)} \;\; \cdots \;\; Y^{(\ell,H)} \,\right] "
        r"W_O^{(\ell)} + b_O^{(\ell)}", "aerogpt/attention.py::MultiHeadAttention.forward",
        "self.c_proj(merge_heads(heads))", eq8),
    9: (r"R^{(\ell)} = X^{(\ell-1)} + C^{(\ell)}", "aerogpt/block.py::Block.forward",
        "x = x + self.attn(self.ln_1(x), mask, cache)", eq9),
    10: (r"\mathrm{GELU}(a) = \frac{a}{2}\left[1 + \tanh\left(\sqrt{\frac{2}{\pi}}\left(a + 0.044715\,a^3\right)\right)\right]",
         "aerogpt/functional.py::gelu_tanh", "math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)", eq10),
    11: (r"F^{(\ell)} = \mathrm{GELU}\left(\mathrm{LN}_2^{(\ell)}\left(R^{(\ell)}\right) W_1^{(\ell)} + b_1^{(\ell)}\right) "
         r"W_2^{(\ell)} + b_2^{(\ell)}", "aerogpt/layers.py::MLP.forward",
         'bent = F.gelu(widened, approximate="tanh")', eq11),
    12: (r"X^{(\ell)} = R^{(\ell)} + F^{(\ell)}", "aerogpt/block.py::Block.forward",
         "return x + self.mlp(self.ln_2(x))", eq12),
    13: (r"\hat{X} = \mathrm{LN}_f\left(X^{(L)}\right)", "aerogpt/model.py::GPT.hidden",
         "return self.transformer.ln_f(x)", eq13),
    14: (r"Z = \hat{X} E^{\top}", "aerogpt/model.py::GPT.forward", "return self.lm_head(x)", eq14),
    15: (r"p_{t,i} = P(x_{t+1} = i \mid x_1, \ldots, x_t) = \frac{e^{Z_{t,i}}}{\sum_{j} e^{Z_{t,j}}}",
         "aerogpt/functional.py::softmax", "return weights / weights.sum(dim, keepdim=True)", eq15),
    16: (r"\mathcal{L} = -\frac{1}{T} \sum_{t=1}^{T} \ln p_{t,\,x_{t+1}}", "aerogpt/model.py::GPT.loss",
         "linear_cross_entropy(x, self.lm_head.weight, targets.flatten())", eq16),
    17: (r"x_{T+1} \sim q, \qquad q_i = \frac{e^{Z_{T,i}/\tau}}{\sum_{j} e^{Z_{T,j}/\tau}}",
         "aerogpt/generate.py::generate_plain", "token = sample(logits[:, -1], **sampling)", eq17),
    18: (r"N = (V + T_{\max})\,d + L\left[\,3(d^2 + d) + (d^2 + d) + (8d^2 + 5d) + 4d\,\right] + 2d",
         "aerogpt/parameters.py::count_parameters", "sum(parameter.numel() for _, parameter in", eq18),
    19: (r"c(T) = 2\left(12 L d^2 + V d\right) + 4 L T d \approx 2N + 4 L T d", "aerogpt/benchmark.py::forward_flops",
         "return 2 * matrices * tokens + attention", eq19),
}
numbered = pytest.mark.parametrize("number", EQUATIONS)


def close(written, computed):
    precise = computed.dtype == torch.float64
    return torch.allclose(written.double(), computed.double(), rtol=1e-11 if precise else 1e-5, atol=1e-11 if precise else 1e-6)


@numbered
def test_the_equation_equals_what_the_symbol_computes(case, number):
    written, computed = EQUATIONS[number][3](case, False)
    assert written.shape == computed.shape
    assert close(written, computed)


@numbered
def test_a_misreading_does_not(case, number):
    assert not close(*EQUATIONS[number][3](case, True))


@numbered
def test_the_page_shows_the_equation_beside_its_line_of_code(number):
    latex, symbol, line, _ = EQUATIONS[number]
    shown = {int(tag): body for body, tag in re.findall(r"\\begin\{equation\}\n(.*?)\n\\tag\{(\d+)\}", TEXT, re.S)}
    assert list(shown) == list(EQUATIONS)
    assert latex in shown[number]
    says(LESSON, f"| ({number}) | `{symbol}` | `{line}` |")
    path, name = symbol.split("::")
    found = reduce(getattr, name.split("."), import_module(path.removesuffix(".py").replace("/", ".")))
    assert line in inspect.getsource(found)


def test_together_they_use_every_parameter(case):
    for _, _, _, check in EQUATIONS.values():
        check(case, False)
    assert case.sd.used == set(case.sd) - {"lm_head.weight"}
    assert case.model.lm_head.weight is case.model.transformer.wte.weight


def test_queries_keys_and_values_have_one_equation_each():
    for letter in "QKV":
        says(LESSON, rf"{letter}^{{(\ell,h)}} &= U^{{(\ell)}} W_{letter}^{{(\ell,h)}} + b_{letter}^{{(\ell,h)}}")


def test_number_of_equations_and_lines():
    says(LESSON, f"trọn GPT-2 thành {len(EQUATIONS)} phương trình")
    cell = re.search(r"\{\.cell #phuong-trinh-ham\}\n(.*?)```", TEXT, re.S).group(1)
    lines = [line for line in cell.splitlines() if line and not line.startswith(("import", "from", "torch"))]
    assert 36 <= len(lines) <= 44
    block = [number for number, (_, symbol, _, _) in EQUATIONS.items() if 3 <= number <= 12 and number != 10]
    assert block == [*range(3, 10), 11, 12] and len(block) == 9
    says(LESSON, "Chín phương trình, từ (3) đến (9) cùng (11) và (12)")


@pytest.mark.parametrize("row, name, shape", [
    (r"$E$ | $V \times d$", "wte.weight", (VOCABULARY, WIDTH)),
    (r"$P$ | $T_{\max} \times d$", "wpe.weight", (LENGTH + 4, WIDTH)),
    (r"$\gamma$, $\beta$ | $d$", "h.0.ln_1.weight", (WIDTH,)),
    (r"$W_O^{(\ell)}$, $b_O^{(\ell)}$ | $d \times d$, $d$", "h.0.attn.c_proj.weight", (WIDTH, WIDTH)),
    (r"$W_1^{(\ell)}$, $b_1^{(\ell)}$ | $d \times 4d$, $4d$", "h.0.mlp.c_fc.weight", (4 * WIDTH, WIDTH)),
    (r"$W_2^{(\ell)}$, $b_2^{(\ell)}$ | $4d \times d$, $d$", "h.0.mlp.c_proj.weight", (WIDTH, 4 * WIDTH)),
])
def test_shapes_in_the_table_of_symbols(case, row, name, shape):
    says(LESSON, f"| {row} |")
    assert case.param(name).shape == shape                              # a Linear's weight is (out, in)
    assert case.fused[0][0][0].shape == (1, HEADS, LENGTH, HEAD)
    says(LESSON, r"$Y^{(\ell,h)}$ | $T \times d_h$", r"$V^{(\ell,h)}$ | $T \times d_h$", r"$A^{(\ell,h)}$ | $T \times T$")


def test_dividing_by_one_less_shrinks_the_norm():
    says(LESSON, f"nhỏ đi {1 - math.sqrt((WIDTH - 1) / WIDTH):.1%} khi $d = {WIDTH}$")


def test_sizes_of_gpt2_small():
    says(LESSON, f"$V = {SMALL.vocab_size}$, $T_{{\\max}} = {SMALL.n_ctx}$, $L = {SMALL.n_layer}$, "
                 f"$H = {SMALL.n_head}$, $d = {SMALL.n_embd}$, nên $d_h = {SMALL.head_size}$")
    assert f"{SMALL.layer_norm_epsilon:.0e}" == "1e-05"
    says(LESSON, r"$\varepsilon = 10^{-5}$")
    says(LESSON, f"{LENGTH * VOCABULARY} logit trùng nhau")


def test_counts_of_gpt2_small():
    total, d, layers = count_parameters(preset_model("gpt2")), SMALL.n_embd, SMALL.n_layer
    says(LESSON, f"$N = {total:,}$".replace(",", "{,}"))
    assert 3 * (d**2 + d) + (d**2 + d) + (8 * d**2 + 5 * d) + 4 * d == 12 * d**2 + 13 * d
    products = flops_per_token(SMALL, 0)
    says(LESSON, f"$2N$ lớn hơn số hạng đúng {2 * total / products - 1:.1%}")
    for length in (1, 7, 1024):
        allowed = sum(t for t in range(1, length + 1))                  # pairs with s <= t
        assert 4 * layers * d * allowed == length * 2 * layers * (length + 1) * d
    says(LESSON, "$s \\le t$ thì còn $2L(T + 1)d$", "$6d^2$, $2d^2$, $16d^2$ ở mỗi khối và $2Vd$ ở cuối")
    assert layers * (6 + 2 + 16) * d**2 + 2 * SMALL.vocab_size * d == products
