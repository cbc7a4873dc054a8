"""mkdocs hook for what only the builder of the whole site knows."""

from pathlib import Path

from aerodocs.markdown import LessonError
from mkdocs.exceptions import BuildError


class PageError(LessonError, BuildError):
    """mkdocs prints it as one line."""


def on_config(config):
    """Tell the Markdown extension where the course is, wherever mkdocs was started, and how mkdocs likes its errors."""
    options = config.mdx_configs.setdefault("aerodocs.markdown", {})
    options["root"] = str(Path(config.config_file_path).parent / options.get("root", "."))
    options["error"] = PageError
    return config
