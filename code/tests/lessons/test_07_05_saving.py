"""What the lesson on saving and loading states."""

import io
import json
import math
import os
import pickle
from pathlib import Path

import pytest
import recording
import torch
from aerogpt import weights
from aerogpt.config import GPTConfig
from aerogpt.model import GPT
from aerogpt.optimization import TrainConfig, make_optimizer
from aerogpt.train import Trainer, _replace
from prose import power_of_ten, says
from safetensors import SafetensorError
from safetensors.torch import load, save, save_file

SAVING = "07_fine_tune_pretrained_models/aero_llm_05_luu_va_tai_mo_hinh.md"


@pytest.fixture(scope="module")
def cells() -> dict[str, dict]:
    return recording.cells(SAVING, "m075-")


@pytest.fixture(scope="module")
def values(cells) -> dict[str, dict]:
    return {name: cell["values"] for name, cell in cells.items()}


OPENED = []


def note(text):
    OPENED.append(text)


class Present:
    def __reduce__(self):
        return note, ("run",)


def test_unpickling_runs_code_and_weights_only_refuses_it_first(cells):
    file = io.BytesIO()
    torch.save({"w": torch.zeros(2), "present": Present()}, file)
    OPENED.clear()
    file.seek(0)
    with pytest.raises(pickle.UnpicklingError, match="Unsupported global"):
        torch.load(file)                                                # weights_only is the default
    assert OPENED == []
    file.seek(0)
    assert torch.load(file, weights_only=False)["present"] is None
    assert OPENED == ["run"]
    output = recording.printed(cells["pickle"])
    assert output.count("Mã này chạy") == 2 and "'qua': None" in output   # once in the file, once when it is opened
    assert "STACK_GLOBAL" in output and "REDUCE" in output
    assert "Mã này chạy" not in recording.printed(cells["weights-only"])


def test_the_three_parts_of_a_safetensors_file():
    data = save({"a": torch.tensor([1.0, -2.0])})
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + n])
    assert data[8 + n:][:4].hex(" ") == "00 00 80 3f" and len(data) == 8 + n + 8
    says(SAVING, "`00 00 80 3f` là 1.0", "số mũ 127")
    bits = int.from_bytes(data[8 + n:][:4], "little")
    assert (bits >> 31, bits >> 23 & 255, bits & (2**23 - 1)) == (0, 127, 0)

    def file(header: dict, body: bytes) -> bytes:
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + body

    entry = header["a"]
    assert load(file({"a": entry}, bytes(8)))["a"].shape == (2,)
    for name, bad in {"gap": file({"a": entry | {"data_offsets": [4, 12]}}, bytes(12)),
                      "overlap": file({"a": entry, "b": entry}, bytes(8)),
                      "left over": file({"a": entry}, bytes(12)),
                      "a huge header": (2**64 - 1).to_bytes(8, "little") + data[8:]}.items():
        with pytest.raises(SafetensorError):
            load(bad)
            pytest.fail(name)


def test_the_tied_matrix_is_written_once(cells, tmp_path):
    model = GPT(GPTConfig.preset("nano"))
    with pytest.raises(RuntimeError, match="share memory"):
        save_file(model.state_dict(), tmp_path / "twice")
    output = recording.printed(cells["dung-chung"])
    assert "có wte: True · có lm_head: False · sau khi đọc vẫn là một tensor: True" in output
    size = (weights.DATA / "vi-tiny.safetensors").stat().st_size
    assert f"= {size} byte; tệp có {size}" in output


def test_one_bit(cells, values):
    assert "[('transformer.wte.weight', 1)]" in recording.printed(cells["mot-bit"])
    assert values["mot-bit"]["loss_hong"] > 10 * values["mot-bit"]["loss_goc"]
    number = torch.tensor([0.0175], dtype=torch.float16)
    flipped = (number.view(torch.int16) ^ (0b0100_0000 << 8)).view(torch.float16)
    assert flipped / number == 2**16
    says(SAVING, "lớn gấp $2^{16}$")


def test_a_flipped_bit_is_refused(tmp_path):
    model, path = GPT(GPTConfig.preset("nano")), tmp_path / "m"
    weights.save(model, path)
    digest = weights.file_sha256(path)
    assert len(digest) * 4 == 256
    weights.load(path, sha256=digest)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    weights.load(path)
    with pytest.raises(ValueError, match="not the recorded file"):
        weights.load(path, sha256=digest)


