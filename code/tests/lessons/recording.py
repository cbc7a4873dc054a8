"""What the tests of lessons share beside the prose: the cells of a lesson, as they stand on its page and as they are recorded on the CPU."""

import json
import re
import textwrap

from prose import DOCS


def cells(lesson: str, prefix: str = "") -> dict[str, dict]:
    """The recorded cells of a lesson by their ids without ``prefix``."""
    file = DOCS.parent / "recordings" / lesson.rpartition(".")[0] / "cpu.json"
    return {cell["id"].removeprefix(prefix): cell for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]}


def printed(cell: dict) -> str:
    """What a recorded cell printed or returned as text."""
    return "".join("".join(output.get("text", output.get("data", {}).get("text/plain", ""))) for output in cell["outputs"])


def source(lesson: str, cell: str) -> str:
    """The code of a cell as the page shows it, with its option lines."""
    page = (DOCS / lesson).read_text(encoding="utf-8")
    return textwrap.dedent(re.search(rf"^ *```python {{\.cell #{cell}}}\n(.*?)^ *```$", page, re.MULTILINE | re.DOTALL)[1])
