"""The notebooks of module 20: their form, and what their prose states."""

import json
import math
import re
import unicodedata
from itertools import product

import nbformat
import numpy as np
import pytest
import recording
import torch
from aerogpt.weights import DATA
from matplotlib import colormaps
from prose import DOCS, says

FOLDER = "20_python_colab_notebooks"
NOTEBOOKS = {
    "m201": f"{FOLDER}/aero_llm_01_lam_quen_notebook.ipynb",
    "m202": f"{FOLDER}/aero_llm_02_tensor_pytorch.ipynb",
    "m203": f"{FOLDER}/aero_llm_03_truc_quan_hoa.ipynb",
}
SECTIONS = ["Sau bài này bạn có thể", "Cần đọc trước", "Thử thách", "Lời giải", "Tóm tắt", "Tài liệu tham khảo"]


def book(prefix: str) -> dict:
    return json.loads((DOCS / NOTEBOOKS[prefix]).read_text(encoding="utf-8"))


def sources(prefix: str, kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in book(prefix)["cells"] if cell["cell_type"] == kind]


def code(prefix: str, name: str) -> str:
    return next("".join(cell["source"]) for cell in book(prefix)["cells"] if cell["id"] == f"{prefix}-{name}")


def states(prefix: str, *claims: str) -> None:
    """Each claim stands in the Markdown cells, line breaks aside."""
    text = " ".join("\n".join(sources(prefix, "markdown")).split())
    for claim in claims:
        assert claim in text, f"{NOTEBOOKS[prefix]} does not say {claim!r}"


def printed(prefix: str, name: str) -> str:
    """What a cell printed or returned, as recorded."""
    return recording.printed(recording.cells(NOTEBOOKS[prefix], f"{prefix}-")[name])


@pytest.mark.parametrize("prefix", NOTEBOOKS)
class TestForm:
    def test_file(self, prefix):
        text = (DOCS / NOTEBOOKS[prefix]).read_text(encoding="utf-8")
        data = json.loads(text)
        assert text == json.dumps(data, ensure_ascii=False, indent=1) + "\n"
        assert (data["nbformat"], data["nbformat_minor"]) == (4, 5)
        nbformat.validate(nbformat.reads(text, as_version=4))
        assert unicodedata.is_normalized("NFC", text)
        metadata = data["metadata"]
        assert metadata["kernelspec"]["name"] == "python3" and metadata["language_info"] == {"name": "python"}
        assert set(metadata["aero"]) == {"summary", "description"} and all(metadata["aero"].values())

    def test_cells(self, prefix):
        cells = book(prefix)["cells"]
        ids = [cell["id"] for cell in cells]
        assert len(set(ids)) == len(ids) and cells[0]["cell_type"] == "markdown"
        assert "".join(cells[0]["source"]).startswith("# ")
        for cell in cells:
            assert cell["cell_type"] in ("markdown", "code") and cell["source"]
            if cell["cell_type"] == "code":
                assert re.fullmatch(prefix + r"-[a-z0-9-]+", cell["id"])
                assert cell["outputs"] == [] and cell["execution_count"] is None
                assert not re.search(r"^\s*[%!]", "".join(cell["source"]), re.MULTILINE)
                assert all(len(line.rstrip("\n")) <= 100 for line in cell["source"] if not line.startswith("#|"))

    def test_prose(self, prefix):
        texts = sources(prefix, "markdown")
        whole = "\n\n".join(texts)
        assert 700 <= len(whole.split()) <= 1500
        headings = re.findall(r"^(#+) (.+)$", re.sub(r"```.*?```", "", whole, flags=re.DOTALL), re.MULTILINE)
        assert sum(marks == "#" for marks, _ in headings) == 1
        names = [name for marks, name in headings if marks == "##"]
        assert [name for name in names if name in SECTIONS] == SECTIONS
        assert "{cell:" not in whole and "!!!" not in whole and "???" not in whole
        assert not re.search(r"<[a-z/][^>]*>|\]\{|\{[.:#]", re.sub(r"`[^`]*`", "", whole))

    def test_solutions_are_executed(self, prefix):
        kinds = [(cell["cell_type"], "".join(cell["source"])) for cell in book(prefix)["cells"]]
        at = next(number for number, (kind, text) in enumerate(kinds) if kind == "markdown" and text.startswith("## Lời giải"))
        assert kinds[at + 1][0] == "code"
        assert sum("giai-" in cell["id"] for cell in book(prefix)["cells"]) == 2


