"""What `detect.c` needs to know of a contract: numbers as macros, and its tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from edgebed.data.fixed_decode import parameters
from edgebed.data.fixed_decode import tables as fixed_tables
from edgebed.errors import EdgebedError
from edgebed.program.contract import Contract
from edgebed.targets._shared.c_text import array

HERE: Final = Path(__file__).parent
SOURCE: Final = "detect.c"
HEADER: Final = "detect.h"
_MOST_PAIRS: Final = 1 << 16


def sources() -> Mapping[str, str]:
    """Return the decoder's C by file name."""
    return {name: (HERE / name).read_text(encoding="utf-8") for name in (SOURCE, HEADER)}


def pairs(contract: Contract) -> int:
    """Return how many pairs of box and class a picture has."""
    grid = contract.decode
    return grid.grid_width * grid.grid_height * grid.boxes * len(contract.classes)


def check(contract: Contract) -> None:
    """Refuse a contract with more pairs of box and class than a candidate's number can tell apart.

    Raises:
        EdgebedError: it has more.
    """
    if pairs(contract) > _MOST_PAIRS:
        raise EdgebedError(
            f"{pairs(contract)} pairs of box and class",
            where="contract.decode",
            why=f"the firmware ranks at most {_MOST_PAIRS}",
        )


def numbers(contract: Contract, scale: float) -> dict[str, object]:
    """Return the macros of the decoder by name.

    Args:
        contract: that is decoded.
        scale: real value of one unit of the output.

    Raises:
        EdgebedError: scale or contract are out of range.
    """
    grid, nms, integers = contract.decode, contract.nms, parameters(scale, contract)
    return {
        "DETECT_COLUMNS": grid.grid_width,
        "DETECT_ROWS": grid.grid_height,
        "DETECT_BOXES": grid.boxes,
        "DETECT_CLASSES": len(contract.classes),
        "DETECT_CHANNELS": contract.output_channels,
        "DETECT_SOFTMAX": int(grid.class_score == "softmax"),
        "DETECT_SQUARED": int(grid.size == "squared"),
        "DETECT_MULTIPLIER": integers.multiplier,
        "DETECT_SHIFT": integers.shift,
        "DETECT_STRETCH": f"{integers.stretch} /* Q16 */",
        "DETECT_LEAST_SCORE": f"{integers.least_score} /* Q15 */",
        "DETECT_IOU": f"{integers.iou} /* Q16 */",
        "DETECT_MAXIMUM": most(contract),
        "DETECT_CANDIDATES": min(nms.candidates, pairs(contract)),
    }


def most(contract: Contract) -> int:
    """Return how many boxes a picture can have."""
    return min(contract.nms.maximum, contract.nms.candidates, pairs(contract))


def tables(contract: Contract, scale: float, storage: str = "") -> list[str]:
    """Return the definitions of the decoder's tables.

    Args:
        contract: that is decoded.
        scale: real value of one unit of the output.
        storage: `static ` for tables of one file, which may have none that nothing reads.
    """
    integers, table = parameters(scale, contract), fixed_tables()
    priors = ", ".join(f"{{{w}, {h}}}" for w, h in integers.priors)
    kind = f"{storage}const uint16_t"
    exponential = (
        "/* 32768 exp(-i / 16) */",
        array(f"{kind} detect_exponential[257]", table.exponential.tolist()),
    )
    return [
        f"{storage}const int32_t detect_priors[][2] = {{{priors}}};",
        "",
        "/* 32768 / (1 + exp(-i / 16)) */",
        array(f"{kind} detect_sigmoid[257]", table.sigmoid.tolist()),
        *(exponential if not storage or contract.decode.class_score == "softmax" else ()),
    ]
