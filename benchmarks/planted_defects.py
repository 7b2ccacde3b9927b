"""Is the layer named in which a kernel is wrong? Planted defects, recorded and compared.

Usage: OMP_NUM_THREADS=1 python benchmarks/planted_defects.py [TRIALS] [host|m4|both] [MODEL...]

Each trial draws a network (or takes the next of the MODELs) and a layer that can have the defect
whose turn it is; edits the layer's generated C; records every layer while it runs, compiled for
this computer or for a virtual Cortex-M4; and asks `compare_traces` where it departs from the
reference. A defect that changes no value of the layer on these inputs (16 bits that never overflow)
cannot be seen by anybody: it is counted as silent and drawn again. Every tenth trial has no defect
and must be clean. Prints JSON.
"""

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).parents[1] / "tests" / "targets"
sys.path[:0] = [str(TESTS / name) for name in ("rows", "cortex_m", "host")]

from planted import DEFECTS, Defect, NativeObserved, Place, PortableM4, places, plant, write_traces  # noqa: E402
from small_networks import mobile, quantised  # noqa: E402

from edgebed.observe.trace_comparison import compare_traces  # noqa: E402
from edgebed.observe.trace_reader import TraceReader  # noqa: E402
from edgebed.program.read import read_model  # noqa: E402
from edgebed.program.types import Program  # noqa: E402
from edgebed.targets._shared.rows.emit import Project, files  # noqa: E402
from edgebed.targets.contract import Inner  # noqa: E402
from edgebed.targets.cortex_m.watch import ObservedMicrocontroller  # noqa: E402

Watch = Callable[[Mapping[str, Any]], tuple[Inner, ...]]
M4 = PortableM4(cpu="m4")


@dataclass
class Found:
    trials: int = 0
    named: int = 0
    clean: int = 0
    alarms: int = 0
    silent: int = 0


@lru_cache(4)
def network(place: str, seed: int) -> tuple[Program, Project]:
    if place:
        program = read_model(Path(place))
    else:
        rng = np.random.default_rng(seed)
        side, channels = int(rng.integers(6, 24)), int(rng.integers(3, 20))
        program = quantised(mobile(f"drawn{seed}", side, channels, seed))
    return program, M4.project(program)


def on_host(project: Project, made: Mapping[str, bytes], folder: Path) -> Watch:
    return NativeObserved(project, made, folder).watch


def on_m4(project: Project, made: Mapping[str, bytes], folder: Path) -> Watch:
    program = project.program
    M4.plan(program).write(folder)
    for path, data in made.items():
        (folder / "library" / path).write_bytes(data)
    board = ObservedMicrocontroller()
    board.load(folder)

    def watch(inputs: Mapping[str, Any]) -> tuple[Inner, ...]:
        return board.watch({n: v.reshape(program.file_shape(n)) for n, v in inputs.items()})

    return watch


def departs(where: str, program: Program, project: Project, made: Any, seed: int) -> str | None:
    """Return the layer at which the traces part."""
    run = on_host if where == "host" else on_m4
    with tempfile.TemporaryDirectory() as scratch:
        watch = run(project, made, Path(scratch))
        paths = write_traces(program, watch, Path(scratch), where, seed=seed)
        departure = compare_traces(*paths).departure
        changed = differing(*paths)
    assert (departure is None) == (not changed), (departure, changed)
    return departure.layer if departure else None


def differing(reference: Path, device: Path) -> set[str]:
    """Return the layers with any other value: no defect may stay unnoticed."""
    found = set()
    with TraceReader(reference) as a, TraceReader(device) as b:
        for left, right in zip(a.frames(), b.frames(), strict=True):
            for one in right.tensors:
                known, values = left.named(one.name), one.values
                turned = values
                if known is not None and one.layout != known.layout:
                    turned = values.transpose([one.layout.index(axis) for axis in known.layout])
                if known is not None and not np.array_equal(known.values, turned):
                    found.add(one.name)
    return found


def draw(rng: np.random.Generator, project: Project, turn: int) -> tuple[Place, Defect]:
    defect = DEFECTS[turn % len(DEFECTS)]
    able = [place for place in places(project) if defect in place.defects]
    return able[rng.integers(len(able))], defect


def measure(where: str, trials: int, models: list[str]) -> dict[str, Any]:
    rng, found = np.random.default_rng(0), Found()
    by_defect, missed, begun = dict.fromkeys(DEFECTS, (0, 0)), [], time.perf_counter()
    seed = 0
    while found.trials < trials:
        seed += 1
        model = models[seed % len(models)] if models else ""
        program, project = network(model, 0 if model else seed // 8)
        if seed % 10 == 0:
            found.clean += 1
            layer = departs(where, program, project, files(project), seed)
            found.alarms += layer is not None
            continue
        place, defect = draw(rng, project, found.trials)
        layer = departs(where, program, project, plant(project, place, defect, rng), seed)
        if layer is None:
            found.silent += 1
            continue
        hit = layer == place.stage.output
        found.trials, found.named = found.trials + 1, found.named + hit
        done, right = by_defect[defect]
        by_defect[defect] = (done + 1, right + hit)
        if not hit:
            planted = {"layer": place.stage.output, "defect": defect}
            missed.append({"seed": seed, **planted, "said": layer})
    kinds = Counter({name: done for name, (done, _) in by_defect.items()})
    return {
        "where": where,
        "networks": models or "drawn",
        **vars(found),
        "by_defect": {name: f"{by_defect[name][1]} of {kinds[name]}" for name in DEFECTS},
        "missed": missed,
        "seconds": round(time.perf_counter() - begun, 1),
    }


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    which = sys.argv[2] if len(sys.argv) > 2 else "both"
    for one in ("host", "m4") if which == "both" else (which,):
        print(json.dumps(measure(one, count, sys.argv[3:]), indent=2), flush=True)
