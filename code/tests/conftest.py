"""What all tests of aerogpt share."""

import hypothesis
import pytest
import torch

# The first call of a kernel is slow: time says nothing about a property.
hypothesis.settings.register_profile("aerogpt", deadline=None)
hypothesis.settings.load_profile("aerogpt")


@pytest.fixture(autouse=True)
def _seeded():
    """Each test draws the same numbers whether it runs alone or after others."""
    torch.manual_seed(1337)


def pytest_configure():
    torch.set_num_threads(2)


def pytest_collection_modifyitems(items):
    """Tests marked ``gpu`` are skipped where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))
