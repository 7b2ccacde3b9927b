"""A departure in words: what happened, what to change, and the command that shows it."""

from __future__ import annotations

import math
import shlex
from typing import Final

import numpy as np

from edgebed.observe.departure import CLEAN, PLANTED, Departure
from edgebed.observe.layer_error import LayerError
from edgebed.observe.layer_values import layer_frame, layer_signature
from edgebed.observe.signature import FIXES, Signature
from edgebed.observe.trace_comparison import TraceComparison
from edgebed.observe.verdict import Verdict

MOST_NAMES: Final = 5
"""So many layers a sentence lists."""
MOST_VALUES: Final = 4_000_000
"""Values of a tensor whose differences are looked at one by one; several copies are made."""
ALIKE: Final = 0.2
"""Of the difference, what another order of channels leaves at most."""
CARRIED: Final = 0.2
"""An input's error explains an error up to five times as large in layers of real numbers."""
FIX_INPUT: Final = (
    "Mend what happens before the network (size, crop, channel order, normalisation, type); the "
    "layers only pass this error on."
)
FIX_RAW: Final = "Record both traces from the same raw data; nothing behind them can be compared."
FIX_RAW_ORDER: Final = (
    "One side recorded its raw pictures blue first, as OpenCV reads them, the other red first. "
    "Record them alike, with OpenCV watch.raw(frame[..., ::-1]), and compare again: what the "
    "network gets is recorded apart from that."
)
FIX_GROWS: Final = (
    "Give the layers with the steepest growth 16 bits or ranges per channel, or calibrate with "
    "more data: no single kernel is at fault."
)
FIX_SPIKE: Final = (
    "Widen this op's range or keep it in higher precision; later layers recover by themselves."
)
FIX_UNSEEN: Final = (
    "Record both traces with level full (or statistics): inputs are right and the output is not, "
    "and only the layers between them tell where it goes wrong."
)
FIX_FINITE: Final = "Look for a division by zero, an overflow or memory that nobody wrote."


def departure_verdict(comparison: TraceComparison) -> Verdict | None:
    """Return what the first departing tensor means, or None where nothing departs.

    The frame in which it is worst is read again to see where in the tensor the differences lie.
    """
    where = comparison.departure
    if where is None:
        return None
    carried = _carried(comparison, where)
    if carried is not None:
        return carried
    error = comparison.errors[where.index]
    small = math.prod(error.pair.order.shape) <= MOST_VALUES
    layer = small and error.pair.role in ("layer", "output")
    seen = layer_signature(comparison, error) if layer else None
    layers = any(one.pair.role == "layer" for one in comparison.errors)
    cause, fix = _cause(where, error, seen, layers)
    if error.pair.role == "raw" and _is_other_order(comparison, error):
        fix = FIX_RAW_ORDER
    evidence = " ".join(_evidence(comparison, where, error, seen))
    return Verdict(
        cause, where.layer, _confidence(where, error), evidence, fix,
        shown(comparison, error),
    )  # fmt: skip


def _is_other_order(comparison: TraceComparison, error: LayerError) -> bool:
    """Say whether raw pictures are alike but for red and blue."""
    found = layer_frame(comparison, error.pair, error.worst_frame)
    if found is None:
        return False
    first, second = (np.asarray(one.real, np.float64) for one in found[1])
    if first.shape != second.shape or first.ndim != 3 or first.shape[2] != 3:
        return False
    gap, turned = (np.abs(one - second).mean() for one in (first, first[..., ::-1]))
    return bool(turned < ALIKE * gap)


def _carried(comparison: TraceComparison, where: Departure) -> Verdict | None:
    """Return the input's verdict where layers of real numbers only pass its small error on."""
    error = comparison.errors[where.index]
    blind = error.pair.role == "output" and all(e.pair.role != "layer" for e in comparison.errors)
    if where.rule != "real" or not (where.pattern == "grows" or blind):
        return None
    for one in comparison.errors[: where.index]:
        if one.pair.role == "input" and one.nrmse >= CARRIED * where.error:
            how = "no layer was recorded" if blind else "the layers pass it on without a step"
            evidence = (
                f"The network's input differs by nRMSE {one.nrmse:.3g}, too little to depart by "
                f"itself. Nothing is quantised, and {how}: {where.error:.3g} at {where.layer}."
            )
            return Verdict(
                "preprocessing", one.name, 0.5, evidence, FIX_INPUT, shown(comparison, one)
            )
    return None


def shown(comparison: TraceComparison, error: LayerError) -> str:
    """Return the command line that shows a tensor where it is worst, if its values were kept."""
    if error.by_statistics or error.worst_frame < 0:
        return command(comparison)
    return command(comparison, error.name, error.worst_frame)


