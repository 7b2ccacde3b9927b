"""Read mutated .tflite, .onnx and .pt2 files, each in a process with limits of memory and time.

    python tests/fuzz/fuzz_importers.py --cases 100000 --keep /tmp/found

Every file must give a program or one sentence that names the file. A case is known by its number:
the same seed and number make the same file (`--only N` runs one alone).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import mutations
import seeds
from outcome import Outcome, judge

MEMORY = 2 << 30
HANG_SECONDS = 30.0
_LARGE = 16384
_LARGE_SHARE = 0.02
_BESIDE = bytes(range(256))


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        seed: of every draw.
        folders: with further files to start from.
        kinds: of files, "tflite", "onnx" and "pt2"; the last takes a second a case.
        keep: folder that files with a defect are written to; None for nowhere.
    """

    seed: int = 0
    folders: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ("tflite", "onnx")
    keep: str | None = None


@dataclass
class Tally:
    """What came of the cases."""

    counts: Counter[str] = field(default_factory=Counter)
    defects: dict[str, tuple[int, str, Outcome]] = field(default_factory=dict)
    times: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, int, str] = (0.0, 0, "")
    largest: tuple[int, int, str] = (0, 0, "")

    def add(self, number: int, name: str, outcome: Outcome) -> None:
        self.counts[outcome.kind if outcome.good else "defect"] += 1
        self.counts[name.partition(":")[0]] += 1
        self.slowest = max(self.slowest, (outcome.seconds, number, name))
        self.largest = max(self.largest, (outcome.peak, number, name))
        if not outcome.good:
            key = f"{outcome.kind} at {outcome.where}"
            self.times[key] += 1
            self.defects.setdefault(key, (number, name, outcome))


@cache
def corpus(kind: str, folders: tuple[str, ...]) -> tuple[tuple[tuple[str, bytes], ...], ...]:
    """Return the small and the large files to start from, each with its name."""
    makers = {"tflite": seeds.tflite_seeds, "onnx": seeds.onnx_seeds, "pt2": seeds.torch_seeds}
    made = makers[kind]()
    for folder in folders:
        for path in sorted(Path(folder).glob(f"*.{kind}")):
            made[path.name] = path.read_bytes()
    small = tuple((n, d) for n, d in made.items() if len(d) <= _LARGE)
    return small, tuple((n, d) for n, d in made.items() if len(d) > _LARGE)


@cache
def places(name: str, folders: tuple[str, ...]) -> tuple[mutations.Position, ...]:
    """Return the numbers of a .tflite file that the importer looks at."""
    from edgebed.program.tflite import read

    data = dict(sum(corpus("tflite", folders), ()))[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "whole.tflite"
        path.write_bytes(data)

        def look() -> None:
            try:
                read(path)
            except Exception:  # what it read until then is what matters
                return

        return mutations.words_read(look)


def case(plan: Plan, number: int) -> tuple[str, str, bytes]:
    """Return the format, the name of the origin and the bytes of a case."""
    draw = random.Random(f"{plan.seed}:{number}")
    kind = plan.kinds[number % len(plan.kinds)]
    small, large = corpus(kind, plan.folders)
    name, data = draw.choice(large if large and draw.random() < _LARGE_SHARE else small)
    other = draw.choice(small)[1]
    if kind == "onnx" and draw.random() < 0.7:
        data = mutations.message(data, draw, other)
    elif kind == "pt2":
        data = mutations.archive(data, draw, other)
    elif kind == "tflite" and draw.random() < 0.7:
        data = mutations.numbers(data, draw, places(name, plan.folders))
    else:
        data = mutations.blind(data, draw, other)
    return kind, name, data


def _work(plan: Plan, numbers: range, pipe: Connection) -> None:
    """Judge cases one after the other and send each outcome; runs in a process of its own."""
    # Whatever is said on the way must be in the outcome.
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "weights.bin").write_bytes(_BESIDE)
        for kind in plan.kinds:  # import everything before memory is limited
            path = folder / f"case.{kind}"
            path.write_bytes(corpus(kind, plan.folders)[0][0][1])
            judge(path)
        size = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = size * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for number in numbers:
            kind, origin, data = case(plan, number)
            path = folder / f"case.{kind}"
            path.write_bytes(data)
            outcome = judge(path)
            if not outcome.good and plan.keep:
                (Path(plan.keep) / f"{number}.{kind}").write_bytes(data)
            pipe.send((number, f"{kind}: {origin}", outcome))
    pipe.send(None)


