"""Plant faults into deployments and count which the assertions name: bug x verdict matrices.

    python benchmarks/deployment_bugs.py --data DATA --cases CASES --detector QUANTISED.pt \\
        --part held-out --out FOUND.jsonl [--share 1/2]
    python benchmarks/deployment_bugs.py --markdown FOUND.jsonl

Each run draws a fault, frames and disturbances that are no faults (pictures resized in bytes or in
real numbers, decoder noise, whether the device records its raw pictures), lets the float reference
and the int8 device compute the same frames, and asks `edgebed.observe.assertions.examine`. A fault
that changes no integer on these frames cannot be seen by anybody: it is counted as silent and drawn
again. Times are drawn from a cost law with 5 % noise; everything else is computed. One line of JSON
a kind of fault, and one for 25 clean runs; what a file holds already is not run again, and several
processes may write one file (`--share 1/2` and `2/2`).
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from bug_accuracy import accuracy
from bug_advice import mended
from bug_catalogue import bugs_of
from bug_networks import Array, Network, keywords, visual_wake_words
from bug_pipeline import Bug, Pipeline, Planted
from bug_published import published, published_names
from bug_tables import markdown

from edgebed.figures import Figure
from edgebed.observe.assertions import examine
from edgebed.observe.observed import Observed
from edgebed.observe.trace import Frame, Manifest, Tensor

RATES = {"Conv": 2.0, "Gemm": 1.0, "AveragePool": 0.5}
CHUNK = 25
REDRAWN = 1000
"""Added to the seed of a run whose fault was silent."""
PARTS = {"tuning": 0, "held-out": 100_000}
"""Seeds begin there."""


def trial(planted: Planted, rng: np.random.Generator) -> tuple[Observed, Observed] | None:
    """Compute some frames on both sides and return their samples; None where nothing differs."""
    network = planted.network
    count = int(rng.integers(6, 13 if network.graded else 9))  # a detector takes longer
    start = int(rng.integers(0, len(network.raws)))
    chosen = [(start + 7 * at) % len(network.raws) for at in range(count + 1)]
    rounds, noise, own_raw = rng.random() < 0.5, float(rng.choice([0, 0, 1])), rng.random() < 0.5
    pipeline = replace(planted.pipeline, rounds=rounds)
    session = network.graph.device(planted.edit)
    frames: tuple[list[Frame], list[Frame]] = ([], [])
    macs, silent = _macs(network), True
    for at in range(count):
        raw = network.raws[chosen[at + 1]]
        seen = network.raws[chosen[at]] if planted.stale else raw
        seen = _disturbed(seen, noise, rng) if network.raw_layout == "HWC" else seen
        real, integers = network.prepare(raw), pipeline.integers(seen)
        answers = network.run_reference(real), network.run_device(session, integers)
        silent = silent and _unseen(planted, pipeline, raw if planted.stale else seen, integers,
                                    answers[1])  # fmt: skip
        kept = seen if own_raw and not planted.stale else None
        frames[0].append(_frame(network, at, raw, real, answers[0], None, rng, macs))
        frames[1].append(_frame(network, at, kept, integers, answers[1], planted, rng, macs))
    if silent:
        return None
    names = {one.name: value for one, value in zip(network.graph.layers, macs, strict=True)}
    manifests = [
        Manifest(source, "full", network.name, contract={**network.contract, "classes": classes},
                 layers=tuple(names), notes={"macs": names})
        for source, classes in (("reference", network.classes), ("device", planted.names))
    ]  # fmt: skip
    return Observed.of(manifests[0], frames[0]), Observed.of(manifests[1], frames[1])


def _unseen(
    planted: Planted, pipeline: Pipeline, raw: Array, integers: Array, answers: dict[str, Array]
) -> bool:
    """Say whether the fault changed none of a frame's integers."""
    network = planted.network
    if planted.edit is not None:
        sound = network.run_device(network.graph.device(), integers)
        name = next(o.integers for o in network.graph.layers if o.name == planted.layer)
        return planted.factor == 1 and np.array_equal(sound[name], answers[name])
    around = planted.classes or planted.order or planted.slow != 1
    if around or (pipeline == Pipeline(network, rounds=pipeline.rounds) and not planted.stale):
        return False
    return np.array_equal(Pipeline(network, rounds=pipeline.rounds).integers(raw), integers)


