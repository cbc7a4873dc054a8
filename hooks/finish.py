"""mkdocs hook for what only the builder of the whole site knows."""

import gc
import html
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from aerodocs import document, export, fonts, notebooks, reading, results
from aerodocs.inline import to_plain
from aerodocs.lessons import Site
from aerodocs.markdown import LessonError
from aerodocs.page import address_from, page_address
from mkdocs.exceptions import BuildError
from mkdocs.structure.files import File, Files

# Only loggers below `mkdocs.` count for --strict.
log = logging.getLogger("mkdocs.hooks.aero.finish")

BRANCH = "main"
MATH_FONT = "assets/fonts/stix-two-math.woff"  # docs/assets/aero.css names it too

_shown: set[str] = set()  # the characters of all formulas; `serve` may build pages one by one


class PageError(LessonError, BuildError):
    """mkdocs prints it as one line."""


def on_config(config):
    """Tell the Markdown extension where the course is, wherever mkdocs was started, and how mkdocs likes its errors."""
    gc.set_threshold(100_000, 50, 100)  # what a build makes lives to its end: looking for garbage as often as usual takes 5 % of it
    options = config.mdx_configs.setdefault("aerodocs.markdown", {})
    options["root"] = str(Path(config.config_file_path).parent / options.get("root", "."))
    options["error"] = PageError
    options["site"] = site = Site({}, config.site_url or "", config.repo_url or "", config.remote_branch)
    if config.repo_url:
        config.edit_uri = f"edit/{BRANCH}/{Path(config.docs_dir).name}/"
        site.source = f"{config.repo_url.rstrip('/')}/blob/{BRANCH}/"
    return config


def on_page_markdown(markdown, *, page, config, files):
    """The description of a page is its summary if it has none; the theme writes it into an attribute as it is."""
    if page.file.src_uri.endswith(".ipynb"):
        meta = document.page(page.file.src_uri, markdown).meta
        page.meta |= {key: meta[key] for key in ("summary", "description") if key in meta}
    description = page.meta.get("description") or to_plain(str(page.meta.get("summary") or ""))
    if description:
        page.meta["description"] = html.escape(str(description))


def on_page_content(content, *, page, config, files):
    """Make pages of notebooks like those of lessons, and remember what the formulas show."""
    if page.file.src_uri.endswith(".ipynb"):
        try:
            content = notebooks.clean(content)
        except notebooks.FormulaError as error:
            raise PageError(f"{page.file.src_uri}: {error}") from None
        content, ids = notebooks.with_slugs(content, config.mdx_configs["toc"]["slugify"])
        for anchor, name in zip(_anchors(page.toc), ids, strict=True):
            anchor.id = name
        content = _notebook(content, page.file, files, config.mdx_configs["aerodocs.markdown"])
    _shown.update(fonts.characters(content))
    return content


def _anchors(toc) -> Iterator:
    """The entries of a table of contents, in the order of the page."""
    for anchor in toc:
        yield anchor
        yield from _anchors(anchor.children)


def _notebook(content: str, file: File, files: Files, options: dict) -> str:
    """The page of a notebook with links that lead to pages, what is recorded of its cells, and the notebook itself in the site."""
    root, site = Path(options["root"]), options["site"]
    text = Path(file.abs_src_path).read_text(encoding="utf-8")
    found = results.read(root, file.src_uri, text)
    for note in found.notes:
        log.warning("%s", note)
    content = notebooks.with_links(content, lambda target: page_address(target, file, files))
    if not found.lesson.cells:
        return content
    address = partial(address_from, file)
    content = notebooks.with_outputs(content, found, lambda figure: address(site.figure(root, figure)))
    line = site.notebook(file.src_uri, export.filled(found, text, site.repo_url, partial(site.link, file)), address)
    return f'{content}<div class="aero-notebook" data-search-exclude="">{line}</div>'


def on_page_context(context, *, page, config, nav):
    """What the templates show beside the page: its reading time, and on the page of a folder the lessons that can be marked as read."""
    if page.is_index:
        folder = page.file.src_uri.rpartition("/")[0]
        lessons = (other.file for other in nav.pages if not other.is_index and "/" in other.file.src_uri)
        context["lessons"] = [file.url for file in lessons if file.src_uri.startswith(folder)]
    else:
        context["minutes"] = reading.minutes(page.content)


def on_env(env, *, config, files):
    """Hand over to mkdocs what the pages show beside their text: figures and notebooks. It copies files after this event."""
    for path, content in config.mdx_configs["aerodocs.markdown"]["site"].files.items():
        source = {"content": content} if isinstance(content, bytes) else {"abs_src_path": str(content)}
        files.append(File.generated(config, path, **source))


def on_serve(server, *, config, builder):
    """Build again when something is recorded."""
    if (recordings := Path(config.mdx_configs["aerodocs.markdown"]["root"], "recordings")).is_dir():
        server.watch(str(recordings))


def on_post_build(*, config):
    """Write the font of the formulas."""
    file = Path(config.site_dir, MATH_FONT)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(fonts.math_font(frozenset(_shown)))
