"""Known defects that a firmware can be built with on purpose: to try the observer out, to teach.

They are the six of the published BED repositories, re-created. Each is an `#ifdef` in the sources;
without one of these names nothing of them is in a build.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edgebed.errors import EdgebedError, did_you_mean

DEFECTS: Final[Mapping[str, str]] = {
    "biases": "the biases are never loaded: they stay what the memory held at power-up",
    "colours": "the camera path swaps red and blue",
    "normalisation": "pixels between -1 and 1 are normalised again: what is dark becomes -128",
    "weights": "the kernels are those of another checkpoint, the registers are right",
    "threshold": "boxes count from a raw integer on, and the output shift of the last layer is "
    "left out",
    "overlap": "overlaps are computed with the size of the best box for all of them",
}
"""What is wrong, by name."""


def check_defect(name: str) -> str:
    """Return the name of a defect; an empty one stands for none.

    Raises:
        EdgebedError: no defect is called so.
    """
    if name and name not in DEFECTS:
        raise EdgebedError(
            f"no defect is called {name!r}", where="--defect", try_=did_you_mean(name, DEFECTS)
        )
    return name


def macros(name: str) -> tuple[str, ...]:
    """Return the lines of network.h that switch a defect on; none without one."""
    if not name:
        return ()
    return (
        "/* A DEFECT BUILT IN ON PURPOSE, NOT FOR USE. */",
        f'#define EB_DEFECT "{name}"',
        f"#define EB_DEFECT_{name.upper()}",
        "",
    )


def table() -> str:
    """Return all defects as rows of a table."""
    return "\n".join(f"| `{name}` | {what} |" for name, what in DEFECTS.items())
