"""What the tests of the generator share."""

import os
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import index
import pytest

# The first call of anything is slow: time says nothing about a property.
hypothesis.settings.register_profile("generator", deadline=None)
hypothesis.settings.load_profile("generator")


@dataclass
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys):
    """The command `python hooks/index.py …` in this process."""

    def call(*arguments) -> Result:
        capsys.readouterr()
        code = index.main([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    return call


@pytest.fixture
def course(tmp_path):
    """A course in a temporary folder: `course({"01_m/01_a.md": "# A\\n"})` writes its files and returns `docs`."""

    def build(files: dict[str, str | bytes], configuration: str = "") -> Path:
        docs = tmp_path / "docs"
        docs.mkdir(exist_ok=True)
        if configuration:
            (tmp_path / "mkdocs.yml").write_bytes(configuration.encode())
        for path, text in files.items():
            file = docs / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return docs

    return build


@pytest.fixture
def tree():
    """Every file below a folder, by its path, with its bytes."""

    def read(folder: Path) -> dict[str, bytes]:
        return {
            Path(base, name).relative_to(folder).as_posix(): Path(base, name).read_bytes()
            for base, _, names in os.walk(folder)
            for name in names
            if not Path(base, name).is_symlink()
        }

    return read
