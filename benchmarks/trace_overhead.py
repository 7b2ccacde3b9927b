"""What recording costs: time a frame and bytes a frame, by level.

Usage: OMP_NUM_THREADS=1 python benchmarks/trace_overhead.py MODEL.tflite [ROUNDS]

An application reads nothing and computes one network: in LiteRT (its own fast kernels and no inner
tensors kept, as an application has it), and as a library that edgebed compiled for this computer.
Levels take turns, frame by frame, so that other work on the machine meets all of them; of each the
least of all rounds counts, and its median stands beside it. `added` is the time of a recorded frame
less that of a frame without edgebed; `every` is how seldom frames are to be recorded for the target
that issue and documents name (1 % at io, 10 % at statistics). Prints JSON.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

import edgebed
from edgebed.deploy.library import build
from edgebed.observe.recorders import litert
from edgebed.program.read import read_model
from edgebed.targets import load

LEVELS = ("off", "io", "statistics", "full")
TARGETS = {"io": 0.01, "statistics": 0.10}
Step = Callable[[Any], Any]


def in_litert(model: Path, level: str) -> tuple[Step, Any]:
    interpreter = litert.interpreter_of(model, "io" if level in ("none", "off", "io") else "full")
    (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()

    def compute(x: Any) -> Any:
        interpreter.set_tensor(given["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(wanted["index"])

    return compute, interpreter


def compiled(folder: Path) -> tuple[Step, Any]:
    return edgebed.load(folder).run, None


def frame(watch: Any, compute: Step, source: Any, x: Any) -> None:
    with watch.frame():
        watch.input(x)
        y = compute(x)
        if source is not None:
            watch.layers(source)
        watch.output(y)


def measure(make: Callable[[str], tuple[Step, Any]], x: Any, rounds: int) -> dict[str, Any]:
    steps = {level: make(level) for level in ("none", *LEVELS)}
    times: dict[str, list[int]] = {level: [] for level in steps}
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        paths = {level: Path(scratch) / f"{level}.trace" for level in LEVELS}
        watches = {
            level: stack.enter_context(edgebed.observe(path, level=level))  # type: ignore[arg-type]
            for level, path in paths.items()
        }
        for _ in range(rounds):
            for level, (compute, source) in steps.items():
                begun = time.perf_counter_ns()
                if level == "none":
                    compute(x)
                else:
                    frame(watches[level], compute, source, x)
                times[level].append(time.perf_counter_ns() - begun)
        stack.close()
        sizes = {
            level: path.stat().st_size if path.is_file() else 0 for level, path in paths.items()
        }
    least = {level: min(found) / 1000 for level, found in times.items()}
    report: dict[str, Any] = {"latency_us": round(least["none"], 1), "rounds": rounds}
    for level in LEVELS:
        added = least[level] - least["none"]
        report[level] = {
            "added_us": round(added, 1),
            "added_share": round(added / least["none"], 4),
            "median_us": round(float(np.median(times[level])) / 1000, 1),
            "bytes_a_frame": round(sizes[level] / rounds),
        }
        if level in TARGETS:
            report[level]["every"] = max(1, int(np.ceil(added / least["none"] / TARGETS[level])))
    return report


def main(model: Path, rounds: int) -> dict[str, Any]:
    program = read_model(model)
    (name,) = program.inputs
    x = np.random.default_rng(0).integers(-128, 128, program.file_shape(name))
    x = x.astype(program.types[name].dtype)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "host"
        build(program, load("host"), folder)  # type: ignore[arg-type]
        here = measure(lambda _: compiled(folder), x, rounds)
    here["note"] = "a library shows no inner tensors here: statistics and full keep those of io"
    theirs = measure(lambda level: in_litert(model, level), x, rounds)
    return {"model": model.name, "kind": "measured", "litert": theirs, "compiled": here}


if __name__ == "__main__":
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    print(json.dumps(main(Path(sys.argv[1]), count), indent=2))
