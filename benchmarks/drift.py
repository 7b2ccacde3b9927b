"""How often drift is seen, what it is called, and how often nothing is taken for drift.

    python benchmarks/drift.py DATA CASES [--sets vww keywords] [--splits 5] [--out drift.json]

Sets of data (see `drift_data.py`): pictures with the MLPerf Tiny network for visual wake words, and
sounds with the one for keywords, both int8, every layer watched in the interpreter. For each split
a random half of the samples is the reference; from the other half come windows of 128, 64 and 16
frames, drawn anew each time: clean ones for false alarms, and ones with a fault in every frame.
Gates were chosen on the splits 0 and 1 of visual wake words; the others are new. A stream with a
fault from its middle on says how well the frame is found.
"""

from __future__ import annotations

import argparse
import json
import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from drift_data import SETS, Source

from edgebed.observe.drift import drift_of, moved_by
from edgebed.observe.drift_profile import Profile, profile_of_observations
from edgebed.observe.drift_stream import Observation, observations
from edgebed.observe.recorders import reference
from edgebed.observe.trace import Frame
from edgebed.program.types import Array, Program

WINDOWS = (128, 64, 16)
DRAWN = 20
"""Windows with each fault and of each size, for each split."""
Draw = Callable[[np.random.Generator, int, int], list[int]]
Seen = Mapping[str, Mapping[int, Observation]]
"""Of each fault ("" for none): the observation of each sample that was shown."""


