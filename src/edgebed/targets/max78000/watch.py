"""The accelerator's results as tensors of the program, by name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.figures import Figure
from edgebed.program.types import Program
from edgebed.targets.max78000.accelerator import LayerRun
from edgebed.targets.max78000.compiler import Compiled, compile_program
from edgebed.targets.max78000.cost import BAND, LAW, energy
from edgebed.targets.max78000.describe import layout
from edgebed.targets.max78000.layers import Placed, processors_in
from edgebed.targets.max78000.registers import folds_passes

Array = npt.NDArray[Any]
PLAN = "plan.json"


def compiled_of(folder: Path, program: Program) -> Compiled | None:
    """Return the placed network of a compiled folder; None where it cannot be known.

    They are planned again, and believed where that gives the very layers that the folder's plan
    lists: a project of another tool may have been placed otherwise.
    """
    try:
        listed = json.loads((folder / PLAN).read_text(encoding="utf-8"))["layout"]["layers"]
        compiled = compile_program(program)
    except (OSError, ValueError, KeyError, TypeError, EdgebedError):
        return None
    return compiled if [dict(r) for r in layout(compiled).layers] == listed else None


def named(
    chain: Sequence[Placed], program: Program | None, results: Sequence[Array]
) -> dict[str, Array]:
    """Return results of layers by the tensors that they are, C x H x W.

    Args:
        chain: of `compiled_of`; empty where it is not known.
        program: that runs.
        results: of each layer, as the accelerator gives them.

    Returns:
        Tensors of the program; layer00, layer01, ... as the accelerator has them where the chain
        is not known.
    """
    if program is None or len(chain) != len(results):
        return {f"layer{number:02d}": one for number, one in enumerate(results)}
    found = {}
    for placed, result in zip(chain, results, strict=True):
        kind = program.types.get(placed.layer.output)
        if kind is not None:
            pixels = kind.size // placed.layer.out_shape[0]
            first = placed.layer.skipped  # around it, a dilated convolution leaves junk
            mine = channels_of(placed, result)[:, first : first + pixels]
            found[placed.layer.output] = mine.reshape(kind.shape)
    return found


def layer_figures(
    chain: Sequence[Placed], layers: Sequence[LayerRun], cnn_hz: float
) -> dict[str, dict[str, Figure]]:
    """Return cycles, time, energy and multiply-accumulates of each layer of a run.

    Args:
        chain: of `compiled_of`; empty where it is not known.
        layers: of the run.
        cnn_hz: the accelerator's clock.

    Returns:
        By the tensor that the layer writes (a copy for a later layer says so), or layer00,
        layer01, ... where the chain is not known.
    """
    known = len(chain) == len(layers)
    names = (
        [one.layer.output for one in chain] if known else [f"layer{n.index:02d}" for n in layers]
    )
    return {name: _cost(one, cnn_hz) for name, one in zip(names, layers, strict=True)}


def _cost(run: LayerRun, cnn_hz: float) -> dict[str, Figure]:
    milliseconds = run.cycles / cnn_hz * 1000
    low, high = (milliseconds * factor for factor in BAND)
    return {
        "cycles": Figure(run.cycles, "cycles", "estimated", LAW),
        "time": Figure(milliseconds, "ms", "estimated", LAW, low, high),
        "energy": energy(run.cycles, run.macs),
        "macs": Figure(
            run.macs, "multiply-accumulates", "emulated", "counted on the virtual board"
        ),
    }


def channels_of(placed: Placed, result: Array) -> Array:
    """Return the real channels of a result, C x pixels; the accelerator's has gaps and dummies."""
    if not placed.layer.passthrough:
        columns = [placed.at.column(channel) for channel in range(placed.layer.out_shape[0])]
        return result[columns].reshape(len(columns), -1)
    enabled = processors_in(placed.at.processors)
    if folds_passes(placed):  # passes are walked as rows
        passes = result.reshape(len(enabled), -1, placed.at.passes).transpose(2, 0, 1)
    else:
        passes = result.reshape(placed.at.passes, len(enabled), -1)
    return np.stack([passes[number, enabled.index(p)] for number, p in placed.at.sites])
