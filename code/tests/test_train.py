"""Schedule, optimiser, evaluation, the loop, exact resume, several processes, and the command."""

import dataclasses
import json
import math
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from aerogpt import train as module
from aerogpt import weights
from aerogpt.config import GPTConfig
from aerogpt.corpus import synthetic_vietnamese
from aerogpt.data import token_bytes
from aerogpt.evaluation import bits_per_byte, evaluate
from aerogpt.model import GPT
from aerogpt.optimization import TrainConfig, learning_rate, make_optimizer, precision
from aerogpt.tokenizer import BPETokenizer
from aerogpt.train import Trainer, main, train

TINY = GPTConfig(vocab_size=17, n_ctx=8, n_layer=2, n_head=2, n_embd=16)
FAST = TrainConfig(steps=12, batch_size=8, learning_rate=1e-2, warmup_steps=2, eval_every=5)


def tiny_model(**changes) -> GPT:
    torch.manual_seed(0)
    return GPT(dataclasses.replace(TINY, **changes))


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.arange(400) * 5 % 17


def same_weights(left: GPT, right: GPT) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left.parameters(), right.parameters(), strict=True))


def test_the_learning_rate_warms_up_and_falls_like_a_cosine():
    config = TrainConfig(steps=110, warmup_steps=10, learning_rate=2.0, final_share=0.1)
    rates = [learning_rate(step, config) for step in range(111)]
    assert rates[:11] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.0])
    assert rates[60] == pytest.approx(1.1)  # half-way between 2.0 and 0.2
    assert rates[35] == pytest.approx(0.2 + 1.8 * (1 + math.sqrt(0.5)) / 2)
    assert rates[110] == pytest.approx(0.2)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert learning_rate(0, TrainConfig(warmup_steps=0, steps=1)) == 1e-3


def test_weight_decay_shrinks_matrices_and_nothing_else():
    model = tiny_model()
    for parameter in model.parameters():
        nn.init.ones_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    optimizer = make_optimizer(model, TrainConfig(learning_rate=0.5, weight_decay=0.2))
    listed = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(listed) == sorted(id(parameter) for parameter in model.parameters())
    optimizer.step()
    for name, parameter in model.named_parameters():
        is_matrix = name.endswith("weight") and ".ln_" not in name
        assert torch.equal(parameter, torch.full_like(parameter, 0.9 if is_matrix else 1.0)), name


def test_frozen_parameters_are_not_trained():
    model = tiny_model()
    model.transformer.wpe.weight.requires_grad_(False)
    listed = [id(parameter) for group in make_optimizer(model, FAST).param_groups for parameter in group["params"]]
    assert id(model.transformer.wpe.weight) not in listed


def test_precision_is_decided_in_one_place():
    cpu = torch.device("cpu")
    for dtype, product in ((torch.float32, torch.float32), (torch.bfloat16, torch.bfloat16)):
        autocast, scaler = precision(cpu, dtype)
        with autocast:
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == product
        assert not scaler.is_enabled()
    with pytest.raises(ValueError, match="float16 needs a CUDA device, not cpu"):
        precision(cpu, torch.float16)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype, scales", [("float32", False), ("bfloat16", False), ("float16", True)])
def test_training_on_a_gpu_learns(tokens, dtype, scales):
    config = dataclasses.replace(FAST, device="cuda", dtype=dtype, steps=60)
    trainer = Trainer(tiny_model(), tokens, config=config, progress=False)
    assert trainer.scaler.is_enabled() == scales
    losses = trainer.run()["loss"]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    "field, value", [("steps", 0), ("batch_size", -1), ("clip", 0.0), ("patience", -1), ("dtype", "int8")]
)
def test_settings_that_make_no_sense_are_named(field, value):
    with pytest.raises(ValueError, match=f"{field} must .* {value!r}"):
        TrainConfig(**{field: value})


def test_evaluation_is_the_mean_over_every_target(tokens):
    model = tiny_model(dropout=0.5).train()
    part = tokens[:30]
    expected = []
    model.eval()
    for start in range(0, 29, 8):
        window = part[start : start + 9]
        expected += F.cross_entropy(model(window[None, :-1])[0], window[1:], reduction="none").tolist()
    model.train()
    assert len(expected) == 29
    for batch_size in (1, 3, 100):
        assert evaluate(model, part, batch_size) == pytest.approx(sum(expected) / 29, rel=1e-5)
    assert model.training


