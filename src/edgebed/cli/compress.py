"""`edgebed compress`: a float network becomes integers, within a budget."""

from __future__ import annotations

import json as json_format
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from edgebed.errors import BudgetMissedError, EdgebedError

if TYPE_CHECKING:
    from edgebed.compress.budget import Remedy
    from edgebed.compress.imported import Compressed, Data
    from edgebed.data.samples import PictureForm, Samples
    from edgebed.events import Listener
    from edgebed.program.types import Program
    from edgebed.targets.contract import Target

LISTED: Final = 8
FEW: Final = 4  # with fewer samples the same ones calibrate and evaluate


def compress(
    model: Path,
    /,
    *,
    data: Path | None = None,
    target: str | None = None,
    cpu: str | None = None,
    max_drop: str = "1%",
    out: Path | None = None,
    calibration: str = "mse",
    percentile: float = 99.99,
    samples: int = 32,
    evaluate: int = 64,
    pixels: str | None = None,
    channels: str = "rgb",
    keep_float: str = "",
    equalise: Annotated[bool, Parameter(negative="--no-equalise")] = True,
    correct_bias: Annotated[bool, Parameter(negative="--no-correct-bias")] = True,
    seed: int = 0,
    json: bool = False,
    quiet: bool = False,
) -> None:
    """Quantise a float network: 8 bits, and 16-bit activations or float32 where a layer needs them.

    The score is the share of right classes where the data has classes (a folder per class,
    labels.csv, or an array y), else the agreement with the float network.

    Args:
        model: .onnx, .tflite or .pt2 with float32 weights.
        data: pictures (a folder), or tensors (.npy, .npz, a folder of .npy).
        target: a device, whose arithmetic says what a layer becomes that 8 bits are not enough
            for: 16-bit activations (without --target, and host) or float32; see `edgebed targets`.
        cpu: its core, where it has several.
        max_drop: leave with exit code 2, and write nothing, when the score falls by more than
            this: 1% (default) or 0.01.
        out: the .onnx file to write, with a .json report beside it; MODEL_int8.onnx in the current
            folder by default.
        calibration: how ranges are chosen: mse (default), percentile or minmax.
        percentile: of --calibration percentile; default 99.99.
        samples: how many calibrate; default 32.
        evaluate: how many others are scored; default 64.
        pixels: what bytes become: 0..1, 0..255, -1..1 or imagenet; found from the network's first
            layer by default.
        channels: order of a picture's channels that the network takes, rgb (default) or bgr.
        keep_float: layers that stay float32, separated by commas.
        equalise: balance the weights of neighbouring layers first (default).
        correct_bias: take the mean error of rounding out of the biases (default).
        seed: of the samples' choice; default 0.
        json: print one JSON object on standard output; progress goes to standard error.
        quiet: no progress.
    """
    from edgebed import files
    from edgebed.cli.progress import listening
    from edgebed.compile.passes.pipeline import optimise
    from edgebed.compress import imported
    from edgebed.compress.calibration import check_method
    from edgebed.compress.scheme import Settings
    from edgebed.figures import parse_share
    from edgebed.program import to_onnx
    from edgebed.program.read import read_model

    if data is None:
        raise EdgebedError(
            "--data is missing", try_="--data DIR with pictures, or tensors as .npy or .npz"
        )
    device = _device(target, cpu)
    limit = parse_share(max_drop)
    place = _place(model, out)
    settings = Settings(
        method=check_method(calibration),
        percentile=_checked_percentile(percentile),
        equalise=equalise,
        correct_bias=correct_bias,
        floats=frozenset(name for name in keep_float.split(",") if name),
    )
    with listening(quiet=quiet, json=json) as listener:
        program, _ = optimise(read_model(model), listener)
        _check_layers(program, settings.floats)
        found = _data(program, data, pixels, channels, (samples, evaluate), seed, listener)
        done = imported.compress(program, found, settings, limit, listener, _remedy(device))
        report = _report(model, place, done, limit) | _costs(done, device)
        if not done.choice.drop <= limit:
            _print(report, done, json)
            raise BudgetMissedError(
                f"the score falls by {100 * done.choice.drop:.2f} %, nothing was written",
                where=str(model),
                why=f"--max-drop allows {100 * limit:g} %; score: {done.measure}",
                try_=_advice(done, device),
            )
        made, _ = optimise(done.choice.program, listener)
        to_onnx.save(made, place)
        files.write_text(place.with_suffix(".json"), json_format.dumps(report, indent=2) + "\n")
    chosen = f"--target {target}" if target else "--target host"
    _print(report, done, json, f"{chosen} --cpu {cpu}" if cpu else chosen)


