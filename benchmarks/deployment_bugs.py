"""Plant faults into deployments and count which the assertions name: bug x verdict matrices.

    python benchmarks/deployment_bugs.py --data DATA --cases CASES [--seeds 20] [--clean 1000]

Each run draws a fault, frames and disturbances that are no faults (rounding to bytes, decoder
noise), lets the float reference and the int8 device compute the same frames, and asks
`edgebed.observe.assertions.examine`. Beside it stand the rules of the published tool, restated:
permuted axes, equality of rows divided by their L2 norm, rotation by quarters, error of a layer
above a threshold, time of a layer against the reference's. Times are drawn from a cost law with
5 % noise; everything else is computed. Prints and writes JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from bug_catalogue import Bug, Planted, bugs_of
from bug_networks import Array, Network, check_features, keywords, visual_wake_words

from edgebed.figures import Figure
from edgebed.observe.assertions import examine
from edgebed.observe.assertions.stages import stages_of
from edgebed.observe.observed import Observed
from edgebed.observe.trace import Frame, Manifest, Tensor

RATES = {"Conv": 2.0, "Gemm": 1.0, "AveragePool": 0.5}
MATCHES = 0.02
DRIFT = 0.1


def trial(
    network: Network, planted: Planted, rng: np.random.Generator, session: Any
) -> tuple[Observed, Observed]:
    """Compute some frames on both sides and return their samples."""
    count = int(rng.integers(6, 13))
    start = int(rng.integers(0, len(network.raws)))
    chosen = [(start + 7 * at) % len(network.raws) for at in range(count + 1)]
    rounds, noise, own_raw = rng.random() < 0.5, float(rng.choice([0, 0, 1])), rng.random() < 0.5
    order = list(planted.order or range(len(network.classes)))
    frames: tuple[list[Frame], list[Frame]] = ([], [])
    macs = _macs(network)
    for at in range(count):
        raw = network.raws[chosen[at + 1]]
        seen = network.raws[chosen[at]] if planted.stale else raw
        seen = _disturbed(seen, noise, rng) if network.raw_layout == "HWC" else seen
        real = network.prepare(raw)
        given = network.prepare(seen)
        given = _rounded(given, network) if rounds else given
        integers = planted.integers(seen) if planted.integers else network.quantised(given)
        answers = network.run_reference(real), network.run_device(session, integers)
        kept = seen if own_raw and not planted.stale else None
        frames[0].append(_frame(network, at, raw, real, answers[0], None, rng, macs, Planted()))
        frames[1].append(_frame(network, at, kept, integers, answers[1], order, rng, macs, planted))
    names = {one.name: value for one, value in zip(network.graph.layers, macs, strict=True)}
    manifests = [
        Manifest(source, "full", network.name, contract={**network.contract, "classes": classes},
                 layers=tuple(names), notes={"macs": names})
        for source, classes in (("reference", network.classes),
                                ("device", planted.classes or network.classes))
    ]  # fmt: skip
    return Observed.of(manifests[0], frames[0]), Observed.of(manifests[1], frames[1])


def _frame(
    network: Network, number: int, raw: Array | None, given: Array, answers: dict[str, Array],
    order: list[int] | None, rng: np.random.Generator, macs: list[float], planted: Planted,
) -> Frame:  # fmt: skip
    graph, device = network.graph, order is not None
    tensors = []
    if raw is not None:
        kind = str(raw.dtype)
        tensors.append(Tensor("raw", "raw", raw.shape, kind, layout=network.raw_layout, values=raw))
    one = graph.input
    steps = {"scale": one.scale, "zero_point": one.zero_point} if device else {}
    tensors.append(Tensor(one.name, "input", given.shape, str(given.dtype), layout=network.layout,
                          values=np.ascontiguousarray(given), **steps))  # fmt: skip
    for one in graph.layers:
        values = answers[one.integers if device else one.name]
        steps = {"scale": one.scale, "zero_point": one.zero_point} if device else {}
        if device and planted.layer == one.name and planted.edit is not None:
            steps["scale"] = one.scale * getattr(planted.edit, "factor", 1.0)
        layout = "NCHW" if values.ndim == 4 else ""
        tensors.append(Tensor(one.name, "layer", values.shape, str(values.dtype), kind=one.kind,
                              layout=layout, values=values, **steps))  # fmt: skip
    scores = answers[graph.output]
    if order is not None:
        scores = scores[..., order] if scores.shape[-1] == len(order) else scores
    tensors.append(Tensor(graph.output, "output", scores.shape, "float32", values=scores))
    times = {}
    for one, count in zip(graph.layers, macs, strict=True):
        value = (
            (RATES.get(one.kind, 1.0) * count + 200) * rng.lognormal(0, 0.05) * (4 if device else 1)
        )
        value *= planted.slow if planted.layer == one.name else 1
        times[one.name] = {"latency": Figure(value, "us", "estimated", "a cost law with noise")}
    return Frame(number, tuple(tensors), layer_figures=times)


def _macs(network: Network) -> list[float]:
    """Give layers work of the spread that a small network has."""
    rng = np.random.default_rng(len(network.graph.layers))
    return [float(one) for one in rng.uniform(2e3, 2e4, len(network.graph.layers))]


def _disturbed(raw: Array, noise: float, rng: np.random.Generator) -> Array:
    """Give what another decoder makes of the same file: bytes a little off."""
    if not noise:
        return raw
    return np.clip(np.rint(raw + rng.normal(0, noise, raw.shape)), 0, 255).astype(np.uint8)


def _rounded(real: Array, network: Network) -> Array:
    low, high = network.contract.get("input", {}).get("range", (0.0, 1.0))
    if network.raw_layout == "T":
        return real
    return np.rint((real - low) / (high - low) * 255) / 255 * (high - low) + low


def published(reference: Observed, device: Observed) -> set[str]:
    """Return what the published tool's rules say, restated."""
    expected, given = (one.input.stack for one in (reference, device))
    assert expected is not None and given is not None
    found = set()
    if not _same(expected, given):
        found |= _published_input(expected, given)
    else:
        wrong = [one for one in stages_of(reference, device) if one.error > DRIFT]
        found |= {f"drift at {wrong[0].name}"} if wrong else set()
    ratios = {
        layer: np.median([one.value for one in device.layer_figures[layer]["latency"]])
        / np.median([one.value for one in figures["latency"]])
        for layer, figures in reference.layer_figures.items()
    }
    slow = [one for one in ratios if ratios[one] > 3 * np.median(list(ratios.values()))]
    return found | {f"slow {one}" for one in slow}


