"""What the lesson on LoRA states: counts, formulas, and what its recorded run must show."""

import math

import pytest
import recording
import torch
from aerogpt.config import PRESETS, GPTConfig
from aerogpt.layers import Linear
from aerogpt.lora import LoRALinear, add_lora, count_trainable, merge_lora, remove_lora, unmerge_lora
from aerogpt.model import GPT
from prose import says
from torch.utils.flop_counter import FlopCounterMode

LORA = "07_fine_tune_pretrained_models/aero_llm_03_lora.md"
ALL = ("c_attn", "c_proj", "c_fc")
SMALL = PRESETS["gpt2"]


@pytest.fixture(scope="module")
def cells() -> dict[str, dict]:
    return recording.cells(LORA, "m073-")


@pytest.fixture(scope="module")
def values(cells) -> dict[str, dict]:
    return {name: cell["values"] for name, cell in cells.items()}


def lora_gpt2(targets, rank: int) -> GPT:
    with torch.device("meta"):
        model = GPT(SMALL)
        add_lora(model, targets, rank=rank)
    return model


def test_trainable_share_and_memory_of_gpt2_small():
    d, layers, rank = SMALL.n_embd, SMALL.n_layer, 8
    trained = layers * rank * (d + 3 * d)
    assert count_trainable(lora_gpt2(("c_attn",), rank))[0] == trained
    with torch.device("meta"):
        total = count_trainable(GPT(SMALL))[0]
    says(LORA, rf"${layers} \cdot {rank} \cdot ({d} + {3 * d}) = {trained:,}$".replace("294,912", "294{,}912"),
         f"tham số, bằng {trained / total:.3%} của {total:,}",
         rf"$12 \cdot {total:,}$ byte".replace("124,439,808", "124{,}439{,}808"),
         rf"tức {12 * total / 1e6:,.0f} MB", f"LoRA nói trên cần {12 * trained / 1e6:.1f} MB",
         f"{4 * total / 1e6:.0f} MB, thì cả hai đều phải giữ")


def test_the_share_falls_with_the_width(cells):
    shares = []
    for preset in ("vi-tiny", "gpt2"):
        with torch.device("meta"):
            model = GPT(PRESETS[preset])
            total = count_trainable(model)[0]
            add_lora(model, ("c_attn",), rank=8)
        trained = count_trainable(model)[0]
        shares.append(trained / total)
        assert f"{trained:,} / {total:>11,} = {trained / total:.3%}" in recording.printed(cells["dem"])
    assert shares[0] > 3 * shares[1]