def _frame(
    network: Network, number: int, raw: Array | None, given: Array, answers: dict[str, Array],
    planted: Planted | None, rng: np.random.Generator, macs: list[float],
) -> Frame:  # fmt: skip
    """Return a frame of the device, or of the reference where nothing is planted."""
    graph, tensors = network.graph, []
    if raw is not None:
        kind = str(raw.dtype)
        tensors.append(Tensor("raw", "raw", raw.shape, kind, layout=network.raw_layout, values=raw))
    one = graph.input
    steps = {"scale": one.scale, "zero_point": one.zero_point} if planted else {}
    tensors.append(Tensor(one.name, "input", given.shape, str(given.dtype), layout=network.layout,
                          values=np.ascontiguousarray(given), **steps))  # fmt: skip
    for one in graph.layers:
        values = answers[one.integers if planted else one.name]
        factor = planted.factor if planted and planted.layer == one.name else 1.0
        steps = {"scale": one.scale * factor, "zero_point": one.zero_point} if planted else {}
        layout = "NCHW" if values.ndim == 4 else ""
        tensors.append(Tensor(one.name, "layer", values.shape, str(values.dtype), kind=one.kind,
                              layout=layout, values=values, **steps))  # fmt: skip
    scores = answers[graph.output]
    if planted and planted.order:
        scores = scores[..., list(planted.order)]
    tensors.append(Tensor(graph.output, "output", scores.shape, "float32", values=scores))
    return Frame(number, tuple(tensors), layer_figures=_times(network, planted, rng, macs))


def _times(
    network: Network, planted: Planted | None, rng: np.random.Generator, macs: list[float]
) -> dict[str, dict[str, Figure]]:
    times = {}
    for one, count in zip(network.graph.layers, macs, strict=True):
        value = (RATES.get(one.kind, 1.0) * count + 200) * rng.lognormal(0, 0.05)
        if planted:
            value *= 4 * (planted.slow if planted.layer == one.name else 1)
        times[one.name] = {"latency": Figure(value, "us", "measured", "drawn")}
    return times


def _macs(network: Network) -> list[float]:
    """Give layers work of the spread that a small network has."""
    rng = np.random.default_rng(len(network.graph.layers))
    return [float(one) for one in rng.uniform(2e3, 2e4, len(network.graph.layers))]


def _disturbed(raw: Array, noise: float, rng: np.random.Generator) -> Array:
    """Give what another decoder makes of the same file: bytes a little off."""
    if not noise:
        return raw
    gaps = rng.standard_normal(raw.shape, np.float32) * np.float32(noise)
    return np.clip(np.rint(raw + gaps), 0, 255).astype(np.uint8)


def right(bug: Bug, planted: Planted, verdicts: list[Any]) -> bool:
    """Say whether the verdicts are one, of the right cause and at the right layer."""
    if len(verdicts) != 1 or verdicts[0].cause not in bug.causes:
        return False
    return not planted.layer or verdicts[0].layer == planted.layer


def row_of(network: Network, bug: Bug, first: int, seeds: int) -> dict[str, Any]:
    """Return what the runs of one kind of fault gave."""
    said: Counter[str] = Counter()
    row: dict[str, Any] = {"named": 0, "published": 0, "silent": 0, "missed": []}
    for seed in range(first, first + seeds):
        found, draw = None, seed
        while found is None:
            rng = np.random.default_rng([draw, zlib.crc32(bug.name.encode())])
            planted = bug.plant(network, rng)
            found = trial(planted, rng)
            row["silent"] += found is None
            draw += REDRAWN
        verdicts = examine(*found)
        row["named"] += right(bug, planted, verdicts)
        row["published"] += published_names(bug, planted, published(*found))
        said[" + ".join(sorted(one.cause for one in verdicts)) or "nothing"] += 1
        if not right(bug, planted, verdicts):
            row["missed"].append([draw - REDRAWN, planted.layer, [str(one) for one in verdicts]])
        if seed == first:
            row |= _recovered(planted, verdicts)
    return {**row, "verdicts": dict(said.most_common())}


