"""Windows, batches and the count of bytes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from aerogpt.data import (
    IGNORED,
    NextTokenDataset,
    consecutive_windows,
    encode_documents,
    random_batch,
    token_bytes,
)
from aerogpt.tokenizer import BPETokenizer, gpt2_encoding

TOKENS = torch.arange(100, 150)


def test_documents_are_closed_by_end_of_text():
    tokenizer = BPETokenizer([(97, 98)])
    assert encode_documents(["ab", "b<|endoftext|>"], tokenizer).tolist() == [256, 257, 98, *b"<|endoftext|>", 257]


def test_bytes_of_tokens_add_up_to_the_text():
    text = ["Tiếng Việt có dấu.", "ệ"]
    for tokenizer in (BPETokenizer.train(text, 260), gpt2_encoding()):
        sizes = token_bytes(tokenizer)
        assert sizes.shape == (tokenizer.n_vocab,)
        assert sizes[encode_documents(text, tokenizer)].sum() == sum(len(part.encode()) for part in text)


@given(n=st.integers(2, 40), n_ctx=st.integers(1, 39), stride=st.integers(1, 45))
def test_every_window_that_fits_is_an_item(n, n_ctx, stride):
    if n_ctx >= n:
        with pytest.raises(ValueError, match=f"n_ctx={n_ctx} .* {n} tokens"):
            NextTokenDataset(torch.arange(n), n_ctx, stride)
        return
    dataset = NextTokenDataset(torch.arange(n), n_ctx, stride)
    starts = [start for start in range(0, n, stride) if start + n_ctx + 1 <= n]
    assert [int(x[0]) for x, _ in dataset] == starts and len(dataset) == len(starts)
    assert all(x.shape == y.shape == (n_ctx,) and torch.equal(x + 1, y) for x, y in dataset)


def test_it_works_with_a_data_loader():
    batches = list(DataLoader(NextTokenDataset(TOKENS, 8, stride=8), batch_size=2))
    assert [x.shape for x, _ in batches] == [(2, 8), (2, 8), (2, 8)]
    assert torch.equal(batches[0][1], batches[0][0] + 1)


def test_wrong_windows_are_refused():
    with pytest.raises(ValueError, match="n_ctx=0"):
        NextTokenDataset(TOKENS, 0)
    with pytest.raises(ValueError, match="not 0"):
        NextTokenDataset(TOKENS, 8, stride=0)
    with pytest.raises(IndexError):
        NextTokenDataset(TOKENS, 8)[-1]


def test_a_batch_depends_on_seed_and_step_alone():
    x, y = random_batch(TOKENS, 8, 64, seed=1, step=5)
    assert x.shape == y.shape == (64, 8) and torch.equal(x + 1, y)
    torch.manual_seed(99)
    assert torch.equal(x, random_batch(TOKENS, 8, 64, seed=1, step=5)[0])
    assert not torch.equal(x, random_batch(TOKENS, 8, 64, seed=1, step=6)[0])
    assert not torch.equal(x, random_batch(TOKENS, 8, 64, seed=2, step=5)[0])


def test_random_windows_reach_both_ends():
    first = torch.cat([random_batch(TOKENS, 8, 64, 0, step)[0][:, 0] for step in range(20)])
    assert (first.min(), first.max()) == (100, 149 - 8)


@given(n=st.integers(2, 50), n_ctx=st.integers(1, 60))
def test_consecutive_windows_hold_each_target_once(n, n_ctx):
    tokens = torch.arange(n) + 1000
    x, y = consecutive_windows(tokens, n_ctx)
    assert x.shape == y.shape and x.shape[1] == n_ctx
    counted = y != IGNORED
    assert torch.equal(y[counted], tokens[1:]) and torch.equal(x[counted], tokens[:-1])
    assert counted.any(dim=1).all()


def test_nothing_to_evaluate_is_refused():
    with pytest.raises(ValueError, match="1 tokens"):
        consecutive_windows(torch.tensor([3]), 8)