def test_gradients_by_the_formulas():
    torch.manual_seed(0)
    layer = LoRALinear(Linear(8, 6).double(), rank=3, alpha=12)
    torch.nn.init.normal_(layer.lora_b)
    x, g = torch.randn(8, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    (layer(x) @ g).backward()                                           # so g is the gradient of the output
    s = layer.alpha / layer.rank
    torch.testing.assert_close(layer.lora_b.grad, s * torch.outer(g, layer.lora_a.detach() @ x))
    torch.testing.assert_close(layer.lora_a.grad, s * torch.outer(layer.lora_b.detach().T @ g, x))
    assert layer.base.weight.grad is None


def test_at_first_only_b_moves(cells):
    output = recording.printed(cells["buoc-dau"])
    assert "24 tầng" in output and "mô hình gốc: True" in output
    assert "bước 1: chuẩn gradient của A 0.0000" in output
    assert "bước 2: chuẩn gradient của A 0.0000" not in output and output.count("W: None") == 2


def test_the_norm_of_the_first_step(values):
    """With signs from a coin the formula is exact in the mean; the recorded run is near it."""
    torch.manual_seed(0)
    rate, n_out, n_in = 1e-3, 648, 216
    for rank in (1, 4, 16, 64):
        a = torch.randn(rank, n_in) / math.sqrt(n_in)
        b = rate * torch.randn(n_out, rank).sign()
        assert (b @ a).norm().item() == pytest.approx(rate * math.sqrt(rank * n_out), rel=0.15)
    assert values["ti-le"]["ti_so"] == pytest.approx(math.sqrt(64), rel=0.25)
    says(LORA, rf"gần $\sqrt{{64}} = {math.sqrt(64):.0f}$")


def test_memory(values):
    memory = values["bo-nho"]
    assert memory["hoc_bon"] < 0.06 * memory["hoc_toan_phan"]
    assert memory["kh_bon"] == pytest.approx(memory["kh_toan_phan"], rel=0.01)      # "gần như không đổi"
    assert 0.5 < memory["con_c_attn"] < 0.8
    assert memory["kh_toan_phan"] > memory["hoc_toan_phan"] * 2 / 3                 # more than Adam or the weights
    with torch.device("meta"):
        parameters = count_trainable(GPT(PRESETS["vi-tiny"]))[0]
    assert memory["hoc_toan_phan"] == pytest.approx(12 * parameters / 1e6, rel=1e-3)


def test_flops(values):
    ids = torch.zeros(8, 1024, dtype=torch.long, device="meta")
    with torch.device("meta"):
        models = [GPT(SMALL), lora_gpt2(ALL, 8)]
    count = []
    for model in models:
        with FlopCounterMode(display=False) as forward:
            logits = model(ids)
        with FlopCounterMode(display=False) as backward:
            logits.sum().backward()
        count.append((forward.get_total_flops(), backward.get_total_flops()))
    extra = sum(2 * 8 * (sum(m.base.weight.shape)) for m in models[1].modules() if isinstance(m, LoRALinear)) * ids.numel()
    assert count[1][0] - count[0][0] == extra > 0                       # 2 r (in + out) a token
    assert values["flop"]["them_xuoi"] == pytest.approx(extra / count[0][0], rel=1e-9)
    assert values["flop"]["con_lai"] == pytest.approx(sum(count[1]) / sum(count[0]), rel=1e-9)
    assert count[1][1] < 0.6 * count[0][1]
    merge_lora(models[1])
    with FlopCounterMode(display=False) as merged:
        models[1](ids)
    assert merged.get_total_flops() == count[0][0]


def test_the_recorded_run(values):
    before, run = values["du-lieu"], values["chay"]
    for name in ("1", "4", "16", "toan_phan"):
        assert run[f"moi_{name}"] < before["moi_0"] - 1
        assert run[f"cu_{name}"] > before["cu_0"] + 0.1, "every way forgets"
    assert run["moi_16"] < run["moi_4"] - 0.3 < run["moi_1"] - 0.6
    assert run["cu_16"] > run["cu_4"] + 0.3 > run["cu_1"] + 0.6
    assert run["moi_4"] > run["moi_toan_phan"] + 0.1 and run["cu_4"] > run["cu_toan_phan"] + 0.2


def test_taking_off_and_merging(cells, values):
    output = recording.printed(cells["thao"])
    assert output.count("True") == 3 and "False" not in output
    assert values["gop"]["lech"] < 1e-4
    assert "trọng số như cũ True, logit như cũ True" in recording.printed(cells["gop"])
    says(LORA, r"dưới ngưỡng $10^{-4}$")
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=31, n_ctx=16, n_layer=2, n_head=2, n_embd=12)).eval()
    plain, ids = {n: p.clone() for n, p in model.named_parameters()}, torch.arange(24).reshape(2, 12)
    add_lora(model, ALL, rank=3)
    for module in model.modules():
        if isinstance(module, LoRALinear):
            torch.nn.init.normal_(module.lora_b)
    apart = model(ids)
    merge_lora(model)
    torch.testing.assert_close(model(ids), apart, rtol=1e-4, atol=1e-4)
    unmerge_lora(model)
    assert torch.equal(model(ids), apart)
    remove_lora(model)
    assert all(torch.equal(p, plain[n]) for n, p in model.named_parameters())


def test_sixteen_bits_harm_the_correction_more_than_the_matrix(values):
    assert 2**-9 < values["gop"]["sai_bf16"] < 0.1                      # bfloat16 alone rounds by less than 2^-8 a number
    torch.manual_seed(0)
    w, change = torch.randn(500, 500) * 0.1, torch.randn(500, 500) * 0.01
    rounded = (w + change).bfloat16().float()
    assert (rounded - w - change).norm() / change.norm() > 5 * (w.bfloat16().float() - w).norm() / w.norm()


def test_rank_of_the_update(cells, values):
    update = values["tri-ky-di"]
    assert (update["hang_4"], update["hang_16"], update["hang_toan_phan"]) == (4, 16, PRESETS["vi-tiny"].n_embd)
    says(LORA, f"trong {update['hang_toan_phan']} hướng để đủ 90%", f"trong {update['hang_toan_phan']} hướng thì còn")
    assert 0 < update["bon_dau"] < 1 and 4 < update["can_90"] < 108     # far from flat, which would take 0.9 of 216
    challenge, run = values["thu-thach-cat"], values["chay"]
    assert challenge["con_0"] > challenge["con_16"] + 1
    assert challenge["con_16"] - run["moi_toan_phan"] < 0.2 * (challenge["con_0"] - run["moi_toan_phan"])


def test_four_initialisations(cells):
    lines = recording.printed(cells["thu-thach-khoi-tao"]).splitlines()
    assert [line.split(": ", 1)[1] for line in lines] == [
        f"giữ nguyên {same}, gradient của A {a}, của B {b}"
        for same, a, b in ((True, False, False), (True, True, False), (True, False, True), (False, True, True))]
