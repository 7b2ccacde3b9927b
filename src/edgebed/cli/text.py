"""Tables as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


def table(rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Give the lines of a table whose rows have the same names; numbers stand on the right."""
    if not rows:
        return
    names = list(rows[0])
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    right = {name: all(_is_number(row[name]) for row in rows) for name in names}
    for row in ({name: name for name in names}, *rows):
        cells = (
            row[name].rjust(widths[name]) if right[name] else row[name].ljust(widths[name])
            for name in names
        )
        yield "  " + "  ".join(cells).rstrip()


def _is_number(text: str) -> bool:
    return text == "-" or text.removesuffix(" %").replace(",", "").replace(".", "").isdecimal()
