"""The order of warm-up, waiting and clock; statistics; FLOPs against a count by PyTorch."""

import argparse
import json

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from aerogpt import benchmark
from aerogpt.benchmark import (
    Table,
    Timing,
    environment,
    format_table,
    forward_flops,
    machine,
    matmul_roofline,
    measure,
    measure_together,
    parse_arguments,
    peak_memory,
    ratio,
    recorded,
    report,
    training_flops,
)
from aerogpt.config import GPTConfig
from aerogpt.model import GPT


def test_the_clock_runs_only_between_two_waits_and_never_while_warming_up():
    events = []
    times = iter([10.0, 10.5, 20.0, 21.0])

    def clock():
        events.append("clock")
        return next(times)

    timing = measure(
        lambda: events.append("work"),
        repeats=2,
        warmup=3,
        clock=clock,
        synchronize=lambda: events.append("wait"),
    )
    assert events == ["work"] * 3 + ["wait", "clock", "work", "wait", "clock"] * 2
    assert timing.seconds == (0.5, 1.0)


def test_functions_measured_together_take_turns():
    events = []
    measure_together({name: lambda name=name: events.append(name) for name in "ab"}, repeats=2, warmup=1)
    assert events == ["a", "b"] + ["a", "b"] * 2


def test_an_asynchronous_device_is_waited_for():
    """A device whose work ends only when somebody waits: without waiting it seems to take no time."""
    now, queue = [0.0], []

    def wait():
        now[0] += sum(queue)
        queue.clear()

    timing = measure(lambda: queue.append(2.0), repeats=3, warmup=4, clock=lambda: now[0], synchronize=wait)
    assert timing.seconds == (2.0, 2.0, 2.0)


@pytest.mark.gpu
def test_the_gpu_is_waited_for():
    matrix = torch.randn(4096, 4096, device="cuda")
    torch.cuda.synchronize()
    measure(lambda: matrix @ matrix, device="cuda")
    assert torch.cuda.current_stream().query()


@pytest.mark.parametrize("options", [{"repeats": 0}, {"warmup": -1}])
def test_measuring_nothing_is_refused(options):
    with pytest.raises(ValueError, match="at least"):
        measure(lambda: None, **options)


def test_statistics():
    timing = Timing((3.0, 1.0, 2.0, 100.0))
    assert (timing.median, timing.low, timing.high) == (2.5, 1.0, 100.0)
    assert timing.as_dict() == {"median_s": 2.5, "min_s": 1.0, "max_s": 100.0, "repeats": 4}


def test_flops_are_those_that_pytorch_counts():
    config = GPTConfig(vocab_size=101, n_ctx=32, n_layer=2, n_head=2, n_embd=24)
    model = GPT(config)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # fused kernels are not counted
        model(torch.zeros(3, 32, dtype=torch.int64))
    assert counter.get_total_flops() == forward_flops(config, 3, 32)


def test_flops_of_gpt2_small():
    config = GPTConfig.preset("gpt2")
    assert forward_flops(config, 8, 1024) == pytest.approx(2.33e12, rel=0.003)
    assert training_flops(config, 8, 1024) == 3 * forward_flops(config, 8, 1024)


def test_the_roofline_counts_the_product(monkeypatch):
    monkeypatch.setattr("aerogpt.benchmark.measure", lambda function, **options: Timing((0.5, 0.25)))
    assert matmul_roofline(torch.float32, size=10) == 2 * 10**3 / 0.25


