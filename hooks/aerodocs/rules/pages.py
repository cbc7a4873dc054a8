"""Pages as files: encoding, names, numbers, emptiness and size."""

import re
import unicodedata
from collections import defaultdict

from aerodocs import regions
from aerodocs.course import SUFFIXES, is_index
from aerodocs.rules.prose import LONGEST
from aerodocs.rules.subject import Site, Subject

CODES = {
    "not-utf8": "error",
    "read": "error",
    "name": "error",
    "notebook": "error",
    "marker": "error",
    "region-edited": "error",
    "unclosed-fence": "error",
    "unclosed-comment": "error",
    "unclosed-html": "error",
    "link-folder": "warning",
    "link-outside": "warning",
    "copy-in-name": "warning",
    "replacement-character": "error",
    "hidden-character": "warning",
    "not-nfc": "warning",
    "empty-page": "error",
    "readme-and-index": "error",
    "duplicate-lesson-number": "warning",
    "duplicate-module-number": "warning",
    "page-budget": "warning",
}

_PAGE_BYTES = 150_000
# Controls, zero-width spaces and marks that turn the direction of writing; joiners and the soft hyphen have their uses in text.
_HIDDEN = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
# A number of its own, or after a word that counts lessons; `gpt2` is a name.
_NUMBER = re.compile(r"(?<![^\W_])(?:bai|chuong|phan|tuan|lesson|lecture|chapter|part|week|unit)?(\d+)(?![^\W_])", re.IGNORECASE)


def page(subject: Subject) -> None:
    """What every character of a page says, and how many there are."""
    document = subject.document
    text = "".join(document.lines)
    if document.empty and not document.meta.get("draft"):
        subject.report(1, "empty-page", "trang không có nội dung", "viết nội dung, thêm draft: true, hoặc xóa tập tin")
    if "\ufffd" in text:
        for number, line in enumerate(document.lines, 1):
            if "\ufffd" in line:
                what = "có ký tự thay thế U+FFFD, dấu vết của một lần đổi mã hóa hỏng"
                subject.report(number, "replacement-character", what, "gõ lại chữ bị mất")
    if _HIDDEN.search(text):
        for number, line in enumerate(document.lines, 1):
            if match := _HIDDEN.search(line):
                what = f"có ký tự không nhìn thấy U+{ord(match.group()):04X}"
                subject.warn(number, "hidden-character", what, "xóa ký tự ấy")
    if not unicodedata.is_normalized("NFC", text):
        wrong = [number for number, line in enumerate(document.lines, 1) if not unicodedata.is_normalized("NFC", line)]
        what = f"chữ có dấu ở dạng tổ hợp (không phải NFC) trên {len(wrong)} dòng, nên tìm không thấy"
        subject.warn(wrong[0] if wrong else 1, "not-nfc", what, "lưu lại trang ở dạng NFC")
    for region in document.regions:
        if regions.edited(region, document.lines):
            what = f"vùng {region.kind} đã bị sửa bằng tay"
            subject.report(region.start + 1, "region-edited", what, "chuyển phần cần giữ ra ngoài vùng, rồi chạy python hooks/index.py")
    size = len(text.encode())
    longest = max((len(chunk.text) for chunk in subject.prose.chunks), default=0)
    if size > _PAGE_BYTES:
        subject.warn(1, "page-budget", f"trang dài {size / 1000:.0f} kB, hơn {_PAGE_BYTES / 1000:.0f} kB", "chia thành nhiều bài")
    elif longest > LONGEST:
        line = next(chunk.line + 1 for chunk in subject.prose.chunks if len(chunk.text) == longest)
        subject.warn(line, "page-budget", f"đoạn dài {longest:,} ký tự, không được kiểm tra", "chia đoạn, hoặc đặt dữ liệu vào một tập tin")


def site(site: Site) -> None:
    """Names that collide."""
    for path in site.course.left_out:
        folder = path.rpartition("/")[0]
        what = f"{folder or 'thư mục gốc'} có cả README.md và index.md; mkdocs bỏ qua README.md"
        site.report(path, 0, "readme-and-index", what, "gộp hai trang thành một")
    lessons: dict[tuple, list[str]] = defaultdict(list)
    modules: dict[tuple, list[str]] = defaultdict(list)
    for path, facts in site.pages.items():
        if facts.page.listed and facts.page.number is None and not is_index(path) and (number := _number(facts.page.name.rpartition(".")[0])) is not None:
            lessons[facts.page.folder, *number].append(path)
    for folder in sorted(site.folders - {""}):
        index = next((facts for suffix in SUFFIXES if (facts := site.pages.get(f"{folder}/index{suffix}"))), None)
        ordered = index is not None and index.page.number is not None
        has_pages = folder in site.course.folders
        if has_pages and not ordered and (number := _number(folder.rpartition("/")[2])) is not None:
            modules[folder.rpartition("/")[0], *number].append(folder)
    for (*_, number), paths in lessons.items():
        if len(paths) > 1:
            names = ", ".join(path.rpartition("/")[2] for path in paths)
            what = f"số bài {number} dùng cho {len(paths)} tập tin: {names}"
            site.warn(paths[1], 0, "duplicate-lesson-number", what, "đổi số trong tên, hoặc đặt order ở phần đầu trang")
    for (*_, number), folders in modules.items():
        if len(folders) > 1:
            names = ", ".join(folders)
            what = f"số module {number} dùng cho {len(folders)} thư mục: {names}"
            site.warn(folders[1], 0, "duplicate-module-number", what, "đổi số trong tên, hoặc đặt order ở index.md")


def _number(name: str) -> tuple[str, int] | None:
    """The first number in a name, and what stands before it: names that start differently belong to different series."""
    match = _NUMBER.search(name)
    return (name[: match.start(1)].casefold(), int(match[1])) if match and len(match[1]) < 10 else None