def _device(name: str | None, cpu: str | None) -> Target | None:
    """Return the device; refuse one whose arithmetic has no affine integers."""
    from edgebed.cli.device_options import configured
    from edgebed.targets import load

    if name is None:
        if cpu is not None:
            raise EdgebedError(f"--cpu {cpu} without a target", try_="--target NAME")
        return None
    device = configured(load(name), name, {"cpu": cpu})
    if device.arithmetic.requantize == "power_of_two":
        raise EdgebedError(
            f"{name} computes with powers of two",
            where="--target",
            why="rounding a trained network to them loses too much; it must be trained for them",
            try_=f"edgebed run bed --data DIR, which trains a detector for {name} "
            f"(bed-fast: in minutes); a network of your own trained with the ai8x tools (QAT), "
            f"then edgebed compile; or --target host, for this network as it is",
        )
    return device


def _remedy(device: Target | None) -> Remedy:
    """Return what the device does with layers that 8 bits are not enough for."""
    from edgebed.compile.passes.pipeline import optimise
    from edgebed.compress.budget import DEFAULT, Remedy

    if device is None or device.arithmetic.wide == DEFAULT.kind:
        return DEFAULT

    def possible(program: Program) -> bool:
        return all(one.warning for one in device.check(optimise(program)[0]))

    return Remedy(device.arithmetic.wide, possible)


def _costs(done: Compressed, device: Target | None) -> dict[str, Any]:
    """Return what float32 layers cost on the device: its figures with 8 bits, and with them."""
    from edgebed.compile.passes.pipeline import optimise

    if device is None or not done.choice.floats:
        return {}
    programs = {"eight_bits": done.narrow, "with_float_layers": done.choice.program}
    return {
        "costs": {
            key: {
                name: figure.to_json()
                for name, figure in device.cost(optimise(program)[0]).total.items()
            }
            for key, program in programs.items()
        }
    }


def _place(model: Path, out: Path | None) -> Path:
    place = out or Path(f"{model.stem}_int8.onnx")
    if place.suffix != ".onnx":
        raise EdgebedError(f"--out {place}", why="an ONNX file is written", try_=f"{place}.onnx")
    if place.exists() and model.exists() and place.samefile(model):
        raise EdgebedError("--out is the model itself", where=str(place), try_="another --out")
    return place


def _checked_percentile(value: float) -> float:
    if not 50 < value <= 100:
        raise EdgebedError(f"--percentile {value:g}", why="it lies in 50..100", try_="99.99")
    return value


def _check_layers(program: Program, named: frozenset[str]) -> None:
    from edgebed.errors import did_you_mean

    known = [op.name for op in program.ops]
    for name in sorted(named - set(known)):
        raise EdgebedError(f"--keep-float: no layer {name!r}", try_=did_you_mean(name, known))