def test_order_of_execution():
    names: dict = {}
    exec(code("m201", "ti-hon"), names)
    run = names["chay"]
    assert [run(order)["ket_qua"] for order in ([1, 2, 3], [1, 2, 2, 3], [1, 2, 3, 2])] == [220, 240, 220]
    stale = run([1, 2, 3, 2])
    assert stale["ket_qua"] != 2 * stale["gia"]
    assert len({tuple(run(order).items()) for order in ([1, 2, 3], [1, 2, 2, 3], [1, 2, 3, 2])}) == 3
    states("m201", "Ba dòng, ba trạng thái khác nhau", "`ket_qua` trên màn hình không còn là hai lần `gia`")
    found = []
    for length, order in ((n, order) for n in range(1, 5) for order in product([1, 2, 3], repeat=n)):
        try:
            found += [order] if run(order)["ket_qua"] == 240 else []
        except (NameError, KeyError):
            assert length < 5
    assert found == [(1, 2, 2, 3)]
    states("m201", "cho ra `ket_qua` bằng 240", "Chỉ có một dãy: bấm ô 2 đúng hai lần, giữa ô 1 và ô 3")
    exec(code("m201", "giai-2").rsplit("\n", 1)[0], names)
    assert {run([1, *[2] * n, 3])["ket_qua"] for n in (1, 2, 5)} == {220}
    three: dict = {}
    exec(code("m201", "dem"), three)
    for _ in range(3):
        exec(code("m201", "them"), three)
    assert len(three["nhat_ky"]) == 3
    states("m201", "bấm nó ba lần liền, danh sách sẽ dài ba phần tử")


def test_the_saved_file_is_a_notebook_and_holds_no_variable():
    names: dict = {}
    exec(code("m201", "tep").rsplit("\n\nfor", 1)[0], names)
    nbformat.validate(nbformat.from_dict(names["doc_lai"]))
    assert names["doc_lai"] == names["so_tay"] and "x" not in names
    states("m201", "bạn thấy số 42")
    assert printed("m201", "kiem-tra").count("True") == 5
    states("m201", "`True` cả năm lần")
    assert printed("m201", "khong-hien") == ""


def test_shapes_types_and_limits():
    assert torch.zeros(2, 3, 4).numel() == 2 * 3 * 4
    states("m202", "`(2, 3, 4)`: 2 bảng, mỗi bảng 3 hàng, mỗi hàng 4 số")
    bits = 1 - round(math.log2(torch.finfo(torch.float32).eps))
    states("m202", f"`float32` chỉ có {bits} bit cho phần số")
    big = torch.tensor(2.0**bits)
    assert big + 1 == big and big.double() + 1 != big.double()
    with pytest.raises(RuntimeError):
        torch.arange(12).mean()
    assert (torch.zeros(4, 1, 3) + torch.zeros(5, 1)).shape == (4, 5, 3)
    states("m202", "| kết quả | 4 | 5 | 3 |", "$(5, 1)$ và $(2, 1, 4)$ gặp nhau thành $(2, 5, 4)$")
    assert (torch.zeros(5, 1) * torch.zeros(2, 1, 4)).shape == (2, 5, 4)
    guess = torch.tensor([[1.0], [2.0], [3.0]])
    assert ((guess - guess.squeeze(1)) ** 2).mean() > 0


def test_views_and_copies():
    t = torch.arange(6).reshape(2, 3)
    row, copy = t[0], t[0].clone()
    row[0], copy[1] = 99, -1
    assert 99 in t and -1 not in t
    states("m202", "Số 99 xuất hiện trong bản gốc, số −1 thì không")
    assert t[[0]].data_ptr() != t.data_ptr() and t[t > 0].data_ptr() != t.data_ptr() == t.T.data_ptr()
    with pytest.raises(RuntimeError):
        t.T.view(6)
    assert t.T.shape == t.reshape(3, 2).shape and not torch.equal(t.T, t.reshape(3, 2))


