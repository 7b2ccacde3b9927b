"""What quantisation costs a detector: edgebed, ONNX Runtime and NNCF on the same pictures.

    python benchmarks/face_quantisers.py YUNET.onnx FACES [--calibrate 32] --out DIR
    python benchmarks/face_quantisers.py FASTESTDET.onnx PICTURES --pixels 0..1 --out DIR

The second argument is a data set in Pascal VOC form. Calibration takes pictures of `train`, the
score those of `val` and `test`: the cosine between the float network's outputs and the quantised
one's, and for YuNet, whose outputs are decoded here, VOC AP@0.5 (any class counts as a face).
Every form computes in ONNX Runtime or, for ours, in the reference interpreter; pictures are
stretched to the input. NNCF's rows need the extra `quantisers`; `--only nncf` leaves the others
away.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgebed.compile.passes.pipeline import optimise
from edgebed.compress.agreement import COSINE, agreement
from edgebed.compress.calibration import calibrate
from edgebed.compress.equalise import equalise
from edgebed.compress.quantize import quantise
from edgebed.compress.scheme import Settings
from edgebed.data.dataset import Sample
from edgebed.data.decode import Detections, greedy, overlap
from edgebed.data.readers import read
from edgebed.data.samples import PIXELS, PictureForm, check_pixels, to_input
from edgebed.program.read import read_model
from edgebed.program.run import run
from edgebed.program.types import Program
from edgebed.train.metrics import Truth, score

STRIDES = (8, 16, 32)
LEAST_SCORE, OVERLAP, MOST = 0.02, 0.45, 200
Network = Callable[[np.ndarray], dict[str, np.ndarray]]


def main() -> None:
    arguments = _arguments()
    data = read(arguments.faces, skip_bad=True)
    program, _ = optimise(read_model(arguments.model))
    kind, form = program.input_type, PictureForm(check_pixels(arguments.pixels), arguments.channels)
    held = [*data.splits["val"], *data.splits["test"]]
    pictures = [to_input(one.load(), kind, form) for one in held]
    few = [to_input(one.load(), kind, form) for one in data.splits["train"][: arguments.calibrate]]
    float_outputs = [_own(program)(x) for x in pictures]
    rows = []
    for name, network in _forms(arguments, program, few):
        outputs = [network(x) for x in pictures]
        row: dict[str, Any] = {
            "form": name,
            "cosine": agreement(COSINE, float_outputs, outputs),
            "pictures": len(held),
            "kind": "measured",
        }
        if f"bbox_{STRIDES[0]}" in program.outputs:
            found = [_detections(one, kind.shape[1:]) for one in outputs]
            row["ap50"] = score(found, [_truth(one) for one in held], ("face",)).ap50
        rows.append(row)
        ap50 = f"AP@0.5 {row['ap50']:.4f}  " if "ap50" in row else ""
        print(f"{name:<54} {ap50}cosine {row['cosine']:.5f}", flush=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "face_quantisers.json").write_text(json.dumps(rows, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("faces", type=Path)
    parser.add_argument("--calibrate", type=int, default=32)
    parser.add_argument("--pixels", default="0..255", choices=PIXELS)
    parser.add_argument("--channels", default="bgr", choices=("rgb", "bgr"))
    parser.add_argument("--only", choices=("edgebed", "onnxruntime", "nncf"))
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def _forms(
    arguments: argparse.Namespace, program: Program, few: Sequence[np.ndarray]
) -> Iterator[tuple[str, Network]]:
    yield "float32", _own(program)
    for name, forms in (
        ("edgebed", _own_forms(program, few)),
        ("onnxruntime", _runtime_forms(arguments, few)),
        ("nncf", _nncf_forms(arguments, few)),
    ):
        if arguments.only in (None, name):
            yield from forms


def _own_forms(program: Program, few: Sequence[np.ndarray]) -> Iterator[tuple[str, Network]]:
    samples = [{next(iter(program.inputs)): x} for x in few]
    for equal in (False, True):
        source = equalise(program) if equal else program
        seen = calibrate(source, samples)
        for method in ("minmax", "percentile", "mse"):
            for correct in (False, True):
                settings = replace(Settings(), method=method, correct_bias=correct)  # type: ignore[arg-type]
                words = [method, *["equalised"] * equal, *["bias"] * correct]
                made, _ = optimise(quantise(source, seen, settings))
                yield f"edgebed int8: {', '.join(words)}", _own(made)


def _own(program: Program) -> Network:
    return lambda x: run(program, x)


def _runtime_forms(
    arguments: argparse.Namespace, few: Sequence[np.ndarray]
) -> Iterator[tuple[str, Network]]:
    import onnxruntime
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            self.rest = iter([{name: x[None]} for x in few])

        def get_next(self) -> Any:
            return next(self.rest, None)

    arguments.out.mkdir(parents=True, exist_ok=True)
    source = _current(arguments.model, arguments.out / "opset13.onnx")
    name = onnxruntime.InferenceSession(str(source)).get_inputs()[0].name
    for method in (CalibrationMethod.MinMax, CalibrationMethod.Percentile):
        path = arguments.out / f"runtime_{method.name}.onnx"
        quantize_static(
            str(source), str(path), Reader(name), per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=method,
        )  # fmt: skip
        version = onnxruntime.__version__
        yield f"ONNX Runtime {version} static: {method.name}, per channel", _runtime(path)


def _nncf_forms(
    arguments: argparse.Namespace, few: Sequence[np.ndarray]
) -> Iterator[tuple[str, Network]]:
    """Give NNCF's 8-bit networks: presets, and fast or full bias correction."""
    try:
        import nncf
    except ImportError:
        print("NNCF is not installed: pip install 'edgebed[quantisers]' adds its rows")
        return
    import onnx

    arguments.out.mkdir(parents=True, exist_ok=True)
    source = onnx.load(str(_current(arguments.model, arguments.out / "opset13.onnx")))
    data = nncf.Dataset([{source.graph.input[0].name: x[None]} for x in few])
    for preset in (nncf.QuantizationPreset.PERFORMANCE, nncf.QuantizationPreset.MIXED):
        for fast in (True, False):
            words = f"{preset.value}, {'fast' if fast else 'full'} bias correction"
            try:
                made = nncf.quantize(
                    source, data, preset=preset, subset_size=len(few), fast_bias_correction=fast
                )
            except Exception as error:  # its own algorithms fail on some networks
                print(f"NNCF {nncf.__version__}: {words} fails: {error!r}")
                continue
            path = arguments.out / f"nncf_{preset.value}_{'fast' if fast else 'full'}.onnx"
            onnx.save(made, str(path))
            yield f"NNCF {nncf.__version__}: {words}", _runtime(path)


