"""Moving, choosing and detecting: the ops against TensorFlow Lite Micro's kernels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_op import compute
from one_op import single as float32

from edgebed.program.types import Constant, TensorType

pytest.importorskip("tflite")
pytest.importorskip("tflite_micro")
from flatbuffers import flexbuffers
from tflite_model import Operator, Tensor, build, constant, micro, single

seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=30, deadline=None)
SHAPE = (1, 6, 7, 4)
X = Tensor("x", SHAPE, "int8", 0.1, 7)
KIND = TensorType(SHAPE[1:], "int8", 0.1, 7)


def values(seed: int) -> tuple[np.random.Generator, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng, rng.integers(-128, 128, SHAPE).astype(np.int8)


def output(shape: tuple[int, ...], dtype: str = "int8") -> Tensor:
    if dtype == "int8":
        return Tensor("y", shape, dtype, 0.1, 7)
    return Tensor("y", shape, dtype)


@quick
@given(seeds, st.none() | st.integers(-128, 127))
def test_pad(seed: int, value: int | None) -> None:
    rng, x = values(seed)
    pads = np.concatenate([np.zeros((1, 2), int), rng.integers(0, 4, (3, 2))])
    found = compute(
        "pad",
        [(x, KIND)],
        before=tuple(pads[1:, 0].tolist()),
        after=tuple(pads[1:, 1].tolist()),
        value=value,
    )
    tensors = [X, constant("pads", pads)]
    if value is not None:
        tensors.append(constant("value", [value], "int8", scale=0.1, zero_point=7))
    code, options = ("PAD", "PadOptions") if value is None else ("PADV2", "PadV2Options")
    (expected,) = micro(single(code, tensors, [output(found.shape)], options), x)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("number", "mode"), [(0, "reflect"), (1, "symmetric")])
@quick
@given(seed=seeds)
def test_mirrored_pad(number: int, mode: str, seed: int) -> None:
    rng, x = values(seed)
    reach = [0, *(size - (mode == "reflect") for size in SHAPE[1:])]
    pads = rng.integers(0, np.array(reach)[:, None] + 1, (4, 2))
    found = compute(
        "pad",
        [(x, KIND)],
        before=tuple(pads[1:, 0].tolist()),
        after=tuple(pads[1:, 1].tolist()),
        mode=mode,
    )
    tensors = [X, constant("pads", pads)]
    model = single("MIRROR_PAD", tensors, [output(found.shape)], "MirrorPadOptions", Mode=number)
    np.testing.assert_array_equal(found, micro(model, x)[0])


@st.composite
def slices(draw: st.DrawFn, size: int) -> tuple[int, int | None, int]:
    step = draw(st.sampled_from([1, 2, 3, -1, -2]))
    begin = draw(st.integers(0, size - 1))
    if step > 0:
        return begin, draw(st.integers(begin + 1, size)), step
    end = draw(st.integers(-1, begin - 1))
    return begin, None if end < 0 else end, step


@quick
@given(seeds, st.tuples(*(slices(size) for size in SHAPE[1:])))
def test_strided_slice(seed: int, parts: tuple[tuple[int, int | None, int], ...]) -> None:
    _, x = values(seed)
    begin, end, step = (tuple(column) for column in zip(*parts, strict=True))
    found = compute("strided_slice", [(x, KIND)], begin=begin, end=end, step=step)
    stop = [-size - 1 if one is None else one for one, size in zip(end, SHAPE[1:], strict=True)]
    bounds = {"begin": (0, *begin), "end": (1, *stop), "step": (1, *step)}
    model = single(
        "STRIDED_SLICE",
        [X, *(constant(name, entries) for name, entries in bounds.items())],
        [output(found.shape)],
        "StridedSliceOptions",
    )
    np.testing.assert_array_equal(found, micro(model, x)[0])


@quick
@given(seeds, st.permutations([0, 1, 2]))
def test_transpose(seed: int, perm: list[int]) -> None:
    _, x = values(seed)
    found = compute("transpose", [(x, KIND)], perm=tuple(perm))
    order = constant("perm", [0, *(axis + 1 for axis in perm)])
    model = single("TRANSPOSE", [X, order], [output(found.shape)], "TransposeOptions")
    np.testing.assert_array_equal(found, micro(model, x)[0])


@quick
@given(seeds, st.integers(0, 2), st.sampled_from([(3,), (2, 2), ()]))
def test_gather(seed: int, axis: int, shape: tuple[int, ...]) -> None:
    rng, x = values(seed)
    indices = np.asarray(rng.integers(0, SHAPE[axis + 1], shape), np.int32)
    constants = {"chosen": Constant(indices.copy(), 32)}
    found = compute("gather", [(x, KIND)], constants, axis=axis, indices="chosen")
    tensors = [X, constant("indices", indices)]
    model = single("GATHER", tensors, [output(found.shape)], "GatherOptions", Axis=axis + 1)
    np.testing.assert_array_equal(found, micro(model, x)[0])


@pytest.mark.parametrize(
    ("code", "options", "least"),
    [("ARG_MAX", "ArgMaxOptions", False), ("ARG_MIN", "ArgMinOptions", True)],
)
@quick
@given(seed=seeds, axis=st.integers(0, 2))
def test_argmax(code: str, options: str, least: bool, seed: int, axis: int) -> None:
    _, x = values(seed)
    x = (x // 40).astype(np.int8)  # many equal values
    found = compute("argmax", [(x, KIND)], axis=axis, least=least)
    tensors = [X, constant("axis", [axis + 1])]
    model = single(code, tensors, [output(found.shape, "int32")], options, OutputType=2)
    np.testing.assert_array_equal(found, micro(model, x)[0])


@pytest.mark.parametrize("source", ["float32", "int8", "int16", "int32"])
@pytest.mark.parametrize("target", ["float32", "int8", "int16", "int32"])
def test_cast(source: str, target: str) -> None:
    rng = np.random.default_rng(5)
    if source == "float32":
        x = (rng.normal(size=(1, 500)) * 200).astype(np.float32)
    else:
        limits = np.iinfo(source)
        x = rng.integers(limits.min, limits.max + 1, (1, 500)).astype(source)
    tensors = [Tensor("x", x.shape, source), Tensor("y", x.shape, target)]
    model = single("CAST", tensors[:1], tensors[1:], "CastOptions")
    found = compute("cast", [(x, TensorType((500,), source, 1.0))], dtype=target)
    np.testing.assert_array_equal(found, micro(model, x)[0])


def test_depth_to_space_has_the_order_of_the_file_format() -> None:
    rng = np.random.default_rng(6)
    x = rng.integers(-128, 128, (1, 3, 4, 12)).astype(np.int8)
    tensors = [Tensor("x", x.shape, "int8", 0.1, 7)]
    model = single(
        "DEPTH_TO_SPACE", tensors, [output((1, 6, 8, 3))], "DepthToSpaceOptions", BlockSize=2
    )
    maps = (x.transpose(0, 3, 1, 2), TensorType((12, 3, 4), "int8", 0.1, 7))
    found = compute("depth_to_space", [maps], block=2)
    np.testing.assert_array_equal(found.transpose(0, 2, 3, 1), micro(model, x)[0])


class Scene:
    """Random encodings, scores with ties and anchors for the detection op."""

    def __init__(self, seed: int, regular: bool) -> None:
        rng = np.random.default_rng(seed)
        self.anchors = int(rng.integers(3, 40))
        self.classes, self.background = int(rng.integers(1, 5)), int(rng.integers(0, 2))
        self.most = int(rng.integers(1, 12))
        columns = self.classes + self.background
        self.centres = rng.uniform(0.1, 0.9, (self.anchors, 4)).astype(np.float32)
        self.boxes = (rng.normal(size=(1, self.anchors, 4)) * 3).astype(np.float32)
        self.scores = (rng.integers(0, 20, (1, self.anchors, columns)) / 20).astype(np.float32)
        self.options = {
            "max_detections": self.most,
            "max_classes_per_detection": 1,
            "detections_per_class": int(rng.integers(1, 12)),
            "use_regular_nms": regular,
            "nms_score_threshold": float32(rng.uniform(0, 0.6)),
            "nms_iou_threshold": float32(rng.uniform(0.1, 0.9)),
            "num_classes": self.classes,
            "y_scale": 10.0,
            "x_scale": 10.0,
            "h_scale": 5.0,
            "w_scale": 5.0,
        }

    def expected(self) -> list[np.ndarray]:
        tensors = [
            Tensor("b", self.boxes.shape, "float32"),
            Tensor("s", self.scores.shape, "float32"),
            constant("anchors", self.centres, "float32"),
        ]
        outputs = [
            Tensor("boxes", (1, self.most, 4), "float32"),
            Tensor("classes", (1, self.most), "float32"),
            Tensor("scores", (1, self.most), "float32"),
            Tensor("count", (1,), "float32"),
        ]
        names = [tensor.name for tensor in outputs]
        operator = Operator(
            "CUSTOM",
            ["b", "s", "anchors"],
            names,
            custom_code="TFLite_Detection_PostProcess",
            custom_options=bytes(flexbuffers.Dumps(self.options)),
        )
        return micro(
            build([*tensors, *outputs], [operator], ["b", "s"], names), self.boxes, self.scores
        )

    def found(self, part: str) -> np.ndarray:
        shapes = (self.boxes.shape[1:], self.scores.shape[1:])
        types = [TensorType(shape, "float32", 1.0) for shape in shapes]
        return compute(
            "detection_post_process",
            list(zip((self.boxes, self.scores), types, strict=True)),
            {"anchors": Constant(self.centres.copy(), 32)},
            part=part,
            anchors="anchors",
            max_detections=self.most,
            num_classes=self.classes,
            detections_per_class=self.options["detections_per_class"],
            regular=self.options["use_regular_nms"],
            score_threshold=self.options["nms_score_threshold"],
            iou_threshold=self.options["nms_iou_threshold"],
            scales=(10.0, 10.0, 5.0, 5.0),
        )


@pytest.mark.parametrize("regular", [False, True])
@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_detections(regular: bool, seed: int) -> None:
    scene = Scene(seed, regular)
    boxes, classes, scores, count = scene.expected()
    kept = int(count[0])
    assert scene.found("count").tolist() == [kept]
    for part, expected in (("boxes", boxes), ("classes", classes), ("scores", scores)):
        found = scene.found(part)
        np.testing.assert_array_equal(found[:, :kept], expected[:, :kept])
        assert not found[:, kept:].any()
