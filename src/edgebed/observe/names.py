"""Names of tensors, short enough for tables and charts.

Converters join the names of all that they fused: `model/activation/Relu;model/conv2d/BiasAdd;...`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

FUSED: Final = ";"
MARK: Final = "…"


def short_names(names: Iterable[str], most: int) -> dict[str, str]:
    """Return each name in at most so many letters; different names stay different.

    Args:
        names: in any order.
        most: letters, at least 8.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        if name not in found:
            found[name] = next(one for one in _shorter(name, most) if one not in taken)
            taken.add(found[name])
    return found


def _shorter(name: str, most: int) -> Iterable[str]:
    """Give short forms, the most telling first."""
    if len(name) <= most:
        yield name
    first, *others = name.split(FUSED)
    if others:
        room = most - len(FUSED + MARK)
        first = first if len(first) <= room else MARK + first[1 - room :]
        yield first + FUSED + MARK
    yield MARK + name[1 - most :]
    yield name[: most - 1] + MARK
    for number in range(2, 1 << 30):
        end = f"{MARK}{number}"
        yield name[: most - len(end)] + end


def shortened(text: str, short: Mapping[str, str]) -> str:
    """Return a sentence with the short forms of the names that were too long."""
    for name in sorted(short, key=len, reverse=True):
        if short[name] != name:
            text = text.replace(name, short[name])
    return text


def found_names(part: str, names: Iterable[str]) -> list[str]:
    """Return the names that a part of a name may mean.

    The name itself, else those one of whose fused names it is, else those that contain it.
    """
    known = list(dict.fromkeys(names))
    if part in known:
        return [part]
    whole = [name for name in known if part in name.split(FUSED)]
    return whole or [name for name in known if part.lower() in name.lower()]