def _data(
    program: Program,
    source: Path,
    pixels: str | None,
    channels: str,
    counts: tuple[int, int],
    seed: int,
    listener: Listener,
) -> Data:
    from edgebed.compress.imported import Data
    from edgebed.data.samples import read_samples
    from edgebed.events import Note

    if min(counts) < 1:
        raise EdgebedError("--samples and --evaluate must be 1 or more")
    form = _form(program, source, pixels, channels, listener)
    found = read_samples(source, program.inputs, form, count=sum(counts), seed=seed)
    total = len(found.inputs)
    if total < FEW:
        count = f"{total} sample{'s' if total > 1 else ''}"
        listener(Note("compress", f"only {count}: calibrated and evaluated on the same"))
        return Data(found.inputs, found.inputs, found.labels)
    share = min(counts[0], max(1, total * counts[0] // sum(counts)))
    return _split(found, share, seed)


def _split(found: Samples, share: int, seed: int) -> Data:
    import numpy as np

    from edgebed.compress.imported import Data

    order = [int(i) for i in np.random.default_rng(seed).permutation(len(found.inputs))]
    first, rest = sorted(order[:share]), sorted(order[share:])
    labels = None if found.labels is None else [found.labels[i] for i in rest]
    return Data([found.inputs[i] for i in first], [found.inputs[i] for i in rest], labels)


def _form(
    program: Program, source: Path, pixels: str | None, channels: str, listener: Listener
) -> PictureForm:
    from edgebed.compress.pixel_scale import guess_pixels
    from edgebed.data.samples import PictureForm, check_pixels, read_samples
    from edgebed.events import Note

    if channels not in ("rgb", "bgr"):
        raise EdgebedError(f"--channels {channels!r}", try_="rgb or bgr")
    order: Any = channels
    if pixels is not None:
        return PictureForm(check_pixels(pixels), order)
    if not source.is_dir() or any(source.glob("*.npy")):
        return PictureForm("0..1", order)
    few = read_samples(source, program.inputs, PictureForm("0..1", order), count=4)
    guess = guess_pixels(program, few.inputs)
    why = f"spread over bias in the first layer is {guess.ratio:.2g} on 0..1"
    doubt = "" if guess.sure else "; that is not clear, --pixels says it"
    listener(Note("compress", f"pixels are taken as {guess.pixels}: {why}{doubt}"))
    return PictureForm(guess.pixels, order)


def _report(model: Path, place: Path, done: Compressed, limit: float) -> dict[str, Any]:
    choice = done.choice
    return {
        "model": str(model),
        "out": str(place),
        "measure": done.measure,
        "float": done.reference,
        "score": choice.score,
        "drop": choice.drop,
        "max_drop": limit,
        "kind": "measured",
        "wide_layers": list(choice.wide),
        "float_layers": list(choice.floats),
        "constant_bytes": {"before": done.bytes[0], "after": done.bytes[1]},
        "sensitivity": [
            {"layer": one.layer, "kind": one.kind, "noise_db": one.noise_db, "macs": one.macs}
            for one in done.table
        ],
    }


def _print(report: dict[str, Any], done: Compressed, json: bool, target: str = "") -> None:
    lines = _lines(report, done, target)
    print(json_format.dumps(report, indent=2) if json else "\n".join(lines))


def _lines(report: dict[str, Any], done: Compressed, target: str) -> Iterator[str]:
    yield f"score: {report['measure']} (measured)"
    both = f"float {report['float']:.4f}, integers {report['score']:.4f}"
    yield f"  {both}, drop {report['drop']:.4f}"
    before, after = done.bytes
    yield f"  weights and tables {before:,} -> {after:,} bytes"
    if done.choice.wide:
        yield f"  16-bit activations: {', '.join(done.choice.wide)}"
    if done.choice.floats:
        yield f"  float32 layers: {', '.join(done.choice.floats)}"
    yield from _cost_lines(report.get("costs"))
    yield "most sensitive layers, each quantised alone (signal to noise of the outputs):"
    for one in done.table[:LISTED]:
        yield f"  {one.noise_db:6.1f} dB  {one.layer} ({one.kind})"
    if report["drop"] <= report["max_drop"]:
        yield f"written: {report['out']}"
        yield f"next: edgebed compile {shlex.quote(report['out'])} {target} --out DIR"


def _cost_lines(costs: dict[str, Any] | None) -> Iterator[str]:
    from edgebed.figures import number

    if costs is None:
        return
    for name, before in costs["eight_bits"].items():
        after = costs["with_float_layers"][name]
        both = f"{number(before['value'])} -> {number(after['value'])} {after['unit']}"
        yield f"  {name} with them: {both}, {after['kind']}"


def _advice(done: Compressed, device: Target | None) -> str:
    if device is not None and device.arithmetic.wide == "none":
        return "more --samples, a larger --max-drop, or a core with a floating-point unit"
    if done.table:
        return f"--keep-float {done.table[0].layer}, more --samples, or a larger --max-drop"
    return "more --samples, or a larger --max-drop"
