"""Measuring: timers that wait for the device, medians, counted FLOPs, the machine's roofline, a report of it all."""

import argparse
import datetime
import html
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from tqdm import tqdm

from aerogpt.config import GPTConfig

CPU_FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "asimd", "bf16", "sve")


@dataclass(frozen=True)
class Timing:
    """The seconds of each repetition of one measurement."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle repetition, in seconds: one disturbed repetition does not move it."""
        return statistics.median(self.seconds)

    @property
    def low(self) -> float:
        """The fastest repetition, in seconds."""
        return min(self.seconds)

    @property
    def high(self) -> float:
        """The slowest repetition, in seconds."""
        return max(self.seconds)

    def as_dict(self) -> dict[str, float | int]:
        """Median, minimum, maximum (seconds) and number of repetitions, for JSON."""
        return {"median_s": self.median, "min_s": self.low, "max_s": self.high, "repeats": len(self.seconds)}


def synchronizer(device: str | torch.device) -> Callable[[], None]:
    """A function that waits until ``device`` has finished: GPUs take orders and compute later, the CPU does not."""
    device = torch.device(device)
    if device.type == "cpu":
        return lambda: None
    return lambda: getattr(torch, device.type).synchronize()


def measure_together(
    functions: Mapping[str, Callable[[], object]],
    *,
    repeats: int = 5,
    warmup: int = 2,
    device: str | torch.device = "cpu",
    clock: Callable[[], float] = time.perf_counter,
    synchronize: Callable[[], None] | None = None,
    progress: bool = False,
) -> dict[str, Timing]:
    """Time several functions in turn, so that a disturbance of the machine meets all of them.

    Each is called ``warmup`` times without the clock (first calls compile, allocate and fill caches). Then every
    function runs once, ``repeats`` times over, with a wait for the device before the clock starts and before it stops.
    """
    if repeats < 1 or warmup < 0:
        raise ValueError(f"repeats must be at least 1 and warmup at least 0, not {repeats} and {warmup}")
    synchronize = synchronize or synchronizer(device)
    seconds = {name: [] for name in functions}
    with tqdm(total=(warmup + repeats) * len(functions), unit=" lần", leave=False, disable=not progress) as bar:
        for function in functions.values():
            for _ in range(warmup):
                function()
                bar.update()
        for _ in range(repeats):
            for name, function in functions.items():
                synchronize()
                start = clock()
                function()
                synchronize()
                seconds[name].append(clock() - start)
                bar.update()
    return {name: Timing(tuple(times)) for name, times in seconds.items()}


def measure(function: Callable[[], object], **options) -> Timing:
    """Time one function; the options are those of ``measure_together``."""
    return measure_together({"": function}, **options)[""]


def forward_flops(config: GPTConfig, batch_size: int, length: int) -> int:
    """Floating-point operations of the matrix products in one forward pass, logits of every position included.

    A multiplication and an addition count as two. Every weight matrix is used once a token; scores and weighted values
    of attention take 4 T^2 C a layer, counted in full although the causal half is never needed (Chowdhery et al. 2022,
    arXiv:2204.02311, appendix B; Kaplan et al. 2020, arXiv:2001.08361, table 1, have half of that).
    """
    tokens = batch_size * length
    matrices = 12 * config.n_layer * config.n_embd**2 + config.vocab_size * config.n_embd
    attention = 4 * config.n_layer * batch_size * length**2 * config.n_embd
    return 2 * matrices * tokens + attention


def training_flops(config: GPTConfig, batch_size: int, length: int) -> int:
    """Operations of forward and backward: a product has two gradients of its own size, so three times the forward."""
    return 3 * forward_flops(config, batch_size, length)


def matmul_roofline(
    dtype: torch.dtype, device: str | torch.device = "cpu", size: int = 2048, repeats: int = 5
) -> float:
    """FLOP/s of the fastest of ``repeats`` products of square matrices: what no model on this machine can exceed."""
    left, right = torch.randn(2, size, size, device=device).to(dtype)
    return 2 * size**3 / measure(lambda: left @ right, repeats=repeats, device=device).low