def test_peak_memory_sees_a_large_tensor():
    before = peak_memory()
    block = torch.ones(before // 4 + 25_000_000)
    assert peak_memory() >= before + 50_000_000
    del block


def test_the_environment_names_machine_and_versions():
    found = environment(["torch", "pytest"])
    assert found["threads"] == torch.get_num_threads()
    assert found["packages"] == {"torch": torch.__version__, "pytest": pytest.__version__}
    assert found["cpu"] and isinstance(found["features"], list)
    json.dumps(found)


def test_the_report_prints_and_writes(tmp_path, capsys):
    out = tmp_path / "result.json"
    args = argparse.Namespace(out=out, device="cpu")
    report("thử", args, [{"tên": "a", "giây": 0.12345}, {"tên": "bcd", "giây": 2}], [ratio("a/b", 1.5, 1.4)])
    printed = capsys.readouterr().out
    assert "a    0.123" in printed and "bcd  2" in printed and "a/b    1.5    1.4  True" in printed
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written["rows"][0] == {"tên": "a", "giây": 0.12345}
    assert written["ratios"] == [{"ratio": "a/b", "value": 1.5, "bar": 1.4, "reached": True}]


def test_a_bar_is_reached_from_the_right_side():
    assert [ratio("", value, 2.0)["reached"] for value in (1.0, 2.0, 3.0)] == [False, True, True]
    lower = [ratio("", value, 2.0, higher_is_better=False)["reached"] for value in (1.0, 2.0, 3.0)]
    assert lower == [True, True, False]
    assert ratio("", 1.0)["reached"] is None


def test_a_table_aligns_its_columns():
    assert format_table([{"x": 1, "y": 1234.5678}, {"x": "dài", "y": None}]) == "x    y\n1    1,235\ndài  None"


def test_options_of_the_programs(capsys):
    before = torch.get_num_threads()
    args = parse_arguments("đo", ["--repeats", "7", "--threads", "1"])
    assert (args.repeats, args.device, torch.get_num_threads()) == (7, "cpu", 1)
    torch.set_num_threads(before)
    with pytest.raises(SystemExit) as caught:
        parse_arguments("đo", ["--repeats", "0"])
    assert caught.value.code == 2


def test_a_table_as_text_and_as_html():
    table = Table([{"a<b": 0.12345, "n": 2}, {"a<b": 1234.5, "n": None}])
    assert repr(table) == format_table(table.rows)
    html = table._repr_html_()
    assert "<td>0.123</td><td>2</td>" in html and "<td>1,234</td><td>None</td>" in html
    assert "a&lt;b" in html and "a<b" not in html


@pytest.fixture
def recordings(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "__file__", str(tmp_path / "code" / "aerogpt" / "benchmark.py"))
    monkeypatch.delenv("AERO_DEVICE", raising=False)
    folder = tmp_path / "recordings" / "benchmarks"
    folder.mkdir(parents=True)
    return folder


def test_what_is_recorded_is_found_by_name_and_device(recordings, monkeypatch):
    for device in ("cpu", "cuda"):
        content = {"schema": 1, "device": device, "commit": "abc", "benchmarks": [{"benchmark": "bpe", "device": device}]}
        (recordings / f"{device}.json").write_text(json.dumps(content), encoding="utf-8")
    assert recorded("bpe") == {"benchmark": "bpe", "device": "cpu", "commit": "abc"}
    assert recorded("bpe", "cuda")["device"] == "cuda"
    monkeypatch.setenv("AERO_DEVICE", "cuda")
    assert recorded("bpe")["device"] == "cuda"
    with pytest.raises(KeyError, match="there are bpe"):
        recorded("attention")


def test_without_a_recording_the_error_says_what_to_run(recordings):
    with pytest.raises(FileNotFoundError, match="run.py --benchmarks --device cuda"):
        recorded("bpe", "cuda")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_where_and_when_in_one_line(device):
    found = {"cpu": "EPYC", "features": ["avx2"], "threads": 2, "python": "3.11.7", "packages": {"torch": "2.13.0"}}
    found |= {"date": "2026-11-25", "gpu": "H100", "cuda": "12.8"}
    line = machine({"device": device, "environment": found, "commit": "abc"})
    where = "EPYC (avx2), 2 luồng" if device == "cpu" else "H100, CUDA 12.8"
    assert line == f"{where} · Python 3.11.7 · torch 2.13.0 · 25/11/2026 · mã ở commit abc"
