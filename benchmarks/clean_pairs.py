"""Does comparing sound deployments stay silent? Every public network, every way to compute it.

    python benchmarks/clean_pairs.py --data DATA --cases CASES [--networks yunet,kws] [--frames 8]

Each network computes the same frames (photographs, videos, speech; smooth noise where the data has
none) in the reference interpreter, in a library compiled for this computer, in the runtime its file
is made for with each set of that runtime's kernels, and, for a float network, as edgebed's own
quantiser makes it. Every pair of these traces goes through `compare_traces` and all assertions, as
`edgebed compare` does, and every trace through `edgebed observe` beside its program. Nothing here
is defective, so every verdict is a false alarm. Prints a line a pair, and JSON at the end.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from edgebed.compile.passes.pipeline import optimise
from edgebed.events import ignore
from edgebed.observe.alone import alone
from edgebed.observe.examine import verdicts_on
from edgebed.observe.recorders import library, litert, onnx_runtime, reference
from edgebed.observe.trace import Manifest
from edgebed.observe.trace_comparison import compare_traces
from edgebed.observe.trace_writer import TraceWriter
from edgebed.program import to_onnx
from edgebed.program.read import read_model
from edgebed.program.types import Array, Program
from edgebed.targets import load

Real = Callable[[Path, int, np.random.Generator], Array]


@dataclass(frozen=True)
class Network:
    """A public file, its frames as real numbers in the file's order, and what can be done with it.

    Attributes:
        file: under CASES/models.
        real: N frames.
        variants: settings of edgebed's quantiser for a float network; none for quantised files.
    """

    file: str
    real: Real
    variants: tuple[tuple[str, ...], ...] = ()


def photographs(folder: str, side: int, scale: float, channels_first: bool, bgr: bool) -> Real:
    def frames(data: Path, count: int, rng: np.random.Generator) -> Array:
        files = sorted((data / folder).glob("*.jpg"))
        chosen = [files[i] for i in rng.choice(len(files), count, replace=False)]
        return np.stack([_shaped(Image.open(one), side, scale, channels_first, bgr)
                         for one in chosen])  # fmt: skip

    return frames


def video(archive: str, side: int, scale: float, channels_first: bool, bgr: bool) -> Real:
    def frames(data: Path, count: int, rng: np.random.Generator) -> Array:
        with zipfile.ZipFile(data / archive) as packed:
            names = [one for one in packed.namelist() if one.endswith(".jpg")]
            chosen = [names[i] for i in rng.choice(len(names), count, replace=False)]
            return np.stack([
                _shaped(Image.open(io.BytesIO(packed.read(one))), side, scale, channels_first, bgr)
                for one in chosen
            ])  # fmt: skip

    return frames


def _shaped(picture: Any, side: int, scale: float, channels_first: bool, bgr: bool) -> Array:
    small = picture.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    values = np.asarray(small, np.float32) * np.float32(scale)
    values = values[..., ::-1] if bgr else values
    return np.moveaxis(values, -1, 0) if channels_first else values


def speech(data: Path, count: int, rng: np.random.Generator) -> Array:
    known = np.load(data / "speech_commands" / "mfcc_49x10.npz")["x"]
    return known[rng.choice(len(known), count, replace=False)].astype(np.float32)


def smooth(size: int, low: float, high: float) -> Real:
    def frames(_data: Path, count: int, rng: np.random.Generator) -> Array:
        rough = rng.normal(size=(count, size + 32)).cumsum(1)
        kept = np.stack([np.convolve(one, np.ones(9) / 9, "same")[16:-16] for one in rough])
        kept = (kept - kept.min()) / np.ptp(kept)
        return (low + (high - low) * kept).astype(np.float32)

    return frames


def digits(_data: Path, count: int, rng: np.random.Generator) -> Array:
    """Strokes of a pen, 28 x 28, 0 to 255."""
    at = np.stack(np.meshgrid(np.arange(28), np.arange(28), indexing="ij"), -1)
    found = []
    for _ in range(count):
        knots = rng.uniform(5, 23, (4, 2))
        path = np.concatenate([np.linspace(a, b, 12) for a, b in itertools.pairwise(knots)])
        gap = np.square(at[:, :, None] - path).sum(-1).min(-1)
        found.append(255 * np.exp(-gap / 2.5))
    return np.stack(found).astype(np.float32)


PLAIN: tuple[str, ...] = ()
VARIANTS = (PLAIN, ("--calibration", "minmax"), ("--no-equalise", "--no-correct-bias"))
NETWORKS: Mapping[str, Network] = {
    "hello": Network("hello_world_int8.tflite", smooth(1, 0, 6.28)),
    "ad01": Network("ad01_int8.tflite", smooth(640, -60, 5)),
    "autoencoder": Network("deep_autoencoder_qdq.onnx", smooth(640, -60, 5)),
    "kws": Network("kws_ref_model.tflite", speech),
    "kws_qdq": Network("kws_ref_model_qdq.onnx", speech),
    "vww": Network("vww_96_int8.tflite", photographs("vww/images", 96, 1 / 255, False, False)),
    "vww_qdq": Network("mobilenet_v1_qdq.onnx",
                       photographs("vww/images", 96, 1 / 255, True, False)),
    "resnet": Network("pretrainedResnet_quant.tflite",
                      video("cifar10/cifar10_test.zip", 32, 1, False, False)),
    "resnet_qdq": Network("resnet_qdq.onnx",
                          video("cifar10/cifar10_test.zip", 32, 1, False, False)),
    "mobilenet": Network("mobilenet_v1_0.25_128_quant.tflite",
                         photographs("bccd/images", 128, 1 / 127.5, False, False)),
    "mnist": Network("mnist_cntk.onnx", digits, VARIANTS),
    "yunet": Network("yunet_n_320_320.onnx",
                     photographs("faces_video/images", 320, 1, True, True), VARIANTS),
    "fastestdet": Network("FastestDet.onnx",
                          video("videos/car-detection.frames_320x180.zip", 352, 1 / 255, True,
                                True),
                          VARIANTS[:1]),
}  # fmt: skip


def inputs_of(program: Program, real: Array) -> dict[str, Array]:
    """Return frames in the program's type: real numbers, or its integers."""
    ((name, kind),) = program.inputs.items()
    if kind.is_float:
        return {name: real.reshape(-1, *kind.shape)}
    ends = np.iinfo(kind.dtype)
    zero = -kind.scale * (ends.min - kind.zero_point) if kind.dtype == "uint8" else 0.0
    steps = np.rint((real - zero) / kind.scale) + kind.zero_point
    return {name: np.clip(steps, ends.min, ends.max).astype(kind.dtype).reshape(-1, *kind.shape)}