def _recovered(planted: Planted, verdicts: list[Any]) -> dict[str, Any]:
    """Return accuracy with the fault, and after following the advice, right or wrong."""
    after, way = planted, "none"
    for one in verdicts:
        after, way = mended(after, one)
    with_it = accuracy(planted)
    better = with_it if way == "none" else accuracy(after)
    return {"with_it": with_it, "after": better, "way": way}


def alarms(network: Network, seeds: range) -> list[str]:
    """Return what is said in runs without a fault."""
    found = []
    for seed in seeds:
        pair = trial(Planted(Pipeline(network)), np.random.default_rng([seed, 999]))
        assert pair is not None
        found += [f"run {seed}: {one}" for one in examine(*pair)]
    return found


def _known(path: Path) -> set[tuple[Any, ...]]:
    if not path.is_file():
        return set()
    lines = [json.loads(one) for one in path.read_text().splitlines()]
    return {(one["network"], one["kind"], one["first"], one["runs"]) for one in lines}


def _run(options: argparse.Namespace, name: str) -> None:
    network = _network(options, name)
    first = PARTS[options.part] + options.first
    share, shares = (int(one) for one in options.share.split("/"))
    every = options.clean // len(options.networks.split(","))
    tasks: list[tuple[str, Bug | None, int, int]] = [
        ("clean", None, first + at, min(CHUNK, every - at)) for at in range(0, every, CHUNK)
    ]
    wanted = options.only.split(";") if options.only else None
    tasks += [(bug.name, bug, first, options.seeds) for bug in bugs_of(network)
              if options.seeds and (wanted is None or bug.name in wanted)]  # fmt: skip
    tasks.append(("healthy", None, 0, 1))
    for kind, bug, begin, runs in tasks[share - 1 :: shares]:
        key = (network.name, kind, begin, runs)
        if options.out and key in _known(options.out):
            continue
        start = time.perf_counter()
        row = dict(zip(("network", "kind", "first", "runs"), key, strict=True))
        row |= {"part": options.part, "examples": len(network.raws)}
        if kind == "clean":
            row["alarms"] = alarms(network, range(begin, begin + runs))
        elif bug is None:
            row["accuracy"] = accuracy(Planted(Pipeline(network)))
        else:
            row |= row_of(network, bug, begin, runs)
        row["seconds"] = round(time.perf_counter() - start, 1)
        line = json.dumps(row)
        print(line, flush=True)
        if options.out:
            with options.out.open("a") as file:
                file.write(line + "\n")


def _network(options: argparse.Namespace, name: str) -> Network:
    if name == "cells":
        from bug_cells import blood_cells

        return blood_cells(options.data, options.detector, options.part)
    maker = {"vww": visual_wake_words, "kws": keywords}[name]
    return maker(options.data, options.cases, options.part)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--markdown", type=Path, help="print the tables of a file, run nothing")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--detector", type=Path, help="quantised.pt of a bccd run, for `cells`")
    parser.add_argument("--part", choices=PARTS, default="held-out")
    parser.add_argument("--networks", default="vww,kws,cells")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="seed to begin with, in the part")
    parser.add_argument("--clean", type=int, default=1000, help="runs over all networks together")
    parser.add_argument("--only", help="kinds of fault, separated by semicolons")
    parser.add_argument("--share", default="1/1", help="of the work, e.g. 1/2")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.markdown:
        print(markdown([json.loads(one) for one in options.markdown.read_text().splitlines()]))
        return
    for name in options.networks.split(","):
        _run(options, name)


if __name__ == "__main__":
    main()
