"""Whether an SVG file may lie in a site: opened by itself in a browser, it runs with the rights of the site's pages."""

import re
import xml.etree.ElementTree as etree
from functools import lru_cache

_ACTIVE = {"script", "foreignobject", "iframe", "object", "embed", "audio", "video", "handler", "listener", "set", "animate", "animatetransform"}
_LINKS = ("href", "src")
_OUTSIDE = re.compile(r"url\(\s*+['\"]?+\s*+(?!#)|@import|expression\(|image-set\(|\\", re.IGNORECASE)  # a backslash hides the others
_PLAIN = frozenset("0123456789.,- MLCQZHVmlcqzhv#abcdef%;:\n")  # numbers, paths, colours: the most of a drawing
# Pictures inside, and places in the file itself.
_HARMLESS = re.compile(r"#|data:image/(?:png|jpeg|gif|webp);base64,", re.IGNORECASE)


def danger(data: bytes) -> str:
    """Why this SVG is refused, in Vietnamese; empty if it holds no scripts, no foreign content and no outside links."""
    if b"<!ENTITY" in data or re.search(rb"<\?xml-stylesheet|<!DOCTYPE[^>]*\[", data):
        return "có khai báo thực thể hoặc biểu định kiểu bên ngoài"
    try:
        data.decode("utf-8")
        root = etree.fromstring(data)
    except (etree.ParseError, ValueError) as error:
        return f"không đọc được ({error})"
    if _name(root.tag) != "svg":
        return f"phần tử gốc là <{_name(root.tag)}>"
    for element in root.iter():
        tag = _name(element.tag)
        if tag in _ACTIVE:
            return f"có <{tag}>"
        if tag == "style" and _OUTSIDE.search("".join(element.itertext())):
            return "biểu định kiểu có liên kết ra ngoài"
        for key, value in element.attrib.items():
            name = _name(key)
            if name.startswith("on"):
                return f"có thuộc tính {name}"
            if name in _LINKS and not _HARMLESS.match(value.strip()):
                return f"có liên kết ra ngoài: {value[:60]}"
            if not _PLAIN.issuperset(value) and _OUTSIDE.search(value):
                return f"thuộc tính {name} có liên kết ra ngoài"
    return ""


@lru_cache(maxsize=1024)
def _name(tag: object) -> str:
    """Local name, in lower case."""
    return str(tag).rpartition("}")[2].lower()