def write(path: Path, manifest: Manifest, frames: Iterator[Any]) -> Path:
    with TraceWriter(path, manifest) as writer:
        for one in frames:
            writer.write(one)
    return path


def compiled(program: Program, folder: Path) -> Path:
    made, _ = optimise(program, ignore)
    folder.mkdir()
    to_onnx.save(made, folder / library.PROGRAM)
    target: Any = load("host")
    target.plan(made).write(folder)
    target.build(folder)
    return folder


def traces_of(
    path: Path, real: Array, scratch: Path, label: str
) -> dict[str, tuple[Path, Program]]:
    """Record a file in everything that computes it, by name."""
    program = read_model(path)
    given = inputs_of(program, real)
    found = {"interpreter": write(scratch / f"{label}-interpreter.trace",
                                  reference.manifest(program, "full"),
                                  reference.record(program, given))}  # fmt: skip
    folder = compiled(program, scratch / f"{label}-host")
    target: Any = load("host")
    with closing(target.open(folder)) as opened:
        for turn in ("host", "host again"):
            found[turn] = write(
                scratch / f"{label}-{turn}.trace", library.manifest(folder, opened, "full"),
                library.record(folder, given, library=opened),
            )  # fmt: skip
    for name, manifest, frames in _runtimes(path, program, given):
        found[name] = write(scratch / f"{label}-{name}.trace", manifest, frames)
    return {name: (trace, program) for name, trace in found.items()}


def _runtimes(
    path: Path, program: Program, given: Mapping[str, Array]
) -> Iterator[tuple[str, Manifest, Iterator[Any]]]:
    if path.suffix == ".onnx":
        graph = onnx_runtime.read(path)
        shaped = {name: given[name].reshape(-1, *graph.inputs[name][1:]) for name in given}
        for name, fast in (("ONNX Runtime", True), ("ONNX Runtime, plain", False)):
            manifest = onnx_runtime.manifest(graph, "full", fast)
            yield name, manifest, onnx_runtime.record(graph, shaped, optimised=fast)
        return
    kinds: tuple[litert.Kernels, ...] = ("delegated", "optimised", "reference")
    for kind in kinds:
        manifest = litert.manifest(path, "full", kind)
        yield f"LiteRT, {kind}", manifest, litert.record(path, given, kernels=kind)


