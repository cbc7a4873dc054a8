"""The numbers in the lesson on how many parameters GPT-2 has, and whether two matrices are one."""

import math

import pytest
import torch
from aerogpt.config import PRESETS, GPTConfig
from aerogpt.model import GPT
from aerogpt.optimization import TrainConfig, make_optimizer
from aerogpt.parameters import count_biases, count_parameters
from prose import SIZES, SMALL, count, gpt, says
from torch import nn

LESSON = "04_buildgpt/aero_llm_026_codechallenge_how_many_parameters_part_1_.md"
NANO = GPTConfig(vocab_size=200, n_ctx=16, n_layer=1, n_head=2, n_embd=32)


def predicted(c: GPTConfig, **changes: int) -> int:
    V, T, L, d = (changes.get(name, getattr(c, name)) for name in ("vocab_size", "n_ctx", "n_layer", "n_embd"))
    return V * d + T * d + L * (12 * d * d + 13 * d) + 2 * d


@pytest.fixture(scope="module")
def models() -> dict[str, GPT]:
    return {size: gpt(size) for size in SIZES}


def test_the_four_counts(models):
    counts = {size: count(model) for size, model in models.items()}
    says(LESSON, " · ".join(f"{number:,}" for number in counts.values()))
    names = [f"{number / 1e6:.0f}M" for number in counts.values()]
    says(LESSON, f"gọi là {', '.join(names[:3])} và {names[3]}")
    says(LESSON, f"XL có {counts['XL']:,} tham số, tức {counts['XL'] / 1e9:.3f} tỉ",
         f"một chữ số thập phân là {counts['XL'] / 1e9:.1f} tỉ", f'"{math.floor(counts["XL"] / 1e8) / 10}" là cắt bỏ')
    says(LESSON, f"1542 triệu, làm tròn thành {1.542:.1f} tỉ")
    assert all(count(model) == predicted(model.config) for model in models.values())


def test_the_same_tensors_as_transformers(models):
    transformers = pytest.importorskip("transformers")
    tensors = {}
    for size, model in models.items():
        c = model.config
        with torch.device("meta"):
            theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(
                vocab_size=c.vocab_size, n_positions=c.n_ctx, n_layer=c.n_layer, n_head=c.n_head, n_embd=c.n_embd))
        theirs.tie_weights()
        shapes = {name: tuple(p.shape)[::-1] if ".c_" in name else tuple(p.shape)
                  for name, p in theirs.named_parameters()}
        assert shapes == {name: tuple(p.shape) for name, p in model.named_parameters()}
        assert len(shapes) == 12 * c.n_layer + 4
        tensors[size] = len(shapes)
    says(LESSON, f"$12L + 4$: {tensors['small']} tensor ở bản nhỏ, {tensors['XL']} ở XL")


def test_slopes():
    turns = [round((SMALL.vocab_size + SMALL.n_ctx) / (12 * layers)) for layers in (12, 48)]
    says(LESSON, rf"$L = 12$ chỗ ấy ở $d \approx {turns[0]}$, với $L = 48$ ở $d \approx {turns[1]}$")
    assert all(PRESETS[name].n_embd > (50257 + 1024) / (12 * PRESETS[name].n_layer) for name in SIZES.values())
    wider, deeper = (
        [predicted(c, **{field: 2 * getattr(c, field)}) / predicted(c) for c in (SMALL, PRESETS["gpt2-xl"])]
        for field in ("n_embd", "n_layer")
    )
    says(LESSON, f"{wider[0]:.2f} lần ở bản nhỏ, {wider[1]:.2f} lần ở XL; gấp đôi $L$ thì chỉ {deeper[0]:.2f} và {deeper[1]:.2f} lần")


def test_counted_twice(models):
    small = models["small"]
    twice = sum(tensor.numel() for tensor in small.state_dict().values())
    product = SMALL.vocab_size * SMALL.n_embd
    assert twice == count(small) + product == count_parameters(small, unique=False)
    says(LESSON, f"ở cả hai chỗ và cho {twice:,}", f"$50257 \\cdot 768 = {product:,}$".replace(",", "{,}"))
    says(LESSON, f"{twice // 10**6} triệu: một ma trận bị đếm hai lần", f"{count(small) // 10**6} triệu và {twice // 10**6} triệu")


def copy_of(noise: float) -> GPT:
    torch.manual_seed(0)
    model = GPT(NANO)
    table = model.transformer.wte.weight.detach()
    model.lm_head.weight = nn.Parameter(table + noise * table.std() * torch.randn_like(table))
    return model


def correlation(model: GPT) -> float:
    both = torch.stack([model.transformer.wte.weight.detach().flatten(), model.lm_head.weight.detach().flatten()])
    return torch.corrcoef(both)[0, 1].item()


