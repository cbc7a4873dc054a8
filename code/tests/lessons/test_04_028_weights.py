"""The numbers and claims in the lesson on the distributions of trained weights."""

import copy
import itertools
import json
import math

import numpy as np
import pytest
import torch
from aerogpt import weights
from aerogpt.config import PRESETS
from aerogpt.corpus import read_documents, split_documents
from aerogpt.data import encode_documents
from aerogpt.model import GPT
from aerogpt.optimization import TrainConfig, learning_rate
from aerogpt.parameters import attention_stats, weight_stats
from aerogpt.tokenizer import load_tokenizer
from prose import SIZES, SMALL, says, signed

LESSON = "04_buildgpt/aero_llm_028_codechallenge_gpt2_trained_weights_distributions.md"
TINY = PRESETS["vi-tiny"]
N = TINY.n_embd**2


@pytest.fixture(scope="module")
def pair() -> tuple[GPT, GPT, dict]:
    """vi-tiny, the same model before its first step, and its provenance."""
    model, facts = weights.load_vi_tiny()
    with torch.random.fork_rng():
        torch.manual_seed(facts["training"]["seed"])
        return model, GPT(model.config), facts


def matrices(model: GPT) -> dict[str, list[torch.Tensor]]:
    blocks = model.transformer.h
    parts = {"wte": [model.transformer.wte.weight], "wpe": [model.transformer.wpe.weight]}
    for i, name in enumerate("QKV"):
        parts[name] = [block.attn.c_attn.weight.chunk(3)[i] for block in blocks]
    for name in ("attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
        parts[name] = [block.get_parameter(f"{name}.weight") for block in blocks]
    return {name: [w.detach() for w in tensors] for name, tensors in parts.items()}


def middle(w: torch.Tensor) -> float:
    low, high = np.quantile(w.numpy(), [0.25, 0.75])
    return (high - low) / 1.349


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return torch.cosine_similarity(a.flatten(), b.flatten(), dim=0).item()


def test_which_model_and_its_size():
    says(LESSON, f"({TINY.n_layer} khối, $d = {TINY.n_embd}$)", f"$n = {N:,}$".replace(",", "{,}"),
         rf"$\ln {TINY.vocab_size} \approx {math.log(TINY.vocab_size):.3f}$")
    assert TINY.vocab_size == 8 * TINY.n_ctx                            # "gấp 8 lần"
    says(LESSON, "wte có số phần tử gấp 8 lần wpe")


def test_kurtosis_of_known_laws():
    torch.manual_seed(1)
    n = 4_000_000
    mixture = torch.randn(n) * torch.where(torch.arange(n) % 2 == 0, 1.0, 3.0)
    exact = 3 * (1 + 3**4) / 2 / ((1 + 3**2) / 2) ** 2 - 3
    laws = [(torch.randn(n), 0), (torch.rand(n), 1 / 80 / (1 / 12) ** 2 - 3),
            (torch.distributions.Laplace(0, 1).sample((n,)), 24 / 2**2 - 3), (mixture, exact)]
    for sample, value in laws:
        assert weight_stats(sample)["kurtosis"] == pytest.approx(value, abs=0.08)
    values = [f"{value:.2f}".rstrip("0").rstrip(".").replace("-", "−") for _, value in laws]
    says(LESSON, f"bốn độ nhọn là {values[0]}, {values[1]}, {values[2]} và {values[3]}")
    says(LESSON, f"cách $3\\sigma$ thì đóng góp {3**4}, cách $\\sigma/2$ chỉ đóng góp {0.5**4}")
    quartiles = torch.special.ndtri(torch.tensor([0.25, 0.75], dtype=torch.float64))
    says(LESSON, f"chia cho {(quartiles[1] - quartiles[0]).item():.3f} để bằng")


def test_standard_errors():
    says(LESSON, f"{math.sqrt(24 / N):.4f} và {1 / math.sqrt(2 * N):.2%}", f"là $1/d$; ở đây {1 / TINY.n_embd:.2%}")
    torch.manual_seed(2)
    n = 5000
    x = torch.randn(1500, n, dtype=torch.float64)
    centred = x - x.mean(1, keepdim=True)
    variance = centred.square().mean(1)
    kurtosis = (centred**4).mean(1) / variance**2 - 3
    assert kurtosis.std().item() == pytest.approx(math.sqrt(24 / n), rel=0.1)
    assert variance.sqrt().std().item() == pytest.approx(1 / math.sqrt(2 * n), rel=0.1)
    ratio = (variance[:750] / variance[750:]).sqrt()
    assert ratio.std().item() == pytest.approx(1 / math.sqrt(n), rel=0.1)
    rows = torch.randn(20_000, TINY.n_embd)
    rows = (rows - rows.mean(1, keepdim=True)) / rows.std(1, keepdim=True)
    expected = -6 / (TINY.n_embd + 1)
    assert weight_stats(rows)["kurtosis"] == pytest.approx(expected, abs=0.008)
    says(LESSON, f"với $d = {TINY.n_embd}$ là {signed(expected)}")


def test_the_start_is_found_again(pair):
    model, start, facts = pair
    with torch.random.fork_rng():
        torch.manual_seed(facts["training"]["seed"] + 1)
        other = matrices(GPT(model.config))
    after, before = matrices(model), matrices(start)
    true = [cosine(a, b) for name in after for a, b in zip(after[name], before[name])]
    foreign = [abs(cosine(a, b)) for name in after for a, b in zip(after[name], other[name])]
    assert min(true) > 5 * max(foreign)
    left = {name: np.mean([cosine(a, b) ** 2 for a, b in zip(after[name], before[name])]) for name in after}
    for name in after:                                                  # the decomposition W = a W0 + D
        a, b = after[name][0].double(), before[name][0].double()
        factor = (a * b).sum() / b.square().sum()
        assert ((a - factor * b) * b).sum().abs() < 1e-9 * a.norm() * b.norm() + 1e-9
        assert (factor * b).norm() ** 2 / a.norm() ** 2 == pytest.approx(cosine(a, b) ** 2, abs=1e-6)
    assert left["V"] > left["Q"] + 0.05 and left["mlp.c_fc"] > left["wte"] + 0.1


def test_weight_decay_alone_does_not_shrink_wpe_so(pair):
    model, start, facts = pair
    config = TrainConfig(**facts["training"])
    decay = math.prod(1 - learning_rate(t, config) * config.weight_decay for t in range(facts["best"]["step"]))
    w, w0 = model.transformer.wpe.weight, start.transformer.wpe.weight
    assert ((w * w0).sum() / w0.square().sum()).item() < decay - 0.1
    p = torch.nn.Parameter(torch.ones(3, 3))                            # AdamW with no gradient: exactly that factor
    optimizer = torch.optim.AdamW([p], lr=0.01, weight_decay=0.1)
    p.grad = torch.zeros_like(p)
    optimizer.step()
    assert p[0, 0].item() == pytest.approx(1 - 0.01 * 0.1)


def test_first_hypothesis_on_this_model(pair):
    after = matrices(pair[0])
    (wte,), (wpe,) = after["wte"], after["wpe"]
    for measure in (lambda w: w.std(), middle, lambda w: w.max() - w.min()):
        assert measure(wte) > 1.7 * measure(wpe)                        # the lesson's bar is 1.5
    assert all(abs(w.mean()) < 0.05 * w.std() for w in (wte, wpe))


def test_absent_tokens_make_the_tail_of_wte(pair):
    model, _, facts = pair
    documents = read_documents([weights.DATA / "vi-tiny-corpus.txt"])
    training, _ = split_documents(documents, facts["text"]["validation_share"])
    counts = torch.bincount(encode_documents(training, load_tokenizer("vi-tiny")), minlength=TINY.vocab_size)
    wte = model.transformer.wte.weight.detach()
    absent, present = wte[counts == 0], wte[counts > 0]
    assert absent.std() > 1.5 * present.std()
    assert weight_stats(present)["kurtosis"] < 0.5 * weight_stats(wte)["kurtosis"]      # "phần lớn cái đuôi"
    assert present.std() > 1.7 * model.transformer.wpe.weight.std()     # the first hypothesis without them
    far = wte.abs() > wte.abs().flatten().kthvalue(int(0.99 * wte.numel())).values      # "hai vai"
    assert far[counts == 0].sum() > 0.8 * far.sum()
    unit = torch.nn.functional.normalize(absent, dim=1)
    among = (unit @ unit.T)[~torch.eye(len(unit), dtype=torch.bool)]
    assert among.mean() > 0.9                                           # "gần như trùng hướng"

    h, head = torch.randn(40, 8), torch.nn.Parameter(torch.randn(10, 8))    # the gradient of a row never wanted
    targets = torch.randint(0, 9, (40,))
    torch.nn.functional.cross_entropy(h @ head.T, targets, reduction="sum").backward()
    p = (h @ head.T).softmax(-1)[:, 9]
    torch.testing.assert_close(head.grad[9], (p[:, None] * h).sum(0))


def test_head_size(pair):
    assert {PRESETS[name].head_size for name in SIZES.values()} == {64}
    widths = [PRESETS[name].n_embd for name in SIZES.values()]
    says(LESSON, "GPT-2, $d_k = 64$; bề rộng embedding $d$ thì là " + ", ".join(map(str, widths)))
    says(LESSON, f"$d_k = {TINY.n_embd}/{TINY.n_head} = {TINY.head_size}$")
    factor = math.sqrt(SMALL.n_embd / SMALL.head_size)
    says(LESSON, rf"$\sqrt{{{SMALL.n_embd}}}$ thay vì $\sqrt{{{SMALL.head_size}}}$",
         rf"$\sqrt{{{SMALL.n_embd // SMALL.head_size}}} \approx {factor:.2f}$ lần")
    stats = attention_stats(pair[0])                                    # the slices are those of the package
    for i, part in itertools.product(range(TINY.n_layer), "QKV"):
        assert stats[i][part]["std"] == pytest.approx(matrices(pair[0])[part][i].std().item(), rel=1e-4)
    n = TINY.head_size * TINY.n_embd
    says(LESSON, f"$n = d_k \\cdot d = {n}$ số", rf"$1/\sqrt{{2n}} \approx {100 / math.sqrt(2 * n):.2f}\%$")


def test_second_and_third_hypothesis_are_worth_telling(pair):
    """The lesson's verdicts come from its cells; here: what its wording needs."""
    after = matrices(pair[0])
    narrower = sum(middle(v) < 0.97 * middle(q) for q, v in zip(after["Q"], after["V"]))
    assert narrower >= 1                                                # "V còn giữ" more of the start, is narrower somewhere
    pairs = {}
    for name in list(after)[2:]:
        widths = [w.std().item() for w in after[name]]
        pairs[name] = sum(b > a for a, b in itertools.combinations(widths, 2))
    assert min(pairs.values()) <= 10                                    # not every kind widens: "nói sai về vi-tiny"
    assert math.comb(TINY.n_layer, 2) == 15 and math.ceil(0.85 * 15) == 13


def test_chance_of_a_trend():
    orders = list(itertools.permutations(range(TINY.n_layer)))
    rising = sum(sum(b > a for a, b in itertools.combinations(order, 2)) >= 13 for order in orders)
    says(LESSON, rf"${rising}/{len(orders)} \approx {100 * rising / len(orders):.1f}\%$",
         f"trung bình tới {6 * 2 * rising / len(orders):.2f} \"xu hướng\"")
    says(LESSON, rf"$0.02/\sqrt{{2L}}$, với $L = {TINY.n_layer}$ là {TINY.residual_std:.5f}")
    assert TINY.init_std == 0.02


def test_shuffling_and_rescaling(pair):
    model = pair[0]
    ids = torch.arange(64)[None] + 300
    wide, shuffled = copy.deepcopy(model), copy.deepcopy(model)
    torch.manual_seed(0)
    with torch.no_grad():
        for block in wide.transformer.h:
            for p in (block.attn.c_attn.weight, block.attn.c_attn.bias):
                q, k, _ = p.chunk(3)
                q.mul_(2), k.div_(2)
        for tensors in matrices(shuffled).values():
            for w in tensors:
                w.copy_(w.flatten()[torch.randperm(w.numel())].view_as(w))
        assert torch.equal(model(ids), wide(ids))
        text = weights.DATA.joinpath("vi-tiny-corpus.txt").read_text("utf-8")[5000:7000]
        tokens = torch.tensor(load_tokenizer("vi-tiny").encode(text))[None, :257]
        loss, broken = (m.loss(tokens[:, :-1], tokens[:, 1:]).item() for m in (model, shuffled))
    assert loss < math.log(TINY.vocab_size) - 1 and broken > math.log(TINY.vocab_size) - 0.2
    q, q0 = matrices(model)["Q"], matrices(pair[1])["Q"]
    stretch = [np.mean([torch.linalg.svdvals(w)[0].item() / (2 * w.std().item() * TINY.n_embd**0.5) for w in part])
               for part in (q, q0)]
    assert stretch[1] == pytest.approx(1, abs=0.05) and stretch[0] > 1.3


def test_heads_differ_and_gamma_folds(pair):
    def spread(tensors):
        heads = [w.unflatten(0, (TINY.n_head, -1)).flatten(1).std(1) for w in tensors]
        return np.mean([(h.std() / h.mean()).item() for h in heads]) * math.sqrt(2 * TINY.head_size * TINY.n_embd)

    assert spread(matrices(pair[1])["Q"]) < 1.3 < 1.6 < spread(matrices(pair[0])["Q"])
    w, gamma, x = torch.randn(5, 7), torch.randn(7), torch.randn(7)
    torch.testing.assert_close(w @ (gamma * x), (w * gamma) @ x)


def test_the_full_table_is_as_long_as_said():
    says(LESSON, f"Bảng đầy đủ: {6 * TINY.n_layer} ma trận")
    provenance = json.loads((weights.DATA / "vi-tiny.json").read_text("utf-8"))
    assert provenance["model"]["n_layer"] == TINY.n_layer and "seed" in provenance["training"]
