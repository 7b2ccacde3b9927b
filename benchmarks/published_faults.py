"""Are the known faults of the published BED firmware named, and what do they cost?

Usage: OMP_NUM_THREADS=1 python benchmarks/published_faults.py MODEL DATA [--pictures N] [--clean N]
       [--older MODEL] [--keep DIR]

MODEL is a detector: a `.onnx` program of edgebed, or a training run's folder (`quantised.pt`).
DATA is a folder of annotated pictures; the test split is used. Of each fault: the firmware is built
with it, the pictures are held before the virtual board's camera, its trace is compared with the
interpreter's, and the boxes it reports are scored. `mended` is the same firmware without the fault.
`--older` gives a checkpoint of the same network whose kernels are loaded instead: stale weights as
they happen. `--clean` pictures of all splits go through the sound firmware, whose trace must be
silent. Prints JSON; cycles are emulated, nothing is measured on a board.
"""

import argparse
import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgebed.data.dataset import Sample
from edgebed.data.decode import Detections
from edgebed.data.preprocess import geometry
from edgebed.data.readers import read
from edgebed.deploy.bundle import build, load
from edgebed.observe.examine import verdicts_on
from edgebed.observe.recorders import machine as recorder
from edgebed.observe.recorders import reference
from edgebed.observe.trace_comparison import compare_traces
from edgebed.observe.trace_writer import TraceWriter
from edgebed.program import to_onnx
from edgebed.program.read import read_model
from edgebed.program.types import Program
from edgebed.targets.max78000.compiler import compile_program
from edgebed.targets.max78000.defects import DEFECTS
from edgebed.targets.max78000.emit import emit
from edgebed.targets.max78000.machine import VirtualBoard
from edgebed.targets.max78000.target import Max78000
from edgebed.train.metrics import Truth, score

WANTED = {
    "biases": "missing_biases", "colours": "channel_order", "normalisation": "double_normalisation",
    "weights": "stale_weights", "threshold": "output_scale", "overlap": "suppression",
}  # fmt: skip


def program_of(path: Path) -> Program:
    if path.is_dir():
        from edgebed.train.export import to_program
        from edgebed.train.fit import load as load_checkpoint

        return to_program(*load_checkpoint(path / "quantised.pt"))
    return read_model(path)


def with_kernels_of(older: Program, folder: Path) -> None:
    """Put an older checkpoint's kernels into a compiled folder, and nothing else of it."""
    kernels = emit(compile_program(older).image, older, vectors=1)["kernels.c"]
    (folder / "firmware" / "kernels.c").write_bytes(kernels)
    Max78000().build(folder / "firmware")
    (folder / "firmware.elf").write_bytes((folder / "firmware" / "firmware.elf").read_bytes())


def truth_of(sample: Sample, size: tuple[int, ...], program: Program) -> Truth:
    assert program.contract is not None
    place = geometry(size[1], size[0], program.contract.input)
    return Truth(place.to_input(sample.boxes), sample.labels, sample.difficult)


def recorded(folder: Path, pictures: Iterable[np.ndarray], trace: Path) -> list[Detections]:
    """Hold pictures before the camera; write the trace and return what the board reports."""
    bundle, found = load(folder), []
    board = VirtualBoard()
    board.load(folder)
    recorder.prepare(board, "full")
    model = str((folder / "program.onnx").resolve())
    begin = recorder.manifest(bundle.program, "max78000", "full", model=model)
    with TraceWriter(trace, begin) as writer:
        for number, picture in enumerate(pictures):
            frame = board.show(picture)
            rows = frame.detections
            writer.write(
                recorder.frame_of(bundle.program, frame.trace, number, picture=picture, answer=rows)
            )
            found.append(
                Detections(
                    rows[:, 2:].astype(np.float32),
                    rows[:, 1].astype(np.float32),
                    rows[:, 0].astype(np.int64),
                )
            )
    board.close()
    return found


def interpreted(program: Program, pictures: Iterable[np.ndarray], trace: Path) -> None:
    with TraceWriter(trace, reference.manifest(program, "full")) as writer:
        for frame in reference.record_pictures(program, pictures):
            writer.write(frame)


def said(expected: Path, trace: Path) -> list[dict[str, Any]]:
    return [one.to_json() for one in verdicts_on(compare_traces(expected, trace))]


def names(verdicts: list[dict[str, Any]]) -> list[str]:
    return [f"{one['cause']} at {one['layer']}" for one in verdicts]


def faults(
    program: Program, samples: list[Sample], older: Program | None, place: Path
) -> Iterator[dict[str, Any]]:
    """Give a row of each fault, the sound firmware's first."""
    pictures = [one.load() for one in samples]
    truth = [truth_of(s, p.shape, program) for s, p in zip(samples, pictures, strict=True)]
    assert program.contract is not None
    expected = place / "reference.trace"
    interpreted(program, pictures, expected)
    mended = 0.0
    for name in ("", *DEFECTS, *(["older weights"] if older else [])):
        folder = place / (name.replace(" ", "-") or "sound")
        trace = folder.with_suffix(".trace")
        build(program, Max78000(defect=name if name in DEFECTS else ""), folder)
        if name == "older weights" and older is not None:
            with_kernels_of(older, folder)
        found = recorded(folder, pictures, trace)
        ap = 100 * score(found, truth, program.contract.classes).ap50
        mended = mended or ap
        verdicts = said(expected, trace)
        wanted = WANTED.get(name, "stale_weights" if name else "")
        yield {
            "fault": name or "none", "verdicts": names(verdicts),
            "named": [one["cause"] for one in verdicts] == ([wanted] if wanted else []),
            "evidence": " ".join(one["evidence"] for one in verdicts),
            "ap50": round(ap, 1), "mended": round(mended, 1), "points": round(mended - ap, 1),
        }  # fmt: skip
        trace.unlink()


def clean(program: Program, samples: list[Sample], place: Path) -> dict[str, Any]:
    """Compare pictures through the sound firmware; nothing may be said."""
    folder, alarms = place / "sound", []
    for start in range(0, len(samples), 50):
        pictures = [one.load() for one in samples[start : start + 50]]
        interpreted(program, pictures, place / "reference.trace")
        recorded(folder, pictures, place / "clean.trace")
        alarms += names(said(place / "reference.trace", place / "clean.trace"))
    return {"pictures": len(samples), "alarms": alarms}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("model", type=Path)
    options.add_argument("data", type=Path)
    options.add_argument("--pictures", type=int, default=44)
    options.add_argument("--clean", type=int, default=0)
    options.add_argument("--older", type=Path)
    options.add_argument("--keep", type=Path)
    given = options.parse_args()
    program = program_of(given.model)
    older = program_of(given.older) if given.older else None
    data = read(given.data, classes=program.contract.classes if program.contract else None)
    with tempfile.TemporaryDirectory() as scratch:
        place = given.keep or Path(scratch)
        to_onnx.save(program, place / "program.onnx")
        rows = []
        for row in faults(program, list(data.splits["test"])[: given.pictures], older, place):
            rows.append(row)
            print(json.dumps(row), flush=True)
        everything = [one for part in data.splits.values() for one in part][: given.clean]
        silent = clean(program, everything, place) if everything else None
    print(json.dumps({"faults": rows, "clean": silent}, indent=2))


if __name__ == "__main__":
    main()
