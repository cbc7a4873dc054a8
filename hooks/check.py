"""The checker's door: the command `python hooks/check.py`, and the mkdocs hook that warns of the same findings."""

import logging
from pathlib import Path

from aerodocs.arguments import leave
from aerodocs.rules.command import main
from aerodocs.rules.inspection import inspect
from aerodocs.settings import load, settings_of

# Only loggers below `mkdocs.` count for --strict.
log = logging.getLogger("mkdocs.hooks.aero.check")


def on_files(files, *, config):
    """Warn of every finding, once a build; what another part of the build says already is left to it."""
    said = set()
    if any(Path(name).name == "index.py" for name in config.hooks):
        said |= {"marker", "notebook", "front-matter", "read", "name", "not-utf8", "copy-in-name", "link-folder", "link-outside"}
    if "aerodocs.markdown" in config.markdown_extensions:
        said |= {"missing-recording", "stale-recording", "broken-recording"}
    settings = settings_of(load(Path(config.config_file_path)), config.config_file_path)
    for problem in inspect(Path(config.docs_dir), settings).problems:
        if problem.code not in said:
            log.warning("%s", problem)
    return files


if __name__ == "__main__":
    leave(main)
