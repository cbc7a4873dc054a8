"""The checker's door: the command `python hooks/check.py`, and the mkdocs hook that warns of the same findings."""

import logging
import sys
from pathlib import Path

from aerodocs.rules.command import main
from aerodocs.rules.inspection import inspect
from aerodocs.settings import load, settings_of

# Only loggers below `mkdocs.` count for --strict.
log = logging.getLogger("mkdocs.hooks.aero.check")


def on_files(files, *, config):
    """Warn of every finding, once a build. What the indexer's hook says already, about pages that cannot be read or parsed, is left to it."""
    docs = Path(config.docs_dir)
    said = {"marker", "notebook", "front-matter", "read", "name", "not-utf8", "copy-in-name", "link-folder", "link-outside"}
    for problem in inspect(docs, settings_of(load(Path(config.config_file_path)), config.config_file_path)).problems:
        if problem.code not in said and not problem.code.startswith("unclosed-f"):
            log.warning("%s", problem)
    return files


if __name__ == "__main__":
    sys.exit(main())
