"""Headings: a title, first on its page, and levels without gaps."""

from aerodocs.rules.subject import Subject

CODES = {"missing-h1": "error", "h1-not-first": "warning", "multiple-h1": "warning", "heading-jump": "warning", "empty-heading": "warning"}


def page(subject: Subject) -> None:
    """Titles and levels of a page. Lines of formulas that look like headings are none."""
    document = subject.document
    headings = [
        block
        for block in document.blocks
        if block.kind == "heading" and not block.depth and not document.generated(block.start) and block.start not in subject.prose.math_lines
    ]
    first = next((block for block in headings if block.level == 1), None)
    titled = bool(document.text("title"))
    if first is None:
        if not titled and not document.empty:
            subject.report(1, "missing-h1", "trang không có tiêu đề H1", "thêm một dòng “# Tiêu đề” ở đầu trang, hoặc title ở phần đầu trang")
    elif not titled and (before := _text_before(subject, first.start)):
        what = f"có nội dung ở dòng {before} đứng trước tiêu đề H1, nên trang web lấy tên tập tin làm tên trang"
        subject.warn(first.start + 1, "h1-not-first", what, "đưa dòng H1 lên đầu trang")
    previous = 1
    for block in headings:
        if not block.text:
            subject.warn(block.start + 1, "empty-heading", "tiêu đề không có chữ", "viết tiêu đề hoặc xóa dòng này")
        if block.level == 1 and block is not first:
            what = f"tiêu đề H1 thứ hai; H1 đầu tiên ở dòng {first.start + 1}"
            subject.warn(block.start + 1, "multiple-h1", what, "dùng “##” cho các mục trong trang")
        if block.level > previous + 1:
            what = f"nhảy từ H{previous} đến H{block.level}"
            subject.warn(block.start + 1, "heading-jump", what, f"dùng {'#' * (previous + 1)} hoặc thêm mục ở giữa")
        previous = block.level


def _text_before(subject: Subject, line: int) -> int:
    """The first line (from 1) above `line` that a reader sees; 0 if there is none."""
    document = subject.document
    hidden = {n for block in document.blocks if block.kind == "comment" and block.start < line for n in range(block.start, block.end)}
    for number in range(document.first, line):
        if document.lines[number].strip() and number not in hidden and not document.generated(number):
            return number + 1
    return 0
