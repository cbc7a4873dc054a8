"""The child process: runs the cells of one lesson as a notebook would, and tells its parent what they left.

Only this process imports what lessons import. It is forked from a server that has loaded the heavy libraries and never computed.
"""

import base64
import ctypes
import os
import platform
import random
import resource
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import traceback
from dataclasses import dataclass, field
from datetime import datetime, timezone
from multiprocessing.connection import Connection
from pathlib import Path

from aerodocs import figures
from aerodocs.cells import Fence
from aerodocs.normalize import Places, normalize
from aerodocs.recordings import FIGURE, CellRecord

PRELOAD = ["torch", "numpy", "matplotlib.pyplot", "IPython.core.interactiveshell", "aerodocs.execute"]
_KEPT = 32_000  # bytes read from either end of what a cell has printed
_MEMORY = 12 * 2**30  # bytes that a lesson may allocate
_FILE = 2 * 2**30  # bytes that a lesson may write into one file
_LONGEST_VALUE = 200
_UNBUFFERED = 2  # _IONBF of <stdio.h>
_TYPES = ("text/plain", "text/html", "text/markdown", "text/latex", "image/svg+xml", "image/png")


@dataclass(frozen=True, slots=True)
class Job:
    """One lesson to run: the cells with their keys, and for each cell the variables that the prose wants."""

    root: str
    lesson: str
    device: str
    cells: tuple[Fence, ...]
    keys: dict[str, str]
    names: dict[str, list[str]]


@dataclass(slots=True)
class CellResult:
    """What a cell left; `failure` says in Vietnamese why it is not fit for a page."""

    record: CellRecord
    files: dict[str, bytes] = field(default_factory=dict)
    failure: str = ""


class Failure(Exception):
    """A cell did not do what the lesson says."""


def main(job: Job, parent: Connection) -> None:
    """Run `job`, sending a CellResult after each cell up to the first that fails, then a dict with `code` (files used) and `provenance`."""
    os.setpgid(0, 0)  # the parent ends the whole group, with what cells have started
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE, _FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    work = tempfile.mkdtemp(prefix="aero-")
    os.chdir(work)
    try:
        sys.path.insert(0, str(Path(job.root, "code")))
        before = set(sys.modules)
        opened = _watch(job.root)
        if job.device == "cuda" and not _has_gpu():
            first = CellRecord(job.cells[0].id, "")
            parent.send(CellResult(first, failure="máy này không có GPU mà PyTorch dùng được; chạy trên máy có GPU, với bản PyTorch cho CUDA"))
            return
        _seed(job.device)
        session = _Session(job, work)
        for cell in job.cells:
            result = session.run(cell)
            parent.send(result)
            if result.failure:
                return
        modules = {getattr(module, "__file__", None) for name, module in list(sys.modules.items()) if name not in before}
        parent.send({"code": _used(job.root, modules | opened), "provenance": _provenance(job.device)})
    finally:
        os.chdir("/")
        shutil.rmtree(work, ignore_errors=True)


