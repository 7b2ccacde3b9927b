"""Weights and biases on a device that are not its program's, from its own recorded layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgebed.observe.alone import alone
from edgebed.observe.assertions import examine
from edgebed.observe.assertions.weights import weights
from edgebed.observe.observed import Observed
from edgebed.observe.recomputed import layers_of
from edgebed.observe.recorders import reference as recorder
from edgebed.observe.trace_writer import TraceWriter
from edgebed.program import to_onnx
from edgebed.program.arithmetic import PowerOfTwo
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.types import Array, Constant, Program, TensorType

SIDE = 24


def network(seed: int = 0) -> Program:
    """Three convolutions, the first without biases, a pool between, a wide end."""
    rng = np.random.default_rng(seed)

    def held(*shape: int) -> Constant:
        return Constant(rng.integers(-60, 60, shape).astype(np.int8), 8, 2**-7)

    def bias(count: int) -> Constant:
        return Constant((128 * rng.integers(-90, 90, count)).astype(np.int32), 32, 2**-14)

    same = {"padding": (1, 1, 1, 1), "requantize": PowerOfTwo(9), "activation": "relu"}
    ops = (
        Conv2d(name="a", inputs=("x",), output="first", weight="w0", **same),  # type: ignore[arg-type]
        MaxPool(name="p", inputs=("first",), output="pooled", kernel=(2, 2), stride=(2, 2)),
        Conv2d(name="b", inputs=("pooled",), output="second", weight="w1", bias="b1", **same),  # type: ignore[arg-type]
        Conv2d(name="c", inputs=("second",), output="y", weight="w2", bias="b2"),
    )
    constants = {"w0": held(8, 3, 3, 3), "w1": held(8, 8, 3, 3), "w2": held(6, 8, 1, 1),
                 "b1": bias(8), "b2": bias(6)}  # fmt: skip
    return Program("three", {"x": TensorType((3, SIDE, SIDE))}, ops, ("y",), constants)


def pictures(count: int = 4) -> Array:
    """Smooth maps with detail, as cameras give them."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(-128, 128, (count, 3, SIDE // 4, SIDE // 4)).repeat(4, 2).repeat(4, 3)
    fine = rng.integers(-30, 30, (count, 3, SIDE, SIDE))
    return np.clip(coarse + fine, -128, 127).astype(np.int8)


@pytest.fixture
def observe(tmp_path: Path) -> Callable[[Program], Observed]:
    """Record another program under the right one's name, without pooled maps, as boards do."""
    program = network()
    to_onnx.save(program, tmp_path / "p.onnx")
    note = str(tmp_path / "p.onnx")

    def record(computed: Program) -> Observed:
        frames = [
            replace(one, tensors=tuple(t for t in one.tensors if t.name != "pooled"))
            for one in recorder.record(computed, {"x": pictures()})
        ]
        return Observed.of(recorder.manifest(program, "full", model=note), frames)

    return record


def with_constants(program: Program, **changed: Array) -> Program:
    held = dict(program.constants)
    for name, values in changed.items():
        held[name] = replace(held[name], values=values)
    return replace(program, constants=held)


def causes(reference: Observed, device: Observed) -> list[tuple[str, str]]:
    return [(one.cause, one.layer) for one in weights(reference, device)]


def test_a_sound_device(observe: Callable[[Program], Observed]) -> None:
    assert causes(observe(network()), observe(network())) == []


def test_missing_biases_are_named_at_the_first_layer_that_has_some(
    observe: Callable[[Program], Observed],
) -> None:
    program = network()
    held = program.constants
    wrong = with_constants(program, b1=0 * held["b1"].values, b2=0 * held["b2"].values)
    (found,) = weights(observe(program), observe(wrong))
    assert (found.cause, found.layer) == ("missing_biases", "second")
    assert found.settings["layers"] == ["second", "y"]
    assert "2 of 2 layers" in found.evidence


def test_biases_that_are_what_memory_held(observe: Callable[[Program], Observed]) -> None:
    program = network()
    rng = np.random.default_rng(5)
    held = {
        n: (128 * rng.integers(-128, 128, c)).astype(np.int32) for n, c in (("b1", 8), ("b2", 6))
    }
    found = causes(observe(program), observe(with_constants(program, **held)))
    assert found == [("missing_biases", "second")]


