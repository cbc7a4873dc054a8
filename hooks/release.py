"""Build the site for classrooms without a network, as one file to hand out: `python hooks/release.py`."""

import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from pathlib import Path

from aerodocs.arguments import Parser, leave
from aerodocs.problems import UsageError

HELP = """\
Dựng trang web đọc được không cần mạng và đóng gói thành dist/TÊN-PHIÊN_BẢN-offline.zip.
Tên và phiên bản lấy từ pyproject.toml. Cùng một commit và cùng các thư viện thì cùng một tập tin, từng byte.
"""
EPILOG = "Mã thoát: 0 đã đóng gói · 1 trang web không dựng được · 2 chưa thể phát hành, hoặc gọi lệnh sai · 130 bị ngắt."


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    Parser(prog="python hooks/release.py", description=HELP, epilog=EPILOG).parse_args(arguments)
    start = time.perf_counter()
    root = Path.cwd()
    try:
        name = _name(root)
        moment = _moment(root)
    except UsageError as error:
        print(f"release.py: {error}", file=sys.stderr)
        return 2
    target = root / "dist" / f"{name}.zip"
    target.parent.mkdir(exist_ok=True)
    # In dist/ itself: what is moved within one file system is there as a whole or not at all.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as folder:
        site, package = Path(folder, "site"), Path(folder, "zip")
        if not _build(root, site, moment):
            print("release.py: docs/: mkdocs build --strict không dựng được, xem ở trên; sửa rồi chạy lại", file=sys.stderr)
            return 1
        count = _pack(site, package, name, moment)
        os.replace(package, target)
    megabytes = target.stat().st_size / 1e6
    print(f"{target.relative_to(root).as_posix()}: {count} tập tin, {megabytes:.1f} MB, {time.perf_counter() - start:.1f} giây")
    return 0


def _name(root: Path) -> str:
    """Name of the package. Raises UsageError if its version is not in the change log."""
    try:
        project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        name, version = project["name"], project["version"]
        changes = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"{error.filename}: không có tập tin này; chạy ở thư mục gốc của khóa học") from None
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise UsageError(f"pyproject.toml: không đọc được tên và phiên bản: {error}; sửa mục [project]") from None
    if not re.search(rf"^## {re.escape(version)}(?!\S)", changes, re.MULTILINE):
        raise UsageError(f"CHANGELOG.md: không có mục “## {version}”, là phiên bản trong pyproject.toml; viết mục ấy rồi commit")
    return f"{name}-{version}-offline"


def _moment(root: Path) -> int:
    """When the commit was made, in seconds. Raises UsageError if the files are not those of the commit: nobody could build them again."""

    def git(*arguments: str) -> str:
        result = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, encoding="utf-8")
        if result.returncode:
            raise UsageError(f"{root}: git {arguments[0]}: {' '.join(result.stderr.split())}; chạy trong kho Git có ít nhất một commit")
        return result.stdout

    moment = int(git("log", "-1", "--format=%ct"))
    if changed := git("status", "--porcelain").splitlines():
        raise UsageError(f"{changed[0][3:]}: khác với commit ({len(changed)} tập tin như vậy); commit hoặc bỏ thay đổi rồi chạy lại")
    return moment


def _build(root: Path, site: Path, moment: int) -> bool:
    """Build the site that opens from a disk, the same whenever and for whatever address it is built."""
    environment = {key: value for key, value in os.environ.items() if key not in ("SITE_URL", "REPO_URL")}
    environment |= {"OFFLINE": "true", "SOURCE_DATE_EPOCH": str(moment)}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]  # with --quiet it would count no warning
    return subprocess.run(command, cwd=root, env=environment).returncode == 0


def _pack(site: Path, package: Path, name: str, moment: int) -> int:
    """Write the site into a zip file, below a folder of its name; returns the number of files. Depends on nothing but its arguments."""
    files = sorted(path for path in site.rglob("*") if path.is_file())
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            entry = zipfile.ZipInfo(f"{name}/{file.relative_to(site).as_posix()}", time.gmtime(moment)[:6])
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # as on Unix, wherever it is made
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())
    return len(files)


if __name__ == "__main__":
    leave(main)
