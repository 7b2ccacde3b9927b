"""What differs between traces of sound deployments, and is no fault."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from traces import Recorder, float_network, inputs, pictures

from edgebed.compress.calibration import calibrate
from edgebed.compress.quantize import quantise
from edgebed.compress.scheme import Settings
from edgebed.figures import Figure
from edgebed.observe.assertions.latency import slow_layer
from edgebed.observe.assertions.quantisation import dead_channels
from edgebed.observe.examine import verdicts_on
from edgebed.observe.observed import Observed
from edgebed.observe.recorders import onnx_runtime
from edgebed.observe.trace import Frame, Manifest, Tensor
from edgebed.observe.trace_comparison import compare_traces
from edgebed.program import to_onnx
from edgebed.program.costs import costs_of
from edgebed.program.types import Array, Constant, Program


@cache
def balanced() -> Program:
    """Return the float network with scaled channels that the next layers scale back."""
    program = chain()
    rng = np.random.default_rng(3)
    values = {name: constant.values.copy() for name, constant in program.constants.items()}
    for first, second in (("w0", "w1"), ("w1", "w2"), ("w2", "w3")):
        s = rng.uniform(1, 30, len(values[first])).astype(np.float32)
        values[first] *= s[:, None, None, None]
        depthwise = values[second].shape[1] == 1
        values[second] /= s[:, None, None, None] if depthwise else s[None, :, None, None]
    constants = {name: Constant(one, 32) for name, one in values.items()}
    return program.with_(constants=constants)


def chain() -> Program:
    """Return the float network without its residual sum."""
    program = float_network()
    ops = [
        replace(one, inputs=("point",)) if one.output == "sum_relu" else one
        for one in program.ops
        if one.output != "sum"
    ]
    return program.with_(ops=tuple(ops))


def in_8_bits(program: Program) -> Program:
    """Quantise in 8 bits, as it is."""
    samples = [{"x": one} for one in inputs(8, 100)]
    return quantise(program, calibrate(program, samples), Settings(equalise=False))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Recorder(chain(), digest="f").record(
        tmp_path_factory.mktemp("float") / "f.trace", pictures(6)
    )


@pytest.mark.parametrize("quantised", [False, True])
def test_balanced_weights_are_no_fault(reference: Path, tmp_path: Path, quantised: bool) -> None:
    device = in_8_bits(balanced()) if quantised else balanced()
    trace = Recorder(device, "board", digest="q").record(tmp_path / "d.trace", pictures(6))
    found = compare_traces(reference, trace)
    assert verdicts_on(found) == ()
    assert any("balanced" in text for text in found.notes)
    scaled = {one.name.split("_")[0] for one in found.errors if one.factors}
    assert scaled == {"stem", "wide", "deep"}


@pytest.mark.parametrize("layer", ["wide", "deep", "sum", "last"])
def test_channels_of_a_wrong_scale_are_named_though_one_factor_explains_them(
    reference: Path, tmp_path: Path, layer: str
) -> None:
    device = in_8_bits(chain())
    name = next(op.output for op in device.ops if op.output.startswith(layer))
    zero = device.types[name].zero_point

    def scaled(right: Array, _before: Any) -> Array:
        factors = np.random.default_rng(1).uniform(0.3, 3, (len(right), 1, 1))
        wrong = (right.astype(float) - zero) * factors + zero
        return np.clip(np.rint(wrong), -128, 127).astype(right.dtype)

    trace = Recorder(device, "board", digest="q", defects={name: scaled})
    found = compare_traces(reference, trace.record(tmp_path / "d.trace", pictures(6)))
    (said,) = verdicts_on(found)
    assert said.layer.split("_")[0].removesuffix(".q") == layer
    assert not any("balanced" in text for text in found.notes)


def test_integers_behind_ops_that_move_values_keep_their_step(tmp_path: Path) -> None:
    program = in_8_bits(chain())
    to_onnx.save(program, tmp_path / "p.onnx")
    graph = onnx_runtime.read(tmp_path / "p.onnx")
    given = {name: np.stack(inputs(2)) for name in graph.inputs}
    (frame, _) = onnx_runtime.record(graph, given)
    pooled = frame.named("pool.q")
    assert pooled is not None and pooled.dtype == "int8"
    kind = program.types["pool.q"]
    assert pooled.scale == pytest.approx(kind.scale) and pooled.zero_point == kind.zero_point


@pytest.mark.parametrize("bare_side", [0, 1])
def test_bare_integers_of_either_side_are_fitted(tmp_path: Path, bare_side: int) -> None:
    def bare(one: Tensor) -> Tensor:
        return replace(one, scale=None, zero_point=0) if one.name == "pool.q" else one

    program = in_8_bits(chain())
    paths = [
        Recorder(program, "litert", digest=str(side), changed=bare if side == bare_side else keep)
        .record(tmp_path / f"{side}.trace", pictures(6))
        for side in (0, 1)
    ]  # fmt: skip
    assert verdicts_on(compare_traces(*paths)) == ()


def keep(one: Tensor) -> Tensor:
    return one


def test_sums_of_another_order_make_no_channel_dead() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 10, 6, 6)).astype(np.float32)
    values[:, ::2] = 1.0 + 1e-7 * rng.choice([0, 1], (4, 5, 6, 6)).astype(np.float32)
    still = values.copy()
    still[:, ::2] = 1.0
    assert not dead_channels(sample(values), sample(still))
    dead = values.copy()
    dead[:, 1] = 0.0
    (found,) = dead_channels(sample(values), sample(dead))
    assert "Channel 1 " in found.evidence


def sample(layers: Array) -> Observed:
    """Return frames of one input and one layer."""

    def tensors(values: Array) -> Iterator[Tensor]:
        given = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 8, 8)
        yield Tensor("x", "input", given.shape, "float32", layout="CHW", values=given)
        yield Tensor("y", "layer", values.shape, "float32", layout="CHW", values=values)

    return Observed.of(
        Manifest("host", "full"), [Frame(i, tuple(tensors(v))) for i, v in enumerate(layers)]
    )


def timed(micros: dict[str, float], notes: dict[str, Any], frames: int = 8) -> Observed:
    figures = {
        name: {"latency": Figure(value, "us", "measured", "clock")}
        for name, value in micros.items()
    }
    return Observed.of(
        Manifest("host", "full", notes=notes),
        [Frame(i, layer_figures=figures) for i in range(frames)],
    )


def test_a_layer_as_slow_as_its_large_maps_is_not_slow() -> None:
    names = [f"conv{i}" for i in range(6)]
    notes = {
        "macs": {**dict.fromkeys(names, 1e6), "conv0": 5e5},
        "moved": {**dict.fromkeys(names, 2e4), "conv0": 1.2e5},
        "kinds": dict.fromkeys(names, "conv2d"),
    }
    one = timed({**dict.fromkeys(names, 10.0), "conv0": 50.0}, notes)
    assert not slow_layer(one, one)  # six times the values, five times the time
    one = timed({**dict.fromkeys(names, 10.0), "conv0": 50.0}, {**notes, "moved": {}})
    assert [found.layer for found in slow_layer(one, one)] == ["conv0"]
    one = timed({**dict.fromkeys(names, 10.0), "conv0": 50.0}, {**notes, "moved": {}}, frames=3)
    assert not slow_layer(one, one)  # three interrupted frames accuse nobody


def test_a_program_tells_what_its_layers_cost() -> None:
    program = float_network()
    found = costs_of(program)
    assert found["macs"]["stem"] == 12 * 12 * 8 * 27
    assert found["moved"]["stem"] == 24 * 24 * 3 + 12 * 12 * 8
    assert found["kinds"]["deep"] == "conv2d, depthwise" and found["kinds"]["point"] == "conv2d"


def test_a_layer_of_the_device_alone_hides_no_partner(reference: Path, tmp_path: Path) -> None:
    def last(one: Tensor) -> Tensor:
        assert one.values is not None
        if one.name == "mean":
            return replace(one, name="part", shape=(8,), values=one.values.ravel()[:8])
        if one.role != "layer" or one.values.ndim != 3:
            return one
        values = np.ascontiguousarray(np.moveaxis(one.values, 0, -1))
        return replace(one, layout="HWC", shape=values.shape, values=values)

    device = Recorder(chain(), "board", digest="q", changed=last, dropped=("wide",))
    found = compare_traces(reference, device.record(tmp_path / "d.trace", pictures(6)))
    assert verdicts_on(found) == ()
