"""What the tests of the reading experience share: one course, built online and offline once, one server and one browser.

Test modules import the fixtures they use; whatever is costly is made once for all of them.
"""

import functools
import http.server
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import unicodedata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PREFIX = "/khoa-hoc/"  # the site is served below a path, as on GitHub Pages
REPOSITORY = "https://github.com/example/khoa-hoc"

# Rare words, spelt in each way that readers and authors use.
SEARCHED = {
    "03_bai.md": "# Cái muỗng\n\nMột cái muỗng, hai cái Muỗng; tóc loã xoã. muong\n",
    "04_bai.md": "# Rau xanh\n\nRau muống luộc. Tóc lõa xõa, đường " + unicodedata.normalize("NFD", "ngoằn ngoèo") + ".\n",
}


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder below PREFIX, with the site's own page for what is not there."""

    def translate_path(self, path: str) -> str:
        return super().translate_path("/" + path.removeprefix(PREFIX) if path.startswith(PREFIX) else "/nowhere")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        body = Path(self.directory, "404.html").read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


class Reading:
    """The course of this repository with the lessons of `tests/reading` as one more module."""

    def __init__(self, folder: Path):
        self.folder = folder
        shutil.copytree(ROOT / "docs", folder / "docs")
        module = folder / "docs" / "90_mau"
        shutil.copytree(ROOT / "tests" / "reading", module)
        (module / "index.md").write_text("# Mục mẫu\n", encoding="utf-8")
        for number in range(2, 14):
            (module / f"{number:02d}_bai.md").write_text(f"# Bài mẫu số {number}\n\nLời của bài {number}.\n", encoding="utf-8")
        for name, text in SEARCHED.items():
            (module / name).write_text(text, encoding="utf-8")
        for name in ("code", "recordings"):
            if (ROOT / name).exists():
                (folder / name).symlink_to(ROOT / name)
        config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
        config = config.replace("custom_dir: overrides", f"custom_dir: {ROOT}/overrides").replace("- hooks/", f"- {ROOT}/hooks/")
        (folder / "mkdocs.yml").write_text(config, encoding="utf-8")
        subprocess.run([sys.executable, ROOT / "hooks/index.py"], cwd=folder, check=True, capture_output=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}{PREFIX}"

    def build(self, name: str, **environment: str) -> Path:
        """Build the course into a folder of that name, with environment variables."""
        site = self.folder / name
        command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(site)]
        result = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, encoding="utf-8", env={**os.environ, "NO_COLOR": "1", **environment})
        assert result.returncode == 0, result.stderr
        return site


@functools.cache
def _reading(config) -> Reading:
    folder = tempfile.TemporaryDirectory()
    config.add_cleanup(folder.cleanup)
    return Reading(Path(folder.name))


@functools.cache
def _online(config) -> Path:
    reading = _reading(config)
    site = reading.build("online", SITE_URL=reading.url, REPO_URL=REPOSITORY)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", reading.port), functools.partial(Handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config.add_cleanup(lambda: (server.shutdown(), server.server_close()))
    return site


@functools.cache
def _offline(config) -> Path:
    return _reading(config).build("offline", OFFLINE="true")


@functools.cache
def _chromium(config):
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("không tìm thấy chromium; cài gói chromium, hoặc đặt biến CHROMIUM")
    playwright = pytest.importorskip("playwright.sync_api").sync_playwright().start()
    browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
    config.add_cleanup(lambda: (browser.close(), playwright.stop()))
    return browser


@pytest.fixture(scope="session")
def reading(pytestconfig) -> Reading:
    return _reading(pytestconfig)


@pytest.fixture(scope="session")
def online(pytestconfig) -> Path:
    """The site as it is published; served below `reading.url`."""
    return _online(pytestconfig)


@pytest.fixture(scope="session")
def offline(pytestconfig) -> Path:
    """The site for a disk without network."""
    return _offline(pytestconfig)


@pytest.fixture(scope="session")
def chromium(pytestconfig):
    """One browser for all tests. Without Chromium they are skipped, but not on the machine that decides (CI is set)."""
    return _chromium(pytestconfig)


class Visitor:
    """A page of the browser that keeps what the console says and what was asked for."""

    def __init__(self, context):
        self.page = context.new_page()
        self.said: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: message.type in ("error", "warning") and self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def outside(self, *inside: str) -> list[str]:
        """What was asked for elsewhere than below the addresses `inside`."""
        return [url for url in self.requests if not re.match(r"data:|blob:|about:", url) and not url.startswith(inside)]


@pytest.fixture(scope="module")
def visit(chromium):
    """A function that opens a page in a browser profile of its own: `visit(width=360, scheme="dark")`."""
    contexts = []

    def open_one(width: int = 1280, scheme: str = "light", **options: object) -> Visitor:
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce", **options)
        context.set_default_timeout(15000)
        contexts.append(context)
        return Visitor(context)

    yield open_one
    for context in contexts:
        context.close()
