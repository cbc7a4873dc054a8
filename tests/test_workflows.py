"""What runs on GitHub: every step is known here, with no more rights than it needs; the two scripts that push, on a repository of their own."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml
from mkdocs.config import load_config

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = {file.name: yaml.load(file.read_bytes(), yaml.BaseLoader) for file in sorted(FOLDER.iterdir())}  # BaseLoader: `on` is no switch
JOBS = {(name, job): {"permissions": flow["permissions"], **body} for name, flow in WORKFLOWS.items() for job, body in flow["jobs"].items()}
STEPS = [step for job in JOBS.values() for step in job["steps"]]

READ = {"contents": "read"}
PERMISSIONS = {
    ("ci.yml", "site"): READ,
    ("ci.yml", "lessons"): READ,
    ("ci.yml", "test"): READ,
    ("pages.yml", "build"): {**READ, "pages": "read"},
    ("pages.yml", "deploy"): {"pages": "write", "id-token": "write"},
    ("pages.yml", "notebooks"): {"contents": "write"},
    ("gpu.yml", "record"): READ,
    ("gpu.yml", "propose"): {"contents": "write", "pull-requests": "write"},
}
# Commands that `.ci/run` does not run, and the test that does.
TESTED = {
    "python hooks/check.py --format github": "tests/test_check.py::test_github_annotations_are_read_back",
    "python hooks/run.py --verify": "tests/test_run.py::test_running_again_changes_no_file_and_repairs_what_is_stale",
    "python hooks/run.py --device cuda": "tests/test_run.py::test_without_a_gpu_nothing_is_recorded_as_if_there_were_one",
    "python hooks/run.py --benchmarks --device cuda": "tests/test_benchmarks.py::test_all_programs_are_recorded_by_device",
    "pytest -m gpu code/": "code/tests/test_benchmark.py::test_the_gpu_is_waited_for",
    "bash .ci/push-notebooks": "tests/test_workflows.py::test_notebooks_are_all_that_the_branch_of_colab_holds",
    "bash .ci/propose-recordings": "tests/test_workflows.py::test_recordings_are_proposed_once_and_brought_up_to_date",
}

GH = """\
#!/bin/sh
echo "$*" >>"$ASKED"
if [ "$2" = list ]; then echo "$OPEN"; fi
for last; do :; done
if [ -f "$last" ]; then cp "$last" "$ASKED.md"; fi
"""


def lint(folder: Path) -> str:
    """What is wrong with the structure and the security of the workflows in `folder`; nobody is asked."""
    zizmor = Path(sysconfig.get_path("scripts"), "zizmor")
    structure = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", "--verbose", *folder.iterdir()]
    security = [zizmor, "--offline", "--no-config", "--no-progress", "--strict-collection", folder]
    results = [subprocess.run(command, capture_output=True, text=True, encoding="utf-8") for command in (structure, security)]
    return "".join(result.stdout + result.stderr for result in results if result.returncode)


def test_the_linters_find_nothing():
    assert lint(FOLDER) == ""


@pytest.mark.parametrize(
    "name, old, new, said",
    [
        ("ci.yml", "timeout-minutes:", "timeout-minuts:", "'timeout-minuts' was unexpected"),
        ("ci.yml", "run: bash .ci/run", "run: echo ${{ github.head_ref }}", "error[template-injection]"),
        ("ci.yml", "contents: read", "contents: write", "error[excessive-permissions]"),
        ("gpu.yml", "workflow_dispatch:", "pull_request_target:", "error[dangerous-triggers]"),
        ("pages.yml", "persist-credentials: false", "fetch-depth: 1", "warning[artipacked]"),
        ("pages.yml", "@368f82528645a54fb793d4d04e342629a3f51346", "@v5", "error[unpinned-uses]"),
    ],
)
def test_the_linters_would_find(tmp_path, name, old, new, said):
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert old in text
    folder = tmp_path / ".github" / "workflows"  # it looks nowhere else
    folder.mkdir(parents=True)
    (folder / name).write_text(text.replace(old, new), encoding="utf-8")
    assert said in lint(folder)


def test_permissions_are_these():
    assert {key: job["permissions"] for key, job in JOBS.items()} == PERMISSIONS
    assert not [key for key, job in JOBS.items() if "self-hosted" in job["runs-on"] and job["permissions"] != READ]


def test_triggers_are_these():
    on = {name: set(flow["on"]) for name, flow in WORKFLOWS.items()}
    assert on == {"ci.yml": {"pull_request", "push"}, "gpu.yml": {"workflow_dispatch", "schedule", "push"}, "pages.yml": {"push", "workflow_dispatch"}}
    assert {name: flow["on"]["push"]["branches"] for name, flow in WORKFLOWS.items()} == dict.fromkeys(on, ["main"])
    assert WORKFLOWS["gpu.yml"]["on"]["push"]["paths"] == ["code/**", "docs/**"]


def test_every_job_ends_and_waits_for_one_that_is_there():
    assert [key for key, job in JOBS.items() if not 0 < int(job["timeout-minutes"]) <= 240] == []
    assert [name for name, job in JOBS if (name, JOBS[name, job].get("needs", job)) not in JOBS] == []


@pytest.mark.parametrize("name", WORKFLOWS)
def test_actions_are_pinned_with_their_version(name):
    lines = [line for line in (FOLDER / name).read_text(encoding="utf-8").splitlines() if re.search(r"\buses:", line)]
    assert lines and [line for line in lines if not re.fullmatch(r" +(- )?uses: actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


def test_every_command_also_runs_elsewhere():
    """A step holds nothing but commands that anyone runs at home; what only GitHub would run could be wrong for long."""
    known = {line.strip() for line in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()} | {"bash .ci/run"}
    commands = {line.strip() for step in STEPS for line in step.get("run", "").splitlines()}
    assert commands - known == set(TESTED)
    for place in TESTED.values():
        file, name = place.split("::")
        assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8"), place


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, encoding="utf-8").stdout


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with the scripts, its origin as the repository on GitHub, and a `gh` that writes down what it is asked."""
    folder = tmp_path / "checkout"
    (folder / "recordings").mkdir(parents=True)
    (folder / "recordings" / "gone.json").write_text("{}", encoding="utf-8")
    shutil.copytree(ROOT / ".ci", folder / ".ci", ignore=shutil.ignore_patterns("venv"))
    shutil.copytree(ROOT / "hooks", folder / "hooks", ignore=shutil.ignore_patterns("__pycache__"))
    git(tmp_path, "init", "--quiet", "--bare", "origin")
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "remote", "add", "origin", str(tmp_path / "origin"))
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "x")
    (tmp_path / "bin").mkdir()
    gh = tmp_path / "bin" / "gh"
    gh.write_text(GH, encoding="utf-8")
    gh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{gh.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    monkeypatch.setenv("GITHUB_SERVER_URL", str(tmp_path))
    monkeypatch.setenv("GITHUB_REPOSITORY", "origin")
    return folder


def bash(folder: Path, script: str) -> str:
    result = subprocess.run(["bash", f".ci/{script}"], cwd=folder, capture_output=True, text=True, encoding="utf-8")
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_notebooks_are_all_that_the_branch_of_colab_holds(checkout):
    branch = load_config(str(ROOT / "mkdocs.yml"))["remote_branch"]
    for number in (1, 2):  # what is published next replaces it
        shutil.rmtree(checkout / "site", ignore_errors=True)
        notebook = checkout / "site" / "notebooks" / "m" / f"{number}.ipynb"
        notebook.parent.mkdir(parents=True)
        notebook.write_text("{}", encoding="utf-8")
        bash(checkout, "push-notebooks")
        assert git(checkout.parent / "origin", "ls-tree", "-r", "--name-only", branch) == f"notebooks/m/{number}.ipynb\n"
        assert git(checkout.parent / "origin", "rev-list", "--count", branch) == "1\n"


def test_recordings_are_proposed_once_and_brought_up_to_date(checkout, monkeypatch):
    asked = checkout.parent / "asked"

    def recorded(path: str, data: dict) -> None:
        file = checkout / "recorded" / path
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(data), encoding="utf-8")

    recorded("gone.json", {})
    assert "Không có bản ghi nào thay đổi" in bash(checkout, "propose-recordings") and not asked.exists()
    for already_open, last in (("0", "pr create"), ("1", "pr edit")):
        monkeypatch.setenv("OPEN", already_open)
        recorded("benchmarks/cuda.json", {"schema": 1, "benchmarks": [], "run": already_open})
        bash(checkout, "propose-recordings")
        assert git(checkout.parent / "origin", "ls-tree", "-r", "--name-only", "recordings-cuda", "recordings") == "recordings/benchmarks/cuda.json\n"
        assert asked.read_text(encoding="utf-8").splitlines()[-1].startswith(last)
        assert "| Phép đo | Cũ | Mới | Mới / cũ |" in asked.with_suffix(".md").read_text(encoding="utf-8")
