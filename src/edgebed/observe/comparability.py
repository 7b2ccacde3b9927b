"""Whether two traces may be compared, what they promise each other, and what to know about them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edgebed.errors import EdgebedError
from edgebed.observe.departure import Departure
from edgebed.observe.layer_error import LayerError
from edgebed.observe.matching import Matching
from edgebed.observe.trace import Manifest
from edgebed.observe.trace_side import Side

ANOTHER: Final = 1 / 3
"""Traces that share a smaller part of their layers are of different networks."""
OWN_KERNELS: Final = frozenset({"onnxruntime", "litert"})
"""Sources whose kernels round as they like: nobody promised their integers."""

MOST_NAMED: Final = 3
"""Tensors that a note lists."""

HIDDEN: Final = (
    "Beside real numbers, faults smaller than quantisation stay unseen; the device's own program "
    "(--program) or a trace of it from the interpreter shows every integer that differs."
)
"""Said where nothing looks closer."""


def check_same_network(
    matching: Matching, reference: Path, device: Path, manifests: tuple[Manifest, Manifest]
) -> None:
    """Refuse traces of different networks.

    Raises:
        EdgebedError: they are.
    """
    paired = [pair for pair in matching.pairs if pair.role in ("layer", "output")]
    outputs = [pair for pair in paired if "output" in (pair.reference[0], pair.device[0])]
    left, right = _count(matching, 0), _count(matching, 1)
    why = ""
    if not outputs and left[1] and right[1]:
        why = "no output of one has the size of an output of the other"
    elif len(paired) < ANOTHER * min(left[0], right[0]):
        why = f"{len(paired)} of {left[0]} layers have a partner among {right[0]}"
    if why:
        names = " and ".join(repr(one.network or "unnamed") for one in manifests)
        raise EdgebedError(
            f"are traces of different networks, {names}",
            where=f"{reference.name}, {device.name}",
            why=why,
            try_="traces of one network, or --force",
        )


def check_anything_shared(matching: Matching, reference: Path, device: Path) -> None:
    """Refuse traces of which no tensor belongs to a tensor of the other.

    Raises:
        EdgebedError: there is nothing to compare.
    """
    if not matching.pairs:
        unlike = f"; {'; '.join(matching.unlike)}" if matching.unlike else ""
        raise EdgebedError(
            "the traces have no tensor in common",
            where=f"{reference.name}, {device.name}",
            why=f"no two tensors of one role have the same size{unlike}",
            try_="record inputs and outputs on both sides (level io or more)",
        )


def _count(matching: Matching, side: int) -> tuple[int, int]:
    """Return how many layers and outputs a trace has, and how many outputs."""
    keys = [(pair.reference, pair.device)[side] for pair in matching.pairs]
    keys += (matching.only_reference, matching.only_device)[side]
    roles = [role for role, _ in keys]
    return roles.count("layer") + roles.count("output"), roles.count("output")


def promised(reference: Manifest, device: Manifest) -> bool:
    """Say whether integers of one meaning have to be equal: one program, kernels of ours."""
    if {reference.source, device.source} & OWN_KERNELS:
        return False
    if reference.digest and device.digest:
        return reference.digest == device.digest
    return not (reference.network and device.network) or reference.network == device.network


def unseen(departure: Departure, matching: Matching, manifest: Manifest) -> tuple[str, ...]:
    """Return the reference's layers between the last compared one and the departing one."""
    names = list(manifest.layers)
    if departure.layer not in names:
        return ()
    start = names.index(departure.previous) + 1 if departure.previous in names else 0
    paired = {pair.name for pair in matching.pairs}
    return tuple(n for n in names[start : names.index(departure.layer)] if n not in paired)


def notes(
    reference: Side, device: Side, frames: int, matching: Matching,
    errors: tuple[LayerError, ...], only: int | None,
) -> Iterator[str]:  # fmt: skip
    """Give what a reader must know before believing the figures, as sentences."""
    for side in (reference, device):
        if side.cut:
            yield f"{side.path.name} is cut: {side.cut}; it was read up to there."
        if side.frames > frames and only is None:
            left = side.frames - frames
            yield f"{side.path.name} has {left} frames that the other trace lacks."
    a, b = reference.manifest, device.manifest
    if a.digest and b.digest and a.digest != b.digest:
        said = "The programs have different digests: another version, or another form of it."
        if a.source == "reference":  # of the file: compiling may have fused or dropped layers
            said += " edgebed run FOLDER/program.onnx --trace gives the compiled form's reference."
        yield said
    levels = [side.manifest.level for side in (reference, device)]
    if set(levels) != {"full"}:
        yield (
            f"The traces were recorded at the levels {levels[0]} and {levels[1]}; full on both "
            "sides compares every value of every layer."
        )
    layers = [error for error in errors if error.pair.role == "layer"]
    if any(one.quantised for one in layers) and not any(one.same_steps for one in layers):
        yield HIDDEN
    scaled = [error for error in errors if error.factors]
    if scaled:
        low, high = (f(e for one in scaled for e in one.factors) for f in (min, max))
        yield (
            f"The channels of {len(scaled)} layers are {low:.2g} to {high:.2g} times those of the "
            "reference, and the layers behind undo it: weights were balanced (equalised), which "
            "is no fault. These layers are compared with each channel scaled back."
        )
    doubtful = [error.name for error in errors if error.pair.doubtful]
    if doubtful:
        yield f"Matched by order and size alone: {', '.join(doubtful)}."
    if any(error.skipped for error in errors):
        names = ", ".join(e.name for e in errors if e.skipped)
        yield f"Missing in some frames, or of another size there: {names}."
    if matching.unlike:
        left = len(matching.unlike) - MOST_NAMED
        more = f"; and {left} more" if left > 0 else ""
        yield f"Not compared, sizes differ: {'; '.join(matching.unlike[:MOST_NAMED])}{more}."
    for error in errors:
        if error.reference_bad:
            count = f"{error.reference_bad:,} NaN or infinite values"
            yield f"The reference itself has {count} in {error.name}."
        if error.nrmse == math.inf:
            yield f"{error.name} has no finite value on the device."