def _published_input(expected: Array, given: Array) -> set[str]:
    found = set()
    axes = range(1, expected.ndim)
    for order in itertools.permutations(axes):
        if order != tuple(axes):
            turned = expected.transpose(0, *order)
            if turned.shape == given.shape and _same(turned, given):
                found.add("channel")
    rows = [
        one / np.maximum(np.linalg.norm(one, axis=-1, keepdims=True), 1e-9)
        for one in (expected, given)
    ]
    if _same(*rows):
        found.add("normalisation")
    for quarter in (1, 2, 3):
        turned = np.rot90(expected, quarter, (-2, -1))
        if turned.shape == given.shape and _same(turned, given):
            found.add("rotation")
    return found


def _same(one: Array, two: Array) -> bool:
    span = max(np.ptp(one), np.ptp(two)) or 1.0
    return bool(np.sqrt(np.square(one - two).mean()) / span < MATCHES)


WORDS = {
    "channel_order": "channel", "layout": "channel", "transposed": "channel",
    "normalisation": "normalisation", "double_normalisation": "normalisation",
    "rotation": "rotation",
}  # fmt: skip


def published_names(bug: Bug, planted: Planted, said: set[str]) -> bool:
    """Say whether a published rule points at the fault; a layer's place counts as its name."""
    if f"drift at {planted.layer}" in said or f"slow {planted.layer}" in said:
        return True
    return any(WORDS.get(cause) in said for cause in bug.causes)


def right(bug: Bug, planted: Planted, verdicts: list[Any]) -> bool:
    """Say whether the verdicts are one, of the right cause and at the right layer."""
    if len(verdicts) != 1 or verdicts[0].cause not in bug.causes:
        return False
    return not planted.layer or verdicts[0].layer == planted.layer