def step(model: GPT) -> None:
    torch.manual_seed(1)
    batch = torch.randint(200, (8, 17))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    model.loss(batch[:, :-1], batch[:, 1:]).backward()
    optimizer.step()


def test_correlation_is_weak_evidence():
    expected = 1 / math.sqrt(1 + 0.01**2)
    says(LESSON, rf"$1/\sqrt{{1 + 0.01^2}} \approx {expected:.5f}$")
    assert correlation(copy_of(0.01)) == pytest.approx(expected, abs=1e-5)
    model = copy_of(0.0)
    assert torch.equal(model.transformer.wte.weight, model.lm_head.weight)
    assert model.transformer.wte.weight.data_ptr() != model.lm_head.weight.data_ptr()
    step(model)
    assert not torch.allclose(model.transformer.wte.weight, model.lm_head.weight, atol=1e-3)
    assert correlation(model) > 0.95
    tied = GPT(NANO)
    step(tied)
    assert tied.transformer.wte.weight is tied.lm_head.weight


def test_two_parameters_on_one_memory():
    torch.manual_seed(0)
    aliased = GPT(NANO)
    aliased.load_state_dict(GPT(NANO).state_dict(), assign=True)
    assert aliased.lm_head.weight is not aliased.transformer.wte.weight
    assert aliased.lm_head.weight.data_ptr() == aliased.transformer.wte.weight.data_ptr()
    before = aliased.lm_head.weight.detach().clone()
    step(aliased)
    assert torch.equal(aliased.lm_head.weight, aliased.transformer.wte.weight)
    update = -0.5 * (aliased.lm_head.weight.grad + aliased.transformer.wte.weight.grad)
    torch.testing.assert_close(aliased.lm_head.weight.detach(), before + update)
    aliased.tie_weights()
    assert count(aliased) == predicted(NANO) and aliased.lm_head.weight is aliased.transformer.wte.weight


def test_pointers_on_meta_are_all_zero(models):
    assert {parameter.data_ptr() for parameter in models["small"].parameters()} == {0}


def test_three_conventions(models):
    small = models["small"]
    total, biases = count(small), count_biases(small)
    matrices = sum(p.numel() for p in small.parameters() if p.ndim == 2)
    norms = sum(p.numel() for name, p in small.named_parameters() if "ln_" in name)
    linear = total - matrices - norms
    says(
        LESSON,
        rf"| theo tên: $\gamma$ là weight, $\beta$ là bias | {1 - biases / total:.3%} | bias {biases / total:.3%} |",
        f"| tách LN ra | {matrices / total:.3%} | bias {linear / total:.3%}, LN {norms / total:.3%} |",
        f"| theo số chiều: ma trận và vector | {matrices / total:.3%} | vector {1 - matrices / total:.3%} |",
        f"Bias chiếm {biases / total:.3%} ở bản nhỏ",
    )
    assert biases == SMALL.n_embd * (11 * SMALL.n_layer + 1) and linear == 9 * SMALL.n_embd * SMALL.n_layer
    xl = models["XL"]
    says(LESSON, rf"11/(12d)$, tức {11 / (12 * xl.config.n_embd):.3%} khi $d = {xl.config.n_embd}$; "
         f"giá trị thật của XL là {count_biases(xl) / count(xl):.3%}")


def test_weight_decay_acts_on_matrices_only():
    model = GPT(NANO)
    decayed, left = make_optimizer(model, TrainConfig()).param_groups
    assert decayed["weight_decay"] > 0 == left["weight_decay"]
    assert {p.ndim for p in decayed["params"]} == {2} and {p.ndim for p in left["params"]} == {1}


def test_position_table(models):
    small, xl = (models[size].transformer.wpe.weight.numel() for size in ("small", "XL"))
    total = count(models["small"])
    says(LESSON, f"{small:,} ở bản nhỏ, tức {small / total:.3%}; ở XL là {xl:,}, tức {xl / count(models['XL']):.3%}",
         f"chỉ tăng đúng {predicted(SMALL, n_ctx=2048) - total:,}", f"$T_{{\\max}}\\,d$ tham số, {small / total:.3%} ở bản nhỏ")
    assert f"{total:,}"[:2] == f"{total - small:,}"[:2] and f"{total:,}"[2] != f"{total - small:,}"[2]


def test_the_counts_of_the_paper():
    published = {"small": 117, "medium": 345, "large": 762, "XL": 1542}
    says(LESSON, "ghi {}, {}, {} và {} triệu".format(*published.values()))

    def rounded(V: int) -> list[int]:
        return [round(predicted(PRESETS[SIZES[size]], vocab_size=V) / 1e6) for size in published]

    assert rounded(40_478) == list(published.values()) != rounded(50_257)
    assert rounded(40_000) != list(published.values())
    transformers = pytest.importorskip("transformers")
    says(LESSON, f"chứa {transformers.OpenAIGPTConfig().vocab_size:,}")
