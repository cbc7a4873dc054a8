"""The lesson on in-context learning: its arithmetic, and its conclusions on models trained here."""

import math

import pytest
import torch
from aerogpt.attention import attention_manual, split_heads
from aerogpt.config import GPTConfig
from aerogpt.intervene import ablated_attention
from aerogpt.model import GPT
from aerogpt.optimization import TrainConfig, learning_rate, make_optimizer
from prose import says

LESSON = "19_ai_safety/aero_llm_02_hoc_trong_ngu_canh.md"
K, PAIRS = 6, 12


def documents(n, generator):
    """Questions (n, PAIRS) and answers: half of the questions of a document have their usual answer, k for k."""
    usual = torch.arange(K).expand(n, K)
    table = torch.where(torch.rand(n, K, generator=generator) < 0.5, usual,
                        torch.randint(K, (n, K), generator=generator))
    questions = torch.randint(K, (n, PAIRS), generator=generator)
    return questions, table.gather(1, questions)


def tokens(questions, answers):
    return torch.stack([questions, answers + K], -1).flatten(1)


def trained(n_layer, steps, seed=2):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(1000 + seed)
    model = GPT(GPTConfig(2 * K, 2 * PAIRS, n_layer, 1, 32))
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data.mul_(8)
    config = TrainConfig(steps=steps, learning_rate=1e-2)
    optimizer = make_optimizer(model, config)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, config)
        x = tokens(*documents(64, generator))
        targets = x[:, 1:].clone()
        targets[:, 1::2] = -100
        optimizer.zero_grad()
        model.loss(x[:, :-1], targets).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def models():
    return {"two": trained(2, 250), "one": trained(1, 120)}


@pytest.fixture(scope="module")
def held_out():
    questions, answers = documents(512, torch.Generator().manual_seed(99))
    same = (questions[:, :, None] == questions[:, None, :]).tril(-1)
    return questions, answers, same


@torch.no_grad()
def right(model, held_out):
    """How often unusual answers are guessed: of questions not met yet, of questions met before."""
    questions, answers, same = held_out
    guess = model(tokens(questions, answers)[:, :-1])[:, ::2].argmax(-1)
    hit, unusual, met = guess == answers + K, answers != questions, same.any(-1)
    return hit[unusual & ~met].float().mean().item(), hit[unusual & met].float().mean().item()


def test_two_layers_learn_in_context_and_need_both_attentions(models, held_out):
    new, met = right(models["two"], held_out)
    assert new < 0.1 and met > 0.9
    assert right(models["one"], held_out)[1] < 0.6
    for layer in (0, 1):
        with ablated_attention(models["two"], layer):
            assert right(models["two"], held_out)[1] < 0.3


@torch.no_grad()
def test_the_second_layer_looks_at_the_answer_of_the_same_question(models, held_out):
    questions, answers, same = held_out
    model, qkv = models["two"], []
    hook = model.transformer.h[1].attn.c_attn.register_forward_hook(lambda module, x, y: qkv.append(y))
    model(tokens(questions, answers)[:, :-1])
    hook.remove()
    weights = attention_manual(*(split_heads(part, 1) for part in qkv[0].chunk(3, -1)))[1][:, 0]
    on_target = (weights[:, ::2, 1::2] * same[:, :, :-1]).sum(-1)
    assert on_target[same.any(-1)].mean() > 0.6


@torch.no_grad()
def poisoned(model, wrong, n=500):
    """Mean probability of the wrong answer and how often it comes first, after ``wrong`` wrong examples."""
    generator = torch.Generator().manual_seed(3)
    rows, target = torch.arange(n), torch.randint(K, (n,), generator=generator)
    lie = (target + 1 + torch.randint(K - 1, (n,), generator=generator)) % K
    questions = (target[:, None] + 1 + torch.randint(K - 1, (n, PAIRS - 1), generator=generator)) % K
    answers = questions.clone()
    places = torch.rand(n, PAIRS - 1, generator=generator).argsort(1)
    for i in range(wrong):
        questions[rows, places[:, i]], answers[rows, places[:, i]] = target, lie
    p = model(torch.cat([tokens(questions, answers), target[:, None]], 1))[:, -1].softmax(-1)[:, K:]
    return p[rows, lie].mean().item(), (p.argmax(-1) == lie).float().mean().item()


def test_one_wrong_example_usually_wins(models):
    assert poisoned(models["two"], 0)[1] < 0.05
    probability, chosen = poisoned(models["two"], 1)
    assert probability > 0.6 and chosen > 0.6
    assert poisoned(models["two"], 2)[1] > 0.9
    assert poisoned(models["one"], 1)[1] < 0.5
    says(LESSON, "Một ví dụ sai thường đủ đổi câu trả lời của bản hai tầng")


def test_arithmetic():
    usual, other = 1 / 2 + 1 / 2 / K, 1 / 2 / K
    assert usual == pytest.approx(7 / 12) and other == pytest.approx(1 / 12) and usual + 5 * other == pytest.approx(1)
    entropy = -usual * math.log(usual) - 5 * other * math.log(other)
    says(LESSON, rf"\frac{{1}}{{12}} \ln \frac{{1}}{{12}} \approx {entropy:.3f}")
    agree, differ = 0.7 + 0.3 / K, 0.3 / K
    says(LESSON, f"$0.7 + 0.3/6 = {agree:.2f}$", f"$0.3/6 = {differ:.2f}$")
    posterior = other * agree / (other * agree + usual * differ + 4 * other * differ)
    again = posterior * agree + (1 - posterior) * differ
    says(LESSON, rf"\approx {posterior:.3f} $$",
         rf"$0.577 \cdot 0.75 + {1 - posterior:.3f} \cdot 0.05 \approx {again:.3f}$", f"cỡ với {again:.3f}")
    generator = torch.Generator().manual_seed(0)
    questions, answers = documents(20_000, generator)
    assert (answers[:, 0] == questions[:, 0]).float().mean().item() == pytest.approx(usual, abs=0.02)
    new = ~(questions[:, 4:5] == questions[:, :4]).any(1)
    assert new.float().mean().item() == pytest.approx((5 / 6) ** 4, abs=0.02)
