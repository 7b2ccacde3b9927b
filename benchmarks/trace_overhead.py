"""What recording costs: latency that the caller sees, processor time, bytes a frame, by level.

Usage: OMP_NUM_THREADS=1 python benchmarks/trace_overhead.py MODEL.tflite [ROUNDS]

An application reads nothing and computes one network again and again: as a library that edgebed
compiled for this computer and that records itself (`edgebed.load(DIR, trace=...)`), and in LiteRT
(its own fast kernels and no inner tensors kept, as an application has it) within
`with edgebed.observe(...)`. Levels take turns, in blocks of a few milliseconds, so that other work
on the machine meets all of them and the caches are those of one level alone; of each level the
block of the least time counts, and the median of the blocks stands beside it.

`added` is what a frame takes longer than one without edgebed. `writer_us` is the processor time of
the thread that writes, a frame; in LiteRT's case the caller writes itself. `every` is how seldom
frames are to be recorded for the target that issue and documents name (1 % at io, 10 % at
statistics). Prints JSON.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import edgebed
from edgebed.compile.passes.pipeline import optimise
from edgebed.deploy.library import build
from edgebed.observe.recorders import litert
from edgebed.program.read import read_model
from edgebed.targets import load

LEVELS = ("off", "io", "statistics", "full")
TARGETS = {"io": 0.01, "statistics": 0.10}
BLOCK_MS = 1.0
MOST_FULL = 6
"""Frames of a block at level full: more than memory keeps until the file has them would wait."""
Step = Callable[[], Any]


@contextmanager
def in_litert(model: Path, x: Any, level: str, trace: Path) -> Iterator[Step]:
    kept = "io" if level in ("none", "off", "io") else "full"
    interpreter = litert.interpreter_of(model, kept)  # type: ignore[arg-type]
    (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()

    def compute(x: Any) -> Any:
        interpreter.set_tensor(given["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(wanted["index"])

    if level == "none":
        yield lambda: compute(x)
        return
    with edgebed.observe(trace, level=level) as watch:  # type: ignore[operator]

        def frame() -> None:
            with watch.frame():
                watch.input(x)
                y = compute(x)
                if level not in ("off", "io"):
                    watch.layers(interpreter)
                watch.output(y)

        yield frame


@contextmanager
def compiled(folder: Path, x: Any, level: str, trace: Path) -> Iterator[Step]:
    if level == "none":
        session = edgebed.load(folder)
    else:
        session = edgebed.load(folder, trace=trace, level=level)
    with session:
        yield lambda: session.run(x)


def block(step: Step, count: int) -> tuple[float, float]:
    """Return microseconds a call, and those of the processor in other threads."""
    own, all_threads = time.thread_time_ns(), time.process_time_ns()
    begun = time.perf_counter_ns()
    for _ in range(count):
        step()
    spent = time.perf_counter_ns() - begun
    own, all_threads = time.thread_time_ns() - own, time.process_time_ns() - all_threads
    return spent / count / 1000, (all_threads - own) / count / 1000


def measure(opened: Callable[..., Any], rounds: int) -> dict[str, Any]:
    times: dict[str, list[float]] = {level: [] for level in ("none", *LEVELS)}
    others: dict[str, list[float]] = {level: [] for level in times}
    calls = dict.fromkeys(times, 0)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        paths = {level: Path(scratch) / f"{level}.trace" for level in times}
        steps = {level: stack.enter_context(opened(level, path)) for level, path in paths.items()}
        count = max(3, int(BLOCK_MS * 1000 / block(steps["none"], 20)[0]))
        calls["none"] += 20
        for _ in range(rounds):
            for level, step in steps.items():
                length = min(count, MOST_FULL) if level == "full" else count
                block(step, 3)  # its own caches again
                spent, other = block(step, length)
                times[level].append(spent)
                others[level].append(other)
                calls[level] += length + 3
        stack.close()
        sizes = {
            level: path.stat().st_size if path.is_file() else 0 for level, path in paths.items()
        }
    return report(times, others, {one: sizes[one] / calls[one] for one in times}, rounds * count)


def report(
    times: dict[str, list[float]],
    others: dict[str, list[float]],
    sizes: dict[str, float],
    frames: int,
) -> dict[str, Any]:
    least = {level: min(found) for level, found in times.items()}
    middle = {level: float(np.median(found)) for level, found in times.items()}
    found: dict[str, Any] = {"latency_us": round(least["none"], 2), "frames": frames}
    for level in LEVELS:
        added = least[level] - least["none"]
        found[level] = {
            "added_us": round(added, 2),
            "added_share": round(added / least["none"], 4),
            "median_added_us": round(middle[level] - middle["none"], 2),
            "writer_us": round(float(np.mean(others[level])), 2),
            "bytes_a_frame": round(sizes[level]),
        }
        if level in TARGETS:
            found[level]["every"] = max(1, int(np.ceil(added / least["none"] / TARGETS[level])))
    return found


def main(model: Path, rounds: int) -> dict[str, Any]:
    program = read_model(model)
    (name,) = program.inputs
    x = np.random.default_rng(0).integers(-128, 128, program.file_shape(name))
    x = x.astype(program.types[name].dtype)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "host"
        build(optimise(program)[0], load("host"), folder)  # type: ignore[arg-type]
        here = measure(lambda level, trace: compiled(folder, x, level, trace), rounds)
    theirs = measure(lambda level, trace: in_litert(model, x, level, trace), rounds)
    return {"model": model.name, "kind": "measured", "litert": theirs, "compiled": here}


if __name__ == "__main__":
    asked = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    print(json.dumps(main(Path(sys.argv[1]), asked), indent=2))
