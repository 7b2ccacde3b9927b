"""What the ONNX importer says about files that it cannot take in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

pytest.importorskip("onnxruntime")

from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_model import Sketch, check, network, randoms, refused

from edgebed.errors import EdgebedError
from edgebed.program.onnx_graph import draft, from_model

Change = Callable[[onnx.ModelProto], None]


def changed(change: Change) -> str:
    model = network()
    change(model)
    return refused(model)


def test_an_unsupported_operator_is_named_with_its_layer_and_what_to_put_there() -> None:
    sketch = Sketch()
    boxes, scores = sketch.input((1, 6, 4)), sketch.input((1, 1, 6))
    sketch.node("NonMaxSuppression", boxes, scores)
    text = refused(sketch.model("t3", kinds={"t3": TensorProto.INT64}))
    for word in ("NonMaxSuppression", "NonMaxSuppression_0", "t3", "post-processing"):
        assert word in text


def test_an_operator_of_another_domain_is_named_with_it() -> None:
    sketch = Sketch()
    out = sketch.node("Special", sketch.input((1, 3)), domain="com.example")
    assert "com.example.Special" in refused(sketch.model(out))


def _set(name: str, value: Any, node: int = 0) -> Change:
    def change(model: onnx.ModelProto) -> None:
        attributes = model.graph.node[node].attribute
        for index, attribute in enumerate(attributes):
            if attribute.name == name:
                del attributes[index]
        attributes.append(helper.make_attribute(name, value))

    return change


def _weights(values: np.ndarray) -> Change:
    def change(model: onnx.ModelProto) -> None:
        first = model.graph.initializer[0]
        first.CopyFrom(numpy_helper.from_array(values, first.name))

    return change


def _circle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = model.graph.node[1].output[0]


def _twice(model: onnx.ModelProto) -> None:
    model.graph.node[1].output[0] = model.graph.node[0].output[0]
    model.graph.node[2].input[0] = model.graph.node[0].output[0]


def _nowhere(model: onnx.ModelProto) -> None:
    model.graph.node[1].input[0] = "nowhere"


def _same_constants(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(model.graph.initializer[0])


def _no_output(model: onnx.ModelProto) -> None:
    del model.graph.output[:]


def _lost_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "lost"


def _opset(version: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = version

    return change


def _dims(*sizes: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(sizes)

    return change


def _input(*sizes: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, sizes, strict=True):
            dim.dim_value = size

    return change


def _strings(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING


NAN = np.full((4, 3, 3, 3), np.nan, np.float32)
DAMAGES: list[tuple[Change, str]] = [
    (_circle, "circle"),
    (_twice, "written twice"),
    (_nowhere, "nowhere"),
    (_same_constants, "same name"),
    (_no_output, "no output"),
    (_lost_output, "lost"),
    (_strings, "string"),
    (_opset(0), "operator set 0"),
    (_opset(9999), "operator set 9999"),
    (_dims(4, 3, 3, 4), "damaged"),
    (_dims(1 << 40, 3, 3, 3), "values"),
    (_dims(-4, 3, 3, 3), "shape"),
    (_weights(NAN), "NaN"),
    (_weights(np.ones((4, 2, 3, 3), np.float32)), "channels"),
    (_weights(np.ones((4, 3), np.float32)), "weights of shape"),
    (_weights(np.ones((4, 3, 3, 3), np.int32)), "int32"),
    (_set("strides", [0, 1]), "at least 1"),
    (_set("strides", [1]), "strides"),
    (_set("strides", "wide"), "strides"),
    (_set("strides", [-1, -1]), "strides"),
    (_set("group", 0), "group"),
    (_set("group", -3), "group"),
    (_set("pads", [1, 1]), "pads"),
    (_set("auto_pad", "SOME"), "auto_pad"),
    (_set("kernel_shape", [5, 5]), "kernel_shape"),
    (_set("axis", 7, node=2), "axis 7"),
    (_set("pads", [1 << 30] * 4), "fit"),
    (_input(1, 3, 8, 1 << 40), "shape"),
    (_input(4, 3, 8, 8), "batch of 4"),
    (_input(1, 3, 2, 2), "output would be"),
]


@pytest.mark.parametrize(("change", "word"), DAMAGES)
def test_damage_is_named(change: Change, word: str) -> None:
    assert word in changed(change)


def test_the_undamaged_network_is_taken() -> None:
    sketch_feeds = {"x2": np.ones((1, 3, 8, 8), np.float32)}
    check(network(), sketch_feeds)


def _quantised(scale: Any, point: Any, dtype: int = TensorProto.INT8, **more: Any) -> str:
    sketch = Sketch()
    x = sketch.input((1, 3, 4))
    q = sketch.node("QuantizeLinear", x, sketch.constant(scale), sketch.constant(point), **more)
    return refused(sketch.model(q, kinds={q: dtype}))


@pytest.mark.parametrize(
    ("scale", "point", "word"),
    [
        (np.float32(0), np.int8(0), "scale"),
        (np.float32(-1), np.int8(0), "scale"),
        (np.float32(np.nan), np.int8(0), "scale"),
        (np.float32(np.inf), np.int8(0), "scale"),
        (np.int32(1), np.int8(0), "scale"),
        (np.ones(2, np.float32), np.zeros(2, np.int8), "2 scales"),
        (np.zeros(3, np.float32), np.zeros(3, np.int8), "scale"),
        (np.ones(3, np.float32), np.zeros(2, np.int8), "2 zero points"),
        (np.float32(1), np.float32(0), "zero point"),
        (np.float32(1), np.int64(300), "zero point"),
    ],
)
def test_scales_and_zero_points_that_the_specification_forbids(
    scale: Any, point: Any, word: str
) -> None:
    assert word in _quantised(scale, point)


@pytest.mark.parametrize(
    ("scales", "points", "more", "word"),
    [
        (np.ones(5, np.float32), np.zeros(5, np.int8), {"axis": 0}, "4 are needed"),
        (np.ones(4, np.float32), np.zeros(4, np.int8), {"axis": 9}, "axis 9"),
        (np.ones(4, np.float32), np.zeros(4, np.uint8), {"axis": 0}, "uint8"),
    ],
)
def test_scales_of_weights_must_fit_their_axis(
    scales: Any, points: Any, more: dict[str, int], word: str
) -> None:
    sketch = Sketch()
    w = sketch.dequantise(sketch.constant(np.ones((4, 3, 1, 1), np.int8)), scales, points, **more)
    out = sketch.node("Conv", sketch.input((1, 3, 4, 4)), w)
    assert word in refused(sketch.model(out))


@pytest.mark.parametrize(
    "kind",
    ["ConstantOfShape", "Expand", "Tile", "Range", "Resize", "Pad", "outer sum"],
)
def test_a_result_of_absurd_size_is_refused_before_it_is_made(kind: str) -> None:
    sketch = Sketch()
    huge = sketch.constant(np.array([1 << 20, 1 << 20], np.int64))
    x = sketch.input((1, 4))
    if kind == "ConstantOfShape":
        big = sketch.node(kind, huge)
    elif kind in ("Expand", "Tile"):
        big = sketch.node(kind, sketch.constant(np.ones((1, 1), np.float32)), huge)
    elif kind == "Range":
        ends = [sketch.constant(np.float32(n)) for n in (0, 1e30, 1)]
        big = sketch.node(kind, *ends)
    elif kind == "Resize":
        wide = sketch.node("Reshape", x, sketch.constant(np.array([1, 1, 2, 2])))
        scales = sketch.constant(np.array([1, 1, 1e5, 1e5], np.float32))
        big = sketch.node(kind, wide, "", scales)
    elif kind == "Pad":
        big = sketch.node(kind, x, sketch.constant(np.array([0, 1 << 40, 0, 0], np.int64)))
    else:
        column = sketch.constant(np.ones((1 << 16, 1), np.float32))
        row = sketch.constant(np.ones((1, 1 << 16), np.float32))
        big = sketch.node("Add", column, row)
    out = sketch.node("Identity", big) if kind in ("Resize", "Pad") else sketch.node("Mul", x, big)
    assert refused(sketch.model(out))


def test_constants_that_double_at_every_step_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "LARGEST_MADE_BYTES", 1 << 24)
    sketch = Sketch()
    grown = sketch.constant(np.ones(1 << 10, np.float32))
    for _ in range(40):
        grown = sketch.node("Concat", grown, grown, axis=0)
    assert "bytes" in refused(sketch.model(sketch.node("Mul", sketch.input((1, 4)), grown)))


def test_outputs_may_be_inputs_and_one_another() -> None:
    sketch = Sketch()
    x = sketch.input((1, 4))
    same = [sketch.node("Identity", x) for _ in range(2)]
    real = sketch.node("Relu", x)
    check(sketch.model(*same, real, sketch.node("Identity", real)), randoms(sketch))


def test_a_shape_that_depends_on_values_is_refused_with_its_tensor() -> None:
    sketch = Sketch()
    x, y = sketch.input((1, 12)), sketch.input((2,), TensorProto.INT64)
    text = refused(sketch.model(sketch.node("Reshape", x, y)))
    assert "x2" in text and "known when the network is imported" in text


def test_a_training_network_is_refused() -> None:
    sketch = Sketch()
    rows = [sketch.constant(np.ones(3, np.float32)) for _ in range(4)]
    x = sketch.input((1, 3, 4, 4))
    out = sketch.node("BatchNormalization", x, *rows, outputs=3, training_mode=1)[0]
    assert "eval" in refused(sketch.model(out))


def test_local_functions_are_inlined() -> None:
    sketch = Sketch()
    model = sketch.model(sketch.node("Twice", sketch.input((1, 3)), domain="own"))
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    sets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("own", "Twice", ["a"], ["b"], body, sets))
    model.opset_import.append(helper.make_opsetid("own", 1))
    check(model, randoms(sketch))


@settings(max_examples=150)
@given(st.data())
def test_no_damaged_byte_makes_it_crash(data: st.DataObject) -> None:
    raw = bytearray(network().SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        model = onnx.load_model_from_string(bytes(raw))
    except Exception:
        return  # the decoder's own refusal, which `read` turns into a sentence
    try:
        from_model(model, "net.onnx")
    except EdgebedError as error:
        assert str(error).startswith("net.onnx")


def test_text_in_place_of_a_constant_is_refused() -> None:
    node = helper.make_node("Constant", [], ["y"], value="text")
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    model = helper.make_model(helper.make_graph([node], "net", [], [out]))
    assert "holds no numbers" in refused(model)


def test_a_reshape_to_more_axes_than_an_array_can_have() -> None:
    sketch = Sketch()
    shape = sketch.constant(np.array([1] * 100 + [4]))
    assert "100 axes" in refused(sketch.model(sketch.node("Reshape", sketch.input((4,)), shape)))