def test_weights_of_another_checkpoint(observe: Callable[[Program], Observed]) -> None:
    program, older = network(), network(1)
    wrong = with_constants(program, **{n: older.constants[n].values for n in ("w0", "w1", "w2")})
    (found,) = weights(observe(program), observe(wrong))
    assert (found.cause, found.layer) == ("stale_weights", "first")
    assert "3 of 3 layers" in found.evidence
    kept = examine(observe(program), observe(wrong))
    assert [one.cause for one in kept] == ["stale_weights"]


def test_weights_that_moved_a_little(observe: Callable[[Program], Observed]) -> None:
    program = network()
    rng = np.random.default_rng(3)
    moved = {
        name: (
            program.constants[name].values
            + rng.integers(-6, 7, program.constants[name].values.shape)
        ).astype(np.int8)
        for name in ("w0", "w1", "w2")
    }
    assert causes(observe(program), observe(with_constants(program, **moved))) == [
        ("stale_weights", "first")
    ]


def _scaled_channel(program: Program) -> Program:
    """One channel with half of its scale."""
    values = program.constants["w1"].values.astype(int)
    values[3] //= 2
    return with_constants(program, w1=values.astype(np.int8))


def _rounded_down(program: Program) -> Program:
    held = program.constants["b1"].values
    return with_constants(program, b1=(held - 2**8).astype(np.int32))


def _without_border(program: Program) -> Program:
    ops = list(program.ops)
    wrong = replace(ops[2], padding=(0, 0, 2, 2))  # type: ignore[type-var]
    return replace(program, ops=(*ops[:2], wrong, *ops[3:]))


def _overflowing(program: Program) -> Program:
    ops = list(program.ops)
    wrong = replace(ops[2], requantize=PowerOfTwo(6))  # type: ignore[type-var,call-arg]
    return replace(program, ops=(*ops[:2], wrong, *ops[3:]))


@pytest.mark.parametrize("defect", [_scaled_channel, _rounded_down, _without_border, _overflowing])
def test_defective_kernels_are_left_to_those_who_know_them(
    observe: Callable[[Program], Observed], defect: Callable[[Program], Program]
) -> None:
    program = network()
    found = causes(observe(program), observe(defect(program)))
    assert "stale_weights" not in [cause for cause, _ in found]


def test_stale_buffers_are_no_weights(observe: Callable[[Program], Observed]) -> None:
    sound = observe(network())
    first = sound.layers["first"]
    late = replace(first, stored=(first.stored[-1], *first.stored[:-1]))
    device = replace(sound, layers={**sound.layers, "first": late})
    assert causes(sound, device) == []


def test_unrecorded_pools_are_computed(observe: Callable[[Program], Observed]) -> None:
    device = observe(network())
    assert [one.name for one in layers_of(network(), device)] == ["first", "second", "y"]
    assert all(one.equal == 1 for one in layers_of(network(), device))


def test_a_trace_alone_beside_its_program(
    observe: Callable[[Program], Observed], tmp_path: Path
) -> None:
    program = network()
    held = program.constants
    wrong = observe(with_constants(program, b1=0 * held["b1"].values, b2=0 * held["b2"].values))
    with TraceWriter(tmp_path / "t.trace", wrong.manifest) as writer:
        for frame in wrong.frames:
            writer.write(frame)
    found = alone(tmp_path / "t.trace", program).verdicts
    assert [(one.cause, one.layer) for one in found] == [("missing_biases", "second")]


def test_nothing_is_said_without_the_program(
    observe: Callable[[Program], Observed], tmp_path: Path
) -> None:
    program, older = network(), network(1)
    wrong = observe(with_constants(program, w0=older.constants["w0"].values))
    to_onnx.save(older, tmp_path / "p.onnx")  # the path now holds another program
    assert causes(observe(program), wrong) == []
    (tmp_path / "p.onnx").write_bytes(b"damaged")
    assert causes(observe(program), wrong) == []
    (tmp_path / "p.onnx").unlink()
    assert causes(observe(program), wrong) == []
