"""Residue of chat assistants and converters: what was pasted with a text and does not belong to it."""

import re
import unicodedata

from aerodocs.rules.subject import Subject

CODES = {"generator-residue": "error"}

_MARKS = re.compile(
    r":contentReference\[|\boaicite\b|\[cite_start\]|\[cite: ?\d+(?:, ?\d+)*\]|【\d+[:†][^】]*】|\bturn\d+(?:search|view|news|image|file)\d+\b"
    r"|[?&]utm_source=(?:chatgpt|openai|copilot|perplexity)|sandbox:/mnt/data|\bgrok_card|[\ue200-\ue206]"
    r"|\[(?:INSERT|CHÈN|ĐIỀN)[^\]]{0,60}\](?!\()",
)
# Every mark has one of these; looking for them first is much faster.
_HINTS = ("oaicite", "contentReference", "cite", "【", "turn", "utm_source=", "sandbox:", "grok_card", "[INSERT", "[CHÈN", "[ĐIỀN")
_PRIVATE = re.compile("[\ue200-\ue206]")
_PREAMBLE = re.compile(
    r"(?:dưới đây|sau đây|đây) là (?:.{0,60}(?:yêu cầu|bạn (?:cần|muốn|đưa|gửi)|bản dịch|phiên bản (?:đã|được|hoàn chỉnh|viết lại)|viết bằng|đã (?:được )?(?:viết|dịch|sửa)))"
    r"|(?:chắc chắn(?: rồi)?|tất nhiên(?: rồi)?|được rồi|dĩ nhiên|rất vui)\s*[!,.]"
    r"|(?:sure|certainly|of course|absolutely|great question)[!,.]"
    r"|here(?:'s| is| are) (?:the|your|a|an) (?:.{0,40}(?:translat|rewrit|revis|updated|requested|version|article|lesson|markdown))"
    r"|(?:là|as) (?:một |an? )?(?:mô hình ngôn ngữ AI|trợ lý AI|AI language model|AI assistant)\b",
    re.IGNORECASE,
)
_CLOSING = re.compile(
    r"(?:bạn có muốn (?:tôi|mình) |nếu (?:bạn )?(?:muốn|cần), (?:tôi|mình) (?:có thể|sẽ) |(?:hãy )?cho (?:tôi|mình) biết nếu (?:bạn|cần)"
    r"|would you like me to |let me know if |i hope this helps|if you(?:'d| would) like, i can )",
    re.IGNORECASE,
)


def page(subject: Subject) -> None:
    """Marks anywhere in the text; phrases of a dialogue where one starts and ends."""
    chunks, text = subject.prose.chunks, subject.prose.text
    if any(hint in text for hint in _HINTS) or _PRIVATE.search(text):
        marks = {subject.prose.at(match.start()): match.group() for match in reversed(list(_MARKS.finditer(text)))}
        for line, mark in marks.items():
            _report(subject, line, f"dấu vết công cụ sinh văn bản: {mark[:40]}")
    title = next((number for number, chunk in enumerate(chunks) if chunk.heading == 1), -1)
    for number, chunk in enumerate(chunks):
        if title + 1 < number < len(chunks) - 2:
            continue
        opening = unicodedata.normalize("NFC", chunk.masked[:300]).lstrip("*_ \"“")
        if (number < title or number <= title + 1) and not chunk.heading and (match := _PREAMBLE.match(opening)):
            _report(subject, chunk.line + 1, f"lời mở đầu của một cuộc trò chuyện: “{match.group()[:50]}”")
        elif number >= len(chunks) - 2 and not chunk.heading and (match := _CLOSING.match(opening)):
            _report(subject, chunk.line + 1, f"lời kết của một cuộc trò chuyện: “{match.group()[:50].strip()}”")


def _report(subject: Subject, line: int, message: str) -> None:
    subject.report(line, "generator-residue", message, "xóa phần ấy")
