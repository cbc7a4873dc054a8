"""Pages of notebooks: what mkdocs-jupyter makes of them, cut down to what the site's own styles and scripts show.

As it comes, a page brings 600 kB of JupyterLab's styles, its own copy button, prompts, and scripts from other sites.
"""

import html
import re
from collections.abc import Callable

import nh3
from markdown.extensions.toc import unique
from math_core import LatexError, LatexToMathML

from aerodocs import outputs
from aerodocs.outputs import Address
from aerodocs.results import Results

# What goes with its content, and what is made into the elements that lessons use.
_PROMPT = re.compile(r'<div class="(?:jp-(?:In|Out)putPrompt|clipboard-copy-txt)\b[^>]*>.*?</div>', re.DOTALL)
_INPUT = re.compile(r'<div class="highlight-ipynb[^>]*><pre>(.*?)\n?</pre></div>', re.DOTALL)
_FENCE = re.compile(r'(<div class="highlight"><pre>)(?!<code>)(.*?)</pre>', re.DOTALL)
_TEXT = re.compile(r'<div class="jp-RenderedText\b[^>]*>\s*<pre>(.*?)</pre>\s*</div>', re.DOTALL)
_OPTIONS = re.compile(r'\A(<span></span>)?(?:<span class="c1">#\|[^\n]*</span>\n?)+')
_CODE = re.compile(r'(<div class="aero-cell" id="cell-(?P<id>[\w-]+)">(?:(?!<div class="aero-cell").)*?)(<div class="highlight"><pre>.*?</pre></div>)', re.DOTALL)
_LINK = re.compile(r'(<a href=")(?![a-z][a-z0-9+.-]*:|/)([^"#]+)')
_HEADING = re.compile(r'<h(?P<level>[1-6]) id="[^"]*">(?P<text>(?:(?!</h).)*?)<a class="headerlink" href="#[^"]*"', re.DOTALL)
_MARKDOWN = re.compile(r'<div class="aero-markdown">(.*?)</div>', re.DOTALL)
_FORMULA = re.compile(r"<(pre|code)\b.*?</\1>|\$\$(?P<block>[^$]+)\$\$|(?<![\\$\w])\$(?P<inline>[^\s$](?:[^$\n]*[^\s$])?)\$(?![\d$])", re.DOTALL)
_TOKEN = re.compile(r"[a-z][a-z0-9]{0,2}")  # a class that Pygments gives
_CLASSES = {
    ("div", "jp-CodeCell"): "aero-cell",
    ("div", "jp-OutputArea"): "aero-output",
    ("div", "jp-RenderedMarkdown"): "aero-markdown",
    ("div", "highlight"): "highlight",
    ("pre", "aero-output__text"): "aero-output__text",
    ("a", "anchor-link"): "headerlink",
}
_ATTRIBUTES = {"*": {"class", "id"}, "a": {"href", "title"}, "img": {"src", "alt", "width", "height"}, "pre": {"tabindex"}}
_ATTRIBUTES |= {"td": {"colspan", "rowspan", "align"}, "th": {"colspan", "rowspan", "align"}}


class FormulaError(ValueError):
    """A formula that cannot be read; the text says which and why."""


def clean(page: str) -> str:
    """The content of a notebook's page with the elements of lessons and nothing else: no script, style, prompt or handler."""
    page = _TEXT.sub(r'<pre class="aero-output__text" tabindex="0">\1</pre>', _PROMPT.sub("", page))
    page = _INPUT.sub(lambda code: f'<div class="highlight"><pre><code>{_OPTIONS.sub("", code[1])}</code></pre></div>', page)
    page = nh3.clean(
        page,
        attributes=_ATTRIBUTES,
        attribute_filter=_attribute,
        clean_content_tags={"script", "style", "clipboard-copy", "template", "svg", "iframe", "object"},
        url_schemes={"http", "https", "mailto", "data"},
        link_rel=None,
    )
    page = _FENCE.sub(r"\1<code>\2</code></pre>", page)
    return _MARKDOWN.sub(lambda cell: _FORMULA.sub(_mathml, cell.group()), page)


def with_links(page: str, lead: Callable[[str], str]) -> str:
    """The cleaned page with what `lead` makes of the targets of its relative links."""
    return _LINK.sub(lambda match: match[1] + html.escape(lead(html.unescape(match[2]))), page)


def with_slugs(page: str, slugify: Callable[[str, str], str]) -> tuple[str, list[str]]:
    """The cleaned page with the ids that its headings would have in a lesson, and these ids in their order."""
    ids: list[str] = []

    def named(match: re.Match) -> str:
        text = html.unescape(re.sub(r"<[^>]*>", "", match["text"]))
        ids.append(unique(slugify(text, "-"), set(ids)))
        name = html.escape(ids[-1])
        return f'<h{match["level"]} id="{name}">{match["text"]}<a class="headerlink" href="#{name}"'

    return _HEADING.sub(named, page), ids


def with_outputs(page: str, results: Results, address: Address) -> str:
    """The cleaned page of a notebook with what is recorded of its cells below their code, as in a lesson."""
    cells = {cell.id: cell for cell in results.lesson.cells}

    def complete(match: re.Match) -> str:
        cell = cells[match["id"]]
        return match[1] + (match[3] if cell.options.show != "output" else "") + outputs.cell_html(cell, results, address)

    return _CODE.sub(lambda match: complete(match) if match["id"] in cells else match.group(), page)


def _attribute(tag: str, name: str, value: str) -> str | None:
    if name == "id":
        return value.replace("cell-id=", "cell-")  # the theme builds selectors from it
    if name != "class":
        return None if name == "href" and value.startswith("data:") else value
    if tag == "span":
        return value if _TOKEN.fullmatch(value) else None
    return next((mine for (where, theirs), mine in _CLASSES.items() if where == tag and theirs in value.split()), None)


def _mathml(match: re.Match) -> str:
    tex = html.unescape(match["block"] or match["inline"] or "").strip()
    if not tex:
        return match.group()
    try:
        mathml = LatexToMathML(fancy_error=False).convert_with_local_state(tex, displaystyle=bool(match["block"]))
    except LatexError as error:
        raise FormulaError(f"công thức “{tex}” không đọc được: {error}") from None
    return f'<span class="arithmatex">{mathml}</span>' if match["inline"] else f'<div class="arithmatex">{mathml}</div>'
