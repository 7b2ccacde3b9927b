"""Small pieces of C text: number lists, string literals, safe names."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence


def array(head: str, values: Sequence[int]) -> str:
    """Return a definition with its numbers, sixteen a line."""
    return "\n".join([f"{head} = {{", *numbers(values), "};", ""])


def numbers(values: Sequence[int]) -> Iterator[str]:
    """Yield lines of sixteen numbers."""
    for i in range(0, len(values), 16):
        yield "    " + ", ".join(map(str, values[i : i + 16])) + ","


def text_constant(name: str, text: str) -> str:
    """Return a character array that holds a text of several lines."""
    lines = [f'    {quoted(line)[:-1]}\\n"' for line in text.splitlines()]
    return "\n".join([f"const char {name}[] =", *lines]) + ";\n"


def ascii_text(text: str) -> str:
    """Return text as the firmware's font can show it: accents dropped, the rest as `?`."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    printable = "".join(c if " " <= c <= "~" else "?" for c in plain)
    return printable.replace("*/", "* /").replace("??", "?")


def quoted(text: str) -> str:
    """Return a string literal."""
    escaped = ascii_text(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
