"""Front matter: keys that exist, values of the right kind, and opt-outs that say why."""

import difflib

from aerodocs.rules.subject import Subject

CODES = {"front-matter": "error", "front-matter-key": "warning", "front-matter-value": "error", "long-summary": "warning", "check-ignore": "error"}

_SUMMARY = 300


def _text(value: object) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool) and "\n" not in str(value).strip()


def _words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, (str, int)) for item in value)


def _truth(value: object) -> bool:
    return isinstance(value, bool)


_ONE_LINE, _TRUTH = "một dòng chữ", "true hoặc false"
# The first eleven are the course's own, the others the theme's and mkdocs'.
_KEYS = {
    "title": (_text, _ONE_LINE),
    "summary": (_text, _ONE_LINE),
    "description": (_text, _ONE_LINE),
    "icon": (_text, "một emoji"),
    "order": (lambda value: isinstance(value, (int, float)) and not isinstance(value, bool), "một số"),
    "draft": (_truth, _TRUTH),
    "quick_nav": (_truth, _TRUTH),
    "check": (lambda value: isinstance(value, dict) and set(value) <= {"ignore"}, "bảng “ignore: {mã lỗi: lý do}”"),
    "hide": (_words, "danh sách, ví dụ [toc]"),
    "search": (lambda value: isinstance(value, dict), "bảng, ví dụ {exclude: true}"),
    "tags": (_words, "danh sách chữ"),
    "template": (_text, _ONE_LINE),
    "status": (_text, _ONE_LINE),
    "subtitle": (_text, _ONE_LINE),
    "comments": (_truth, _TRUTH),
    "author": (_text, _ONE_LINE),
    "authors": (_words, "danh sách chữ"),
    "date": (lambda value: value is not None, "ngày"),
    "categories": (_words, "danh sách chữ"),
    "slug": (_text, _ONE_LINE),
    "social": (lambda value: isinstance(value, dict), "bảng"),
    "robots": (_text, _ONE_LINE),
}


def page(subject: Subject) -> None:
    """The keys and values of a page's front matter, and its opt-outs."""
    meta = subject.document.meta
    if subject.document.path.endswith(".ipynb"):  # its metadata are the notebook's
        return
    for key, value in meta.items():
        line = subject.line_of(str(key))
        if key not in _KEYS:
            near = difflib.get_close_matches(str(key), _KEYS, n=1)
            cure = f"có phải là {near[0]}?" if near else f"các khóa có nghĩa: {', '.join(list(_KEYS)[:11])}"
            subject.warn(line, "front-matter-key", f"khóa {key!s} không có nghĩa gì", cure)
        elif value is not None and not _KEYS[key][0](value):
            subject.report(line, "front-matter-value", f"{key}: {value!r:.60} không hợp lệ", f"cần {_KEYS[key][1]}")
        elif key == "summary" and len(str(value)) > _SUMMARY:
            subject.warn(line, "long-summary", f"tóm tắt dài {len(str(value))} ký tự, hơn {_SUMMARY}", "rút lại thành một câu")
    check = meta.get("check")
    ignored = check.get("ignore") if isinstance(check, dict) else None
    if ignored is not None and not isinstance(ignored, dict):
        subject.report(subject.line_of("ignore"), "check-ignore", "check.ignore không phải là bảng", "viết “mã lỗi: lý do”, mỗi mã một dòng")
    elif ignored:
        for code, reason in ignored.items():
            line = subject.line_of(str(code))
            text = reason.strip() if isinstance(reason, str) else ""
            if not text:
                subject.report(line, "check-ignore", f"bỏ qua {code!s} mà không nói lý do", f"viết {code!s}: lý do")
            subject.facts.optouts[str(code)] = (line, text)
