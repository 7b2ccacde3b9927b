"""Loop nests of generated C: literal bounds and strides, neighbouring axes joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Index = Mapping[str, str]
"""By operand: the C expression of the element's place, as in `x[i0 * 64 + i1]`."""


@dataclass(frozen=True)
class Axis:
    """One loop: how often, and the stride of each operand."""

    size: int
    strides: tuple[int, ...]


def joined(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[Axis, ...]:
    """Return the fewest loops over a shape, the first operand's sparsest axis outermost.

    Args:
        shape: of the iteration.
        strides: of each operand, by axis; the first one is the one that is written.
    """
    rows = zip(shape, *strides, strict=True)
    axes = [Axis(row[0], tuple(row[1:])) for row in rows if row[0] != 1]
    axes.sort(key=lambda axis: [-abs(s) for s in axis.strides])
    done: list[Axis] = []
    for axis in axes:
        if done and all(
            o == axis.size * i for o, i in zip(done[-1].strides, axis.strides, strict=True)
        ):
            done[-1] = Axis(done[-1].size * axis.size, axis.strides)
        else:
            done.append(axis)
    return tuple(done)


def nest(
    shape: Sequence[int],
    operands: Mapping[str, Sequence[int]],
    body: Callable[[Index], str],
    *,
    first: str = "i",
) -> str:
    """Return a loop nest.

    Args:
        shape: of the iteration.
        operands: strides by pointer name; the one that is written comes first.
        body: given the element of each operand, returns the statements in the loop.
        first: what the loop variables begin with.
    """
    axes = joined(shape, list(operands.values()))
    at = {
        name: f"{name}[{place([axis.strides[k] for axis in axes], first)}]"
        for k, name in enumerate(operands)
    }
    return wrap([axis.size for axis in axes], body(at), first)


def place(strides: Sequence[int], first: str = "i") -> str:
    """Return the C expression of an index: i0 * 12 + i1."""
    terms = []
    for number, stride in enumerate(strides):
        if stride:
            terms.append(f"{first}{number}" if stride == 1 else f"{first}{number} * {stride}")
    return " + ".join(terms) or "0"


def wrap(sizes: Sequence[int], body: str, first: str = "i") -> str:
    """Return the body within loops of these sizes."""
    lines = []
    for number, size in enumerate(sizes):
        variable = f"{first}{number}"
        head = f"for (int {variable} = 0; {variable} < {size}; {variable}++)"
        lines.append("  " * number + head)
    indent = "  " * len(sizes)
    return "\n".join([*lines, *(indent + line for line in _braced(body, bool(sizes)))])


def _braced(body: str, loops: bool) -> list[str]:
    lines = body.splitlines()
    return ["{", *("  " + line for line in lines), "}"] if loops and len(lines) > 1 else lines