def outcomes(plan: Plan, numbers: range) -> Iterator[tuple[int, str, Outcome]]:
    """Yield the outcome of each case; a process that dies or hangs is an outcome too."""
    context = multiprocessing.get_context("spawn")
    while numbers:
        mine, theirs = context.Pipe(duplex=False)
        worker = context.Process(target=_work, args=(plan, numbers, theirs), daemon=True)
        worker.start()
        theirs.close()
        lost = None
        waiting = 4 * HANG_SECONDS  # the first one waits for imports too
        while lost is None:
            try:
                found = mine.recv() if mine.poll(waiting) else "it hangs"
            except EOFError:
                found = "it crashed"
            waiting = HANG_SECONDS
            if found is None:
                worker.join()
                return
            if isinstance(found, str):
                lost = found
            else:
                numbers = range(found[0] + 1, numbers.stop)
                yield found
        worker.kill()
        worker.join()
        kind, origin, data = case(plan, numbers.start)
        if plan.keep:
            (Path(plan.keep) / f"{numbers.start}.{kind}").write_bytes(data)
        yield numbers.start, f"{kind}: {origin}", Outcome(lost, detail=f"exit {worker.exitcode}")
        numbers = range(numbers.start + 1, numbers.stop)


def fuzz(plan: Plan, numbers: range) -> Tally:
    """Run cases and count what came of them."""
    tally = Tally()
    for number, name, outcome in outcomes(plan, numbers):
        tally.add(number, name, outcome)
    return tally


def case_folders() -> tuple[str, ...]:
    """Return the folder of the case files, if it is there."""
    root = Path(__file__).parents[2]
    folder = (root / os.environ.get("EDGEBED_CASES", "../shared/cases")).resolve() / "models"
    return (str(folder),) if folder.is_dir() else ()


def report(tally: Tally, seconds: float) -> str:
    """Return the figures and each defect once."""
    lines = [f"{n:8} {kind}" for kind, n in sorted(tally.counts.items())]
    lines.append(f"{seconds:8.1f} s in all")
    lines.append(f"{tally.slowest[0]:8.2f} s the slowest (case {tally.slowest[1]}, "
                 f"{tally.slowest[2]})")  # fmt: skip
    lines.append(f"{tally.largest[0] / 1e6:8.0f} MB the largest process (case "
                 f"{tally.largest[1]}, {tally.largest[2]})")  # fmt: skip
    for key, times in tally.times.most_common():
        number, name, outcome = tally.defects[key]
        lines.append(
            f"\n{times} x {key[:200]}\n  case {number}, from {name}\n{outcome.detail[-900:]}"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=("tflite", "onnx", "pt2"), help="one format alone")
    parser.add_argument("--corpus", action="append", default=[], help="folder with further files")
    parser.add_argument("--keep", help="folder for the files that show a defect")
    parser.add_argument("--only", type=int, help="run this case alone, in this process")
    given = parser.parse_args()
    kinds = (given.kind,) if given.kind else Plan.kinds
    plan = Plan(given.seed, (*case_folders(), *given.corpus), kinds, given.keep)
    if given.only is not None:
        kind, _, data = case(plan, given.only)
        path = Path(tempfile.mkdtemp()) / f"case.{kind}"
        path.write_bytes(data)
        sys.stdout.write(f"{path}\n{judge(path)}\n")
        return 0
    if given.keep:
        Path(given.keep).mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    tally = fuzz(plan, range(given.start, given.start + given.cases))
    sys.stdout.write(report(tally, time.perf_counter() - start) + "\n")
    return 1 if tally.defects else 0


if __name__ == "__main__":
    sys.exit(main())
