"""The site to hand out: one file, the same bytes whenever it is built, and only of what is committed and in the change log."""

import subprocess
import zipfile

import handmade
import pytest
import release

PACKAGE = "aero-1.2-offline"


def git(folder, *arguments):
    subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A committed course of one lesson; the working directory."""
    folder = handmade.project(tmp_path, {"index.md": "# Cổng\n", "01_m/index.md": "# Mục\n", "01_m/01_a.md": "# Bài\n\n$x^2$\n"})
    handmade.index(folder)
    (folder / "pyproject.toml").write_text('[project]\nname = "aero"\nversion = "1.2"\n', encoding="utf-8")
    (folder / "CHANGELOG.md").write_text("# Thay đổi\n\n## 1.2 (hôm nay)\n\n## 1.10\n", encoding="utf-8")
    (folder / ".gitignore").write_text("dist/\n", encoding="utf-8")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "x")
    monkeypatch.chdir(folder)
    return folder


def test_opens_and_is_the_same_bytes_again(course, capsys, monkeypatch):
    package = course / "dist" / f"{PACKAGE}.zip"
    assert release.main([]) == 0
    with zipfile.ZipFile(package) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names == sorted(names) and all(name.startswith(f"{PACKAGE}/") for name in names)
        assert f"{PACKAGE}/01_m/01_a.html" in names  # not 01_a/index.html: it opens from a disk
        assert "<title>Cổng" in archive.read(f"{PACKAGE}/index.html").decode()
    assert f"dist/{PACKAGE}.zip: {len(names)} tập tin" in capsys.readouterr().out
    first = package.read_bytes()
    package.unlink()
    monkeypatch.setenv("SITE_URL", "https://example.org/")
    monkeypatch.setenv("REPO_URL", "https://github.com/o/r")
    assert release.main([]) == 0
    assert package.read_bytes() == first
    assert [file.name for file in package.parent.iterdir()] == [package.name]


@pytest.mark.parametrize(
    "file, text, said",
    [
        ("pyproject.toml", '[project]\nname = "aero"\nversion = "1.1"\n', "CHANGELOG.md: không có mục “## 1.1”"),
        ("pyproject.toml", '[project]\nname = "aero"\n', "pyproject.toml: không đọc được tên và phiên bản: 'version'; sửa"),
        ("pyproject.toml", None, "pyproject.toml: không có tập tin này; chạy ở thư mục gốc"),
        ("docs/index.md", "# Khác\n", "docs/index.md: khác với commit (1 tập tin như vậy); commit hoặc bỏ"),
        ("docs/moi.md", "# Mới\n", "docs/moi.md: khác với commit"),
    ],
)
def test_refuses(course, capsys, file, text, said):
    (course / file).unlink(missing_ok=True)
    if text:
        (course / file).write_text(text, encoding="utf-8")
    assert release.main([]) == 2
    assert said in capsys.readouterr().err and not (course / "dist").exists()


def test_refuses_outside_git(course, capsys, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(course / "nowhere"))
    assert release.main([]) == 2
    assert "git log: " in capsys.readouterr().err


def test_a_site_with_a_warning_is_not_handed_out(course, capfd):
    (course / "docs" / "01_m" / "01_a.md").write_text("# Bài khác\n", encoding="utf-8")  # its navigation is not written
    git(course, "commit", "--quiet", "--all", "--message", "x")
    assert release.main([]) == 1
    error = capfd.readouterr().err
    assert "điều hướng cũ" in error and "release.py: docs/: mkdocs build --strict không dựng được" in error
    assert not list((course / "dist").iterdir())
