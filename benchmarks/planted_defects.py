"""Is the layer named in which a kernel is wrong? Planted defects, recorded and compared.

Usage: OMP_NUM_THREADS=1 python benchmarks/planted_defects.py [TRIALS] [TARGET[:RUN]] [MODEL...]

TARGET is `max78000` (firmware on the virtual board, the defect in its accelerator), `m4` or `m55`
(the firmware's own kernels on the virtual core), `host` (this computer's library, the instruction
sets that it can run in turn), or `rows` (the microcontroller's portable kernels, compiled for this
computer).

Each trial takes a network (eight trials for each drawn one, or the MODELs in turn) and a layer that
can have the defect whose turn it is; plants it; records every layer of two frames; and asks
`compare_traces` where the trace departs from the reference's. A defect that changes no value of the
layer on these inputs (16 bits that never overflow) cannot be seen by anybody: it is counted as
silent and drawn again. Every tenth trial has no defect and must be clean. Another RUN (a number)
has other networks and defects. Prints JSON.
"""

import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).parents[1] / "tests" / "targets"
sys.path[:0] = [str(TESTS), *(str(TESTS / name) for name in ("rows", "max78000", "host"))]

from planted_networks import drawn  # noqa: E402
from planted_trials import DEFECTS, Planted, Said, Subject, trial  # noqa: E402

from edgebed.program.read import read_model  # noqa: E402

EACH = 8
"""Trials with one network."""
PATIENCE = 3 * EACH
"""So many draws without a layer that can have a defect, and the next defect has its turn."""
Make = Callable[[int, str], Subject]
"""From a seed and a model's path, which may be empty."""


def on_max78000(seed: int, model: str) -> Subject:
    from planted_board import PlantedBoard

    return PlantedBoard(seed)


def on_core(cpu: str) -> Make:
    from planted_cores import PlantedCore

    from edgebed.targets.cortex_m.target import Microcontroller

    return lambda seed, model: PlantedCore(
        read_model(Path(model)) if model else drawn(seed), Microcontroller(cpu=cpu)
    )


def on_rows(seed: int, model: str) -> Subject:
    from planted_cores import PlantedRows

    return PlantedRows(read_model(Path(model)) if model else drawn(seed))


def on_host(seed: int, model: str) -> Subject:
    from planted_library import PlantedLibrary

    from edgebed.targets.host.kernels.isa import runnable

    names = [isa.name for isa in runnable()]
    program = read_model(Path(model)) if model else drawn(seed, wide=True)
    return PlantedLibrary(program, names[seed % len(names)])


MAKERS: dict[str, Callable[[], Make]] = {
    "max78000": lambda: on_max78000,
    "m4": lambda: on_core("m4"),
    "m55": lambda: on_core("m55"),
    "host": lambda: on_host,
    "rows": lambda: on_rows,
}


@dataclass
class Found:
    """Counts of one target."""

    trials: int = 0
    named: int = 0
    clean: int = 0
    alarms: int = 0
    silent: int = 0
    waited: int = 0
    skipped: int = 0
    causes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    missed: list[dict[str, Any]] = field(default_factory=list)
    forms: Counter[str] = field(default_factory=Counter)

    @property
    def turn(self) -> int:
        """Number of the defect that is to be planted next."""
        return self.trials + self.skipped

    def wait(self) -> None:
        """Count a draw in which no layer could have the defect."""
        self.waited += 1
        if self.waited == PATIENCE:
            self.waited, self.skipped = 0, self.skipped + 1

    def add(self, planted: Planted, said: Said, seed: int) -> None:
        """Count a trial with a defect."""
        self.waited = 0
        if said.layer is None:
            self.silent += 1
            return
        self.trials += 1
        self.named += said.layer == planted.layer
        self.causes[planted.defect][said.cause] += 1
        self.forms[planted.form] += 1
        if said.layer != planted.layer:
            where = {"seed": seed, "layer": planted.layer, "defect": planted.defect}
            self.missed.append({**where, "form": planted.form, "said": said.layer})


def measure(target: str, trials: int, models: list[str]) -> dict[str, Any]:
    """Run trials until so many had a defect that could be seen."""
    name, _, run = target.partition(":")
    make, rng = MAKERS[name](), np.random.default_rng(int(run or 0))
    found, begun, seed = Found(), time.perf_counter(), 10_000 * int(run or 0)
    subject = make(seed // EACH, models[0] if models else "")
    while found.trials < trials:
        seed += 1
        if seed % EACH == 0:
            subject.close()
            subject = make(seed // EACH, models[seed // EACH % len(models)] if models else "")
        with tempfile.TemporaryDirectory() as scratch:
            if seed % 10 == 0:
                found.clean += 1
                said = trial(subject, None, 3 * seed, Path(scratch))
                found.alarms += said.layer is not None
            elif (planted := subject.draw(DEFECTS[found.turn % 5], rng)) is not None:
                found.add(planted, trial(subject, planted, 3 * seed, Path(scratch)), seed)
            else:
                found.wait()
    return {
        "target": target, "networks": models or "drawn", **vars(found),
        "seconds": round(time.perf_counter() - begun, 1),
    }  # fmt: skip


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    print(json.dumps(measure(sys.argv[2] if len(sys.argv) > 2 else "rows", count, sys.argv[3:]),
                     indent=2), flush=True)  # fmt: skip