def test_autograd():
    x = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    for times in (1, 2):
        (x**3 - 2 * x).backward()
        assert x.grad.item() == pytest.approx(times * (3 * 1.5**2 - 2))
    assert "4.75" in printed("m202", "autograd") and "9.5" in printed("m202", "cong-don")
    names: dict = {}
    exec("import torch\n" + code("m202", "duong-thang").split("figure")[0], names)
    assert abs(names["w"].item() - 2) < 0.3 and abs(names["b"].item() - 1) < 0.2
    assert names["w"].item() != 2 and names["sai_so"][-1] > 0.01
    states("m202", "Các điểm được tạo từ $w = 2$, $b = 1$ cộng nhiễu", "Sai số cũng không về 0")


def test_centring_rows():
    square = torch.randn(3, 3)
    wrong = square - square.mean(1)
    assert not torch.allclose(wrong.mean(1), torch.zeros(3), atol=1e-4)
    with pytest.raises(RuntimeError):
        _ = torch.zeros(4, 3) - torch.zeros(4, 3).mean(1)


@pytest.fixture(scope="module")
def drawing() -> dict:
    names: dict = {"np": np}
    exec(code("m203", "lam-muot").rsplit("\n", 1)[0], names)
    return names | {"history": json.loads((DATA / "vi-tiny.json").read_text(encoding="utf-8"))["history"]}


def test_running_mean_is_unbiased_at_the_start_and_lags_on_a_slope(drawing):
    smooth, losses = drawing["lam_muot"], np.array(drawing["history"]["loss"])
    assert smooth([4.0, 4.0, 4.0], 0.95) == pytest.approx([4, 4, 4])
    falling = np.linspace(8, 4, 200)
    lags = [(smooth(falling, beta) - falling).mean() for beta in (0.5, 0.95, 0.99)]
    assert 0 < lags[0] < lags[1] < lags[2]
    measured = [(smooth(losses, beta) - losses)[:200].mean() for beta in (0.5, 0.95, 0.99)]
    assert 0 < measured[0] < measured[1] < measured[2] and measured[2] > 0.3        # "nằm cao hơn hẳn"
    roughness = [np.abs(np.diff(smooth(losses, beta)[:200])).mean() for beta in (0.5, 0.95, 0.99)]
    assert roughness[0] > 2 * roughness[1]
    states("m203", "luôn **trễ**: khi đường đang dốc xuống, nó nằm trên giá trị thật")


def test_the_last_validation_loss_is_below_a_uniform_guess(drawing):
    facts = json.loads((DATA / "vi-tiny.json").read_text(encoding="utf-8"))
    assert drawing["history"]["validation"][-1][1] < math.log(facts["model"]["vocab_size"]) and facts["model"]["dropout"] > 0
    states("m203", r"$\ln V$ của kẻ đoán đều", "tắt ngẫu nhiên một phần (dropout)")


@pytest.mark.parametrize("name, monotone", [("viridis", True), ("jet", False)])
def test_brightness_of_colour_maps(name, monotone):
    rgb = colormaps[name](np.linspace(0, 1, 256))[:, :3]
    brightness = rgb @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(brightness) > 0).all() == monotone
    if not monotone:
        assert 0 < brightness.argmax() < 255                                        # up, then down
    assert f"'{name}': {monotone}" in printed("m203", "do-sang")


def test_what_the_recorded_figures_rest_on():
    assert printed("m203", "chu-y").count("True") == 2
    sizes = [int(size.replace(",", "")) for size in re.findall(r"([\d,]+) số, độ lệch", printed("m203", "hai-bang"))]
    assert sizes[0] > 5 * sizes[1]                                                  # "mẫu lớn nuốt mẫu nhỏ"
    assert printed("m203", "dien-tich").count("(1.0, '0 số ở ngoài')") == 2
    counts = {int(bins): (int(top), int(empty)) for bins, top, empty in re.findall(
        r"(\d+): \{'cột cao nhất': (\d+), 'khoảng trống': '(\d+)%'\}", printed("m203", "giai-2"))}
    assert list(counts) == [4, 30, 400]
    assert counts[4][0] > 800 / 3 and counts[400][0] < 40 and counts[400][1] > 20
    states("m203", "800 số", "4, 30 và 400 khoảng", "bằng 0.5, 0.95 và 0.99")


def test_references_and_the_glossary_of_the_index():
    says(f"{FOLDER}/index.md", "torch.zeros(4, 1, 3) + torch.zeros(5, 1)", "`(4, 5, 3)`")
