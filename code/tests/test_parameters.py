"""The published counts, exactly, without memory for the weights; groups, biases, statistics and the command."""

import pytest
import torch

from aerogpt.config import GPTConfig
from aerogpt.model import GPT
from aerogpt.models import Model1
from aerogpt.parameters import (attention_stats, count_biases, count_parameters, group_parameters, main, preset_model,
                                weight_stats)

# parameters, the same with the tied matrix counted twice, attention %, MLP %, LayerNorm, biases %, token embedding
COUNTS = {
    "gpt2": (124_439_808, 163_037_184, 22.78, 45.54, 38_400, 0.082, 38_597_376),
    "gpt2-medium": (354_823_168, 406_286_336, 28.40, 56.77, 100_352, 0.076, 51_463_168),
    "gpt2-large": (774_030_080, 838_359_040, 30.50, 60.99, 186_880, 0.066, 64_328_960),
    "gpt2-xl": (1_557_611_200, 1_638_022_400, 31.58, 63.14, 310_400, 0.054, 80_411_200),
}


@pytest.mark.parametrize("name", COUNTS)
def test_published_counts(name):
    total, untied, attention, mlp, norms, biases, embedding = COUNTS[name]
    model = preset_model(name)
    groups = group_parameters(model)
    assert count_parameters(model) == total == sum(groups.values())
    assert count_parameters(model, unique=False) == untied
    assert groups["LayerNorm"] == norms and groups["token embedding"] == embedding
    assert 100 * groups["attention"] / total == pytest.approx(attention, abs=0.005)
    assert 100 * groups["MLP"] / total == pytest.approx(mlp, abs=0.005)
    assert 100 * count_biases(model) / total == pytest.approx(biases, abs=0.0005)
    assert "unembedding" not in groups and "other" not in groups


def test_the_small_presets():
    assert count_parameters(preset_model("nano")) == 85_584
    assert count_parameters(preset_model("nano"), unique=False) == 85_728
    assert 3_500_000 < count_parameters(preset_model("vi-tiny")) < 4_500_000


def test_preset_models_take_no_memory():
    assert {parameter.device.type for parameter in preset_model("gpt2-xl").parameters()} == {"meta"}


def test_an_untied_head_is_a_group_of_its_own():
    assert group_parameters(Model1(10, 4)) == {"token embedding": 40, "unembedding": 50}
    assert count_biases(Model1(10, 4)) == 10


def test_unknown_parameters_are_counted_as_other():
    assert group_parameters(torch.nn.Linear(3, 2)) == {"other": 8}


def test_weight_stats_of_known_values():
    stats = weight_stats(torch.tensor([[-1.0, 1.0], [-1.0, 1.0]]))
    assert stats == {"mean": 0, "std": 1, "kurtosis": -2}
    stats = weight_stats(torch.randn(1000, 1000) * 3 + 5)
    assert stats["mean"] == pytest.approx(5, abs=0.02) and stats["std"] == pytest.approx(3, abs=0.01)
    assert stats["kurtosis"] == pytest.approx(0, abs=0.03)
    with pytest.raises(ValueError, match="4 equal ones"):
        weight_stats(torch.zeros(4))


def test_attention_stats_part_q_k_and_v():
    model = GPT(GPTConfig(vocab_size=7, n_ctx=4, n_layer=2, n_head=2, n_embd=64))
    with torch.no_grad():
        for factor, part in enumerate(model.transformer.h[1].attn.c_attn.weight.chunk(3), 1):
            part.normal_(std=factor)
    first, second = attention_stats(model)
    assert [second[part]["std"] for part in "QKV"] == pytest.approx([1, 2, 3], rel=0.05)
    assert first["V"]["std"] == pytest.approx(0.02, rel=0.05)


def test_the_command_prints_the_table(capsys):
    assert main(["gpt2-xl"]) == 0
    out = capsys.readouterr().out
    assert "| gpt2-xl | tất cả | 1,557,611,200 | 100.000% |" in out
    assert "| gpt2-xl | LayerNorm | 310,400 | 0.020% |" in out
    assert main([]) == 0
    assert "| nano | tất cả | 85,584 |" in capsys.readouterr().out


def test_the_command_refuses_unknown_names(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["gpt2", "gpt3"])
    assert exit.value.code == 2
    assert "không có cấu hình gpt3" in capsys.readouterr().err
