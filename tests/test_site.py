"""The site that mkdocs builds: real processes, real files, and what a reader's browser gets."""

import html.parser
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from aerodocs import indexer
from aerodocs.course import Page
from aerodocs.inline import to_plain
from aerodocs.settings import find_course

ROOT = Path(__file__).parents[1]
QUICK = [
    ("🏠 Cổng tài liệu", "index.html"),
    ("📚 Module 01: LLM Course", "01_llm_course/index.html"),
    ("🔢 Module 02: Tokenization", "02_words_to_tokens_to_numbers/index.html"),
    ("🏗️ Module 04: Build GPT", "04_buildgpt/index.html"),
    ("🎯 Module 07: Fine-tuning", "07_fine_tune_pretrained_models/index.html"),
    ("🔍 Module 19: AI Safety", "19_ai_safety/index.html"),
    ("🐍 Module 20: Python for AI", "20_python_colab_notebooks/index.html"),
]
LESSON_19 = "04_buildgpt/aero_llm_019_multihead_attention_theory_and_implementation"


class Reader(html.parser.HTMLParser):
    """Texts of the elements whose class was asked for, titles, every link with its text and the classes around it, and what the page loads."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[tuple[str, str]] = []
        self.links: list[dict] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.title = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.ids.add(attributes.get("id") or "")
        if tag == "a" and "href" in attributes:
            around = " ".join(classes for _, classes in self.open)
            self.links.append({"href": attributes["href"], "text": "", "around": around, "class": attributes.get("class") or "", "in": True})
        else:
            self.loads += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag not in ("meta", "link", "img", "br", "hr", "input", "wbr", "path"):
            self.open.append((tag, attributes.get("class") or ""))

    def handle_endtag(self, tag):
        if any(tag == name for name, _ in self.open):
            while self.open.pop()[0] != tag:
                pass
        if tag == "a" and self.links:
            self.links[-1]["in"] = False

    def handle_data(self, data):
        if self.open and self.open[-1][0] == "title" and not self.title:
            self.title = data.strip()
        if self.links and self.links[-1]["in"]:
            self.links[-1]["text"] += data

    def texts(self, around: str) -> list[str]:
        return [" ".join(link["text"].split()) for link in self.links if around in f"{link['around']} {link['class']}"]


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, encoding="utf-8", env={**os.environ, "NO_COLOR": "1"})


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The course, built by the command of the README with --strict."""
    folder = tmp_path_factory.mktemp("site")
    result = run("mkdocs", "build", "--strict", "--site-dir", str(folder))
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def course():
    docs, settings = find_course(ROOT / "docs", ROOT)
    return indexer.plan(docs, settings).course


@pytest.fixture
def project(tmp_path):
    """A small course of its own, with the project's configuration; returns a function that writes its pages."""
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").replace("overrides", str(ROOT / "overrides"))
    config = config.replace("- hooks/", f"- {ROOT}/hooks/")
    config = re.sub(r"  # The footer of the old site.*?(?=  - mkdocs-jupyter)", "", config, flags=re.DOTALL)
    (tmp_path / "mkdocs.yml").write_text(config, encoding="utf-8")
    (tmp_path / "code").mkdir()
    shutil.copytree(ROOT / "docs" / "assets", tmp_path / "docs" / "assets")

    def write(pages: dict[str, str]) -> Path:
        for path, text in pages.items():
            file = tmp_path / "docs" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return tmp_path

    return write


def built(site: Path, page: Page) -> Path:
    path = page.path.rpartition(".")[0]
    return site / (f"{path}.html" if path.endswith("index") else f"{path}/index.html")


def target(site: Path, file: Path, href: str) -> tuple[Path, str]:
    """The file that a link on a page leads to, and its anchor."""
    base = "/" + file.relative_to(site).as_posix()
    parts = urlsplit(urljoin(base, href))
    path = unquote(parts.path).lstrip("/")
    return site / (path + "index.html" if path.endswith("/") or not path else path), parts.fragment