def main() -> None:
    arguments = _arguments()
    rows = []
    for name in arguments.sets:
        source = SETS[name](arguments.data, arguments.cases)
        seen = _kept(name, source, arguments.keep)
        for split in range(arguments.first, arguments.first + arguments.splits):
            found = list(_measured(source, seen, split, arguments.windows))
            rows += [{"set": name, "split": split, **row} for row in found]
            print("\n".join(json.dumps(row) for row in rows[-len(found) :]), flush=True)
            if arguments.out is not None:
                arguments.out.write_text(json.dumps(rows, indent=1) + "\n")
    print("\n".join(_table(rows)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--first", type=int, default=2, help="split")
    parser.add_argument("--windows", type=int, default=400, help="clean ones, a split and size")
    parser.add_argument("--keep", type=Path, help="folder for what the networks computed")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def _kept(name: str, source: Source, keep: Path | None) -> Seen:
    path = None if keep is None else keep / f"{name}.pickle"
    if path is not None and path.is_file():
        found: Seen = pickle.loads(path.read_bytes())
        return found
    made = {fault: dict(_observed(source, fault)) for fault in ("", *source.faults)}
    if path is not None:
        path.write_bytes(pickle.dumps(made))
    return made


def _observed(source: Source, fault: str) -> Iterator[tuple[int, Observation]]:
    places = [at for at in range(len(source.samples)) if not fault or at in source.shown]
    random = np.random.default_rng(0)
    change = source.faults.get(fault)
    inputs = (
        source.prepare(change(source.samples[at], random) if change else source.samples[at])
        for at in places
    )
    seen = observations(_frames(source.program, inputs), what_if=not fault)
    yield from zip(places, seen, strict=True)


def _frames(program: Program, inputs: Iterator[Array]) -> Iterator[Frame]:
    (name,) = program.inputs
    for values in inputs:
        yield from reference.record(program, {name: values})


def _measured(source: Source, seen: Seen, split: int, windows: int) -> Iterator[dict[str, Any]]:
    learned, held = source.halves(split)
    manifest = reference.manifest(source.program, "full")
    profile = profile_of_observations([seen[""][at] for at in learned], manifest, source.limits)
    clean = [profile.judged(seen[""][at]) for at in held]
    draw = _neighbours if source.blocks > 1 else _any
    for size in WINDOWS:
        yield _clean(clean, profile, size, windows, draw)
    for fault in source.faults:
        kept = [profile.judged(one) for at, one in seen[fault].items() if at in set(held)]
        yield _row(fault, clean, kept, profile, draw)
    for name, chosen in source.groups.items():
        yield _row(name, clean, [profile.judged(seen[""][at]) for at in held if at in chosen],
                   profile, draw)  # fmt: skip
    still = [replace(clean[0], number=at, still=at > 0, alike=1.0) for at in range(128)]
    yield _row("one frame again and again", clean, still, profile, _neighbours)


def _any(random: np.random.Generator, count: int, size: int) -> list[int]:
    return random.choice(count, size, replace=size > count).tolist()


def _neighbours(random: np.random.Generator, count: int, size: int) -> list[int]:
    """Draw frames in a row, as a video has them; all where there are fewer."""
    start = int(random.integers(max(count - size, 0) + 1))
    return list(range(start, min(start + size, count)))


def _clean(
    seen: list[Observation], profile: Profile, size: int, windows: int, draw: Draw
) -> dict[str, Any]:
    random = np.random.default_rng(size)
    alarms, largest = 0, 0.0
    for _ in range(windows):
        window = [seen[at] for at in draw(random, len(seen), size)]
        moved = moved_by(window, profile)
        alarms += moved.largest > moved.threshold
        largest = max(largest, moved.largest / moved.threshold)
    return {"fault": "none", "window": size, "windows": windows, "alarms": alarms,
            "largest": round(largest, 2)}  # fmt: skip


def _row(
    name: str, clean: list[Observation], seen: list[Observation], profile: Profile, draw: Draw
) -> dict[str, Any]:  # fmt: skip
    """Return shares of windows with an alarm, the causes named, and how far `since` is off."""
    random = np.random.default_rng(1)
    row: dict[str, Any] = {"fault": name}
    for size in WINDOWS:
        causes: Counter[str] = Counter()
        for _ in range(DRAWN):
            window = draw(random, len(seen), size)
            found = drift_of([seen[at] for at in window], profile, size).verdicts
            causes[found[0].cause if found else "-"] += 1
        row[f"{size} frames"] = dict(causes.most_common(3))
    off = []
    for _ in range(10):
        start = int(random.integers(64, 128))
        stream = [clean[at] for at in _any(random, len(clean), start)]
        stream += [seen[at] for at in draw(random, len(seen), 96)]
        numbered = [replace(one, number=at) for at, one in enumerate(stream)]
        off += [abs(_since(one.evidence) - start) for one in
                drift_of(numbered, profile).verdicts[:1]]  # fmt: skip
    row["since off by, median"] = float(np.median(off)) if off else None
    return row


def _since(evidence: str) -> int:
    return int(evidence.split("Since frame ")[1].split(":")[0])


def _table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Give a table for each set: mean and worst share of windows with an alarm, over splits."""
    for name in dict.fromkeys(row["set"] for row in rows):
        own = [row for row in rows if row["set"] == name]
        yield f"\n{name}: | " + " | ".join(f"{size} frames" for size in WINDOWS) + " | off by |"
        none = [row for row in own if row["fault"] == "none"]
        yield (
            f"| none: alarms of {sum(row['windows'] for row in none):,} windows | "
            + " | ".join(
                f"{sum(row['alarms'] for row in none if row['window'] == size)}" for size in WINDOWS
            )
            + f" | largest {max(row['largest'] for row in none)} |"
        )
        for fault in dict.fromkeys(row["fault"] for row in own if row["fault"] != "none"):
            found = [row for row in own if row["fault"] == fault]
            yield (
                f"| {fault} | "
                + " | ".join(_cell(found, size) for size in WINDOWS)
                + " | "
                + (str(max((row["since off by, median"] or 0) for row in found)) + " |")
            )


def _cell(rows: list[dict[str, Any]], size: int) -> str:
    shares, causes = [], Counter[str]()
    for row in rows:
        counted = Counter(row[f"{size} frames"])
        shares.append(1 - counted.pop("-", 0) / DRAWN)
        causes += counted
    first = f", {causes.most_common(1)[0][0]}" if causes else ""
    return f"{np.mean(shares):.0%} ({min(shares):.0%}){first}"


if __name__ == "__main__":
    main()