class _Session:
    """An IPython shell without a kernel, and the capture of everything that goes to the page."""

    def __init__(self, job: Job, work: str):
        from IPython.core.displayhook import DisplayHook
        from IPython.core.displaypub import DisplayPublisher
        from IPython.core.interactiveshell import InteractiveShell

        session = self

        class Hook(DisplayHook):
            def __call__(self, result=None):
                if result is not None and not self.semicolon_at_end_of_expression(session.code):
                    session.show(result, "execute_result")

        class Publisher(DisplayPublisher):
            def publish(self, data, metadata=None, **kwargs):
                session.add(data, "display_data")

            def clear_output(self, wait=False):
                session.outputs.clear()

        self.job = job
        home, temp = str(Path.home()), tempfile.gettempdir()
        self.places = Places(job.root, home, temp, sysconfig.get_path("purelib"), work)
        self.capture = _Capture()
        self.code, self.outputs, self.files = "", [], {}
        InteractiveShell.displayhook_class, InteractiveShell.display_pub_class = Hook, Publisher
        InteractiveShell.colors = "nocolor"
        self.shell = InteractiveShell.instance(history_length=0, history_load_length=0, autocall=0)
        self.shell.showtraceback = self.shell.showsyntaxerror = lambda *args, **kwargs: None

    def run(self, cell: Fence) -> CellResult:
        """Run one cell; what goes wrong is told in the result."""
        self.code, self.outputs, self.files, self.cell = cell.code, [], {}, cell
        self.capture.take()
        result = self.shell.run_cell(cell.code, store_history=False)
        record = CellRecord(cell.id, self.job.keys[cell.id])
        out = CellResult(record, self.files)
        try:
            self.end_cell(result.error_before_exec or result.error_in_exec)
            record.values = {name: self.value(name) for name in self.job.names.get(cell.id, [])}
        except (Failure, figures.FigureError) as error:
            out.failure = str(error)
        record.outputs = self.outputs
        return out

    def end_cell(self, error: BaseException | None) -> None:
        self.flush()
        pyplot = sys.modules.get("matplotlib.pyplot")
        for number in pyplot.get_fignums() if pyplot else ():
            self.add_figure(pyplot.figure(number))
        wanted = self.cell.options.raises
        if error is None and wanted:
            raise Failure(f"phải gây ra {wanted} nhưng không có lỗi nào")
        if error is not None:
            lines = _traceback(error, self.cell, self.job.root)
            text = normalize("\n".join(lines).encode("utf-8", "replace"), self.places)
            if type(error).__name__ != wanted.rpartition(".")[2]:
                raise Failure(f"{'phải gây ra ' + wanted + ', mà ' if wanted else ''}gặp lỗi {type(error).__name__}\n{text}\n{self.hidden}".rstrip())
            name = type(error).__name__
            self.outputs.append({"output_type": "error", "ename": name, "evalue": str(error), "traceback": text.splitlines()})

    def flush(self) -> None:
        """Move what was printed since the last time into the outputs."""
        self.hidden = ""
        for name, data, size in self.capture.take():
            text = normalize(data, self.places)
            if name == "stderr" and self.cell.options.stderr == "hide":
                self.hidden = text[-2000:]
                continue
            lines = text.splitlines(keepends=True)
            if self.outputs and self.outputs[-1].get("name") == name:
                self.outputs[-1]["text"] += lines
            else:
                self.outputs.append({"output_type": "stream", "name": name, "text": lines})
            if size > len(data):
                head, tail = text[:500], text[-500:]
                raise Failure(f"in ra {size:,} byte, quá giới hạn một ô; đầu và cuối:\n{head}\n…\n{tail}")

    def show(self, result: object, kind: str) -> None:
        figure = sys.modules.get("matplotlib.figure")
        if figure and isinstance(result, figure.Figure):
            self.flush()
            self.add_figure(result)
            return
        data, _ = self.shell.display_formatter.format(result)
        if data:
            self.add(data, kind)

    def add(self, data: dict, kind: str) -> None:
        self.flush()
        kept = {}
        for name in _TYPES:
            value = data.get(name)
            if isinstance(value, bytes):
                value = base64.b64encode(value).decode()
            if isinstance(value, str):
                text = normalize(value.encode("utf-8", "replace"), self.places) if name != "image/png" else value
                kept[name] = text.splitlines(keepends=True)
        if kept:
            self.outputs.append({"output_type": kind, "data": kept, "metadata": {}})

    def add_figure(self, figure) -> None:
        number = sum(FIGURE in output.get("data", {}) for output in self.outputs) + 1
        stem = f"{self.job.device}-{self.cell.id}-{number}"
        data, files = figures.save(figure, stem, self.cell.options.caption)
        self.outputs.append({"output_type": "display_data", "data": data, "metadata": {}})
        self.files.update(files)
        sys.modules["matplotlib.pyplot"].close(figure)

    def value(self, name: str) -> int | float | str | bool:
        if name not in self.shell.user_ns:
            raise Failure(f"không có biến {name} mà bài cần")
        value = self.shell.user_ns[name]
        if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:  # a number of numpy or torch
            value = value.item()
        if not isinstance(value, (int, float, str)) or (isinstance(value, float) and value - value != 0):
            raise Failure(f"biến {name} là {type(value).__name__} ({str(value)[:50]}), không phải số hữu hạn hay chuỗi ngắn")
        if isinstance(value, str) and len(value) > _LONGEST_VALUE:
            raise Failure(f"biến {name} là chuỗi {len(value)} ký tự, quá {_LONGEST_VALUE}")
        return value


