"""Which register tile is fastest for each layer: measured here, remembered by digest."""

from __future__ import annotations

import ctypes
import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from edgebed import files as disk
from edgebed.events import Listener, Progress, ignore
from edgebed.program.types import Program
from edgebed.targets._shared.native import cache_folder
from edgebed.targets.host import lowering
from edgebed.targets.host.build import shared_library
from edgebed.targets.host.emit_layers import KERNELS
from edgebed.targets.host.kernels import conv
from edgebed.targets.host.kernels.conv import ConvShape, Names, Tile
from edgebed.targets.host.kernels.conv_tiles import tiles
from edgebed.targets.host.kernels.isa import Isa, runnable
from edgebed.targets.host.kernels.requantize import Requantization
from edgebed.targets.host.library import aligned
from edgebed.targets.host.steps import Blocked, TileKey

CANDIDATES: Final = 6
"""The model's best ones that are tried."""
_ROUNDS: Final = 15
_ROUND_NS: Final = 200_000


@dataclass(frozen=True)
class Choice:
    """The measured nanoseconds of each tried tile of a layer, the model's favourite first."""

    tiles: tuple[Tile, ...]
    nanoseconds: tuple[float, ...]

    @property
    def best(self) -> Tile:
        """The fastest one."""
        return self.tiles[int(np.argmin(self.nanoseconds))]


def tune(program: Program, listener: Listener = ignore) -> dict[TileKey, Tile]:
    """Return the fastest tile of every blocked layer on this processor's best instruction set.

    Args:
        program: as it will be compiled.
        listener: hears the progress.

    Raises:
        EdgebedError: no C compiler is installed.
    """
    isa = runnable()[-1]
    layers = {layer.shape: layer for layer in lowering.lower(program).blocked}
    found: dict[TileKey, Tile] = {}
    for number, layer in enumerate(layers.values()):
        found[layer.shape, isa.name] = choose(layer, isa).best
        listener(Progress("tune", number + 1, len(layers), "layers"))
    return found


def choose(layer: Blocked, isa: Isa) -> Choice:
    """Return what the candidates of a layer take, measured now or remembered."""
    path = cache_folder() / "host" / f"tiles-{_digest(layer, isa)}.json"
    candidates = tuple(tiles(layer.shape, isa)[:CANDIDATES])
    known = _remembered(path, len(candidates))
    if known is None:
        known = _measured(layer, isa, candidates)
        disk.write_text(path, json.dumps({"tiles": [t.literal for t in candidates], "ns": known}))
    return Choice(candidates, tuple(known))


def _remembered(path: Path, count: int) -> list[float] | None:
    try:
        numbers = json.loads(path.read_text())["ns"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    good = isinstance(numbers, list) and len(numbers) == count
    return [float(n) for n in numbers] if good else None


def _digest(layer: Blocked, isa: Isa) -> str:
    """Return what a measurement depends on: the layer, the kernel's source, the processor."""
    state = hashlib.sha256(repr((layer.shape, layer.rule.literal(), isa, _processor())).encode())
    for name in ("isa.h", "requantize.h", "conv_tile.h", "conv.h"):
        state.update((KERNELS / name).read_bytes())
    state.update((KERNELS / "conv_tiles.py").read_bytes())
    return state.hexdigest()[:32]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith("model name")), "")


def _measured(layer: Blocked, isa: Isa, candidates: Sequence[Tile]) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "tiles.c"
        source.write_text(_source(layer.shape, layer.rule, candidates))
        library = ctypes.CDLL(str(shared_library(source, isa, Path(folder), KERNELS)))
    function = library.eb_time
    function.restype = ctypes.c_double
    shape = layer.shape
    height = (shape.out_height - 1) * shape.stride[0] + (shape.kernel[0] - 1) * shape.dilation[0]
    room = {
        "x": (height + 1) * shape.in_row_pitch + 64 + shape.in_pixel_pitch * shape.kernel[1],
        "weights": shape.groups * shape.blocks * shape.runs.steps * 64,
        "bias": shape.groups * shape.blocks * 64,
        "table": layer.rule.table.nbytes + 64,
        "y": shape.out_height * max(shape.out_row_pitch, 1) + 64,
    }
    arrays = [aligned(size) for size in room.values()]
    places = [ctypes.c_void_p(array.ctypes.data) for array in arrays]
    times = [float("inf")] * len(candidates)
    for _ in range(_ROUNDS):  # in turn, so that a disturbance meets all of them
        for number in range(len(candidates)):
            spent = float(function(number, _ROUND_NS, *places))
            times[number] = min(times[number], spent)
    return times


def _source(shape: ConvShape, rule: Requantization, candidates: Sequence[Tile]) -> str:
    names = Names("x", "w", "bias", "table", "y")
    parameters = (
        "const uint8_t *x, const int8_t *w, const int32_t *bias, const int32_t *table, uint8_t *y"
    )
    functions = "\n".join(
        f"static void tile_{n}({parameters}) {{\n  {conv.call(shape, rule, names, tile)}\n}}"
        for n, tile in enumerate(candidates)
    )
    listed = ", ".join(f"tile_{n}" for n in range(len(candidates)))
    return f"""#include <time.h>
#include "conv.h"

{functions}

typedef void (*eb_tile)({parameters});

static double now(void) {{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return 1e9 * (double)time.tv_sec + (double)time.tv_nsec;
}}

/* Nanoseconds of one call, over calls of about `span` nanoseconds in all. */
double eb_time(int tile, int span, {parameters}) {{
  static const eb_tile all[] = {{{listed}}};
  const double start = now();
  all[tile](x, w, bias, table, y);
  const double once = now() - start;
  const int count = once > 0 ? (int)(span / once) + 1 : 1;
  const double before = now();
  for (int i = 0; i < count; i++) all[tile](x, w, bias, table, y);
  return (now() - before) / count;
}}
"""