def test_rounding(values):
    for dtype, bits, name in ((torch.float16, 11, "float16"), (torch.bfloat16, 8, "bfloat16")):
        assert torch.finfo(dtype).eps == 2.0 ** (1 - bits)
        says(SAVING, f"${power_of_ten(2.0**-bits, 1)}$ với `{name}`", f"`{name}`")
        x = torch.logspace(-4, 4, 100_001, dtype=torch.float32)
        error = ((x.to(dtype).float() - x) / x).abs().max().item()
        assert 0.95 * 2.0**-bits < error <= 2.0**-bits
    says(SAVING, "`float16` giữ 11 bit có nghĩa, `bfloat16` giữ 8, `float32` giữ 24")
    assert torch.finfo(torch.float32).eps == 2.0**-23
    half = torch.finfo(torch.float16)
    edge = torch.tensor([half.max + 15.9, half.max + 16]).half()             # half a step above the largest number
    assert edge[0] == half.max and edge[1].isinf()
    says(SAVING, f"dưới ${power_of_ten(half.smallest_normal, 1)}$", f"từ {half.max + 16:,.0f} trở lên thành vô",
         f"dưới khoảng ${power_of_ten(2.0**-25, 0)}$")
    edge = torch.tensor([2.0**-25, 1.01 * 2.0**-25])
    assert (edge.half() != 0).tolist() == [False, True]
    assert values["lam-tron"]["sai_fp16"] <= 2.0**-11 and values["lam-tron"]["sai_bf16"] <= 2.0**-8


def test_second_moments_vanish_in_float16(cells, values):
    assert values["kieu-so"]["mat_16"] > 0.05
    assert "ở bfloat16 0%" in recording.printed(cells["kieu-so"])
    beta = TrainConfig().betas[1]
    says(SAVING, rf"$1/\sqrt{{1 - \beta_2}} = {1 / math.sqrt(1 - beta):.1f}$ lần (với $\beta_2 = {beta}$")


def test_resuming(cells, values, tmp_path):
    output = recording.printed(cells["chay-tiep"])
    assert "điểm lưu ở bước 20" in output
    assert "đầy đủ          60 mất mát giống hệt: True; trọng số lệch nhiều nhất 0.0e+00" in output
    assert "quên bộ tối ưu  60 mất mát giống hệt: False" in output
    assert values["chay-tiep-hinh"]["xa_quen"] > 0.01
    assert f"{values['chay-tiep']['kt_quen']:.4f}" != f"{values['chay-tiep']['kt_chuan']:.4f}"
    assert "'gieo lại': False" in recording.printed(cells["ngau-nhien"]) and "'khôi phục': True" in recording.printed(cells["ngau-nhien"])

    shape, tokens = GPTConfig(vocab_size=17, n_ctx=8, n_layer=1, n_head=2, n_embd=16, dropout=0.1), torch.arange(400) * 5 % 17
    config = TrainConfig(steps=12, learning_rate=1e-2, warmup_steps=2, eval_every=4)

    class Interrupted(Trainer):
        def _update(self):
            if self.step == 6:
                raise KeyboardInterrupt
            return super()._update()

    def trainer(kind=Trainer, **options):
        torch.manual_seed(0)
        return kind(GPT(shape), tokens, config=config, progress=False, **options)

    whole = trainer().run()["loss"]
    for folder in ("full", "forgets"):
        with pytest.raises(KeyboardInterrupt):
            trainer(Interrupted, folder=tmp_path / folder).run()
    assert trainer(folder=tmp_path / "full", resume=True).run()["loss"] == whole
    forgets = trainer(folder=tmp_path / "forgets", resume=True)
    forgets.optimizer = make_optimizer(forgets.model, config)
    losses = forgets.run()["loss"]
    assert losses[:5] == whole[:5] and losses[5] != whole[5]            # the loss of a step is from before its update


def test_replacing_keeps_the_old_file(cells, tmp_path):
    path = tmp_path / "m"
    path.write_bytes(b"old")

    def torn(place: Path):
        place.write_bytes(b"h")
        raise OSError

    with pytest.raises(OSError):
        _replace(path, torn)
    assert path.read_bytes() == b"old"
    assert "ghi đè: mo-hinh.safetensors is not a whole" in recording.printed(cells["nguyen-tu"])
    assert "đổi tên: bản cũ còn nguyên" in recording.printed(cells["nguyen-tu"])
    assert "fsync" not in (Path(weights.__file__).parent / "train.py").read_text(encoding="utf-8") and hasattr(os, "fsync")


def test_a_checkpoint_is_three_times_the_weights(cells):
    ratio = float(recording.printed(cells["thu-thach-co"]).split()[0])
    assert 3 < ratio < 3.3
