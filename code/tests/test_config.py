"""GPTConfig refuses what cannot be a model, and its presets are the published ones."""

import dataclasses
import math

import pytest

from aerogpt.config import PRESETS, GPTConfig

TINY = {"vocab_size": 7, "n_ctx": 5, "n_layer": 2, "n_head": 2, "n_embd": 8}


def test_defaults_are_those_of_gpt2():
    config = GPTConfig(**TINY)
    assert (config.dropout, config.layer_norm_epsilon, config.bias) == (0.0, 1e-5, True)
    assert config.head_size == 4
    assert config.residual_std == pytest.approx(0.02 / math.sqrt(2 * 2))


def test_a_config_is_frozen_and_hashable():
    config = GPTConfig(**TINY)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.n_layer = 3
    assert len({config, GPTConfig(**TINY), GPTConfig(**TINY | {"n_layer": 3})}) == 2


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("value, error", [(0, ValueError), (-1, ValueError), (2.0, TypeError), (True, TypeError),
                                          ("8", TypeError), (None, TypeError)])
def test_sizes_must_be_positive_integers(name, value, error):
    with pytest.raises(error, match=f"{name} .*{value}"):
        GPTConfig(**TINY | {name: value})


@pytest.mark.parametrize("field, value, error", [
    ("n_head", 3, ValueError), ("dropout", 1.0, ValueError), ("dropout", -0.1, ValueError),
    ("dropout", math.nan, ValueError), ("layer_norm_epsilon", 0.0, ValueError),
    ("layer_norm_epsilon", math.nan, ValueError), ("bias", 1, TypeError),
])
def test_other_impossible_values_are_named(field, value, error):
    with pytest.raises(error, match=f"{field}.* {value}"):
        GPTConfig(**TINY | {field: value})


def test_presets():
    assert list(PRESETS) == ["gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "nano", "vi-tiny"]
    assert GPTConfig.preset("gpt2", dropout=0.1) == dataclasses.replace(PRESETS["gpt2"], dropout=0.1)
    with pytest.raises(ValueError, match="no preset 'gpt3'; there are gpt2, gpt2-medium"):
        GPTConfig.preset("gpt3")