def quantised(
    path: Path, real: Array, settings: tuple[str, ...], scratch: Path, label: str
) -> Path:
    """Return what `edgebed compress` makes of a float network, calibrated on other frames."""
    data, out = scratch / f"{label}.npy", scratch / f"{label}.onnx"
    ((_, kind),) = read_model(path).inputs.items()
    np.save(data, real.reshape(-1, *kind.shape))
    words = ["compress", str(path), "--data", str(data), "--out", str(out), "--max-drop", "100%"]
    words += ["--samples", str(len(real) - 2), "--evaluate", "2", "--quiet", *settings]
    subprocess.run([sys.executable, "-m", "edgebed", *words], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    return out


Row = dict[str, Any]


def pairs_of(
    first: Mapping[str, tuple[Path, Program]], second: Mapping[str, tuple[Path, Program]]
) -> Iterator[tuple[str, Path, Path]]:
    """Give every pair whose first is to be trusted; the interpreter is never the one examined."""
    for a, (one, _) in first.items():
        for b, (two, _) in second.items():
            same = first is second
            trusted = a != b and b != "interpreter" and a != "host again"
            if trusted or not same:
                yield f"{a} | {b}", one, two


def compared(name: str, pair: tuple[str, Path, Path]) -> Row:
    begun = time.perf_counter()
    done = compare_traces(pair[1], pair[2])
    said = verdicts_on(done)
    paired = [one for one in done.errors if one.pair.role in ("layer", "output")]
    return {
        "network": name, "pair": pair[0], "frames": done.frames, "layers": len(paired),
        "largest": round(max((one.nrmse for one in paired), default=0.0), 4),
        "alarms": [str(one) for one in said], "seconds": round(time.perf_counter() - begun, 1),
    }  # fmt: skip


def observed(name: str, trace: str, found: tuple[Path, Program]) -> Row:
    begun = time.perf_counter()
    said = alone(found[0], found[1])
    return {
        "network": name, "pair": f"observe {trace}", "frames": said.frames, "layers": 0,
        "largest": 0.0, "alarms": [str(one) for one in said.verdicts],
        "seconds": round(time.perf_counter() - begun, 1),
    }  # fmt: skip


def rows_of(
    name: str, data: Path, cases: Path, count: int, seed: int, scratch: Path
) -> Iterator[Row]:
    network = NETWORKS[name]
    path = cases / "models" / network.file
    real = network.real(data, count + (34 if network.variants else 0), np.random.default_rng(seed))
    own = traces_of(path, real[:count], scratch, name)
    for pair in pairs_of(own, own):
        yield compared(name, pair)
    for trace, found in own.items():
        yield observed(name, trace, found)
    floats = {key: own[key] for key in ("interpreter", "ONNX Runtime") if key in own}
    for settings in network.variants:
        label = f"{name}-int8{''.join(settings)}"
        file = quantised(path, real[count:], settings, scratch, label)
        made = traces_of(file, real[:count], scratch, label)
        short = name + " int8 " + " ".join(settings)
        for pair in (*pairs_of(floats, made), *pairs_of(made, made)):
            yield compared(short, pair)
        for trace, found in made.items():
            yield observed(short, trace, found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the traces; else they are deleted")
    options = parser.parse_args()
    rows: list[Row] = []
    for name in options.networks.split(","):
        with tempfile.TemporaryDirectory() as temporary:
            scratch = options.keep or Path(temporary)
            scratch.mkdir(exist_ok=True)
            for row in rows_of(name, options.data, options.cases, options.frames, options.seed,
                               scratch):  # fmt: skip
                rows.append(row)
                print(
                    f"{row['network']}: {row['pair']}: {row['frames']} frames, {row['layers']}"
                    f" layers, nRMSE {row['largest']} at most, {row['seconds']} s",
                    flush=True,
                )
                for alarm in row["alarms"]:
                    print(f"    ALARM {alarm}", flush=True)
    alarms = [row for row in rows if row["alarms"]]
    total = sum(row["frames"] for row in rows)
    print(json.dumps({"pairs": len(rows), "frames": total, "with an alarm": len(alarms),
                      "seconds": round(sum(row["seconds"] for row in rows), 1)}))  # fmt: skip


if __name__ == "__main__":
    main()
