"""The numbers in the lesson that opens the practical course: what training costs, and the map of the five models."""

import pytest
import torch
from aerogpt.benchmark import forward_flops, training_flops
from aerogpt.config import GPTConfig
from aerogpt.model import GPT
from aerogpt.models import Model1, Model2, Model3, Model4
from aerogpt.parameters import count_parameters
from prose import DOCS, SMALL, count, power_of_ten, says
from torch.utils.flop_counter import FlopCounterMode

INTRO = "04_buildgpt/aero_llm_01_intro.md"
# Brown et al. 2020, table 2.1: (layers, heads, width); all with 2048 tokens of context and GPT-2's vocabulary.
GPT3_SMALL = GPTConfig(50257, 2048, 12, 12, 768)
GPT3 = GPTConfig(50257, 2048, 96, 96, 12288)
PUBLISHED = {"GPT-3 Small": 2.25e20, "GPT-3": 3.14e23}      # Brown et al. 2020, table D.1
PUBLISHED_MILLIONS = 174_600                                # the same table
SMALL_CASE = GPTConfig(2000, 128, 4, 4, 128)


def parameters(config: GPTConfig) -> int:
    with torch.device("meta"):
        return count(GPT(config))


@pytest.fixture(scope="module")
def counted() -> tuple[int, int]:
    """FLOPs that torch counts in one forward and one backward pass of GPT-2 small over 1024 tokens."""
    with torch.device("meta"):
        model, ids = GPT(SMALL), torch.zeros(1, 1024, dtype=torch.long)
    with FlopCounterMode(display=False) as forward:
        logits = model(ids)
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    return forward.get_total_flops(), backward.get_total_flops()


def test_backward_is_twice_forward(counted):
    forward, backward = counted
    assert forward == forward_flops(SMALL, 1, 1024) and backward == 2 * forward
    says(INTRO, "Lượt ngược đúng gấp đôi lượt xuôi")


def test_one_matrix_costs_six_operations_for_each_weight_and_token():
    tokens, n_in, n_out = 5, 7, 11
    x = torch.zeros(tokens, n_in, device="meta", requires_grad=True)
    weight = torch.zeros(n_out, n_in, device="meta", requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        (x @ weight.T).sum().backward()
    assert counter.get_total_flops() == 6 * tokens * n_in * n_out


@pytest.mark.parametrize("config, length", [(SMALL, 1024), (GPT3, 2048)])
def test_what_6nd_leaves_out_is_attention_between_vectors(config, length):
    """Without the products of vectors with vectors, 6ND is not short but 0 to 1 % long: N also has biases and wpe."""
    scores = 3 * 4 * config.n_layer * length**2 * config.n_embd
    rest = training_flops(config, 1, length) - scores
    assert 0.99 < rest / (6 * parameters(config) * length) <= 1
    blocks = 6 * 12 * config.n_layer * config.n_embd**2
    assert scores / length / blocks == pytest.approx(length / (6 * config.n_embd))
    says(INTRO, f"chúng tốn ${3 * 4}LTd$ phép tính mỗi token, so với ${6 * 12}Ld^2$", "tỉ lệ $T/(6d)$")


def test_gpt3_as_published():
    small, large = parameters(GPT3_SMALL), parameters(GPT3)
    for name, n in (("GPT-3 Small", small), ("GPT-3", large)):
        assert float(f"{6 * n * 300e9:.2e}") == PUBLISHED[name]
        says(INTRO, rf"${power_of_ten(6 * n * 300e9, 2)}$ cho {name}")
    assert round(large / 1e6, -2) == PUBLISHED_MILLIONS
    says(INTRO, f"bảng ghi {PUBLISHED_MILLIONS:,} triệu, khớp với số ta đếm được")
    says(INTRO, rf"làm tròn GPT-3 thành 175 tỉ tham số, bạn sẽ được ${power_of_ten(6 * 175e9 * 300e9, 2)}$")
    says(INTRO, rf"GPT-3 tốn ${power_of_ten(6 * large * 300e9, 2)}$ phép tính")
    assert GPT3_SMALL.n_layer == SMALL.n_layer and GPT3_SMALL.n_embd == SMALL.n_embd
    says(INTRO, f"cùng {SMALL.n_layer} khối, $d = {SMALL.n_embd}$ như GPT-2 nhỏ, ngữ cảnh {GPT3_SMALL.n_ctx}")


def test_tokens_for_each_parameter_of_chinchilla():
    says(INTRO, f"Tỉ lệ {1.4e12 / 70e9:.0f} là của Chinchilla, 70 tỉ tham số và 1.4 nghìn tỉ token")
    says(INTRO, f"với {1.4e12 / 70e9:.0f} token mỗi tham số")


def test_utilization_and_memory():
    says(INTRO, f"dài gấp {1 / 0.213:.1f} và {1 / 0.462:.1f} lần", "GPT-3 đạt 21.3%", "PaLM đạt 46.2%")
    says(INTRO, f"riêng trọng số 16 bit đã chiếm {2 * parameters(GPT3) / 1e9:.0f} GB, còn H100 có 80 GB")


def test_five_models_as_the_box_and_the_map_say():
    for config in (SMALL_CASE, SMALL):
        V, T, d = config.vocab_size, config.n_ctx, config.n_embd
        one_head = GPTConfig(V, T, config.n_layer, 1, d)
        with torch.device("meta"):
            sizes = [count_parameters(model) for model in
                     (Model1(V, d), Model2(V, T, d), Model3(V, T, d), Model4(one_head), GPT(config))]
        assert sizes[0] > sizes[2] > sizes[1] and sizes[3] == sizes[4]
    says(INTRO, "Model 1 có nhiều tham số hơn Model 2 và Model 3 ở cả hai cỡ", "Model 4 và Model 5 có **cùng** số tham số")
    says(INTRO, f"$V = {SMALL_CASE.vocab_size}$, ngữ cảnh {SMALL_CASE.n_ctx}, $d = {SMALL_CASE.n_embd}$, {SMALL_CASE.n_layer} khối")


def test_challenge_on_model_3():
    V, T, d = 2000, 128, 128
    assert count(Model3(V, T, d)) - count(Model2(V, T, d)) == 4 * d**2 + 6 * d
    says(INTRO, "Tổng là $4d^2 + 6d$")


def test_only_model_1_and_2_forget_the_past():
    """Another past changes the last logits from Model 3 on; before, nothing but the last token and its place counts."""
    torch.manual_seed(0)
    config = GPTConfig(20, 8, 2, 2, 16)
    text = torch.tensor([[1, 2, 3, 4]])
    other = torch.tensor([[9, 8, 7, 4]])
    models = Model1(20, 16), Model2(20, 8, 16), Model3(20, 8, 16), Model4(config), GPT(config)
    seen = [not torch.equal(model(text)[:, -1], model(other)[:, -1]) for model in models]
    assert seen == [False, False, True, True, True]
    assert all(model(text).shape == (1, 4, 20) for model in models)
    swapped = torch.tensor([[4, 4]])
    first, second = (model(swapped)[0] for model in models[:2])
    assert torch.equal(first[0], first[1]) and not torch.equal(second[0], second[1])
    says(INTRO, "nó chỉ nhìn token cuối cùng", "biết token đứng ở đâu")


def test_files_and_commands_of_the_page_exist():
    says(INTRO, f"python hooks/run.py --verify docs/{INTRO}")
    assert (DOCS.parent / "hooks/run.py").is_file() and (DOCS.parent / "constraints.txt").is_file()
    assert 'run = [' in (DOCS.parent / "pyproject.toml").read_text(encoding="utf-8")
