"""A lesson as a notebook: valid, the same text, and the same outputs when it is run."""

import base64
import json

import nbformat
import pytest
from aerodocs import export, results
from aerodocs.lessons import Site
from handmade import cell, figure, record, renderer, result, stream

LESSON = """\
---
summary: "Bài mẫu."
---
<!-- Aero-Navigation-Start -->
[🏠 Home](../index.md)
<!-- Aero-Navigation-End -->

# Bài mẫu {#bai}

Tổng là `{cell:tong.tong:,}` với $a<b$; xem [bài sau](02_b.md#muc), [mục](#muc), [web](https://example.org) và `[mã](x.md)`.

$$
x_1 \\\\ y
$$

```python {.cell #tong}
#| device: cpu
tong = sum(range(2000))
print("một\\nhai")
tong
```

```python {.snippet}
shapes.py::area
```

```python {.fragment}
khong_chay(
    1)
```

```text
`{cell:tong.tong}` [a](b.md)
```

!!! warning "Hiểu lầm `{cell:tong.tong}`"
    Lời *một*.

    - mục

??? success "Lời giải"
    Trước.

    ```python {.cell #giai}
    if tong:
        print(tong + 1)
    ```

    Sau.

- mục

    ```python {.cell #loi}
    #| raises: ValueError
    int("x")
    ```

    vẫn là mục

Hết.

<!-- Aero-Footer-Start -->
Chân trang
<!-- Aero-Footer-End -->
"""
ERROR = {"output_type": "error", "ename": "ValueError", "evalue": "x", "traceback": ["ValueError: x"]}
OUTPUTS = {"tong": [stream("một\nhai\n"), result("1999000")], "giai": [stream("1999001\n")], "loi": [ERROR]}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "shapes.py").write_text('def area(x):\n    """Area."""\n    return x * x\n', encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "aero"\n[project.optional-dependencies]\nrun = []\n', encoding="utf-8")
    record(tmp_path, "m/a.md", LESSON, OUTPUTS, {"tong": {"tong": 1999000}})
    return tmp_path


def exported(root, text=LESSON, **options):
    data = export.notebook(results.read(root, "m/a.md", text), **options)
    notebook = nbformat.reads(data.decode(), as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    return notebook


def test_cells_in_order(root):
    cells = exported(root).cells
    assert [(c.cell_type, c.id) for c in cells] == [
        ("markdown", "cai_dat"),
        ("markdown", "text_1"),
        ("code", "tong"),
        ("markdown", "text_2"),
        ("code", "giai"),
        ("markdown", "text_3"),
        ("code", "loi"),
        ("markdown", "text_4"),
    ]
    assert cells[1].source == (
        "# Bài mẫu\n\nTổng là 1,999,000 với $a<b$; xem [bài sau](02_b.md#muc), [mục](#muc), [web](https://example.org) và `[mã](x.md)`.\n\n"
        "$$\nx_1 \\\\ y\n$$"
    )
    assert cells[2].source == '#| device: cpu\ntong = sum(range(2000))\nprint("một\\nhai")\ntong'
    assert cells[3].source == (
        "```python\n# code/shapes.py · area\ndef area(x):\n    return x * x\n```\n\n```python\nkhong_chay(\n    1)\n```\n\n"
        "```text\n`{cell:tong.tong}` [a](b.md)\n```\n\n> **Hiểu lầm 1999000**\n>\n> Lời *một*.\n>\n> - mục\n\n**Lời giải**\n\nTrước."
    )
    assert cells[4].source == "if tong:\n    print(tong + 1)"
    assert cells[5].source == "Sau.\n\n- mục"
    assert cells[6].source == '#| raises: ValueError\nint("x")' and cells[6].metadata.tags == ["raises-exception"]
    assert cells[7].source == "vẫn là mục\n\nHết."


def test_recorded_outputs(root):
    cells = {c.id: c for c in exported(root).cells}
    assert [dict(output) for output in cells["tong"].outputs] == [
        {"output_type": "stream", "name": "stdout", "text": "một\nhai\n"},
        {"output_type": "execute_result", "data": {"text/plain": "1999000"}, "metadata": {}, "execution_count": None},
    ]
    assert cells["loi"].outputs[0].ename == "ValueError"


def test_stale_and_unrecorded_outputs_are_left_out(root):
    cells = {c.id: c for c in exported(root, LESSON.replace("tong + 1", "tong + 2")).cells}
    assert len(cells["tong"].outputs) == 2 and cells["giai"].outputs == []
    assert all(not c.get("outputs") for c in exported(root, cell("moi")).cells)


def test_the_same_bytes_for_the_same_lesson(root):
    one, two = (export.notebook(results.read(root, "m/a.md", LESSON)) for _ in range(2))
    assert one == two and one.endswith(b"}\n") and list(json.loads(one)) == sorted(json.loads(one))
    assert export.notebook(results.read(root, "m/a.md", LESSON.replace("\n", "\r\n"))) == one


@pytest.mark.parametrize("repo_url, said", [("", 'pip install -e ".[run]"'), ("https://github.com/o/r/", '%pip install -q "aero[run] @ git+https://github.com/o/r"')])
def test_first_cell_installs_or_says_how(root, repo_url, said):
    first = exported(root, repo_url=repo_url).cells[0]
    assert said in first.source and first.cell_type == ("code" if repo_url else "markdown")


def test_a_course_without_a_package(root):
    (root / "pyproject.toml").unlink()
    assert "pip" not in exported(root, repo_url="https://github.com/o/r").cells[0].source


@pytest.mark.parametrize("suffix, kind", [("svg", "image/svg+xml"), ("png", "image/png")])
def test_figures_are_inside(root, suffix, kind):
    output = figure("cpu-a-1")
    shown = output["data"][results.recordings.FIGURE]
    shown.update({scheme: shown[scheme].replace("svg", suffix) for scheme in ("light", "dark")})
    file = record(root, "m/a.md", cell("a"), {"a": [output]})
    (data,) = [c.outputs[0].data for c in exported(root, cell("a")).cells if c.id == "a"]
    raw = (file.parent / f"cpu-a-1-light.{suffix}").read_bytes()
    assert data[kind] == (raw.decode() if suffix == "svg" else base64.b64encode(raw).decode()) and set(data) == {kind, "text/plain"}


@pytest.mark.parametrize(
    "text, expected",
    [
        ('=== "Một"\n    a\n\n=== "Hai"\n    b\n', "> **Một**\n>\n> a\n\n> **Hai**\n>\n> b"),
        ("!!! note\n    a\n\n    !!! tip\n        b\n", "> **Note**\n>\n> a\n>\n> > **Tip**\n> >\n> > b"),
        ("> trích\n>\n> ```python {.snippet}\n> shapes.py::area\n> ```\n", "> trích\n>\n> ```python\n> # code/shapes.py · area\n> def area(x):\n>     return x * x\n> ```"),
        ("```text\n!!! note\n    a\n```\n", "```text\n!!! note\n    a\n```"),
        ("<!-- Aero-Index-Start -->\nx\n<!-- Aero-Index-End -->\nb", "b"),
    ],
)
def test_what_only_the_site_knows_becomes_plain_markdown(root, text, expected):
    assert exported(root, text).cells[1].source == expected


def test_links_lead_to_the_site_if_its_address_is_known(root):
    site = Site({}, "https://example.org/khoa", "https://github.com/o/r", "gh-pages")
    page = renderer(root, "m/a.md", site=site)(LESSON.partition("---\n<!--")[2].join(["<!--", ""]))
    source = json.loads(site.files["notebooks/m/a.ipynb"])["cells"][1]["source"]
    assert "[bài sau](https://example.org/khoa/m/02_b/#muc), [mục](#muc), [web](https://example.org)" in "".join(source)
    assert '<a href="../../notebooks/m/a.ipynb" download>Tải notebook</a>' in page
    assert '<a href="https://colab.research.google.com/github/o/r/blob/gh-pages/notebooks/m/a.ipynb">Mở trong Colab</a>' in page
    assert page.index("Hết.") < page.index("Tải notebook") < page.index("Chân trang")


@pytest.mark.parametrize("repo_url", ["", "https://gitlab.com/o/r"])
def test_no_colab_without_github(root, repo_url):
    page = renderer(root, "m/a.md", site=Site({}, "", repo_url))(cell("a"))
    assert "Tải notebook" in page and "olab" not in page


def test_no_notebook_without_cells_or_without_a_builder_that_copies(root):
    site = Site({})
    assert "notebook" not in renderer(root, "m/a.md", site=site)("Lời.") and site.files == {}
    assert "notebook" not in renderer(root, "m/a.md")(cell("a"))


def test_notebook_runs_with_the_same_outputs(root):
    """Run by a Jupyter kernel, the notebook shows what is recorded, and the cell that raises raises."""
    from nbclient import NotebookClient

    notebook = exported(root, repo_url="https://github.com/o/r")
    recorded = [[dict(output) for output in c.get("outputs", [])] for c in notebook.cells]
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(root)}}).execute()
    for cell_, before in zip(notebook.cells, recorded):
        after = [{**output, **({"execution_count": None} if "execution_count" in output else {})} for output in cell_.get("outputs", [])]
        if cell_.id == "loi":
            assert [(output["output_type"], output["ename"]) for output in after] == [("error", "ValueError")]
        else:
            assert after == before
