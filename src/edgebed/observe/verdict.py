"""What an examination of a deployment says: a cause, where, how sure, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from edgebed.errors import EdgebedError


@dataclass(frozen=True)
class Verdict:
    """One named fault.

    Attributes:
        cause: short identifier, e.g. `channel_order`.
        layer: the layer or tensor at fault; empty where the whole pipeline is.
        confidence: 0 to 1.
        evidence: a sentence with the numbers that led here.
        fix: a sentence: what to change.
        command: reproduces or checks it, ready to paste; empty where there is none.
        settings: what the fix says, for programs, as plain data; each family of assertions says in
            its module what it gives here.
    """

    cause: str
    layer: str
    confidence: float
    evidence: str
    fix: str
    command: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 1:
            raise EdgebedError(
                f"verdict {self.cause!r} has confidence {self.confidence}", why="0 to 1 is allowed"
            )

    @property
    def title(self) -> str:
        """The cause in words, with its layer."""
        words = self.cause.replace("_", " ")
        return f"{words} at {self.layer}" if self.layer else words

    def __str__(self) -> str:
        return f"{self.title} ({self.confidence:.0%} sure): {self.evidence} {self.fix}".strip()

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def ranked(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """Return verdicts by confidence, the surest first; equal ones keep their order."""
    return tuple(sorted(verdicts, key=lambda one: -one.confidence))
