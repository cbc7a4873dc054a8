"""Training GPT-2: the loop, checkpoints with exact resume, several processes, and the command."""

import argparse
import contextlib
import dataclasses
import hashlib
import json
import math
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm import tqdm

from aerogpt import weights
from aerogpt.benchmark import environment
from aerogpt.config import PRESETS, GPTConfig
from aerogpt.corpus import SEPARATOR, read_documents, split_documents
from aerogpt.data import encode_documents, random_batch, step_seed, token_bytes
from aerogpt.evaluation import bits_per_byte, evaluate, processes
from aerogpt.model import GPT
from aerogpt.optimization import DTYPES, TrainConfig, learning_rate, make_optimizer, precision
from aerogpt.tokenizer import BPETokenizer, load_tokenizer

CHECKPOINT_FORMAT = "aerogpt-checkpoint-1"


class _Loss(nn.Module):
    """``model.loss`` as a forward, for what wraps the forward of a module: DDP and torch.compile."""

    def __init__(self, model: GPT):
        super().__init__()
        self.model = model

    def forward(self, idx: Tensor, targets: Tensor) -> Tensor:
        return self.model.loss(idx, targets)


class Trainer:
    """One run: trains ``model`` in place and keeps its history.

    Args:
        model: a GPT; it is moved to ``config.device``.
        tokens: (N,) ids to train on, on the CPU.
        validation: (M,) ids held out, or None.
        config: see TrainConfig.
        folder: where to keep ``checkpoint.pt`` (to resume), ``model.safetensors`` (the best by validation loss, else
            the last) and ``history.json``; None keeps nothing.
        resume: go on from the checkpoint in ``folder``. The continued run equals the uninterrupted one bit for bit on
            one kind of CPU, since batch and dropout of a step depend on (seed, step, rank) alone.
        progress: show a progress bar (Vietnamese).

    Raises ValueError if the batch cannot be shared evenly, or the checkpoint is unreadable or of another run.
    """

    def __init__(
        self,
        model: GPT,
        tokens: Tensor,
        validation: Tensor | None = None,
        config: TrainConfig = TrainConfig(),
        *,
        folder: str | os.PathLike | None = None,
        resume: bool = False,
        progress: bool = True,
    ):
        self.rank, self.world_size = processes()
        if config.batch_size % (config.accumulation * self.world_size):
            raise ValueError(
                f"batch_size={config.batch_size} cannot be shared by accumulation={config.accumulation} micro-steps "
                f"on {self.world_size} processes"
            )
        self.device = torch.device(config.device)
        self.model = model.to(self.device)
        self.tokens, self.validation, self.config = tokens, validation, config
        self.folder = None if folder is None else Path(folder)
        self.progress = progress and self.rank == 0
        self.autocast, self.scaler = precision(self.device, DTYPES[config.dtype])
        self.optimizer = make_optimizer(model, config)
        self.step = 0
        self.history = {"loss": [], "validation": []}  # one number a step; [step, loss] an evaluation
        if resume:
            self._load()
        self.loss_module = torch.compile(_Loss(model)) if config.compile else _Loss(model)
        if self.world_size > 1:
            self.loss_module = nn.parallel.DistributedDataParallel(self.loss_module)

    def run(self) -> dict:
        """Train until the last step or until patience ends; returns the history. The model keeps its mode."""
        was_training = self.model.training
        devices = [self.device] if self.device.type == "cuda" else []
        bar = tqdm(total=self.config.steps, initial=self.step, unit=" bước", disable=not self.progress)
        with torch.random.fork_rng(devices), bar:
            while not self._finished():
                if self.step % self.config.eval_every == 0:
                    self._evaluate_and_save()
                    if self._finished():
                        break
                self.history["loss"].append(self._update())
                self.step += 1
                bar.update()
                bar.set_postfix_str(self._state())
            self._evaluate_and_save()
        self.model.train(was_training)
        return self.history

    def _finished(self) -> bool:
        """Whether the last step is done or validation has not improved for ``patience`` evaluations."""
        losses = [loss for _, loss in self.history["validation"]]
        stale = len(losses) - 1 - losses.index(min(losses)) if losses else 0
        return self.step >= self.config.steps or 0 < self.config.patience <= stale

    def _state(self) -> str:
        """What the progress bar says about the run."""
        text = f"mất mát {self.history['loss'][-1]:.3f}"
        if self.history["validation"]:
            text += f", kiểm định {self.history['validation'][-1][1]:.3f}"
        return text

    def _update(self) -> float:
        """One update of the weights; returns the mean loss of its batch over all processes, in nats a token."""
        config = self.config
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, config)
        torch.manual_seed(step_seed(config.seed, self.step, self.rank))  # dropout
        batch = random_batch(self.tokens, self.model.config.n_ctx, config.batch_size, config.seed, self.step)
        inputs, targets = (part[self.rank :: self.world_size].to(self.device) for part in batch)
        loss = torch.zeros((), device=self.device)
        micro_steps = list(zip(inputs.chunk(config.accumulation), targets.chunk(config.accumulation)))
        for i, (x, y) in enumerate(micro_steps):
            # Gradients add up locally; processes exchange them once, on the last micro-step.
            waits = self.world_size > 1 and i + 1 < len(micro_steps)
            with self.loss_module.no_sync() if waits else contextlib.nullcontext():
                with self.autocast:
                    part = self.loss_module(x, y) / config.accumulation
                self.scaler.scale(part).backward()
            loss += part.detach()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.world_size > 1:
            dist.all_reduce(loss)
            loss /= self.world_size
        if not math.isfinite(value := loss.item()):
            raise FloatingPointError(f"the loss is {value} at step {self.step}: lower the learning rate")
        return value

    def _evaluate_and_save(self) -> None:
        """Measure the validation loss and write the files, once for each step at which it is called."""
        if self.validation is not None:
            if self.history["validation"] and self.history["validation"][-1][0] == self.step:
                return
            loss = evaluate(self.model, self.validation, self.config.batch_size, self.autocast)
            self.history["validation"].append([self.step, loss])
        if self.folder is None or self.rank > 0:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        best = min(self.history["validation"], key=lambda entry: entry[1], default=None)
        if best is None or best[0] == self.step:
            metadata = {"step": str(self.step)}
            _replace(self.folder / "model.safetensors", lambda path: weights.save(self.model, path, metadata))
        _replace(self.folder / "history.json", lambda path: path.write_text(json.dumps(self.history)))
        _replace(self.folder / "checkpoint.pt", lambda path: torch.save(self._checkpoint(), path))

    def _identity(self) -> dict:
        """What must be the same in the run that resumes."""
        texts = [self.tokens] if self.validation is None else [self.tokens, self.validation]
        config = dataclasses.asdict(self.config) | {"betas": list(self.config.betas)}
        return {
            "format": CHECKPOINT_FORMAT,
            "model": dataclasses.asdict(self.model.config),
            "training": {name: value for name, value in config.items() if name not in ("device", "compile")},
            "text": [hashlib.sha256(text.numpy().tobytes()).hexdigest() for text in texts],
        }

    def _checkpoint(self) -> dict:
        return self._identity() | {
            "step": self.step,
            "history": self.history,
            "weights": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def _load(self) -> None:
        path = self.folder / "checkpoint.pt"
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
            if not isinstance(checkpoint, dict) or checkpoint.get("format") != CHECKPOINT_FORMAT:
                raise ValueError("not a checkpoint of this package")
        except FileNotFoundError:
            raise
        except Exception as error:  # torch.load raises many kinds for a damaged file
            raise ValueError(f"{path}: cannot be read as a checkpoint: {error}") from error
        for name, value in self._identity().items():
            if checkpoint.get(name) != value:
                raise ValueError(f"{path} belongs to another run: its {name} is {checkpoint.get(name)}, here {value}")
        self.model.load_state_dict(checkpoint["weights"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.scaler.load_state_dict(checkpoint["scaler"])
        self.step, self.history = checkpoint["step"], checkpoint["history"]


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file beside ``path``, then put it in place at once: a killed run leaves no torn file."""
    temporary = path.with_name(f".{path.name}.tmp")
    write(temporary)
    os.replace(temporary, path)


def train(
    model: GPT, tokens: Tensor, validation: Tensor | None = None, config: TrainConfig = TrainConfig(), **options
) -> dict:
    """Train ``model`` in place; returns {"loss": [...], "validation": [[step, loss], ...]}. For arguments: Trainer."""
    return Trainer(model, tokens, validation, config, **options).run()


def _parser() -> argparse.ArgumentParser:
    defaults = TrainConfig()
    parser = argparse.ArgumentParser(
        prog="python -m aerogpt.train",
        description="Huấn luyện một mô hình GPT-2 trên văn bản của bạn. Nhiều tiến trình: torchrun -m aerogpt.train …",
    )
    text = parser.add_argument_group("văn bản và mô hình")
    text.add_argument("--corpus", nargs="+", type=Path, required=True, help="tệp hoặc thư mục (.md, .txt, .ipynb)")
    text.add_argument("--preset", choices=PRESETS, default="vi-tiny", help="cấu hình mô hình (mặc định: vi-tiny)")
    text.add_argument("--tokenizer", help="gpt2, vi-tiny hoặc tệp JSON (mặc định: học BPE từ phần huấn luyện)")
    text.add_argument("--validation", type=float, default=0.1, help="phần văn bản giữ lại để kiểm định (mặc định: 0.1)")
    text.add_argument("--dropout", type=float, default=0.2, help="mặc định: 0.2")
    run = parser.add_argument_group("huấn luyện")
    for name, what in (
        ("steps", "số bước"),
        ("batch-size", "số cửa sổ mỗi bước, gộp mọi tiến trình"),
        ("accumulation", "số bước nhỏ để tích lũy gradient"),
        ("learning-rate", "tốc độ học cao nhất"),
        ("warmup-steps", "số bước tăng dần tốc độ học"),
        ("weight-decay", "suy giảm trọng số, chỉ áp lên ma trận"),
        ("clip", "chuẩn lớn nhất của gradient"),
        ("eval-every", "số bước giữa hai lần đánh giá và lưu"),
        ("patience", "dừng sau chừng này lần đánh giá không tốt hơn; 0: không dừng sớm"),
        ("seed", "hạt giống ngẫu nhiên"),
    ):
        value = getattr(defaults, name.replace("-", "_"))
        run.add_argument(f"--{name}", type=type(value), default=value, help=f"{what} (mặc định: {value})")
    machine = parser.add_argument_group("máy và tệp")
    machine.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="mặc định: cpu")
    machine.add_argument("--dtype", choices=DTYPES, default="float32", help="kiểu số của phép nhân (mặc định: float32)")
    machine.add_argument("--compile", action="store_true", help="dùng torch.compile")
    machine.add_argument("--threads", type=int, help="số luồng CPU")
    machine.add_argument("--out", type=Path, default=Path("run"), help="thư mục kết quả (mặc định: run)")
    machine.add_argument("--resume", action="store_true", help="chạy tiếp từ checkpoint trong thư mục kết quả")
    return parser


def _run_command(args: argparse.Namespace) -> None:
    """What the command does once the options are read."""
    if args.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("máy này không có GPU CUDA: bỏ --device cuda")
    documents = read_documents(args.corpus)
    texts = split_documents(documents, args.validation)
    if not all(texts):
        raise ValueError(f"{len(documents)} văn bản không đủ để giữ lại {args.validation} cho kiểm định")
    preset = GPTConfig.preset(args.preset, dropout=args.dropout)
    progress = processes()[0] == 0
    if args.tokenizer:
        tokenizer = load_tokenizer(args.tokenizer)
    else:  # the held-out text must not help to build the vocabulary either
        tokenizer = BPETokenizer.train(texts[0], preset.vocab_size, progress=progress)
    tokens, validation = (encode_documents(part, tokenizer) for part in texts)
    torch.manual_seed(args.seed)
    model = GPT(dataclasses.replace(preset, vocab_size=tokenizer.n_vocab))
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    config = TrainConfig(**{name: value for name, value in vars(args).items() if name in names})
    trainer = Trainer(model, tokens, validation, config, folder=args.out, resume=args.resume, progress=progress)
    if progress:
        n_parameters = sum(parameter.numel() for parameter in model.parameters())
        print(f"{args.preset}: {n_parameters:,} tham số; {len(tokens):,} token, giữ lại {len(validation):,} để kiểm định")
        args.out.mkdir(parents=True, exist_ok=True)
        if isinstance(tokenizer, BPETokenizer):
            tokenizer.save(args.out / "tokenizer.json")
    history = trainer.run()
    if not progress:
        return
    step, loss = min(history["validation"], key=lambda entry: entry[1])
    bits = bits_per_byte(loss, validation, token_bytes(tokenizer))
    result = {
        "command": shlex.join(["python", "-m", "aerogpt.train", *sys.argv[1:]]),
        "environment": environment(["torch", "tiktoken"]),
        "text": {
            "sha256": hashlib.sha256(SEPARATOR.join(documents).encode()).hexdigest(),
            "bytes": sum(len(document.encode()) for document in documents),
            "documents": len(documents),
            "validation_share": args.validation,
        },
        "model": dataclasses.asdict(model.config),
        "training": dataclasses.asdict(config),
        "tokens": {"training": len(tokens), "validation": len(validation)},
        "steps": len(history["loss"]),
        "best": {"step": step, "validation_loss": loss, "bits_per_byte": bits},
        "history": history,
    }
    (args.out / "run.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{args.out}: tốt nhất ở bước {step}, mất mát kiểm định {loss:.3f} nat mỗi token, {bits:.3f} bit mỗi byte")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command ``python -m aerogpt.train``. Returns the exit code."""
    args = _parser().parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    with contextlib.ExitStack() as stack:
        if "TORCHELASTIC_RUN_ID" in os.environ:  # started by torchrun
            if args.device == "cuda":
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            dist.init_process_group("nccl" if args.device == "cuda" else "gloo")
            stack.callback(dist.destroy_process_group)
        try:
            _run_command(args)
        except (OSError, ValueError, FloatingPointError) as error:
            print(f"lỗi: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f"\nđã dừng; chạy tiếp bằng --resume --out {args.out}", file=sys.stderr)
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