def _current(model: Path, path: Path) -> Path:
    """Write the model at opset 13, the first with scales per channel."""
    import onnx
    from onnx import version_converter

    loaded = onnx.load(str(model))
    if loaded.opset_import[0].version < 13:
        loaded = version_converter.convert_version(loaded, 13)
    onnx.save(loaded, str(path))
    return path


def _runtime(path: Path) -> Network:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    names = [one.name for one in session.get_outputs()]
    given = session.get_inputs()[0].name

    def network(x: np.ndarray) -> dict[str, np.ndarray]:
        found = session.run(None, {given: x[None]})
        return {name: values[0] for name, values in zip(names, found, strict=True)}

    return network


def _truth(sample: Sample) -> Truth:
    size = np.array([sample.width, sample.height] * 2, np.float32)
    return Truth(sample.boxes / size, np.zeros_like(sample.labels), sample.difficult)


def _detections(outputs: dict[str, np.ndarray], size: tuple[int, ...]) -> Detections:
    """Decode YuNet: score sqrt(class * object), boxes from the cell, exp sizes; then NMS."""
    boxes, scores = [], []
    height, width = size
    for stride in STRIDES:
        rows, columns = height // stride, width // stride
        row, column = (axis.reshape(-1) for axis in np.mgrid[:rows, :columns])
        box = outputs[f"bbox_{stride}"].reshape(-1, 4)
        x, y = (column + box[:, 0]) * stride, (row + box[:, 1]) * stride
        w, h = np.exp(box[:, 2]) * stride, np.exp(box[:, 3]) * stride
        corners = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1)
        boxes.append(corners / np.array([width, height] * 2))
        both = outputs[f"cls_{stride}"].reshape(-1) * outputs[f"obj_{stride}"].reshape(-1)
        scores.append(np.sqrt(np.clip(both, 0, 1)))
    return _suppressed(np.concatenate(boxes), np.concatenate(scores))


def _suppressed(boxes: np.ndarray, scores: np.ndarray) -> Detections:
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= LEAST_SCORE][:1000]
    boxes, scores = np.clip(boxes[order], 0, 1), scores[order]
    kept = greedy(overlap(boxes, boxes) > OVERLAP, MOST)
    labels = np.zeros(len(kept), np.int64)
    return Detections(boxes[kept].astype(np.float32), scores[kept].astype(np.float32), labels)


if __name__ == "__main__":
    main()
