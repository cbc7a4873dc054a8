"""Generation: one token after another from a model, batched, cached, streamed; and the command.

``python -m aerogpt.generate --model gpt2 --prompt "Hello"`` writes text as it appears.
"""

import argparse
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import tiktoken
import torch
from torch import Tensor

from aerogpt import weights
from aerogpt.attention import KVCache
from aerogpt.decoding import fast_decoding
from aerogpt.model import GPT
from aerogpt.sampling import sample
from aerogpt.tokenizer import END_OF_TEXT, BPETokenizer, IncrementalDecoder, gpt2_encoding, load_tokenizer


def generate(model: GPT, idx: Tensor, max_new_tokens: int, **options) -> Tensor:
    """Continue token ids (B, T) by up to ``max_new_tokens`` each: (B, T + n). Options and errors as ``stream``."""
    new = [token[:, None] for token in stream(model, idx, max_new_tokens, **options)]  # (B,) -> (B, 1)
    return torch.cat([idx, *new], dim=1)


@torch.no_grad()
def generate_plain(
    model: Callable[[Tensor], Tensor], idx: Tensor, max_new_tokens: int, n_ctx: int | None = None, **sampling
) -> Tensor:
    """The loop at its simplest: predict, choose, append. Ids (B, T) -> (B, T + max_new_tokens).

    For any ``model`` from ids (B, T) to logits (B, T, V), of which it sees the last ``n_ctx`` ids (None: all).
    ``sampling`` are the options of ``sampling.sample``.
    """
    for _ in range(max_new_tokens):
        logits = model(idx if n_ctx is None else idx[:, -n_ctx:])  # (B, T) -> (B, T, V)
        token = sample(logits[:, -1], **sampling)  # (B, T, V) -> (B, V) -> (B,)
        idx = torch.cat([idx, token[:, None]], dim=1)  # (B,) -> (B, 1)
    return idx


def stream(
    model: GPT,
    idx: Tensor,
    max_new_tokens: int,
    *,
    attention_mask: Tensor | None = None,
    stop_tokens: Collection[int] = (),
    use_cache: bool = True,
    **sampling,
) -> Iterator[Tensor]:
    """Yield the ids (B,) that continue the rows of ``idx`` (B, T), one for each row at a time.

    ``attention_mask`` (B, T), nonzero for real tokens, is for rows padded on the left (``pad_left``). A row that
    yields one of ``stop_tokens`` is over and repeats that token until all rows are. ``sampling`` are the options of
    ``sampling.sample``: temperature, top_k, top_p, min_p, generator.

    With the cache each step computes one position, and T + max_new_tokens must not exceed the context. Without it
    each step computes every position again, of at most the last n_ctx tokens. The tokens are the same.
    ValueError for arguments that do not fit, before anything is computed.
    """
    n_ctx, n_vocab = model.config.n_ctx, model.config.vocab_size
    if idx.ndim != 2 or 0 in idx.shape:
        raise ValueError(f"idx must have shape (batch, tokens) with at least one token, got {tuple(idx.shape)}")
    if not 0 <= idx.min() <= idx.max() < n_vocab:
        raise ValueError(f"token ids must be from 0 to {n_vocab - 1}, got {idx.min()} to {idx.max()}")
    if not isinstance(max_new_tokens, int) or max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be a whole number of at least 0, got {max_new_tokens!r}")
    if use_cache and idx.shape[1] + max_new_tokens > n_ctx:
        raise ValueError(f"{idx.shape[1]} tokens and {max_new_tokens} new ones exceed the context of {n_ctx}: "
                         f"shorten one of them, or pass use_cache=False to see only the last {n_ctx}")
    if bad := [token for token in stop_tokens if not 0 <= token < n_vocab]:
        raise ValueError(f"stop tokens must be from 0 to {n_vocab - 1}, got {bad}")
    if attention_mask is not None:
        if attention_mask.shape != idx.shape:
            raise ValueError(f"attention_mask must have the shape of idx, {tuple(idx.shape)}, "
                             f"got {tuple(attention_mask.shape)}")
        if not attention_mask[:, -1].all():
            raise ValueError("attention_mask must end in real tokens: pad on the left, as pad_left does")
    if model.training and model.config.dropout > 0:
        raise ValueError("the model is in training mode, dropout would change the tokens: call model.eval()")
    cache = None
    if use_cache:
        weight = next(model.parameters())
        # On the CPU, torch's attention for one query is 4 to 8 times slower in bfloat16 than in float32 (measured).
        dtype = torch.float32 if weight.device.type == "cpu" else weight.dtype
        length = idx.shape[1] + max_new_tokens
        cache = KVCache(model.config, idx.shape[0], length, dtype=dtype, device=weight.device)
    stop = torch.tensor(list(stop_tokens), dtype=idx.dtype, device=idx.device)
    return _steps(model, idx, max_new_tokens, attention_mask, cache, stop, sampling)


