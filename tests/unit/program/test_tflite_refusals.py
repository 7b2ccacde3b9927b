"""What a .tflite file may not be: one sentence that names file, layer and rule."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tflite")

import tflite
import tflite_model
from tflite_model import Operator, Tensor, build, constant, single
from tflite_oracles import OUT, REAL, Q, bias, weights

from edgebed.errors import EdgebedError
from edgebed.program.tflite import read

RELU = ("RELU", [Tensor("x", (1, 4), **Q)], [Tensor("y", (1, 4), **OUT)])


def _refused(model: bytes, path: Path) -> str:
    file = path / "network.tflite"
    file.write_bytes(model)
    with pytest.raises(EdgebedError) as caught:
        read(file)
    text = str(caught.value)
    assert "\n" not in text
    assert "network.tflite" in text
    return text


def _convolution(**changes: Any) -> bytes:
    """Return a 3 x 3 convolution of 4 x 4 pixels, with tensors or options replaced."""
    tensors: dict[str, Tensor] = {
        "x": Tensor("x", (1, 4, 4, 2), **Q), "w": weights((3, 3, 3, 2), 0), "b": bias(3),
        "y": Tensor("y", (1, 4, 4, 3), **OUT),
    }  # fmt: skip
    fields = {"StrideH": 1, "StrideW": 1, "Padding": 0, "FusedActivationFunction": 0}
    for name, value in changes.items():
        if name in tensors:
            tensors[name] = value
        else:
            fields[name] = value
    x, w, b, y = tensors.values()
    return single("CONV_2D", [x, w, b], [y], "Conv2DOptions", **fields)


def _weights(**changes: Any) -> Tensor:
    values = changes.pop("values", np.ones((3, 3, 3, 2), np.int8))
    given = {"scale": (0.01,) * 3, "zero_point": (0,) * 3, "axis": 0, **changes}
    return Tensor("w", values.shape, values=values, **given)


def test_the_unchanged_convolution_is_read(tmp_path: Path) -> None:
    (tmp_path / "n.tflite").write_bytes(_convolution())
    assert len(read(tmp_path / "n.tflite").ops) == 3


def test_files_that_are_no_networks(tmp_path: Path) -> None:
    with pytest.raises(EdgebedError, match=r"absent\.tflite: cannot read: No such file"):
        read(tmp_path / "absent.tflite")
    with pytest.raises(EdgebedError, match="cannot read: Is a directory"):
        read(tmp_path)
    assert "not a TensorFlow Lite file (0 bytes)" in _refused(b"", tmp_path)
    assert "bytes 4 to 8 are not TFL3" in _refused(b"PK\3\4" * 20, tmp_path)
    assert "the file is damaged" in _refused(single(*RELU)[:60], tmp_path)


def test_the_schema_package_is_named_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "tflite":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert "pip install 'edgebed[tflite]'" in _refused(single(*RELU), tmp_path)


@pytest.mark.parametrize(
    ("code", "advice"),
    [("UNIDIRECTIONAL_SEQUENCE_LSTM", "unrolled"), ("TOPK_V2", "end the network before it"),
     ("SPACE_TO_BATCH_ND", "dilated convolutions")],
)  # fmt: skip
def test_an_unsupported_operator_is_named_with_its_replacement(
    code: str, advice: str, tmp_path: Path
) -> None:
    text = _refused(single(code, *RELU[1:]), tmp_path)
    assert f"layer {code.lower()}_0 ({code}, output 'y')" in text
    assert f"the operator {code} is not supported" in text
    assert advice in text


@pytest.mark.parametrize(
    ("name", "advice"),
    [("FlexErf", "SELECT_TF_OPS"), ("MyOp\nline", "standard operators"),
     ("edgetpu-custom-op", "before it went through the Edge TPU compiler")],
)  # fmt: skip
def test_custom_operators(name: str, advice: str, tmp_path: Path) -> None:
    step = Operator("CUSTOM", ["x"], ["y"], custom_code=name)
    assert advice in _refused(build([*RELU[1], *RELU[2]], [step], ["x"], ["y"]), tmp_path)


def test_control_flow(tmp_path: Path) -> None:
    assert "control flow (WHILE)" in _refused(single("WHILE", *RELU[1:]), tmp_path)


QUANTISATION: dict[str, tuple[Tensor | tuple[str, Tensor], str]] = {
    "scale nan": (_weights(scale=(0.1, float("nan"), 0.1)), "its scale is nan"),
    "scale zero": (_weights(scale=(0.1, 0.0, 0.1)), "scales are positive"),
    "scale negative": (_weights(scale=(0.1, -0.5, 0.1)), "scales are positive"),
    "asymmetric": (_weights(scale=0.1, zero_point=3), "symmetric"),
    "asymmetric channels": (_weights(zero_point=(0, 1, 0)), "zero points other than 0"),
    "zero points": (_weights(zero_point=(0, 0)), "2 zero points for 3 scales"),
    "dimension": (_weights(axis=1), "quantized_dimension"),
    "no dimension": (_weights(axis=7), "quantized_dimension is 7"),
    "scales": (_weights(scale=(0.1, 0.2), zero_point=(0, 0)), "it has 2 scales"),
    "no scale": (_weights(scale=()), "with no scale"),
    "float": (Tensor("w", (3, 3, 3, 2), "float32", values=np.ones((3, 3, 3, 2), np.float32)),
              "its weights are FLOAT32"),
    "input zero": (("x", Tensor("x", (1, 4, 4, 2), "int8", 0.1, 200)), "-128..127"),
    "input scales": (("x", Tensor("x", (1, 4, 4, 2), "int8", (0.1, 0.2), (0, 0), axis=3)),
                     "an activation with 2 scales"),
    "input without scale": (("x", Tensor("x", (1, 4, 4, 2), "int8")), "without a scale"),
    "wide zero": (("x", Tensor("x", (1, 4, 4, 2), "int16", 0.1, 1)), "must be 0"),
    "output without scale": (("y", Tensor("y", (1, 4, 4, 3), "int8")), "its output has no scale"),
    "bias type": (("b", Tensor("b", (3,), "int16", values=np.zeros(3, np.int16))), "its bias is"),
    "bias size": (("b", bias(4)), "its bias has 4 values"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(QUANTISATION))
def test_what_the_quantisation_specification_forbids(name: str, tmp_path: Path) -> None:
    changed, message = QUANTISATION[name]
    place, tensor = changed if isinstance(changed, tuple) else ("w", changed)
    assert message in _refused(_convolution(**{place: tensor}), tmp_path)


CONVOLUTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "stride": ({"StrideH": 0}, "StrideH is 0"),
    "padding": ({"Padding": 7}, "its padding is 7"),
    "tanh": ({"FusedActivationFunction": 4}, "fused activation TANH"),
    "computed weights": ({"w": Tensor("w", (1, 3, 3, 2), **Q)}, "weight is computed by"),
    "channels": ({"x": Tensor("x", (1, 4, 4, 3), **Q)}, "its weights take 2 channels"),
    "batch": ({"x": Tensor("x", (4, 4, 4, 2), **Q)}, "a batch of 4"),
    "rank": ({"x": Tensor("x", (4, 4, 2), **Q)}, "1 x rows x columns x channels"),
    "shape": ({"y": Tensor("y", (1, 4, 5, 3), **OUT)}, "the shape [1, 4, 5, 3]"),
    "type": ({"y": Tensor("y", (1, 4, 4, 3), **REAL)}, "its output is float32"),
    "negative": ({"x": Tensor("x", (1, 4, -4, 2), **Q)}, "has shape [1, 4, -4, 2]"),
    "huge": ({"x": Tensor("x", (1, 65536, 65536, 2), **Q)}, "values are the limit"),
    "short": ({"b": Tensor("b", (3,), "int32", values=np.zeros(2, np.int32))}, "needs 12"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CONVOLUTIONS))
def test_convolutions_that_contradict_themselves(name: str, tmp_path: Path) -> None:
    changes, message = CONVOLUTIONS[name]
    assert message in _refused(_convolution(**changes), tmp_path)


def test_missing_options(tmp_path: Path) -> None:
    tensors = [Tensor("x", (1, 4, 4, 2), **Q), weights((3, 3, 3, 2), 0)]
    text = _refused(single("CONV_2D", tensors, [Tensor("y", (1, 4, 4, 3), **OUT)]), tmp_path)
    assert "StrideH is missing" in text


def test_weights_that_are_not_numbers(tmp_path: Path) -> None:
    values = np.array([[1.0, np.nan], [0.0, 1.0]], np.float32)
    tensors = [Tensor("x", (1, 2), **REAL), Tensor("w", (2, 2), "float32", values=values)]
    text = _refused(single("FULLY_CONNECTED", tensors, [Tensor("y", (1, 2), **REAL)],
                           "FullyConnectedOptions"), tmp_path)  # fmt: skip
    assert "tensor 1 'w': it holds values that are not finite" in text


def test_the_scale_of_a_bias_belongs_to_input_and_weights(tmp_path: Path) -> None:
    b = Tensor("b", (3,), "int32", 5.0, values=np.zeros(3, np.int32))
    tensors = [Tensor("x", (1, 4), **Q), weights((3, 4), 0, channels=False), b]
    text = _refused(single("FULLY_CONNECTED", tensors, [Tensor("y", (1, 3), **OUT)],
                           "FullyConnectedOptions"), tmp_path)  # fmt: skip
    assert "its bias has scale 5.0" in text


GRAPHS: dict[str, tuple[Callable[[], bytes], str]] = {
    "cycle": (lambda: build(
        [Tensor(n, (1, 4), **Q) for n in "xaby"],
        [Operator("ADD", ["x", "b"], ["a"], "AddOptions"), Operator("RELU", ["a"], ["b"]),
         Operator("RELU", ["b"], ["y"])], ["x"], ["y"]), "no operator before it writes"),
    "twice": (lambda: build(
        [Tensor(n, (1, 4), **Q) for n in "xy"],
        [Operator("RELU", ["x"], ["y"]), Operator("RELU", ["x"], ["y"])], ["x"], ["y"]),
        "has written it before"),
    "onto a constant": (lambda: build(
        [Tensor("x", (1, 4), **Q), Tensor("y", (1, 4), values=np.zeros((1, 4), np.int8), **Q)],
        [Operator("RELU", ["x"], ["y"])], ["x"], ["y"]), "it is a constant"),
    "no output": (lambda: build([Tensor("x", (1, 4), **Q)], [], ["x"], []), "no output"),
    "unwritten output": (
        lambda: build([Tensor(n, (1, 4), **Q) for n in "xy"], [], ["x"], ["y"]),
        "no operator before it writes"),
    "operand missing": (lambda: build(
        [Tensor(n, (1, 4), **Q) for n in "xy"], [Operator("ADD", ["x"], ["y"], "AddOptions")],
        ["x"], ["y"]), "operand 1 is missing"),
    "optional operand missing": (lambda: build(
        [Tensor(n, (1, 4), **Q) for n in "xy"], [Operator("ADD", ["", "x"], ["y"], "AddOptions")],
        ["x"], ["y"]), "operand 0 is missing"),
    "input twice": (lambda: build(
        [Tensor(n, (1, 4), **Q) for n in "xy"], [Operator("RELU", ["x"], ["y"])],
        ["x", "x"], ["y"]), "is named twice"),
    "types": (lambda: single(
        "ADD", [Tensor("x", (1, 4), **Q), Tensor("z", (1, 4), **REAL)],
        [Tensor("y", (1, 4), **Q)], "AddOptions"), "operands are int8 and float32"),
    "shapes": (lambda: single(
        "ADD", [Tensor("x", (1, 4), **Q), Tensor("z", (1, 3), **Q)],
        [Tensor("y", (1, 4), **Q)], "AddOptions"), "operands of shape [1, 4] and [1, 3]"),
    "axis": (lambda: single(
        "CONCATENATION", [Tensor("x", (1, 4), **Q), Tensor("z", (1, 4), **Q)],
        [Tensor("y", (1, 8), **Q)], "ConcatenationOptions", Axis=5), "its axes are [5]"),
    "reshape": (lambda: single(
        "RESHAPE", [Tensor("x", (1, 4), **Q), constant("s", [1, 5])],
        [Tensor("y", (1, 5), **Q)]), "the number of values stays the same"),
    "gather": (lambda: single(
        "GATHER", [Tensor("x", (1, 4), **Q), constant("i", [9])], [Tensor("y", (1, 1), **Q)],
        "GatherOptions", Axis=1), "indices 9..9"),
    "slope": (lambda: single(
        "PRELU", [Tensor("x", (1, 2, 2), **Q), Tensor("a", (2, 2), "int8", 0.1, values=np.eye(
            2, dtype=np.int8))], [Tensor("y", (1, 2, 2), **Q)]), "shared_axes"),
    "halves": (lambda: single(
        "RELU", [Tensor("x", (1, 4), "float16")], [Tensor("y", (1, 4), "float16")]), "FLOAT16"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(GRAPHS))
def test_graphs_that_cannot_be(name: str, tmp_path: Path) -> None:
    make, message = GRAPHS[name]
    assert message in _refused(make(), tmp_path)


@pytest.mark.parametrize(
    ("method", "value", "message"),
    [("IsVariable", True, "a variable"), ("Sparsity", object(), "sparse storage"),
     ("Type", 5, "its type STRING is not supported"), ("Type", 99, "its type type 99"),
     ("Buffer", 4_000_000_000, "names buffer 4000000000")],
)  # fmt: skip
def test_tensors_that_cannot_be(
    method: str, value: object, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tflite.Tensor, method, lambda _: value)
    assert message in _refused(single(*RELU), tmp_path)


def test_an_axis_of_the_input_without_a_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tflite.Tensor, "ShapeSignatureLength", lambda _: 2)
    monkeypatch.setattr(
        tflite.Tensor, "ShapeSignatureAsNumpy", lambda _: np.array([-1, -1], np.int32)
    )
    assert "axis 1 of the input has no fixed size" in _refused(single(*RELU), tmp_path)


def test_values_outside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def outside(b: Any, values: np.ndarray | None) -> int:
        tflite.BufferStart(b)
        if values is not None:
            tflite.BufferAddOffset(b, 1 << 40)
            tflite.BufferAddSize(b, 8)
        return int(tflite.BufferEnd(b))

    monkeypatch.setattr(tflite_model, "_buffer", outside)
    assert f"lies at byte {1 << 40} with 8 bytes" in _refused(_convolution(), tmp_path)


def test_values_behind_the_flatbuffer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large files keep their weights behind the tables, at byte offsets."""
    plain = tmp_path / "plain.tflite"
    plain.write_bytes(_convolution())
    held: list[tuple[bytes, int]] = []

    def behind(b: Any, values: np.ndarray | None) -> int:
        tflite.BufferStart(b)
        if values is not None:
            start = 1 << 16
            place = start + sum(len(data) for data, _ in held)
            held.append((values.tobytes(), place))
            tflite.BufferAddOffset(b, place)
            tflite.BufferAddSize(b, values.nbytes)
        return int(tflite.BufferEnd(b))

    monkeypatch.setattr(tflite_model, "_buffer", behind)
    model = _convolution().ljust(1 << 16, b"\0") + b"".join(data for data, _ in held)
    far = tmp_path / "far.tflite"
    far.write_bytes(model)
    assert read(far).constants == read(plain).constants


@settings(max_examples=150)
@given(st.data())
def test_mutated_files_are_read_or_refused_in_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(_convolution())
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(content) // 4 - 1)) * 4
        word = data.draw(st.sampled_from([0, 1, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1))
        content[place : place + 4] = word.to_bytes(4, "little")
    path = tmp_path_factory.getbasetemp() / "mutated.tflite"
    path.write_bytes(content[: data.draw(st.integers(8, len(content)))])
    try:
        read(path)
    except EdgebedError as error:
        assert "\n" not in str(error)
        assert "mutated.tflite" in str(error)
