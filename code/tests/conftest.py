"""What all tests of aerogpt share."""

import hypothesis
import pytest
import torch

# The first call of a kernel is slow: time says nothing about a property.
hypothesis.settings.register_profile("aerogpt", deadline=None)
hypothesis.settings.load_profile("aerogpt")


def pytest_configure():
    torch.set_num_threads(1)  # tiny tensors: a second thread costs more than it brings


@pytest.fixture(autouse=True)
def _alone():
    """Each test draws the same numbers whether it runs alone or after others, and leaves the number of threads as it was."""
    torch.manual_seed(1337)
    yield
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """Tests marked ``gpu`` are skipped where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture
def gpt_and_reference():
    """A small GPT and transformers' GPT-2 with the same weights, (in, out) there.

    Biases and LayerNorm parameters are random too: at their initial zeros and ones a wrong copy would pass.
    """
    transformers = pytest.importorskip("transformers")
    from aerogpt.config import GPTConfig
    from aerogpt.model import GPT

    config = GPTConfig(vocab_size=101, n_ctx=32, n_layer=3, n_head=4, n_embd=64)
    model = GPT(config)
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, mean=float("ln_" in name and "weight" in name), std=0.2)
    reference = transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=101, n_positions=32, n_layer=3, n_head=4, n_embd=64, bos_token_id=0, eos_token_id=0,
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))
    matrices = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    reference.load_state_dict({name: tensor.T if name.endswith(matrices) else tensor
                               for name, tensor in model.state_dict().items()})
    return model, reference