@torch.no_grad()
def _steps(
    model: GPT,
    fed: Tensor,
    max_new_tokens: int,
    mask: Tensor | None,
    cache: KVCache | None,
    stop: Tensor,
    sampling: dict,
) -> Iterator[Tensor]:
    """The loop of ``stream``: feed the model, choose, yield, append."""
    n_ctx = model.config.n_ctx
    over = torch.zeros(len(fed), dtype=torch.bool, device=fed.device)
    last = fed[:, -1]  # (B, T) -> (B,)
    for _ in range(max_new_tokens):
        seen = None if mask is None else mask[:, -n_ctx:]
        logits = model(fed[:, -n_ctx:], cache=cache, attention_mask=seen, last_only=True)
        token = torch.where(over, last, sample(logits[:, -1], **sampling))  # (B, 1, V) -> (B, V) -> (B,)
        yield token
        over |= torch.isin(token, stop)
        if over.all():
            return
        last, column = token, token[:, None]  # (B,) -> (B, 1)
        fed = column if cache is not None else torch.cat([fed, column], dim=1)
        if mask is not None:
            mask = torch.cat([mask, torch.ones_like(column, dtype=mask.dtype)], dim=1)


def pad_left(rows: Sequence[Sequence[int]], pad_token: int = 0) -> tuple[Tensor, Tensor]:
    """Rows of ids of different lengths as one batch: ids (B, T) padded on the left, and their attention mask (B, T).

    On the left, because a row goes on at its right end. ValueError without a row or for an empty one.
    """
    if not rows or not all(rows):
        raise ValueError(f"every row needs at least one token, got lengths {[len(row) for row in rows]}")
    width = max(map(len, rows))
    idx = torch.tensor([[pad_token] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return idx, mask


def stream_text(
    model: GPT,
    tokenizer: BPETokenizer | tiktoken.Encoding,
    prompt: str,
    max_new_tokens: int,
    *,
    stop_tokens: Collection[int] = (),
    **options,
) -> Iterator[str]:
    """Yield the text that continues ``prompt``, piece by piece, each as soon as its letters are complete.

    An empty prompt starts at the end-of-text token, where texts begin. The text ends before a stop token. ``options``
    and errors as ``stream``.
    """
    ids = tokenizer.encode(prompt) or tokenizer.encode(END_OF_TEXT, allowed_special="all")
    idx = torch.tensor([ids], device=next(model.parameters()).device)
    return _decoded(stream(model, idx, max_new_tokens, stop_tokens=stop_tokens, **options), tokenizer, stop_tokens)


def _decoded(
    tokens: Iterator[Tensor], tokenizer: BPETokenizer | tiktoken.Encoding, stop_tokens: Collection[int]
) -> Iterator[str]:
    """The loop of ``stream_text``."""
    decoder = IncrementalDecoder(tokenizer)
    for token in map(int, tokens):
        if token in stop_tokens:
            break
        if text := decoder.push(token):
            yield text
    if text := decoder.flush():
        yield text


def load_model(name_or_path: str) -> tuple[GPT, BPETokenizer | tiktoken.Encoding]:
    """A model and its tokenizer: "vi-tiny", a folder that ``aerogpt.train`` wrote, or GPT-2 by name or path.

    Errors as ``weights.load`` and ``weights.load_gpt2``: nothing is downloaded.
    """
    folder = Path(name_or_path)
    if name_or_path == "vi-tiny":
        model, _ = weights.load_vi_tiny()
        return model, load_tokenizer("vi-tiny")
    if (folder / "history.json").is_file():  # only training writes it
        model, _ = weights.load(folder / "model.safetensors")
        own = folder / "tokenizer.json"
        return model, load_tokenizer(own) if own.is_file() else gpt2_encoding()
    return weights.load_gpt2(name_or_path), gpt2_encoding()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m aerogpt.generate", description="Viết tiếp một câu nhắc, in văn bản ngay khi có."
    )
    add = parser.add_argument
    add("--model", default="vi-tiny", help="vi-tiny, thư mục kết quả của aerogpt.train, hoặc GPT-2: tên (gpt2, "
        "gpt2-medium, …) hay đường dẫn tới trọng số (mặc định: vi-tiny)")
    add("--prompt", default="", help="câu nhắc (mặc định: rỗng, mô hình tự mở đầu)")
    add("--max-new-tokens", type=int, default=100, help="số token mới nhiều nhất (mặc định: 100)")
    add = parser.add_argument_group("lấy mẫu").add_argument
    add("--temperature", type=float, default=0.8, help="nhiệt độ; 0: luôn lấy token đáng tin nhất (mặc định: 0.8)")
    add("--top-k", type=int, help="chỉ giữ k token có xác suất cao nhất")
    add("--top-p", type=float, help="chỉ giữ hạt nhân: ít token nhất mà tổng xác suất đạt p")
    add("--min-p", type=float, help="bỏ token có xác suất nhỏ hơn p lần xác suất cao nhất")
    add("--seed", type=int, help="hạt giống ngẫu nhiên (mặc định: mỗi lần một khác)")
    add = parser.add_argument_group("máy").add_argument
    add("--device", choices=("cpu", "cuda"), default="cpu", help="mặc định: cpu")
    add("--dtype", choices=("float32", "bfloat16"), default="float32", help="kiểu số (mặc định: float32)")
    add("--compile", action="store_true", help="dùng torch.compile: khởi động lâu, sau đó nhanh hơn")
    add("--no-cache", action="store_true", help="không dùng bộ đệm khóa-giá trị: cùng kết quả, chậm hơn")
    add("--threads", type=int, help="số luồng CPU")
    return parser


def _run_command(args: argparse.Namespace) -> None:
    """What the command does once the options are read."""
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    if args.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("máy này không có GPU CUDA: bỏ --device cuda")
    model, tokenizer = load_model(args.model)
    model.to(args.device)
    generator = None if args.seed is None else torch.Generator(args.device).manual_seed(args.seed)
    n_tokens = max(len(tokenizer.encode(args.prompt)), 1) + args.max_new_tokens
    with fast_decoding(model, dtype=getattr(torch, args.dtype), compile=args.compile):
        pieces = stream_text(
            model,
            tokenizer,
            args.prompt,
            args.max_new_tokens,
            stop_tokens=tokenizer.encode(END_OF_TEXT, allowed_special="all"),
            use_cache=n_tokens <= model.config.n_ctx and not args.no_cache,  # longer texts see their last n_ctx tokens
            temperature=args.temperature,
            top_k=args.top_k,
            top_p=args.top_p,
            min_p=args.min_p,
            generator=generator,
        )
        print(args.prompt, end="", flush=True)
        for piece in pieces:
            print(piece, end="", flush=True)
    print()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command ``python -m aerogpt.generate``. Returns the exit code."""
    args = _parser().parse_args(arguments)
    try:
        _run_command(args)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"lỗi: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
