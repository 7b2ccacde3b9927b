"""What a run left behind, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edgebed.errors import BudgetMissedError
from edgebed.recipes.bed.config import BedConfig
from edgebed.recipes.folder import RunFolder
from edgebed.recipes.stages import Result

OUTPUTS: Final = "traces/interpreter.npz"
"""Every output tensor of the interpreter for the test pictures, in the run folder."""


@dataclass(frozen=True)
class Outcome:
    """What a run left behind.

    Attributes:
        folder: everything is in it.
        config: with every default filled in.
        stages: plain result of each stage by name.
        seconds: time of each stage, measured when it ran.
    """

    folder: RunFolder
    config: BedConfig
    stages: dict[str, Result]
    seconds: dict[str, float]

    def accuracy(self) -> dict[str, Result]:
        """Return plain metrics by form of the network."""
        return {"float network": self.stages["train"]["float"], **self.stages["score"]["metrics"]}

    def check_budget(self) -> None:
        """Compare the accuracy that quantisation cost with what the user allows.

        Raises:
            BudgetMissedError: it cost more.
        """
        limit = self.config.max_drop
        before, after = (self.accuracy()[n]["ap50"] for n in ("float network", "int8 program"))
        if limit is not None and before - after > limit:
            raise BudgetMissedError(
                f"quantisation cost {100 * (before - after):.2f} points of AP@0.5: "
                f"{100 * before:.2f} float, {100 * after:.2f} int8",
                where="--max-drop",
                why=f"{100 * limit:g} points are allowed",
                try_="more --qat-epochs, or more --weight-bits",
            )