def accuracy(network: Network, planted: Planted, count: int) -> float | None:
    """Return the share of right answers with a fault, in percent; None without labels."""
    if not network.labels.any():
        return None
    session = network.graph.device(planted.edit)
    order, names = planted.order, planted.classes or network.classes
    hits = 0
    chosen = np.linspace(0, len(network.raws) - 1, min(count, len(network.raws))).astype(int)
    for at in chosen:
        raw = network.raws[at - 1 if planted.stale else at]
        integers = (
            planted.integers(raw) if planted.integers else network.quantised(network.prepare(raw))
        )
        place = network.answer(session, integers)
        place = order.index(place) if order else place
        hits += names[place] == network.classes[network.labels[at]]
    return 100 * hits / len(chosen)


def matrix(network: Network, seeds: int, count: int, kinds: slice) -> list[dict[str, Any]]:
    """Return one row a kind of fault."""
    rows = []
    healthy = accuracy(network, Planted(), count)
    for number, bug in list(enumerate(bugs_of(network)))[kinds]:
        said: Counter[str] = Counter()
        named = theirs = 0
        for seed in range(seeds):
            rng = np.random.default_rng([seed, number])
            planted = bug.plant(network, rng)
            pair = trial(network, planted, rng, network.graph.device(planted.edit))
            verdicts = examine(*pair)
            named += right(bug, planted, verdicts)
            theirs += published_names(bug, planted, published(*pair))
            said[" + ".join(sorted(one.cause for one in verdicts)) or "nothing"] += 1
            if seed == 0:
                broken = accuracy(network, planted, count)
        after = healthy if 2 * named >= seeds else broken
        rows.append({
            "bug": bug.name, "named": named, "published": theirs, "seeds": seeds,
            "verdicts": dict(said.most_common()),
        })  # fmt: skip
        if broken is not None and after is not None:
            rows[-1] |= {
                "accuracy_with_bug": round(broken, 1),
                "accuracy_after_advice": round(after, 1),
                "recovered": round(after - broken, 1),
            }
        print(json.dumps(rows[-1]), flush=True)
    return rows


def clean(network: Network, runs: int) -> dict[str, Any]:
    """Return the alarms in runs without a fault."""
    session = network.graph.device()
    alarms = []
    for seed in range(runs):
        pair = trial(network, Planted(), np.random.default_rng([seed, 999]), session)
        alarms += [f"run {seed}: {one}" for one in examine(*pair)]
    return {"runs": runs, "alarms": alarms}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--clean", type=int, default=1000, help="runs over all networks together")
    parser.add_argument("--pictures", type=int, default=160, help="for accuracy")
    parser.add_argument("--first", type=int, default=0, help="kind of fault to begin with")
    parser.add_argument("--last", type=int, help="kind of fault to end before")
    parser.add_argument("--networks", default="vww,kws")
    parser.add_argument("--detector", type=Path, help="quantised.pt of a bccd run, for `cells`")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    makers = {"vww": visual_wake_words, "kws": keywords}
    found: dict[str, Any] = {"features_differ_by": check_features(options.data)}
    for name in options.networks.split(","):
        begin = time.perf_counter()
        if name == "cells":
            from bug_cells import blood_cells

            network = blood_cells(options.data, options.detector, options.pictures)
        else:
            network = makers[name](options.data, options.cases, options.pictures)
        runs = options.clean // len(options.networks.split(","))
        result = {"clean": clean(network, runs)}
        print(network.name, json.dumps(result), flush=True)
        kinds = slice(options.first, options.last)
        result["bugs"] = []
        if options.seeds:
            result["bugs"] = matrix(network, options.seeds, options.pictures, kinds)
        total = sum(row["seeds"] for row in result["bugs"]) or 1
        result["named_percent"] = 100 * sum(row["named"] for row in result["bugs"]) / total
        result["published_percent"] = 100 * sum(row["published"] for row in result["bugs"]) / total
        result["seconds"] = round(time.perf_counter() - begin)
        found[network.name] = result
        if options.out:
            options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(
        json.dumps(
            {k: v.get("named_percent") if isinstance(v, dict) else v for k, v in found.items()}
        )
    )


if __name__ == "__main__":
    main()
