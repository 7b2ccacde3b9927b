"""How often drift is seen, what it is called, and how often nothing is taken for drift.

    python benchmarks/drift.py DATA/vww CASES/models/vww_96_int8.tflite [--out drift.json]

The MLPerf Tiny network for visual wake words (int8) on its pictures, 96 x 96. A random half of the
pictures is the reference; from the other half come windows of 128, 64 and 16 frames, drawn anew
each time: clean ones for false alarms, and ones with a fault in every frame. Every layer is
watched, in the interpreter. A stream with a fault from its middle on says how well the frame is
found.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from edgebed.observe.drift import drift_of, moved_by
from edgebed.observe.drift_profile import Profile, profile_of_frames
from edgebed.observe.drift_stream import Observation, observations
from edgebed.observe.recorders import reference
from edgebed.observe.trace import Frame
from edgebed.program.read import read_model
from edgebed.program.types import Array, Program

Fault = Callable[[Array, np.random.Generator], Array]
WINDOWS = (128, 64, 16)
SHOWN = 160
"""Pictures with each fault."""


def _scaled(factor: float, offset: float = 0.0) -> Fault:
    return lambda picture, _: picture * factor + offset


def _blurred(picture: Array, _: np.random.Generator) -> Array:
    image = Image.fromarray(picture.astype(np.uint8)).filter(ImageFilter.GaussianBlur(1.5))
    return np.asarray(image, np.float64)


def _noisy(picture: Array, random: np.random.Generator) -> Array:
    return picture + random.normal(0, 20, picture.shape)


def _without_green(picture: Array, _: np.random.Generator) -> Array:
    return np.asarray(picture * np.array([1, 0, 1]))


FAULTS: dict[str, Fault] = {
    "darkened to half": _scaled(0.5),
    "darkened to 80 %": _scaled(0.8),
    "overexposed, times 2": _scaled(2.0),
    "[-1, 1] instead of [0, 1]": _scaled(2.0, -255),
    "contrast halved": _scaled(0.5, 64),
    "blurred, 1.5 pixels": _blurred,
    "noise, 20 of 255": _noisy,
    "red and blue swapped": lambda picture, _: picture[:, :, ::-1],
    "turned by 90 degrees": lambda picture, _: np.rot90(picture),
    "turned by 180 degrees": lambda picture, _: np.rot90(picture, 2),
    "green missing": _without_green,
    "lens cap": _scaled(0.0, 3),
}


def main() -> None:
    arguments = _arguments()
    program = read_model(arguments.model)
    pictures, people = _pictures(arguments.data)
    order = np.random.default_rng(arguments.seed).permutation(len(pictures))
    half = len(order) // 2
    learned, held = pictures[order[:half]], pictures[order[half:]]
    profile = profile_of_frames(_frames(program, learned), reference.manifest(program, "full"))
    clean = list(observations(_frames(program, held)))
    rows = [_clean(clean, profile, size, arguments.windows) for size in WINDOWS]
    print(json.dumps(rows), flush=True)
    for name, fault in FAULTS.items():
        faulty = _faulty(held[:SHOWN], fault, arguments.seed)
        seen = list(observations(_frames(program, faulty)))
        rows.append(_row(name, clean, seen, profile))
        print(json.dumps(rows[-1]), flush=True)
    only = [one for one, person in zip(clean, people[order[half:]], strict=True) if person]
    rows.append(_row("people only", clean, only, profile))
    stuck = list(observations(_frames(program, np.repeat(held[:1], 128, 0))))
    rows.append(_row("one frame again and again", clean, stuck, profile, drawn=False))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n")
    print("\n".join(json.dumps(row) for row in rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--windows", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def _pictures(folder: Path) -> tuple[Array, Array]:
    lines = (folder / "labels.csv").read_text().splitlines()[1:]
    names, labels = zip(*(line.split(",")[:2] for line in lines), strict=True)
    opened = [Image.open(folder / "images" / name).convert("RGB") for name in names]
    return np.stack([np.asarray(one) for one in opened]), np.array(labels) == "1"


def _frames(program: Program, pictures: Array) -> Iterator[Frame]:
    (name,) = program.inputs
    for picture in pictures:
        values = (picture.astype(np.int16) - 128).astype(np.int8)
        yield from reference.record(program, {name: values})


def _faulty(pictures: Array, fault: Fault, seed: int) -> Array:
    random = np.random.default_rng(seed)
    broken = [fault(one.astype(np.float64), random) for one in pictures]
    return np.clip(np.round(np.stack(broken)), 0, 255).astype(np.uint8)


def _clean(seen: list[Observation], profile: Profile, size: int, windows: int) -> dict[str, Any]:
    random = np.random.default_rng(size)
    alarms = 0
    largest = 0.0
    for _ in range(windows):
        window = [seen[at] for at in random.choice(len(seen), size, replace=False)]
        moved = moved_by(window, profile)
        alarms += moved.largest > moved.threshold
        largest = max(largest, moved.largest / moved.threshold)
    return {"fault": "none", "window": size, "windows": windows, "alarms": alarms,
            "largest": round(largest, 2)}  # fmt: skip


def _row(
    name: str, clean: list[Observation], seen: list[Observation], profile: Profile,
    drawn: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Return shares of windows with an alarm, the causes named, and how far `since` is off."""
    random = np.random.default_rng(1)
    row: dict[str, Any] = {"fault": name}
    for size in WINDOWS:
        causes: Counter[str] = Counter()
        for _ in range(40):
            places = random.choice(len(seen), size, replace=False) if drawn else range(size)
            found = drift_of([seen[at] for at in places], profile, size).verdicts
            causes[found[0].cause if found else "-"] += 1
        row[f"{size} frames"] = dict(causes.most_common(3))
    off = []
    for _ in range(20):
        start = int(random.integers(64, 128))
        stream = [clean[at] for at in random.choice(len(clean), start)]
        stream += [seen[at] for at in (random.choice(len(seen), 96) if drawn else range(64))]
        numbered = [_numbered(one, at) for at, one in enumerate(stream)]
        off += [abs(_since(one.evidence) - start) for one in
                drift_of(numbered, profile).verdicts[:1]]  # fmt: skip
    row["since off by, median"] = float(np.median(off)) if off else None
    return row


def _numbered(one: Observation, number: int) -> Observation:
    return replace(one, number=number)


def _since(evidence: str) -> int:
    return int(evidence.split("Since frame ")[1].split(":")[0])


if __name__ == "__main__":
    main()
