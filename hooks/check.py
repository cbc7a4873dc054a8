"""The checker's door: the command `python hooks/check.py`, and the mkdocs hook that warns of the same findings."""

import logging
import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

from aerodocs.arguments import leave
from aerodocs.rules.command import main
from aerodocs.rules.inspection import inspect
from aerodocs.settings import load, settings_of

# Only loggers below `mkdocs.` count for --strict.
log = logging.getLogger("mkdocs.hooks.aero.check")


_MANY = 150  # pages from which on a second process pays for itself

_running: list[Future] = []  # at most one


def on_files(files, *, config):
    """Look for findings; in a large course in a second process, while mkdocs renders the pages."""
    work = inspect, Path(config.docs_dir), settings_of(load(Path(config.config_file_path)), config.config_file_path)
    _running.clear()
    if len(files.documentation_pages()) < _MANY:
        _warn(inspect(*work[1:]), config)
    else:
        pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))  # mkdocs has threads, which a fork does not survive
        _running.append(pool.submit(*work))
        pool.shutdown(wait=False)
    return files


def on_env(env, *, config, files):
    """All pages are rendered: warn of what the second process has found."""
    if _running:
        _warn(_running.pop().result(), config)


def _warn(inspection, config) -> None:
    """Warn of every finding, once a build; what another part of the build says already is left to it."""
    said = set()
    if any(Path(name).name == "index.py" for name in config.hooks):
        said |= {"marker", "notebook", "front-matter", "read", "name", "not-utf8", "copy-in-name", "link-folder", "link-outside"}
    if "aerodocs.markdown" in config.markdown_extensions:
        said |= {"missing-recording", "stale-recording", "broken-recording"}
    for problem in inspection.problems:
        if problem.code not in said:
            log.warning("%s", problem)


if __name__ == "__main__":
    leave(main)