def peak_memory(device: str | torch.device = "cpu") -> int:
    """Bytes: the most that tensors took on a GPU, or that this process ever held resident on the CPU."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource  # exists on Unix only

    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage if platform.system() == "Darwin" else usage * 1024


def environment(packages: Sequence[str] = ("torch",)) -> dict:
    """What a reader needs to judge a measurement: processor and its features, threads, GPU, versions, date, load."""
    cpu = {}
    if Path("/proc/cpuinfo").exists():
        lines = (line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
        cpu = {key.strip(): value.strip() for key, value in lines}
    flags = cpu.get("flags", cpu.get("Features", "")).split()
    found = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": cpu.get("model name") or platform.processor() or platform.machine(),
        "features": [feature for feature in CPU_FEATURES if feature in flags],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages},
    }
    if hasattr(os, "getloadavg"):
        found["load"] = round(os.getloadavg()[0], 2)
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.get_device_name()
        found["cuda"] = torch.version.cuda
    return found


def parse_arguments(description: str, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options that all benchmark programs share; sets the number of threads."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, help="tệp JSON nhận kết quả")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="mặc định: cpu")
    parser.add_argument("--repeats", type=int, default=5, help="số lần đo (mặc định: 5)")
    parser.add_argument("--threads", type=int, default=2, help="số luồng CPU (mặc định: 2)")
    args = parser.parse_args(arguments)
    if args.repeats < 1 or args.threads < 1:
        parser.error("--repeats và --threads phải ít nhất là 1")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("máy này không có GPU CUDA: bỏ --device cuda")
    torch.set_num_threads(args.threads)
    return args


def format_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows with the same keys as a text table, numbers with three significant digits."""
    lines = [list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in lines)


def _shown(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


class Table:
    """Rows with the same keys: text in a terminal, a table in a notebook or on a page."""

    def __init__(self, rows: Sequence[Mapping[str, object]]):
        self.rows = list(rows)

    def __repr__(self) -> str:
        return format_table(self.rows)

    def _repr_html_(self) -> str:
        lines = [[html.escape(_shown(value)) for value in row.values()] for row in self.rows]
        head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in self.rows[0])
        body = "".join(f"<tr>{''.join(f'<td>{text}</td>' for text in line)}</tr>" for line in lines)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def ratio(what: str, value: float, bar: float | None = None, higher_is_better: bool = True) -> dict:
    """One line of the table of ratios: what is compared, the value, and the bar that the course set itself, if any."""
    reached = None if bar is None else (value >= bar) == higher_is_better or value == bar
    return {"ratio": what, "value": value, "bar": bar, "reached": reached}


def report(
    name: str,
    args: argparse.Namespace,
    rows: Sequence[Mapping[str, object]],
    ratios: Sequence[Mapping[str, object]] = (),
    packages: Sequence[str] = ("torch",),
) -> None:
    """Print rows and ratios of benchmark ``name``; write them and the environment to ``args.out``, if given."""
    found = environment(packages)
    memory = peak_memory(args.device)
    print(f"{name}: {found['cpu']}, {', '.join(found['features'])}, {found['threads']} luồng, tải {found.get('load')}")
    for table in filter(None, (rows, ratios)):
        print(format_table(table))
    if args.out:
        content = {"benchmark": name, "device": args.device, "environment": found, "peak_memory_bytes": memory}
        content |= {"rows": list(rows), "ratios": list(ratios)}
        args.out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def recorded(name: str, device: str | None = None) -> dict:
    """What benchmark ``name`` found when it was last recorded: rows, ratios, environment, peak_memory_bytes, commit.

    ``device``: the file in recordings/benchmarks, "cpu" or "cuda" (or "site", by ``hooks/benchmark.py build``);
    without it, the one that the lesson is being run on (AERO_DEVICE, else "cpu").
    Raises FileNotFoundError if nothing is recorded for that device, KeyError for a name that is not there.
    """
    device = device or os.environ.get("AERO_DEVICE", "cpu")
    file = Path(__file__).parents[2] / "recordings" / "benchmarks" / f"{device}.json"
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no benchmark is recorded; run python hooks/run.py --benchmarks --device {device}")
    content = json.loads(file.read_text(encoding="utf-8"))
    found = {result["benchmark"]: result for result in content["benchmarks"]}
    if name not in found:
        raise KeyError(f"no benchmark {name!r} in {file}; there are {', '.join(found)}")
    return {"commit": content["commit"], **found[name]}


def machine(result: Mapping) -> str:
    """One line on where and when a recorded result was measured: processor or GPU, versions, day, commit."""
    found = result["environment"]
    processor = f"{found['cpu']} ({', '.join(found['features'])}), {found['threads']} luồng"
    parts = [processor if result["device"] == "cpu" else f"{found['gpu']}, CUDA {found['cuda']}"]
    parts += [f"{name} {version}" for name, version in {"Python": found["python"], **found["packages"]}.items()]
    parts += ["/".join(reversed(found["date"].split("-"))), f"mã ở commit {result['commit']}"]
    return " · ".join(parts)
