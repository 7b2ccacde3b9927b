"""What the MLPerf Tiny networks need on virtual microcontrollers, beside TFLM with CMSIS-NN.

    python benchmarks/microcontrollers.py MODELS --out DIR [--cpus m4,m55] [--goals balanced,ram]
    python benchmarks/microcontrollers.py MODELS --out DIR --samples 200 --data ../shared/data

MODELS is a folder with the official int8 .tflite files. Every row is one build: instructions and
stack counted on the virtual core (emulated), sizes from the linked firmware, and whether the
outputs of the firmware equal the `tflite-micro` wheel's byte for byte on random inputs. With
`--samples` the real data sets go through the same firmware, and every output is compared with the
reference interpreter's; the accuracy is that of the firmware's outputs.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed.compile.passes import optimise
from edgebed.deploy import library
from edgebed.program.read import read_model
from edgebed.program.run import run
from edgebed.program.types import Program
from edgebed.targets import load

Array = npt.NDArray[Any]
NETWORKS = {
    "KWS": "kws_ref_model.tflite",
    "VWW": "vww_96_int8.tflite",
    "IC": "pretrainedResnet_quant.tflite",
    "AD": "ad01_int8.tflite",
}
PEER = {  # TFLM 90b983c + CMSIS-NN 99f736a, gcc 12.2, counted under qemu: millions; arena in bytes
    "m4": {"KWS": 7.700, "VWW": 24.102, "IC": 29.863, "AD": 0.583},
    "m55": {"KWS": 1.816, "VWW": 6.559, "IC": 4.912, "AD": 0.286},
    "arena": {"KWS": 22820, "VWW": 100708, "IC": 54996, "AD": 2580},
}
TARGET = "cortex_m"


def main() -> None:
    arguments = _arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = list((_accuracies if arguments.samples else _costs)(arguments))
    name = "microcontroller_accuracy" if arguments.samples else "microcontrollers"
    (arguments.out / f"{name}.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(json.dumps(rows, indent=1))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", type=Path)
    parser.add_argument("--cpus", default="m4,m7,m33,m0plus,m55")
    parser.add_argument("--goals", default="balanced,ram,time")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--samples", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def _costs(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for name in arguments.networks.split(","):
        path = arguments.models / NETWORKS[name]
        whole = read_model(path)
        program, _ = optimise(whole)
        for cpu in arguments.cpus.split(","):
            for goal in arguments.goals.split(","):
                row = _cost(name, path, program, cpu, goal)
                print(json.dumps(row), flush=True)
                yield row


def _cost(name: str, path: Path, program: Program, cpu: str, goal: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "build"
        built = _compiled(program, cpu, goal, folder)
        device: Any = load(TARGET)
        with closing(device.open(folder)) as network:
            equal = _equals_wheel(path, network)
            counted = network.figures["instructions"].value
    sizes = built.sizes
    macs = sum(program.macs().values())
    return {
        "network": name,
        "cpu": cpu,
        "goal": goal,
        "instructions (emulated, millions)": round(counted / 1e6, 3),
        "TFLM + CMSIS-NN": PEER.get(cpu, {}).get(name),
        "per multiply-accumulate": round(counted / macs, 3),
        "activation RAM": sizes["activation RAM"],
        "runtime RAM": sizes["runtime RAM"],
        "RAM": sizes["activation RAM"] + sizes["runtime RAM"],
        "TFLM arena": PEER["arena"][name],
        "weights flash": sizes["weights flash"],
        "code flash": sizes["code flash"],
        "equals tflite-micro": equal,
    }


def _compiled(program: Program, cpu: str, goal: str, folder: Path) -> Any:
    device: Any = load(TARGET)
    return library.build(program, device.with_options({"cpu": cpu, "goal": goal}), folder)


def _equals_wheel(path: Path, network: Any, count: int = 5) -> bool | None:
    """Return whether random inputs give the bytes of TensorFlow Lite Micro; None without it."""
    try:
        from tflite_micro.python.tflite_micro import runtime
    except ImportError:
        return None
    peer = runtime.Interpreter.from_file(str(path))
    (given,) = network.inputs
    rng = np.random.default_rng(7)
    for _ in range(count):
        x = rng.integers(-128, 128, given.shape).astype(np.int8)
        peer.set_input(x, 0)
        peer.invoke()
        if not np.array_equal(peer.get_output(0), network.run({given.name: x})):
            return False
    return True


# ---- accuracy from the same binary ----


def _accuracies(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    sets = {"KWS": _keywords, "VWW": _persons}
    for name, samples in sets.items():
        program, _ = optimise(read_model(arguments.models / NETWORKS[name]))
        for cpu in arguments.cpus.split(","):
            for goal in arguments.goals.split(","):
                given = samples(arguments.data, program, arguments.samples)
                row = _accuracy(program, cpu, goal, *given)
                row = {"network": name, "cpu": cpu, "goal": goal, **row}
                print(json.dumps(row), flush=True)
                yield row


def _accuracy(
    program: Program, cpu: str, goal: str, inputs: Array, labels: Sequence[int]
) -> dict[str, Any]:
    (tensor,) = program.inputs
    (output,) = program.outputs
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "build"
        _compiled(program, cpu, goal, folder)
        device: Any = load(TARGET)
        with closing(device.open(folder)) as network:
            shape = network.inputs[0].shape
            answers = [network.run({tensor: one.reshape(shape)}) for one in inputs]
    wanted = run(program, {tensor: inputs})[output]
    got = np.concatenate([one.reshape(1, -1) for one in answers])
    wanted = wanted.reshape(len(inputs), -1)
    return {
        "samples": len(inputs),
        "equal to the interpreter": int((got == wanted).all(axis=1).sum()),
        "accuracy (emulated firmware)": float((got.argmax(axis=1) == np.array(labels)).mean()),
    }


def _quantised(program: Program, values: Array) -> Array:
    (kind,) = program.inputs.values()
    steps = np.rint(values / kind.scale) + kind.zero_point
    return np.clip(steps, -128, 127).astype(np.int8).reshape(-1, *kind.shape)


def _keywords(data: Path, program: Program, count: int) -> tuple[Array, list[int]]:
    found = np.load(data / "speech_commands" / "mfcc_49x10.npz", allow_pickle=False)
    some = np.random.default_rng(0).permutation(len(found["x"]))[:count]
    return _quantised(program, found["x"][some].astype(np.float32)), found["y"][some].tolist()


def _persons(data: Path, program: Program, count: int) -> tuple[Array, list[int]]:
    from PIL import Image

    with (data / "vww" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    some = np.random.default_rng(0).permutation(len(rows))[:count]
    pictures = [
        np.asarray(Image.open(data / "vww" / "images" / rows[i]["file"]).convert("RGB"))
        for i in some
    ]
    values = np.stack(pictures).astype(np.float32) / 255
    return _quantised(program, values), [int(rows[i]["label"]) for i in some]


if __name__ == "__main__":
    main()
