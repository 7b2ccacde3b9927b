"""Which variant of a library this processor runs, and what the user asked for."""

from __future__ import annotations

import os
from typing import Final

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.targets.host.kernels.isa import ISAS, Isa

VARIABLE: Final = "EDGEBED_ISA"
NAMES: Final = tuple(isa.name for isa in ISAS)


def variant(name: str) -> int:
    """Return the number of an instruction set's variant.

    Raises:
        EdgebedError: there is none of this name.
    """
    if name not in NAMES:
        raise EdgebedError(f"unknown instruction set {name!r}", try_=did_you_mean(name, NAMES))
    return NAMES.index(name)


def check_variable() -> None:
    """Refuse an unknown name in EDGEBED_ISA.

    Raises:
        EdgebedError: the variable holds something else than an instruction set.
    """
    asked = os.environ.get(VARIABLE, "")
    if asked and asked not in NAMES:
        raise EdgebedError(
            f"unknown instruction set {asked!r}",
            where=f"environment variable {VARIABLE}",
            try_=did_you_mean(asked, NAMES),
        )


def isa_of(number: int) -> Isa:
    """Return the instruction set of a variant's number."""
    return ISAS[number]
