"""What is wrong with a data set, collected so that one message can count it all."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgebed.errors import EdgebedError


class DefectError(Exception):
    """A defect at a place in a file; caught while reading and collected.

    `where` is a string or something that finds its line when it is turned into one.
    """

    def __init__(self, where: object, what: str, try_: str | None = None) -> None:
        self.where, self.what, self.try_ = str(where), what, try_
        super().__init__(f"{self.where}: {what}")


@dataclass
class Findings:
    """The defects met so far, in reading order."""

    defects: list[DefectError] = field(default_factory=list)

    def add(self, where: object, what: str, try_: str | None = None) -> None:
        """Note a defect; `where` is a file, with the line where it is known."""
        self.defects.append(DefectError(where, what, try_))

    def lines(self) -> tuple[str, ...]:
        """Return one line a defect."""
        return tuple(map(str, self.defects))

    def stop(self) -> None:
        """Raise the first defect as one sentence that counts the others.

        Raises:
            EdgebedError: there is a defect.
        """
        if not self.defects:
            return
        first, others = self.defects[0], len(self.defects) - 1
        skip = "--skip-bad leaves such entries out and lists them"
        raise EdgebedError(
            first.what,
            where=first.where,
            why=f"and {others} more {'defect' if others == 1 else 'defects'}" if others else None,
            try_=f"{first.try_} {skip}" if first.try_ else skip,
        )
