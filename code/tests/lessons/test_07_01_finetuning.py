"""The numbers and conclusions of the lesson on fine-tuning: measured gain, measured forgetting."""

import copy
import math
import re

import pytest
import recording
import torch
from aerogpt.corpus import read_documents, split_documents
from aerogpt.data import consecutive_windows, encode_documents
from aerogpt.generate import load_model
from aerogpt.weights import DATA
from prose import says

LESSON = "07_fine_tune_pretrained_models/aero_llm_01_tinh_chinh_la_gi.md"


@pytest.fixture(scope="module")
def values() -> dict[str, dict]:
    return {name: cell["values"] for name, cell in recording.cells(LESSON, "m071-").items()}


@pytest.fixture(scope="module")
def printed() -> dict[str, str]:
    return {name: recording.printed(cell) for name, cell in recording.cells(LESSON, "m071-").items()}


@pytest.fixture(scope="module")
def riddles() -> dict:
    names = {}
    exec(recording.source(LESSON, "m071-cau-do"), names)
    return names


def test_the_grammar(riddles):
    openings, animals = len(riddles["MO_DAU"]), len(riddles["NET_TA"])
    assert {len(clues) for clues in riddles["NET_TA"].values()} == {4}
    assert len({clue for clues in riddles["NET_TA"].values() for clue in clues}) == 4 * animals
    n = openings * animals * math.perm(4, 3)
    assert len(set(riddles["cau_do"])) == n
    learned, held_out = riddles["hoc"], riddles["de_danh"]
    assert not set(learned) & set(held_out)
    says(LESSON, rf"$3 \cdot 6 \cdot (4 \cdot 3 \cdot 2) = {n}$ câu; ta học {len(learned)} câu và để dành {len(held_out)} câu khác")
    says(LESSON, rf"$\ln {n} \approx {math.log(n):.2f}$ nat", f"$1/{n}$", f"chia đều xác suất cho {n} câu")
    clues = {clue.capitalize() for clues in riddles["NET_TA"].values() for clue in clues}
    assert len({tuple(clue.split()[:2]) for clue in clues}) == len(clues)  # two syllables decide the other two
    says(LESSON, "như hai âm tiết cuối của một nét tả")
    seen = {line.rstrip("?") for riddle in learned for line in riddle.split("\n")}
    assert clues <= seen  # each clue of the held-out part was met in training


def test_steps(riddles):
    steps = int(re.search(r"so_buoc=(\d+)", recording.source(LESSON, "m071-tinh-chinh"))[1])
    assert 2 * steps == len(riddles["hoc"])  # each riddle once
    assert len(riddles["hoc"]) == 100
    says(LESSON, "mà chỉ có một trăm câu")
    says(LESSON, f"đi {steps} bước, mỗi bước 2 câu đố, tức {2 * steps} câu: mỗi câu", f"Sau {steps} bước, từ đầu")
    says(LESSON, f"hay {2 * steps} câu tự chúng", f"nói về {steps} bước", "ta dùng 1,024 token đích đầu tiên")
    assert "cu_de_danh[: 1025]".replace(" ", "") in recording.source(LESSON, "m071-truoc").replace(" ", "")


def test_more_learned_is_more_forgotten(values):
    run = values["tinh-chinh"]
    assert run["moi_nho"] - run["moi_lon"] > 1
    assert run["quen_lon"] - run["quen_nho"] > 1
    assert run["quen_nho"] > 0.05


def test_a_riddle_where_a_lesson_was(printed):
    after = [line for line in printed["mau"].splitlines() if line.startswith("sau:")]
    assert all("↵Con " in line for line in after)
    before = [line for line in printed["mau"].splitlines() if line.startswith("trước:")]
    assert "↵Con " not in before[1]


def test_from_scratch_is_behind(values):
    assert values["tu-dau"]["tu_dau_tot"] - values["tu-dau"]["tinh_chinh_tot"] > 0.3


def test_forgetting_is_not_of_first_order(values, printed):
    assert abs(values["bac-nhat"]["cosin"]) < 0.3
    assert re.findall("True|False", printed["bac-nhat"]) == ["True"] * 3
    says(LESSON, "Ở cả ba tốc độ học, số hạng bậc nhất không đến một phần tư mức quên")


def test_the_course_hardly_speaks_of_the_animals(riddles):
    words = re.findall(r"\w+", (DATA / "vi-tiny-corpus.txt").read_text("utf-8").lower())
    assert sum(words.count(animal) for animal in ("trâu", "ong")) < len(words) / 10_000
    says(LESSON, "hầu như không nói về trâu hay ong")


def test_cures(values):
    assert values["thu-thach-on-lai"]["quen_on"] < 0.7 * values["tinh-chinh"]["quen_lon"]
    half = values["thu-thach-noi-suy"]
    assert half["loi_nua"] > 0.5 > 0.4 > half["gia_nua"]


def test_loss_is_far_from_the_floor(printed):
    floor, best = map(float, re.search(r"sàn ([\d.]+) nat; tốt nhất đến giờ ([\d.]+)", recorded_text("thu-thach-san")).groups())
    assert best > 2 * floor


def recorded_text(name: str) -> str:
    return str(recording.cells(LESSON, "m071-")[name]["outputs"])


def test_a_short_run_shows_both_effects(riddles):
    """Without the recording: eight steps of AdamW lower the loss on riddles and raise it on the course's text."""
    model, tokenizer = load_model("vi-tiny")
    documents = split_documents(read_documents([DATA / "vi-tiny-corpus.txt"]), 0.1)[1]
    old = consecutive_windows(encode_documents(documents, tokenizer)[:513], model.config.n_ctx)
    train, held_out = (
        consecutive_windows(encode_documents(part, tokenizer), 64) for part in (riddles["hoc"][:8], riddles["de_danh"][:8])
    )

    def losses(m):
        with torch.no_grad():
            return m.loss(*held_out).item(), m.loss(*old).item()

    tuned = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(tuned.parameters(), lr=2e-3)
    for _ in range(8):
        optimizer.zero_grad()
        tuned.loss(*train).backward()
        optimizer.step()
    (new_before, old_before), (new_after, old_after) = losses(model), losses(tuned)
    assert new_after < new_before - 1
    assert old_after > old_before + 0.3