def test_bits_per_byte_of_a_model_that_knows_nothing():
    tokenizer = BPETokenizer([(97, 98)])
    tokens = torch.tensor([257, 256, 97, 98, 257])  # the end costs bits and brings no bytes
    loss = math.log(tokenizer.n_vocab)
    bits = bits_per_byte(loss, tokens, token_bytes(tokenizer))
    assert bits == pytest.approx(4 * math.log2(258) / 4)


def test_training_learns(tokens):
    model = tiny_model()
    model.eval()
    history = train(model, tokens[:300], tokens[300:], dataclasses.replace(FAST, steps=80), progress=False)
    assert not model.training
    assert history["loss"][0] == pytest.approx(math.log(17), abs=0.1)
    assert history["loss"][-1] < 0.5
    assert [step for step, _ in history["validation"]] == [*range(0, 81, 5)]
    assert history["validation"][-1][1] == pytest.approx(evaluate(model, tokens[300:]))


def test_training_is_repeatable_and_leaves_the_callers_random_numbers_alone(tokens):
    models = [tiny_model(dropout=0.2) for _ in range(2)]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = train(models[0], tokens, config=FAST, progress=False)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert train(models[1], tokens, config=FAST, progress=False) == first
    assert same_weights(*models)
    assert train(tiny_model(), tokens, config=dataclasses.replace(FAST, seed=1), progress=False) != first


def test_accumulated_micro_steps_equal_one_large_step(tokens):
    models = [tiny_model(), tiny_model()]
    losses = [
        train(model, tokens, config=dataclasses.replace(FAST, accumulation=n), progress=False)["loss"]
        for model, n in zip(models, (1, 4))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for left, right in zip(models[0].parameters(), models[1].parameters()):
        torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-4)


def test_gradients_are_clipped_before_the_update(tokens):
    trainer = Trainer(tiny_model(), tokens, config=dataclasses.replace(FAST, clip=0.01), progress=False)
    norms = []
    update = trainer.optimizer.step

    def spy():
        norms.append(nn.utils.get_total_norm([p.grad for p in trainer.model.parameters()]).item())
        return update()

    trainer.optimizer.step = spy
    trainer.run()
    assert norms == pytest.approx([0.01] * 12, rel=1e-3)


def test_a_diverging_run_stops_with_its_step(tokens):
    model = tiny_model()
    with torch.no_grad():
        model.transformer.wte.weight[3] = float("nan")
    with pytest.raises(FloatingPointError, match="nan at step 0"):
        train(model, tokens, config=FAST, progress=False)


def test_early_stopping_keeps_the_best_model(tokens, tmp_path):
    validation = torch.randint(17, (200,), generator=torch.Generator().manual_seed(3))  # nothing to learn for it
    config = dataclasses.replace(FAST, steps=500, patience=3)
    model = tiny_model()
    history = train(model, tokens, validation, config, folder=tmp_path, progress=False)
    losses = [loss for _, loss in history["validation"]]
    best = losses.index(min(losses))
    assert len(losses) == best + 4 and len(history["loss"]) == (best + 3) * 5
    kept, _ = weights.load(tmp_path / "model.safetensors")
    assert evaluate(kept, validation) == pytest.approx(min(losses), rel=1e-5)
    assert json.loads((tmp_path / "history.json").read_text()) == history


def interrupted_run(tokens, folder, config, at_step, monkeypatch):
    """Train until the batch of ``at_step`` is asked for, as if the user had pressed Ctrl-C there."""
    real = module.random_batch

    def batch(*arguments):
        if arguments[-1] == at_step:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, "random_batch", batch)
        with pytest.raises(KeyboardInterrupt):
            train(tiny_model(dropout=0.2), tokens[:300], tokens[300:], config, folder=folder, progress=False)


