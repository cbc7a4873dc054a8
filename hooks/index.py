"""The Aero-Indexer's door: the command `python hooks/index.py`, and the mkdocs hook for navigation."""

import html
import logging
import sys
import time
from pathlib import Path

from aerodocs import indexer
from aerodocs.arguments import Parser, leave
from aerodocs.course import Folder, Page
from aerodocs.inline import to_plain
from aerodocs.problems import UsageError
from aerodocs.regions import Kind
from aerodocs.settings import find_course, load, settings_of
from aerodocs.textfile import BOM

# Only loggers below `mkdocs.` count for --strict.
log = logging.getLogger("mkdocs.hooks.aero")

_notebooks: dict[str, dict[Kind, str]] = {}  # their regions, by page

HELP = """\
Aero-Indexer: viết phần điều hướng của mọi trang trong khóa học (đầu trang, danh sách bài, cuối trang), giữa các dòng dấu riêng của nó.
Mọi thứ ngoài các dòng dấu giữ nguyên từng byte. Một trang đáng ngờ (dấu lệch, khối mã không đóng, không phải UTF-8, vùng bị sửa tay …)
thì không trang nào bị ghi.
"""
EPILOG = "Mã thoát: 0 mọi thứ đúng · 1 có trang đáng ngờ, hoặc (với --check) có trang cần cập nhật · 2 gọi lệnh sai · 130 bị ngắt."


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    start = time.perf_counter()
    try:
        docs, settings = find_course(options.docs, Path.cwd())
    except UsageError as error:
        print(f"index.py: {error}", file=sys.stderr)
        return 2
    plan = indexer.plan(docs, settings, options.order, options.force)
    for problem in plan.problems:
        print(problem, file=sys.stderr)
    stale, failed = len(plan.changes), bool(plan.doubtful)
    preview = options.check or options.diff
    if preview:
        sys.stdout.writelines(plan.diff())
        failed = failed or (options.check and stale > 0)
        outcome = f"{stale} cần cập nhật"
    elif failed and not options.keep_going:
        outcome = "0 thay đổi (có trang đáng ngờ nên không ghi gì; --keep-going ghi các trang còn lại)"
    else:
        written, unwritten = indexer.write(plan)
        for problem in unwritten:
            print(problem, file=sys.stderr)
        failed = failed or bool(unwritten)
        outcome = f"{written} thay đổi"
    summary = f"{len(plan.course.pages)} trang, {outcome}, {time.perf_counter() - start:.2f} giây"
    print(summary, file=sys.stderr if preview else sys.stdout)  # stdout of a preview is a patch
    return int(failed)


def _parser() -> Parser:
    parser = Parser(prog="python hooks/index.py", description=HELP, epilog=EPILOG)
    add = parser.options.add_argument
    add("--docs", type=Path, metavar="THƯ_MỤC", help="thư mục chứa các trang (mặc định: docs_dir của mkdocs.yml ở thư mục hiện tại)")
    add("--check", action="store_true", help="không ghi gì; in khác biệt, thoát với mã 1 nếu có trang cần cập nhật")
    add("--diff", action="store_true", help="không ghi gì; in khác biệt sẽ được ghi")
    add("--force", action="store_true", help="ghi đè cả những vùng đã bị sửa bằng tay")
    add("--keep-going", action="store_true", help="vẫn ghi các trang lành khi có trang đáng ngờ (mã thoát vẫn là 1)")
    add(
        "--order",
        choices=("natural", "lexical"),
        default="natural",
        help="thứ tự bài: natural theo số trong tên (mặc định), lexical theo chữ cái như bộ lập mục lục cũ",
    )
    return parser


def on_files(files, *, config):
    """Navigation in memory: every page is built with current regions, and the site's own navigation has the same order and titles.

    Nothing is written: a hook that writes below `docs/` makes `mkdocs serve` rebuild for ever.
    """
    from mkdocs.structure.files import File, InclusionLevel

    data = load(Path(config.config_file_path))
    plan = indexer.plan(Path(config.docs_dir), settings_of(data, config.config_file_path), force=True)
    _notebooks.clear()
    _notebooks.update(plan.notebooks)
    for problem in plan.problems:
        log.warning("%s", problem)
    for path, data in plan.texts.items():
        file = files.get_file_from_path(path)
        content = data.decode().removeprefix(BOM).replace("\r\n", "\n").replace("\r", "\n")
        if file is None:
            files.append(File.generated(config, path, content=content))
        else:
            file.content_string = content
    for page in plan.course.pages.values():
        if not page.listed and (file := files.get_file_from_path(page.path)):
            file.inclusion = InclusionLevel.DRAFT
    if plan.changes:
        log.warning("%d trang có điều hướng cũ (%s …); chạy python hooks/index.py", len(plan.changes), next(iter(plan.changes)))
    config.nav = [_nav(plan.course.root.index), *map(_nav, plan.course.root.entries)]
    return files


def _nav(entry: Page | Folder) -> dict:
    """An entry of mkdocs' `nav`; titles are HTML there."""
    if isinstance(entry, Page):
        return {_html(entry): entry.path}
    return {_html(entry.index): [entry.index.path, *map(_nav, entry.entries)]}


def _html(page: Page) -> str:
    return html.escape(to_plain(page.title), quote=False)


def on_page_content(content, *, page, config, files):
    """Pages of notebooks get their regions here: into a notebook nothing is written."""
    bodies = _notebooks.get(page.file.src_uri)
    if not bodies:
        return content
    import markdown  # the command needs none of these
    from aerodocs import notebooks, regions
    from aerodocs.page import page_address

    renderer = markdown.Markdown(extensions=config.markdown_extensions, extension_configs=config.mdx_configs)
    header, footer = (
        notebooks.with_links(renderer.reset().convert(regions.render(kind, bodies[kind])), lambda target: page_address(target, page.file, files))
        for kind in ("Navigation", "Footer")
    )
    title, mark, rest = content.partition("</h1>")
    return f"{title}{mark}{header}{rest}{footer}" if mark else f"{header}{content}{footer}"


on_page_content.mkdocs_priority = -50  # after the page of a notebook has been cleaned


def on_page_markdown(markdown, *, page, config, files):
    """The theme takes front matter `icon` for the name of an SVG file; ours is an emoji."""
    if not str(page.meta.get("icon", "")).isascii():
        del page.meta["icon"]


if __name__ == "__main__":
    leave(main)
