"""The four sizes of a build, measured: weights, code, activations, and what runs beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgebed.errors import BudgetMissedError
from edgebed.targets._shared.arm_cores import find_core
from edgebed.targets._shared.rows.manifest import Manifest, TensorFacts, read
from edgebed.targets.cortex_m import build as builds
from edgebed.targets.cortex_m.build import MANIFEST
from edgebed.targets.cortex_m.machine import VirtualMicrocontroller

WEIGHTS, CODE, ARENA, RUNTIME = "weights flash", "code flash", "activation RAM", "runtime RAM"


def measured(folder: Path) -> Mapping[str, int]:
    """Build the firmware in a compiled folder, run it once, and return its sizes in bytes.

    Activation RAM is the arena: inputs, outputs and scratch included. Runtime RAM is the stack
    that one run used, and variables of the library (it has none).

    Raises:
        EdgebedError: no compiler or emulator is installed, or the firmware does not fit.
        BudgetMissedError: it needs more than its manifest allows.
    """
    manifest = read(folder / MANIFEST)
    core = find_core(manifest.cpu)
    found = builds.sizes(builds.build(folder, core))
    stack = _stack(folder, manifest)
    sizes = {
        WEIGHTS: found.weights_flash,
        CODE: found.code_flash,
        ARENA: found.arena,
        RUNTIME: found.static_ram + stack,
    }
    _check(manifest, sizes)
    return sizes


def _stack(folder: Path, manifest: Manifest) -> int:
    machine = VirtualMicrocontroller()
    try:
        machine.load(folder)
        machine.self_test()
        trace = machine.run_named({one.name: _zeros(one) for one in manifest.inputs})
        return int(trace.figures["stack_bytes"].value)
    finally:
        machine.close()


def _zeros(one: TensorFacts) -> np.ndarray:
    return np.zeros(one.shape, one.dtype)


def _check(manifest: Manifest, sizes: Mapping[str, int]) -> None:
    ram, flash = sizes[ARENA] + sizes[RUNTIME], sizes[WEIGHTS] + sizes[CODE]
    if manifest.max_ram and ram > manifest.max_ram:
        raise BudgetMissedError(
            f"needs {ram:,} bytes of RAM, more than --max-ram {manifest.max_ram:,}",
            where=f"{manifest.title}, layer {manifest.peak_layer}",
            why=f"activations {sizes[ARENA]:,} with their peak at this layer, "
            f"stack {sizes[RUNTIME]:,}",
            try_=f"{'' if manifest.goal == 'ram' else '--ram, '}a smaller input, or fewer channels",
        )
    if manifest.max_flash and flash > manifest.max_flash:
        raise BudgetMissedError(
            f"needs {flash:,} bytes of flash, more than --max-flash {manifest.max_flash:,}",
            where=manifest.title,
            why=f"weights {sizes[WEIGHTS]:,}, code {sizes[CODE]:,}",
            try_="--balanced, which keeps weights in bytes"
            if manifest.goal == "time"
            else "a network with fewer weights, or fewer kinds of layers",
        )