def command(comparison: TraceComparison, layer: str = "", frame: int = -1) -> str:
    """Return the command line that shows a layer's values in one frame, or the comparison."""
    words = ["edgebed", "compare", str(comparison.reference.path), str(comparison.device.path)]
    words += ["--layer", layer] if layer else []
    if frame >= 0 or comparison.only is not None:
        words += ["--frame", str(frame if frame >= 0 else comparison.only)]
    words += comparison.options
    return shlex.join(words)


def _cause(
    where: Departure, error: LayerError, seen: Signature | None, layers: bool
) -> tuple[str, str]:
    """Return the cause and its fix; `layers` says whether any layer was compared."""
    if where.pattern == "not finite":
        return "not_finite", FIX_FINITE
    if error.pair.role == "raw":
        return "different_raw_data", FIX_RAW
    if error.pair.role == "input":
        return "preprocessing", FIX_INPUT
    if error.pair.role == "output" and (len(where.unseen) > 1 or not layers):
        return "unseen_layer", FIX_UNSEEN
    if seen is not None and seen.defect == "stale_buffer":
        return "stale_buffer", FIXES["stale_buffer"]
    if where.pattern == "grows":
        return "quantisation", FIX_GROWS
    if where.pattern == "spike" and where.rule == "steps":
        return "op_quantisation", FIX_SPIKE
    if seen is None or seen.defect == "spread" or where.rule == "steps":
        return "kernel", FIXES["spread"]
    return f"kernel_{seen.defect}", FIXES[seen.defect]


def _evidence(
    comparison: TraceComparison, where: Departure, error: LayerError, seen: Signature | None
) -> list[str]:
    found = [_first_sentence(comparison, where, error)]
    if error.device_bad:
        found.append(f"The device holds {error.device_bad:,} NaN or infinite values there.")
    if seen is not None:
        found.append(f"In frame {seen.frame} {seen.text}.")
    found.append(_behind(where))
    if where.unseen:
        names = ", ".join(where.unseen[:MOST_NAMES])
        more = len(where.unseen) - MOST_NAMES
        rest = f" and {more} more" if more > 0 else ""
        found.append(f"The fault may also lie in {names}{rest}, which the other trace lacks.")
    if error.pair.doubtful:
        found.append("The two tensors were paired by order and size alone.")
    return [text for text in found if text]


def _first_sentence(comparison: TraceComparison, where: Departure, error: LayerError) -> str:
    after = f" after {where.previous}" if where.previous else ""
    if where.rule == "exact" and error.differing and not error.by_statistics:
        share = error.differing / max(error.values, 1)
        return (
            f"{error.differing:,} of {error.values:,} integers differ ({share:.2%}, by at most "
            f"{error.quanta} steps, nRMSE {error.nrmse:.3g}) in {_frames(comparison.frames)}"
            + (f"; {where.previous} and all before it are equal." if where.previous else ".")
        )
    bound = "at least " if error.by_statistics else ""
    said = "infinite" if error.nrmse == math.inf else f"{bound}{error.nrmse:.3g}"
    if where.pattern == "seldom":
        return (
            f"nRMSE is {said} over {_frames(comparison.frames)} but {error.worst:.3g} in frame "
            f"{error.worst_frame}: the layer fails in some frames only."
        )
    usual = f" (clean 8-bit networks stay below {CLEAN:g})" if where.rule == "steps" else ""
    return (
        f"nRMSE is {said}{after}, over {_frames(comparison.frames)}; the largest before it is "
        f"{where.before:.3g}{usual}."
    )


def _behind(where: Departure) -> str:
    if where.after == where.error or where.pattern in ("not finite", "seldom"):
        return ""
    text = f"the median behind it is {where.after:.3g}."
    return {
        "step": f"The error steps up here and persists: {text}",
        "grows": f"The error has grown over the layers without a step: {text}",
        "spike": f"The error spikes here and heals: {text}",
    }[where.pattern]


def _frames(count: int) -> str:
    return f"{count:,} frame{'' if count == 1 else 's'}"


def _confidence(where: Departure, error: LayerError) -> float:
    """Return 0.5 at the limit of a clean network, 0.95 from the smallest planted fault on."""
    if where.rule == "exact" and not error.by_statistics:
        found = 0.99
    elif error.device_bad or where.pattern == "seldom" or error.pair.role in ("raw", "input"):
        found = 0.95
    else:
        jump = error.nrmse / max(where.before, 1e-9)
        size = math.log(max(error.nrmse, CLEAN) / CLEAN) / math.log(PLANTED / CLEAN)
        step = min(math.log(max(jump, 1.0)) / math.log(20), 1.0)
        found = 0.5 + 0.45 * min(max(size, step if where.pattern != "grows" else 0.0), 1.0)
    if error.by_statistics:
        found = min(found, 0.7)
    return round(min(found, 0.6) if error.pair.doubtful else found, 2)