def test_title_sidebar_and_footer_agree(site, course):
    for page in course.sequence:
        reader = Reader(built(site, page).read_text(encoding="utf-8"))
        title = to_plain(page.title)
        assert reader.title == f"{title} - Aero · Xây dựng GPT-2"
        assert title in reader.texts("md-nav--primary") or title in reader.texts("md-nav__link--active")
        folder = course.folders[page.folder]
        if page is not folder.index:
            rows = [text for text in reader.texts("aero-footer") if text in {to_plain(lesson.title) for lesson in folder.lessons}]
            assert rows[: len(folder.lessons)] == [to_plain(lesson.title) for lesson in folder.lessons]


def test_previous_and_next_of_the_site_are_those_of_the_pages(site, course):
    for page, before, after in zip(course.sequence, [None, *course.sequence], [*course.sequence[1:], None]):
        reader = Reader(built(site, page).read_text(encoding="utf-8"))
        links = {link["class"].rpartition("--")[2]: link for link in reader.links if "md-footer__link--" in link["class"]}
        for way, other in (("prev", before), ("next", after)):
            assert (way in links) == (other is not None)
            if other:
                assert target(site, built(site, page), links[way]["href"])[0] == built(site, other)
                assert to_plain(other.title) in reader.texts("aero-footer")


def test_quick_navigation_is_exactly_this(site, course):
    for page in course.sequence:
        file = built(site, page)
        reader = Reader(file.read_text(encoding="utf-8"))
        chips = [link for link in reader.links if "aero-header" in link["around"]][-len(QUICK) :]
        assert [(" ".join(chip["text"].split()), target(site, file, chip["href"])[0].relative_to(site).as_posix()) for chip in chips] == QUICK


def test_every_link_of_the_site_leads_somewhere(site):
    pages = {file: Reader(file.read_text(encoding="utf-8")) for file in site.rglob("*.html")}
    assert len(pages) >= 16
    for file, reader in pages.items():
        for address in [link["href"] for link in reader.links] + reader.loads:
            if urlsplit(address).scheme or file.name == "404.html":
                continue
            there, anchor = target(site, file, address)
            assert there.is_file(), (file, address)
            if there in pages:  # figures have "#only-light", which the theme's styles read
                assert anchor in pages[there].ids | {"", "__skip"}, (file, address)


@pytest.mark.parametrize("number", [9, 10, 11, 12, 13])
def test_addresses_of_the_empty_pages_lead_to_lesson_19(site, number):
    page = site / "04_buildgpt" / f"aero_llm_019_copy_{number}" / "index.html"
    refresh = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', page.read_text(encoding="utf-8"))
    assert target(site, page, refresh.group(1))[0] == site / LESSON_19 / "index.html"


def test_navigation_regions_are_not_searched(site):
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    text = " ".join(entry["text"] + entry["title"] for entry in index["docs"])
    assert "GELU" in text
    assert "Điều hướng nhanh" not in text and "Xem bài viết" not in text and "Aero-Indexer" not in text


