"""The numbers and the rules in the lesson on working with a GPU."""

import re

import pytest
import recording
import torch
from prose import DOCS, SMALL, count, gpt, power_of_ten, says
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

LESSON = "04_buildgpt/aero_llm_020_working_on_the_gpu.md"

# AMD EPYC 7763: cores, fused multiply-adds a cycle and core (two pipes of 256 bits), base clock, bytes a second
# (8 channels of DDR4-3200, 8 bytes wide). NVIDIA A100 40 GB: SMs, FP32 lanes, boost clock, HBM2.
CPU = {"units": 64, "lanes": 2 * 256 // 32, "clock": 2.45e9, "bandwidth": 8 * 3200e6 * 8}
GPU = {"units": 108, "lanes": 64, "clock": 1.41e9, "bandwidth": 1555e9}
PCIE, TF32 = 31.5e9, 156e12
BITS = {"float32": (8, 23), "TF32": (8, 10), "bfloat16": (8, 7), "float16": (5, 10)}


def cells() -> dict[str, str]:
    text = (DOCS / LESSON).read_text(encoding="utf-8")
    found = re.findall(r"^```python \{\.cell #([\w-]+)\}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return dict(found)


def recorded(cell: str) -> dict:
    return recording.cells(LESSON)[cell]


def printed(cell: str) -> str:
    return recording.printed(recorded(cell))


def peak(chip: dict) -> float:
    return chip["units"] * chip["lanes"] * 2 * chip["clock"]


def keep_bits(x: torch.Tensor, bits: int) -> torch.Tensor:
    """x with its significand rounded to nearest, ties to even, by arithmetic on frexp: not the lesson's way."""
    significand, exponent = torch.frexp(x.double())
    return torch.ldexp((significand * 2.0 ** (bits + 1)).round(), exponent - bits - 1).float()


def test_two_chips():
    row = [f"| bộ xử lý độc lập | {CPU['units']} lõi | {GPU['units']} SM |",
           f"mỗi bộ | {CPU['lanes']} | {GPU['lanes']} |",
           f"| {CPU['clock'] / 1e9} GHz | {GPU['clock'] / 1e9} GHz |",
           f"| {peak(CPU) / 1e12:.1f} TFLOP/s | {peak(GPU) / 1e12:.1f} TFLOP/s |",
           f"| {CPU['bandwidth'] / 1e9} GB/s | {GPU['bandwidth'] / 1e9:.0f} GB/s |",
           f"mỗi chiều | | {PCIE / 1e9} GB/s |"]
    says(LESSON, *row)
    says(LESSON, f'{GPU["units"] * GPU["lanes"]} "nhân CUDA" của A100 là {GPU["units"]} × {GPU["lanes"]} làn',
         f"CPU kia có {CPU['units'] * CPU['lanes']} làn",
         f"chênh {peak(GPU) / peak(CPU):.1f} lần, băng thông chênh {GPU['bandwidth'] / CPU['bandwidth']:.1f} lần",
         f"{TF32 / 1e12:.0f} TFLOP/s với TF32, gấp {TF32 / peak(CPU):.0f} lần")


def test_model_of_an_addition():
    says(LESSON, "đọc 8 byte và ghi 4 byte", "1 µs và 10 µs")
    slope = {"cpu": 12 / CPU["bandwidth"], "gpu": 12 / GPU["bandwidth"]}
    meeting = 9e-6 / (slope["cpu"] - slope["gpu"])
    values = recorded("thiet-bi-mot-buc-tranh")["values"]
    assert values["giao_nghin"] == round(meeting / 1000)
    n = torch.logspace(0, 12, 500, dtype=torch.float64)
    cpu, gpu = 1e-6 + slope["cpu"] * n, 10e-6 + slope["gpu"] * n
    assert ((cpu < gpu) == (n < meeting)).all()
    assert (gpu + 12 * n / PCIE > cpu).all()


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.register_buffer("buffer", torch.ones(3))
        self.plain = torch.ones(3)
        self.listed = [nn.Linear(3, 3)]


@pytest.mark.parametrize("target", [torch.float64, "meta"])
def test_to_moves_parameters_and_buffers_only(target):
    t, layer = torch.ones(3), Layer()
    moved = t.to(target)
    assert moved is not t and (t.dtype, t.device.type) == (torch.float32, "cpu")
    assert t.to(torch.float32) is t and t.to("cpu") is t
    assert layer.to(target) is layer
    for tensor in (layer.linear.weight, layer.buffer):
        assert (tensor.dtype, tensor.device) == (moved.dtype, moved.device)
    for tensor in (layer.plain, layer.listed[0].weight):
        assert (tensor.dtype, tensor.device.type) == (torch.float32, "cpu")


def stepped() -> tuple[nn.Linear, torch.optim.AdamW]:
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return layer, optimizer


def test_optimizer_keeps_the_parameter_and_leaves_its_state_behind():
    layer, optimizer = stepped()
    before = layer.weight
    layer.to(torch.float64)
    assert layer.weight is before is optimizer.param_groups[0]["params"][0]
    assert optimizer.state[before]["exp_avg"].dtype == torch.float32
    with pytest.raises(RuntimeError):
        optimizer.step()
    fresh = torch.optim.AdamW(layer.parameters())
    fresh.load_state_dict(optimizer.state_dict())
    assert fresh.state[layer.weight]["exp_avg"].dtype == torch.float64
    fresh.step()
    assert layer.to("meta").weight is not before


def test_a_fresh_optimizer_survives_a_move():
    layer = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer.to(torch.float64)
    before = layer.weight.detach().clone()
    layer(torch.ones(1, 3, dtype=torch.float64)).sum().backward()
    optimizer.step()
    assert not torch.equal(layer.weight, before)


def test_message_about_two_devices():
    with FakeTensorMode(), pytest.raises(RuntimeError) as caught:
        torch.ones(3, device="cuda") + torch.ones(3)
    says(LESSON, f"`{str(caught.value).strip()}`")


def test_stand_in_raises_what_a_gpu_raises():
    with pytest.raises(RuntimeError, match="not on the expected device"):
        torch.ones(3) + torch.ones(3, device="meta")
    with pytest.raises(TypeError, match=r"can't convert meta device type tensor to numpy. Use Tensor.cpu\(\)"):
        torch.ones(3, device="meta").numpy()
    assert (torch.ones(3, device="meta") + torch.tensor(2.0)).device.type == "meta"
    with pytest.raises(RuntimeError):
        torch.ones(3) + torch.tensor(2.0, device="meta")


def test_cell_puts_everything_where_it_says():
    """Run on tensors that claim to be on a GPU: mixing two devices is an error there."""
    names = {"torch": torch, "device": "cuda"}
    with FakeTensorMode(), torch.no_grad():
        exec(cells()["thiet-bi-tao"], names)
        assert all(tensor.device.type == "cuda" for tensor in names["tat_ca"])
        assert len(names["tat_ca"]) > 10
        names["gpt"](torch.zeros(1, 2, dtype=torch.long, device="cuda"))      # nothing made in forward stays on the CPU


def test_broken_module_of_the_challenge_is_broken_on_a_gpu_too():
    code = cells()["thiet-bi-thu-thach-hong"].replace('"meta"', '"cuda"')
    with FakeTensorMode(), torch.no_grad(), pytest.raises(RuntimeError, match="same device"):
        exec(code, {"torch": torch, "nn": nn})


def test_what_needs_values():
    lines = printed("thiet-bi-can-gia-tri").splitlines()
    waiting = ["phải chờ" in line for line in lines]
    assert sum(waiting) == 5 and all(waiting[-5:])
    says(LESSON, "Năm dòng cuối là đồng bộ ngầm")
    t = torch.ones(4, device="meta")
    assert "..." in repr(t)
    for needs in (lambda: t.cpu(), lambda: t.tolist(), lambda: t.nonzero()):
        with pytest.raises(RuntimeError):
            needs()


def test_bytes_to_carry():
    tokens, logits = 8 * 1024 * 8, 8 * 1024 * SMALL.vocab_size * 4
    weights = count(gpt("small")) * 4
    text = printed("thiet-bi-chep")
    for size in (tokens, weights, logits):
        assert re.search(rf"{size:,} +{1e3 * size / PCIE:.3f} +{1e3 * size / GPU['bandwidth']:.3f}\n", text)
    assert recorded("thiet-bi-chep")["values"]["ms_logit"] == pytest.approx(1e3 * logits / PCIE)


@pytest.mark.parametrize("name", BITS)
def test_formats(name):
    exponent, mantissa = BITS[name]
    epsilon = 2.0**-mantissa
    largest = (2 - epsilon) * 2.0 ** (2 ** (exponent - 1) - 1)
    if name != "TF32":
        info = torch.finfo(getattr(torch, name))
        assert (info.eps, info.max, info.bits) == (epsilon, largest, 1 + exponent + mantissa)
    shown = f"{largest:,.0f}" if name == "float16" else f"${power_of_ten(largest, 1)}$"
    label = name if name == "TF32" else f"`{name}`"
    says(LESSON, f"| {label} | 1, {exponent}, {mantissa} | ${power_of_ten(epsilon, 1)}$ | {shown} |")


def test_rounding_to_fewer_bits():
    names = {"torch": torch}
    exec(cells()["thiet-bi-tf32"].split("torch.manual_seed")[0], names)
    torch.manual_seed(1)
    x = torch.cat([torch.randn(50_000) * torch.logspace(-6, 6, 50_000), torch.tensor([0.0, 1 + 2.0**-11, 1 + 3 * 2.0**-11])])
    for bits in (7, 10):
        torch.testing.assert_close(names["giu_bit"](x, bits), keep_bits(x, bits), rtol=0, atol=0)
    assert torch.equal(keep_bits(x, 7), x.bfloat16().float())


def test_errors_of_products():
    torch.manual_seed(2)
    p, q = torch.randn(2, 256, 256)
    exact = p.double() @ q.double()
    values = recorded("thiet-bi-tf32")["values"]
    for name, bits in (("sai_tf32", 10), ("sai_bf16", 7)):
        error = (keep_bits(p, bits) @ keep_bits(q, bits) - exact).norm() / exact.norm()
        assert values[name] == pytest.approx(error.item(), rel=0.1)
    assert values["sai_32"] < values["sai_tf32"] / 100
    first, second = printed("thiet-bi-tf32").splitlines()[1:3]
    assert "highest" in first and first.split()[-1] == second.split()[-1]       # on the recorded CPU "high" changes nothing
    assert torch.get_float32_matmul_precision() == "highest"


def test_narrow_formats():
    says(LESSON, "tràn thành `inf` và mất số nhỏ", "đổi lại 1.003 thành 1")
    assert torch.tensor(100_000.0).half().isinf() and torch.tensor(1e-8).half() == 0
    assert torch.tensor(1.003).bfloat16() == 1 and torch.tensor([100_000.0, 1e-8]).bfloat16().isfinite().all()


def test_challenges():
    says(LESSON, "$12 n^2$ byte. Nhân: $2 n^3$ FLOP", r"$n > 6R/\beta$", "mọi số nguyên đến $2^{m+1}$ đều đúng")
    shown = {cell: "".join(recorded(cell)["outputs"][-1]["data"]["text/plain"]) for cell in
             ("thiet-bi-thu-thach-chep", "thiet-bi-thu-thach-nguyen")}
    sizes = {"float32": round(6 * 19.5e12 / PCIE), "TF32": round(6 * TF32 / PCIE)}
    assert shown["thiet-bi-thu-thach-chep"] == str(sizes)
    for rate, n in zip((19.5e12, TF32), sizes.values()):
        assert 2 * (n - 1) ** 3 / rate < 12 * (n - 1) ** 2 / PCIE and 2 * (n + 1) ** 3 / rate > 12 * (n + 1) ** 2 / PCIE
    left = len({keep_bits(torch.tensor(float(i)), 7).item() for i in range(SMALL.vocab_size)})
    assert shown["thiet-bi-thu-thach-nguyen"] == str(({bits: 2 ** (bits + 1) + 1 for bits in (10, 7)}, left))


@pytest.mark.gpu
def test_on_a_gpu_as_the_lesson_says():
    layer, optimizer = stepped()
    before = layer.weight
    layer.to("cuda")
    assert layer.weight is before and optimizer.state[before]["exp_avg"].device.type == "cpu"
    t = torch.ones(4, device="cuda")
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        t.numpy()
    with pytest.raises(RuntimeError, match="at least two devices, cuda:0 and cpu"):
        t + torch.ones(4)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for free in (lambda: t + 1, lambda: t.argmax(), lambda: torch.where(t > 0, t, -t)):
            free()
        for waits in (lambda: t.sum().item(), lambda: float(t[0]), lambda: bool(t.sum() > 0), t.cpu, t.tolist, lambda: t[t > 0]):
            with pytest.raises(RuntimeError, match="synchroniz"):
                waits()
    finally:
        torch.cuda.set_sync_debug_mode("default")