class _Capture:
    """Standard output and error of this process and of all that it starts, caught below Python."""

    def __init__(self):
        self.files = {"stdout": tempfile.TemporaryFile(), "stderr": tempfile.TemporaryFile()}
        self.read = dict.fromkeys(self.files, 0)
        for number, (name, file) in enumerate(self.files.items(), 1):
            getattr(sys, name).flush()
            os.dup2(file.fileno(), number)
            setattr(sys, name, open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False, buffering=1))
        self.libc = ctypes.CDLL(None)
        for name in self.files:  # what C prints comes in its turn
            self.libc.setvbuf(ctypes.c_void_p.in_dll(self.libc, name), None, _UNBUFFERED, 0)

    def take(self) -> list[tuple[str, bytes, int]]:
        """What came since the last call: stream, its bytes (of very many the first and the last), how many there were."""
        taken = []
        sys.stdout.flush()
        sys.stderr.flush()
        for name, file in self.files.items():
            start, end = self.read[name], os.fstat(file.fileno()).st_size
            self.read[name] = end
            if end > start:
                data = os.pread(file.fileno(), min(end - start, 2 * _KEPT), start)
                if end - start > 2 * _KEPT:
                    data = data[:_KEPT] + os.pread(file.fileno(), _KEPT, end - _KEPT)
                taken.append((name, data, end - start))
        return taken


def _watch(root: str) -> set[str]:
    """Paths below `root` that this process opens from now on; and no connection to another machine is made."""
    opened: set[str] = set()

    def hook(event: str, arguments: tuple) -> None:
        if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
            path = os.path.abspath(os.fsdecode(arguments[0]))
            writes = isinstance(arguments[1], str) and set(arguments[1]) & set("wax")
            if path.startswith(root + os.sep) and not writes:
                opened.add(path)
        elif event == "socket.connect" and isinstance(arguments[1], tuple):
            host = str(arguments[1][0])
            if host not in ("localhost", "::1") and not host.startswith("127."):
                raise OSError(f"bài học chạy không có mạng: kết nối tới {host} bị chặn")

    sys.addaudithook(hook)
    return opened


def _used(root: str, files: set[str | None]) -> list[str]:
    """Files of the repository among `files`, relative to it: no environments, caches, hidden folders, recordings of lessons."""
    used = set()
    for file in files:
        path = Path(file or "").resolve()
        own = path.is_relative_to(sys.prefix) or path.is_relative_to(Path(__file__).parent)
        if path.is_file() and path.is_relative_to(root) and not own:
            relative = path.relative_to(root)
            lesson = relative.parts[0] == "recordings" and relative.parts[1] != "benchmarks"
            if path.suffix != ".pyc" and not lesson and not any(part.startswith(".") for part in relative.parts):
                used.add(relative.as_posix())
    return sorted(used)


def _has_gpu() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_available()


def _seed(device: str) -> None:
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        if device == "cuda":
            torch.use_deterministic_algorithms(True, warn_only=True)


def _traceback(error: BaseException, cell: Fence, root: str) -> list[str]:
    """The error as Python prints it, cut to the frames of the lesson and of the repository's code."""
    lines = ["Traceback (most recent call last):"]
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.startswith(str(Path(root, "code"))):
            lines.append(f'  File "{frame.filename}", in {frame.name}')
        elif "ipython-input" in frame.filename:
            where = f", in {frame.name}" if frame.name != "<module>" else ""
            lines.append(f"  Ô #{cell.id}{where}: {frame.line or ''}".rstrip().rstrip(":"))
    return [*lines, *"".join(traceback.format_exception_only(error)).rstrip().splitlines()]


def _provenance(device: str) -> dict[str, object]:
    """Where and with what this ran."""
    facts: dict[str, object] = {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "threads": int(os.environ["OMP_NUM_THREADS"]),
    }
    if torch := sys.modules.get("torch"):
        facts["torch"] = torch.__version__
        facts["dtype"] = str(torch.get_default_dtype()).removeprefix("torch.")
        if device == "cuda":
            facts["gpu"] = torch.cuda.get_device_name()
            facts["cuda"] = torch.version.cuda
            facts["driver"] = _driver()
            facts["tf32"] = torch.backends.cuda.matmul.allow_tf32
    return facts


def _driver() -> str:
    """Version of the GPU's driver."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]


def _cpu() -> str:
    """Name of the processor."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    except OSError:
        pass
    return platform.processor() or platform.machine()