def test_no_page_asks_another_site_for_anything(site):
    for file in site.rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe|source)\b[^>]*\bsrc="([^"]*)"|<link\b[^>]*\brel="(?:stylesheet|preconnect|icon)"[^>]*\bhref="([^"]*)"', text)
        assert not [address for pair in loaded for address in pair if urlsplit(address).netloc], file


def test_navigation_on_disk_is_current():
    result = subprocess.run([sys.executable, "hooks/index.py", "--check"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert result.returncode == 0, result.stdout + result.stderr


def test_stale_page_is_built_with_current_navigation_and_fails_strict(project):
    folder = project({"index.md": "# Cổng\n", "01_m/index.md": "# Mục\n", "01_m/01_a.md": "# Bài `một` & hai < ba\n\nLời.\n"})
    result = run("mkdocs", "build", cwd=folder)
    assert result.returncode == 0, result.stderr
    page = Reader((folder / "site/01_m/01_a/index.html").read_text(encoding="utf-8"))
    assert page.title.startswith("Bài một & hai < ba - ") and "Bài một & hai < ba" in page.texts("aero-footer")
    assert (folder / "docs/01_m/01_a.md").read_text(encoding="utf-8") == "# Bài `một` & hai < ba\n\nLời.\n"
    strict = run("mkdocs", "build", "--strict", cwd=folder)
    assert strict.returncode == 1 and "điều hướng cũ" in strict.stderr
    subprocess.run([sys.executable, ROOT / "hooks/index.py"], cwd=folder, check=True, capture_output=True)
    assert run("mkdocs", "build", "--strict", cwd=folder).returncode == 0


def test_doubtful_page_is_a_warning_with_its_place(project):
    folder = project({"index.md": "# Cổng\n", "a.md": "# A\n\n<!-- Aero-Footer-Start -->\n"})
    result = run("mkdocs", "build", "--strict", cwd=folder)
    assert result.returncode == 1 and "a.md:3: lỗi marker" in result.stderr


def test_drafts_and_empty_pages_are_not_published_and_an_index_is_made(project):
    folder = project({"README.md": "# Cổng\n", "m/01_a.md": "# A\n", "m/02_b.md": "---\ndraft: true\n---\n# B\n", "m/03_c.md": "\n"})
    result = run("mkdocs", "build", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert sorted(p.relative_to(folder / "site").as_posix() for p in (folder / "site").rglob("index.html")) == [
        "index.html",
        "m/01_a/index.html",
        "m/index.html",
    ]


@pytest.mark.parametrize(
    "text, said",
    [
        ("---\nsummary: x\n---\n# A\n\n```python {.snippet}\naerogpt/nothing.py::x\n```\n", "a.md:7: không có tập tin aerogpt/nothing.py"),
        ("# A\n\nVà $\\frac{1}{$ thế.\n", "a.md:3: công thức không đọc được ở ký tự 10"),
    ],
)
def test_what_is_false_stops_the_build_with_its_place(project, text, said):
    folder = project({"index.md": "# Cổng\n", "a.md": text})
    result = run("mkdocs", "build", cwd=folder)
    assert result.returncode == 1 and said in result.stderr and "Traceback" not in result.stderr


def test_works_when_started_elsewhere(tmp_path):
    result = run("mkdocs", "build", "--strict", "-f", str(ROOT / "mkdocs.yml"), "--site-dir", str(tmp_path / "out"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_reading_needs_no_torch(tmp_path):
    libraries = ("torch", "IPython", "numpy", "matplotlib", "tiktoken", "aerogpt")
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nfor name in {libraries}:\n    sys.modules[name] = None\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", env=environment)
    assert result.returncode == 0, result.stderr


def test_serve_rebuilds_once_for_one_edit_and_never_by_itself(project):
    folder = project({"index.md": "# Cổng\n", "01_m/index.md": "# Mục\n", "01_m/01_a.md": "# Cũ\n"})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "serve.log"
    with open(log, "wb") as output:
        command = [sys.executable, "-m", "mkdocs", "serve", "--dev-addr", f"127.0.0.1:{port}"]
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "NO_COLOR": "1"})
    try:
        page = f"http://127.0.0.1:{port}/01_m/01_a/"
        wait_until(lambda: b"Serving on" in log.read_bytes(), process)
        time.sleep(4)
        assert log.read_bytes().count(b"Building documentation") == 1
        (folder / "docs/01_m/01_a.md").write_text("# Mới\n", encoding="utf-8")
        wait_until(lambda: "<title>Mới" in fetch(page), process)
        time.sleep(4)
        assert log.read_bytes().count(b"Building documentation") == 2
        assert "Mới" in Reader(fetch(f"http://127.0.0.1:{port}/01_m/")).texts("aero-index")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)


def fetch(address: str) -> str:
    with urllib.request.urlopen(address, timeout=10) as answer:
        return answer.read().decode()


def wait_until(condition, process: subprocess.Popen, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.2)


def test_the_module_says_how_long_it_takes(site):
    """The hours on the page are those of its lessons, as each of them states them."""
    pages = (site / "04_buildgpt").glob("*/index.html")
    minutes = [int(found[1]) for page in pages if (found := re.search(r"⏱ (\d+) phút đọc", page.read_text(encoding="utf-8")))]
    assert len(minutes) == 30
    assert f"khoảng {round(sum(minutes) / 60)} giờ" in (site / "04_buildgpt/index.html").read_text(encoding="utf-8")
