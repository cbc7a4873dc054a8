"""What the generated regions say: header, module listing and footer as plain Markdown that GitHub and the site both show."""

from urllib.parse import quote

from aerodocs.course import Course, Folder, Page, ancestors, is_index
from aerodocs.glossary import Term
from aerodocs.inline import escape, to_link_text
from aerodocs.regions import Kind
from aerodocs.settings import Settings


class Navigation:
    """The regions of every page of one course. What pages share is made once, so that all pages together cost their size."""

    def __init__(self, course: Course, settings: Settings, terms: dict[str, list[Term]]):
        self.course = course
        self.settings = settings
        self.terms = terms
        self._labels: dict[str, str] = {}
        self._quick: dict[int, str] = {}
        self._rows: dict[str, list[str]] = {}
        self._crumbs: dict[str, list[str]] = {}

    def bodies(self, page: Page) -> dict[Kind, str]:
        """The text between the markers of each region that `page` shall have."""
        bodies: dict[Kind, str] = {"Navigation": self.header(page)}
        if is_index(page.path):
            bodies["Index"] = self.listing(self.course.folders[page.folder])
        if self.terms and page.path == glossary_page(self.settings):
            bodies["Glossary"] = self.glossary(page)
        bodies["Footer"] = self.footer(page)
        return bodies

    def header(self, page: Page) -> str:
        """Breadcrumb by titles, and the quick navigation."""
        depth = page.folder.count("/") + 1 if page.folder else 0
        crumbs = self._trail(page.folder)
        if is_index(page.path) and page.folder:  # a module's own page ends its trail, without a link to itself
            crumbs = [*crumbs[:-1], f"**{self._label(page)}**"]
        if depth not in self._quick:
            items = (f"- [{target.label}]({'../' * depth}{_url(target.path)})\n" for target in self.course.quick_nav())
            self._quick[depth] = "".join(items)
        return f"{' > '.join(crumbs)}\n\n---\n### 🧭 Điều hướng nhanh\n\n{self._quick[depth]}\n---\n"

    def listing(self, folder: Folder) -> str:
        """Sub-folders and lessons of a module, with their summaries."""
        lines = []
        for entry in folder.entries:
            target = entry if isinstance(entry, Page) else entry.index
            mark = "" if isinstance(entry, Page) or target.icon else "📁 "
            summary = f": {to_link_text(target.summary)}" if target.summary else ""
            lines.append(f"- [{mark}{target.label}]({self._link(target, folder.path)}){summary}\n")
        return f"\n## 📑 Nội dung\n\n{''.join(lines) or '*Chưa có bài học nào ở đây.*' + chr(10)}\n"

    def glossary(self, page: Page) -> str:
        """The terms of each section, with the lesson that teaches each; its title up to the first colon."""
        parts = []
        for title, terms in self.terms.items():
            rows = []
            for term in terms:
                path, mark, anchor = term.lesson.partition("#")
                lesson = self.course.pages.get(path)
                link = f"[{to_link_text(lesson.title.partition(':')[0])}]({self._link(lesson, page.folder)}{mark}{anchor})" if lesson else "?"
                rows.append(f"| {' | '.join(to_link_text(escape(text)) for text in (term.en, term.vi, term.meaning))} | {link} |\n")
            parts.append(f"\n## {to_link_text(escape(title))}\n\n| Tiếng Anh | Tiếng Việt | Nghĩa | Học ở |\n| :--- | :--- | :--- | :--- |\n{''.join(rows)}")
        return "".join(parts) + "\n"

    def footer(self, page: Page) -> str:
        """Lessons of the folder, the way on, and who made this."""
        parts = []
        if not is_index(page.path):
            rows = self._table(page)
            parts.append("## 📄 Tài liệu cùng chuyên mục\n\n| Bài học | Liên kết |\n| :--- | :--- |\n" + "".join(rows))
        before, after = self.course.neighbours(page)
        ways = [
            f"{text} [{self._label(target)}]({self._link(target, page.folder)})"
            for text, target in (("⬅️ **Trang trước:**", before), ("➡️ **Trang sau:**", after))
            if target
        ]
        if ways:
            parts.append("\n\n".join(ways) + "\n")
        parts.append(self._contact())
        return "\n" + "\n---\n\n".join(parts)

    def _table(self, page: Page) -> list[str]:
        folder = self.course.folders.get(page.folder)
        lessons = folder.lessons if folder else []
        if page.folder not in self._rows:
            self._rows[page.folder] = [
                f"| [{self._label(lesson)}]({_url(lesson.name)}) | [Xem bài viết →]({_url(lesson.name)}) |\n" for lesson in lessons
            ]
        rows = self._rows[page.folder]
        for number, lesson in enumerate(lessons):
            if lesson is page:
                link = _url(page.name)
                here = f"| 📌 **[{self._label(page)}]({link})** | [Xem bài viết →]({link}) |\n"
                return [*rows[:number], here, *rows[number + 1 :]]
        return rows

    def _contact(self) -> str:
        settings = self.settings
        lines = []
        if settings.author:
            lines.append("## 🤝 Liên hệ & Đóng góp\n")
            lines.append(
                f"Dự án được phát triển bởi **{to_link_text(escape(settings.author))}**. Mọi đóng góp về nội dung và mã nguồn đều được chào đón.\n"
            )
        if settings.motto:
            lines.append(f'> *"{to_link_text(escape(settings.motto))}"* 🚀\n')
        lines.append(f"*Cập nhật tự động bởi Aero-Indexer{f' - {settings.year}' if settings.year else ''}*\n")
        return "\n".join(lines)

    def _trail(self, folder: str) -> list[str]:
        if folder not in self._crumbs:
            above = ancestors(folder)
            crumbs = []
            for depth, path in enumerate(above):
                if path in self.course.folders:  # a folder that holds nothing but drafts has no page of its own
                    index = self.course.folders[path].index
                    label = self._label(index) if path else "🏠 Home"
                    crumbs.append(f"[{label}]({'../' * (len(above) - 1 - depth)}{_url(index.name)})")
            self._crumbs[folder] = crumbs
        return self._crumbs[folder]

    def _label(self, page: Page) -> str:
        if page.path not in self._labels:
            self._labels[page.path] = to_link_text(page.title)
        return self._labels[page.path]

    def _link(self, target: Page, folder: str) -> str:
        """Address of `target` as seen from a page in `folder`."""
        inner = f"{folder}/" if folder else ""
        if target.path.startswith(inner):
            return _url(target.path.removeprefix(inner))
        here, there = folder.split("/") if folder else [], target.path.split("/")
        same = 0
        while same < min(len(here), len(there) - 1) and here[same] == there[same]:
            same += 1
        return "../" * (len(here) - same) + _url("/".join(there[same:]))


def glossary_page(settings: Settings) -> str:
    """The page that lists the terms of the course: beside their file, of the same name."""
    return f"{settings.glossary.rpartition('.')[0]}.md" if settings.glossary else ""


def _url(path: str) -> str:
    return quote(path, safe="/-_.~")
