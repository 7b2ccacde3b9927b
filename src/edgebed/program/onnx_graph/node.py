"""One node of an ONNX graph: its names and its attributes as plain Python values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgebed.errors import EdgebedError

BROKEN = (
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    RecursionError,
    MemoryError,
)
"""What numpy and Python raise on attributes, shapes and values that do not fit each other."""

LONGEST = 240


def short(text: str) -> str:
    """Return text of a file on one line, cut in the middle where it is very long."""
    line = " ".join(text.split())
    half = LONGEST // 2
    return line if len(line) <= LONGEST else f"{line[:half]} ... {line[-half:]}"


@dataclass(frozen=True)
class Node:
    """A node.

    Attributes:
        kind: the operator's name.
        domain: of the operator; "" is ONNX's own.
        version: of the operator set of that domain.
        name: the node's own, else its first output's.
        inputs: tensor names; "" stands for one that is absent.
        outputs: tensor names; "" stands for one that is absent.
        attributes: int, float, str, tuples of them, numpy arrays; graphs stay messages.
        where: the file.
    """

    kind: str
    domain: str
    version: int
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    where: str

    @property
    def output(self) -> str:
        """The first output."""
        return self.outputs[0]

    def fail(self, what: str, *, why: str | None = None, try_: str | None = None) -> EdgebedError:
        """Return an error that names the file, the layer, the operator and the output."""
        shown = f"{self.domain}.{self.kind}" if self.domain else self.kind
        names = (short(repr(self.name)), short(shown), short(repr(self.output)))
        place = "{}, layer {} ({}, output {})".format(self.where, *names)
        return EdgebedError(short(what), where=place, why=why and short(why), try_=try_)

    def has(self, index: int) -> bool:
        """Return whether the node has this input."""
        return index < len(self.inputs) and self.inputs[index] != ""

    def integer(self, name: str, default: int) -> int:
        """Return an attribute that is a whole number."""
        return int(self._typed(name, int, default))

    def real(self, name: str, default: float) -> float:
        """Return an attribute that is a number."""
        return float(self._typed(name, (int, float), default))

    def word(self, name: str, default: str) -> str:
        """Return an attribute that is text."""
        return str(self._typed(name, str, default))

    def integers(self, name: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Return an attribute that is a row of whole numbers.

        Raises:
            EdgebedError: it is absent and has no default.
        """
        found = self._typed(name, tuple, default)
        if found is None:
            raise self.fail(f"attribute {name!r} is missing")
        return tuple(int(one) for one in found)

    def _typed(self, name: str, kind: Any, default: Any) -> Any:
        found = self.attributes.get(name, default)
        if found is not default and not isinstance(found, kind):
            raise self.fail(f"attribute {name!r} is {found!r}", why="its type is wrong")
        return found

    def axis(self, axis: int, rank: int) -> int:
        """Return a non-negative axis of a tensor of `rank` axes.

        Raises:
            EdgebedError: there is no such axis.
        """
        if not -rank <= axis < rank:
            raise self.fail(f"axis {axis} of a tensor with {rank} axes")
        return axis % rank if rank else 0
