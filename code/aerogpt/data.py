"""Token ids to train on: documents as one long tensor, windows of it, batches that depend on seed and step alone."""

import zlib
from collections.abc import Iterable

import tiktoken
import torch
from torch import Tensor
from torch.utils.data import Dataset

from aerogpt.tokenizer import END_OF_TEXT, BPETokenizer

IGNORED = -100  # the target that the loss does not count


def encode_documents(documents: Iterable[str], tokenizer: BPETokenizer | tiktoken.Encoding) -> Tensor:
    """The ids of all documents, each closed by <|endoftext|>: (N,) int64."""
    end = tokenizer.encode(END_OF_TEXT, allowed_special={END_OF_TEXT})
    return torch.tensor([token for document in documents for token in tokenizer.encode(document) + end])


def token_bytes(tokenizer: BPETokenizer | tiktoken.Encoding) -> Tensor:
    """How many bytes of text each id stands for: (V,) int64. <|endoftext|> is no text: 0."""
    sizes = torch.tensor([len(tokenizer.decode_single_token_bytes(token)) for token in range(tokenizer.n_vocab)])
    sizes[tokenizer.encode(END_OF_TEXT, allowed_special={END_OF_TEXT})] = 0
    return sizes


class NextTokenDataset(Dataset):
    """Windows of a long tensor of ids: item i is (input, target), both (T,), the target one token further on.

    Args:
        tokens: (N,) ids.
        n_ctx: T, the length of a window; ValueError unless 1 <= T < N.
        stride: distance between the starts of neighbouring windows.
    """

    def __init__(self, tokens: Tensor, n_ctx: int, stride: int = 1):
        if not 1 <= n_ctx < len(tokens):
            raise ValueError(f"windows of n_ctx={n_ctx} tokens and their targets do not fit into {len(tokens)} tokens")
        if stride < 1:
            raise ValueError(f"stride must be at least 1, not {stride}")
        self.tokens, self.n_ctx, self.stride = tokens, n_ctx, stride

    def __len__(self) -> int:
        return (len(self.tokens) - self.n_ctx - 1) // self.stride + 1

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        start = index * self.stride
        window = self.tokens[start : start + self.n_ctx + 1]
        return window[:-1], window[1:]


def step_seed(*numbers: int) -> int:
    """One seed out of several numbers. It has 32 bits because PyTorch's generator on the CPU looks at no more."""
    return zlib.crc32(repr(numbers).encode())


def random_batch(tokens: Tensor, n_ctx: int, batch_size: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """The batch of one training step: (inputs, targets), both (B, T), windows at random places of ``tokens`` (N,).

    It depends on nothing but the arguments: a run that resumes at ``step`` draws what the uninterrupted run draws.
    """
    windows = NextTokenDataset(tokens, n_ctx)
    generator = torch.Generator().manual_seed(step_seed(seed, step))
    starts = torch.randint(len(windows), (batch_size, 1), generator=generator)
    rows = windows.tokens[starts + torch.arange(n_ctx + 1)]  # (B, 1) + (T + 1,) -> (B, T + 1)
    return rows[:, :-1], rows[:, 1:]


def consecutive_windows(tokens: Tensor, n_ctx: int) -> tuple[Tensor, Tensor]:
    """All of ``tokens`` (N,) for evaluation: (inputs, targets), both (ceil((N - 1) / T), T), each token a target once.

    The last window is filled up with input 0 and target ``IGNORED``.
    """
    n_windows = -(-(len(tokens) - 1) // n_ctx)
    if n_windows < 1:
        raise ValueError(f"{len(tokens)} tokens hold no input with a target")
    inputs = torch.zeros(n_windows * n_ctx, dtype=torch.int64)
    targets = torch.full_like(inputs, IGNORED)
    inputs[: len(tokens) - 1] = tokens[:-1]
    targets[: len(tokens) - 1] = tokens[1:]
    return inputs.view(n_windows, n_ctx), targets.view(n_windows, n_ctx)  # (W * T,) -> (W, T)