@pytest.mark.parametrize("at_step", [1, 5, 7, 11])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tokens, tmp_path, monkeypatch, at_step):
    whole = tiny_model(dropout=0.2)
    expected = train(whole, tokens[:300], tokens[300:], FAST, folder=tmp_path / "whole", progress=False)
    interrupted_run(tokens, tmp_path / "parts", FAST, at_step, monkeypatch)
    model = tiny_model(dropout=0.2)
    nn.init.zeros_(model.transformer.wpe.weight)  # whatever it holds is replaced
    history = train(
        model, tokens[:300], tokens[300:], FAST, folder=tmp_path / "parts", resume=True, progress=False
    )
    assert history == expected
    assert same_weights(model, whole)
    names = [path.name for path in (tmp_path / "parts").iterdir()]
    assert sorted(names) == ["checkpoint.pt", "history.json", "model.safetensors"]


def test_resuming_a_finished_run_changes_nothing(tokens, tmp_path):
    expected = train(tiny_model(), tokens[:300], tokens[300:], FAST, folder=tmp_path, progress=False)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    again = train(tiny_model(), tokens[:300], tokens[300:], FAST, folder=tmp_path, resume=True, progress=False)
    assert again == expected and (tmp_path / "checkpoint.pt").read_bytes() == before


def test_a_crash_while_saving_leaves_the_old_checkpoint(tokens, tmp_path, monkeypatch):
    train(tiny_model(), tokens, config=dataclasses.replace(FAST, steps=5), folder=tmp_path, progress=False)
    before = (tmp_path / "checkpoint.pt").read_bytes()

    def torn(content, path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(module.torch, "save", torn)
    with pytest.raises(OSError, match="disk full"):
        train(tiny_model(), tokens, config=dataclasses.replace(FAST, steps=5), folder=tmp_path, progress=False)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


class Unpickled:
    """Must never come to life from a file."""

    def __reduce__(self):
        return (pytest.fail, ("the checkpoint ran code",))


def test_a_checkpoint_that_is_none_is_named(tokens, tmp_path):
    path = tmp_path / "checkpoint.pt"

    def resume():
        train(tiny_model(), tokens, config=FAST, folder=tmp_path, resume=True, progress=False)

    with pytest.raises(FileNotFoundError, match="checkpoint.pt"):
        resume()
    train(tiny_model(), tokens, config=FAST, folder=tmp_path, progress=False)
    sound = path.read_bytes()
    for damaged in (b"", sound[: len(sound) // 2], b"\x00" * 1000):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="checkpoint.pt: cannot be read"):
            resume()
    for content in ([1], {"format": "other"}, {"format": Unpickled()}):
        torch.save(content, path)
        with pytest.raises(ValueError, match="checkpoint.pt: cannot be read"):
            resume()


def test_a_checkpoint_of_another_run_is_refused(tokens, tmp_path):
    train(tiny_model(), tokens, config=FAST, folder=tmp_path, progress=False)
    for model, text, config, what in (
        (tiny_model(n_head=4), tokens, FAST, "model"),
        (tiny_model(), tokens, dataclasses.replace(FAST, seed=2), "training"),
        (tiny_model(), tokens.flip(0), FAST, "text"),
    ):
        with pytest.raises(ValueError, match=f"another run: its {what} is"):
            train(model, text, config=config, folder=tmp_path, resume=True, progress=False)


def test_a_batch_that_cannot_be_shared_is_refused(tokens):
    with pytest.raises(ValueError, match="batch_size=8 .* accumulation=3 micro-steps on 1 processes"):
        Trainer(tiny_model(), tokens, config=dataclasses.replace(FAST, accumulation=3))


def _process(rank: int, folder) -> None:
    """One of two processes: train, count the exchanges of gradients, keep what came out."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    tokens = torch.arange(400) * 5 % 17
    config = dataclasses.replace(FAST, accumulation=2)
    trainer = Trainer(tiny_model(), tokens[:300], tokens[300:], config, folder=folder, progress=False)
    exchanges = []

    def count(_, bucket):
        exchanges.append(bucket.is_last())
        average = torch.distributed.all_reduce(bucket.buffer().div_(2), async_op=True).get_future()
        return average.then(lambda done: done.value()[0])

    trainer.loss_module.register_comm_hook(None, count)
    history = trainer.run()
    torch.save((history, sum(exchanges), list(trainer.model.parameters())), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_equal_one_on_the_same_batches(tokens, tmp_path):
    torch.multiprocessing.spawn(_process, (tmp_path,), nprocs=2)
    results = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    alone = tiny_model()
    history = train(alone, tokens[:300], tokens[300:], FAST, progress=False)
    for found, exchanges, parameters in results:
        assert exchanges == FAST.steps  # once an update, although each has two micro-steps
        assert found["loss"] == pytest.approx(history["loss"], rel=1e-4)
        assert [loss for _, loss in found["validation"]] == pytest.approx(
            [loss for _, loss in history["validation"]], rel=1e-4
        )
        for left, right in zip(parameters, alone.parameters(), strict=True):
            torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-4)
    assert all(torch.equal(*pair) for pair in zip(results[0][2], results[1][2]))


@pytest.fixture(scope="module")
def small_text(tmp_path_factory):
    """A text of some paragraphs and a tokenizer for it."""
    folder = tmp_path_factory.mktemp("text")
    sentences = synthetic_vietnamese(12_000).split("\n")
    (folder / "text.txt").write_text("\n\n".join(sentences), encoding="utf-8")
    (folder / "short.txt").write_text("Một câu.", encoding="utf-8")
    BPETokenizer.train(sentences, 300).save(folder / "bpe.json")
    return folder


def command(folder, out, *more: str) -> list[str]:
    options = "--preset nano --steps 4 --eval-every 2 --batch-size 4 --warmup-steps 1".split()
    return ["--corpus", f"{folder}/text.txt", "--tokenizer", f"{folder}/bpe.json", "--out", str(out), *options, *more]


def test_the_command_trains_reports_and_resumes(small_text, tmp_path, capsys):
    assert main(command(small_text, tmp_path, "--threads", "2")) == 0
    assert torch.get_num_threads() == 2
    result = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert f"{result['best']['bits_per_byte']:.3f} bit mỗi byte" in capsys.readouterr().out
    assert result["steps"] == 4 and 0 < result["best"]["bits_per_byte"] < 9
    model, _ = weights.load(tmp_path / "model.safetensors")
    assert model.config.vocab_size == BPETokenizer.load(tmp_path / "tokenizer.json").n_vocab == 300
    assert main(command(small_text, tmp_path, "--resume")) == 0
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["best"] == result["best"]


def test_torchrun_runs_the_command_in_two_processes(small_text, tmp_path):
    assert main(command(small_text, tmp_path / "one", "--dropout", "0")) == 0
    launcher = [sys.executable, *"-m torch.distributed.run --standalone --nproc-per-node=2 -m aerogpt.train".split()]
    arguments = command(small_text, tmp_path / "two", "--dropout", "0", "--threads", "1")
    done = subprocess.run([*launcher, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("bit mỗi byte") == 1
    one, two = (json.loads((tmp_path / name / "run.json").read_text(encoding="utf-8")) for name in ("one", "two"))
    assert two["history"]["loss"] == pytest.approx(one["history"]["loss"], rel=1e-4)
    assert two["best"]["validation_loss"] == pytest.approx(one["best"]["validation_loss"], rel=1e-4)


@pytest.mark.parametrize(
    "more, message",
    [
        (["--corpus", "/nowhere"], "/nowhere"),
        (["--dtype", "float16"], "float16"),
        (["--batch-size", "3", "--accumulation", "2"], "batch_size=3"),
        (["--validation", "1.5"], "1.5"),
        (["--corpus", "{folder}/short.txt"], "không đủ"),
        (["--resume"], "checkpoint.pt"),
        pytest.param(
            ["--device", "cuda"], "GPU", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
        ),
        (["--steps", "0"], "steps"),
    ],
)
def test_bad_input_to_the_command_is_one_line(small_text, tmp_path, capsys, more, message):
    assert main(command(small_text, tmp_path / "out", *(word.format(folder=small_text) for word in more))) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and error.startswith("lỗi: ")


def test_wrong_usage_is_exit_code_2():
    with pytest.raises(SystemExit) as caught:
        main(["--preset", "gpt5", "--corpus", "."])
    assert caught.value.code == 2


def test_ctrl_c_says_how_to_go_on(small_text, tmp_path, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "random_batch", interrupt)
    assert main(command(small_text, tmp_path)) == 130
    assert f"--resume --out {tmp_path}" in capsys.readouterr().err
