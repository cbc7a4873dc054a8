"""What the commands share: a parser whose help is in Vietnamese, and how a command ends."""

import argparse
import os
import sys
from collections.abc import Callable

INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """A parser with `-h` in the group `options`; description and epilog keep their lines. A wrong call ends with exit code 2."""

    def __init__(self, **kwargs: object):
        super().__init__(**{"formatter_class": _Formatter, "add_help": False, **kwargs})
        self.options = self.add_argument_group("tùy chọn")
        self.options.add_argument("-h", "--help", action="help", help="in phần trợ giúp này")

    def error(self, message: str) -> None:
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: lỗi: {message}\n")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def add_usage(self, usage, actions, groups, prefix="cách dùng: "):
        super().add_usage(usage, actions, groups, prefix)


def utf8_output() -> None:
    """Write UTF-8, whatever the terminal's language is."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def leave(main: Callable[[], int]) -> None:
    """Run `main` as the whole process and exit with its code; interrupts and a reader that stops early end it quietly."""
    utf8_output()
    try:
        code = main()
        sys.stdout.flush()
        sys.exit(code)
    except KeyboardInterrupt:
        print("\nđã ngắt; mỗi tập tin giữ nội dung cũ hoặc có trọn nội dung mới", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # whoever reads the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
