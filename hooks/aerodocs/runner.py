"""Running lessons: one fresh process each, forked from a server that has loaded the heavy libraries, under limits of time and memory."""

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path

from aerodocs import execute
from aerodocs.execute import CellResult, Job

LESSON_SECONDS = 300.0
_TICK = 0.2  # seconds without news after which limits and memory are looked at
_PINNED = {
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "LANG": "C.UTF-8",
    "COLUMNS": "100",
    "LINES": "40",
    "OMP_NUM_THREADS": "2",
    "MKL_NUM_THREADS": "2",
    "MPLBACKEND": "Agg",
    "HF_HUB_OFFLINE": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "NO_COLOR": "1",
}


@dataclass(slots=True)
class Outcome:
    """How the run of a lesson ended. `failure` says why it may not be recorded (with the cell's id and line), empty if it may."""

    job: Job
    results: list[CellResult] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    provenance: dict[str, object] = field(default_factory=dict)
    failure: str = ""
    line: int = 0
    seconds: float = 0.0
    peak: int = 0  # bytes of memory, as last seen


@dataclass(slots=True)
class _Worker:
    outcome: Outcome
    process: multiprocessing.process.BaseProcess
    events: connection.Connection
    started: float
    cell_started: float
    finished: bool = False


def run(jobs: list[Job], workers: int, tell: Callable[[Job, str], None] = lambda job, cell: None) -> Iterator[Outcome]:
    """Run `jobs`, `workers` at once, and yield each outcome as it ends; `tell` hears which cell starts.

    The environment of the lessons is pinned for the time of the iteration. Closing the iterator ends all lessons at once.
    """
    if not jobs:
        return
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(execute.PRELOAD)
    running: list[_Worker] = []
    waiting = list(reversed(jobs))
    with _environment(jobs[0].device):
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    running.append(_start(context, waiting.pop(), tell))
                connection.wait([worker.events for worker in running], timeout=_TICK)
                for worker in list(running):
                    _listen(worker, tell)
                    _limit(worker)
                    if worker.finished:
                        running.remove(worker)
                        yield worker.outcome
        finally:
            for worker in running:
                _end(worker)


@contextlib.contextmanager
def _environment(device: str):
    pinned = {**_PINNED, "AERO_DEVICE": device}
    if device == "cpu":
        pinned["CUDA_VISIBLE_DEVICES"] = ""  # using a GPU by accident fails
    old = {name: os.environ.get(name) for name in pinned}
    os.environ.update(pinned)
    try:
        yield
    finally:
        for name, value in old.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def _start(context, job: Job, tell: Callable[[Job, str], None]) -> _Worker:
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=execute.main, args=(job, there), daemon=True)
    process.start()
    there.close()
    now = time.monotonic()
    tell(job, job.cells[0].id)
    return _Worker(Outcome(job), process, here, now, now)


def _listen(worker: _Worker, tell: Callable[[Job, str], None]) -> None:
    """Take in what the child has said; notice its end."""
    outcome = worker.outcome
    worker.outcome.peak = max(outcome.peak, _peak(worker.process.pid))
    try:
        while worker.events.poll():
            message = worker.events.recv()
            if isinstance(message, CellResult):
                outcome.results.append(message)
                worker.cell_started = time.monotonic()
                cell = outcome.job.cells[len(outcome.results) - 1]
                if message.failure:
                    _fail(worker, cell.id, cell.line, message.failure)
                    return
                if len(outcome.results) < len(outcome.job.cells):
                    tell(outcome.job, outcome.job.cells[len(outcome.results)].id)
            else:
                outcome.code, outcome.provenance = message["code"], message["provenance"]
                _close(worker)
                return
    except EOFError:
        worker.process.join()
        code = worker.process.exitcode
        cell = outcome.job.cells[min(len(outcome.results), len(outcome.job.cells) - 1)]
        how = f"bị tín hiệu {signal.Signals(-code).name} giết" if code < 0 else f"tự thoát với mã {code}"
        _fail(worker, cell.id, cell.line, f"tiến trình {how}; bộ nhớ đỉnh {outcome.peak / 2**20:,.0f} MB")


def _limit(worker: _Worker) -> None:
    """End a worker whose cell or lesson has taken too long."""
    if worker.finished:
        return
    now, job = time.monotonic(), worker.outcome.job
    cell = job.cells[min(len(worker.outcome.results), len(job.cells) - 1)]
    if now - worker.cell_started > cell.options.timeout:
        _fail(worker, cell.id, cell.line, f"chạy quá {cell.options.timeout:g} giây; rút ngắn việc hoặc đặt #| timeout")
    elif now - worker.started > LESSON_SECONDS:
        _fail(worker, cell.id, cell.line, f"cả bài chạy quá {LESSON_SECONDS:g} giây; chia nhỏ bài hoặc dùng dữ liệu đã tính sẵn")


def _fail(worker: _Worker, cell: str, line: int, reason: str) -> None:
    worker.outcome.failure, worker.outcome.line = f"ô #{cell}: {reason}", line
    _end(worker)


def _end(worker: _Worker) -> None:
    """Kill a child with everything that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker.process.pid, signal.SIGKILL)
    if worker.process.is_alive():
        worker.process.kill()
    _close(worker)


def _close(worker: _Worker) -> None:
    worker.process.join()
    worker.events.close()
    worker.outcome.seconds = time.monotonic() - worker.started
    worker.finished = True


def _peak(pid: int | None) -> int:
    """Peak memory of a process in bytes, where the system tells it."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return 0
