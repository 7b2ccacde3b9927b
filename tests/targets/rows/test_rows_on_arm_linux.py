"""Random programs and float32 layers on emulated Arm Linux cores against the interpreter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn import programs
from hypothesis import given, settings
from hypothesis import strategies as st
from native_network import program_inputs
from row_programs import TWO, byte, one_op
from test_drawn_programs import program_text, reached_by_floats
from test_float_layers import constants
from test_rows_conformance import GOALS, SLOW, supported

from edgebed.program.arithmetic import Affine
from edgebed.program.ops.add import Add
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.run import run
from edgebed.program.types import Program, TensorType
from edgebed.targets._shared.rows.kernels.sets import Goal
from edgebed.targets.arm_linux.cores import CORES
from edgebed.targets.arm_linux.emulation import find_qemu
from edgebed.targets.arm_linux.network import load
from edgebed.targets.arm_linux.target import TARGET


def computed(program: Program, folder: Path, cpu: str, goal: Goal, samples: int):
    """Random inputs of the program, and what an emulated core makes of them, by output's name."""
    given = [program_inputs(program, seed) for seed in range(samples)]
    x = {name: np.stack([one[name] for one in given]) for name in program.inputs}
    return x, answers(program, folder, cpu, goal, x)


def answers(program: Program, folder: Path, cpu: str, goal: Goal, x):
    """What an emulated core makes of samples along the first axis, by output's name."""
    if find_qemu(CORES[cpu]) is None:
        pytest.importorskip("unicorn", reason="neither qemu-user nor unicorn is installed")
    target = TARGET.with_options({"cpu": cpu, "goal": goal})
    target.plan(program).write(folder)
    target.build(folder)
    network = load(folder)
    shapes = {one.name: (-1, *one.shape[1:]) for one in network.inputs}
    found = network.run({name: values.reshape(shapes[name]) for name, values in x.items()})
    arrays = found if isinstance(found, tuple) else (found,)
    return {one.name: got for one, got in zip(network.outputs, arrays, strict=True)}


def check_drawn(program: Program, folder: Path, cpu: str, goal: Goal) -> None:
    x, found = computed(program, folder, cpu, goal, 2)
    right, reached = run(program, x), reached_by_floats(program)
    for name, got in found.items():
        if name not in reached:
            want = right[name].reshape(got.shape)
            np.testing.assert_array_equal(
                got, want, f"{cpu} {goal} {name}\n{program_text(program)}"
            )


@settings(max_examples=2, deadline=None, **SLOW)
@given(programs(chains=4, length=6), st.sampled_from(GOALS))
def test_drawn_programs_with_dot_products(
    tmp_path_factory: pytest.TempPathFactory, program: Program, goal: Goal
) -> None:
    part = supported(program)
    if part is not None:
        check_drawn(part, tmp_path_factory.mktemp("drawn"), "a76", goal)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, **SLOW)
@given(programs(chains=5, length=9), st.sampled_from(list(CORES)), st.sampled_from(GOALS))
def test_many_drawn_programs_on_every_core(
    tmp_path_factory: pytest.TempPathFactory, program: Program, cpu: str, goal: Goal
) -> None:
    part = supported(program)
    if part is not None:
        check_drawn(part, tmp_path_factory.mktemp("drawn"), cpu, goal)


@pytest.mark.parametrize("cpu", ["a72", "a76", "armv7"])
@pytest.mark.parametrize("scales", [(0.0394, 0.1042, 0.0509), (0.07, 0.02, 0.031)])
def test_sums_of_all_pairs_of_bytes(scales, cpu: str, tmp_path: Path) -> None:
    """All of them in sixteen samples; then fewer in each, so that a rest of lanes is left."""
    pairs = np.arange(1 << 16).reshape(16, -1)
    a, b = ((values - 128).astype(np.int8) for values in (pairs >> 8, pairs & 255))
    for size in (4096, 4091):
        kinds = [byte((size,), scale, zero) for scale, zero in zip(scales, (-12, 5), strict=False)]
        program = one_op(Add(**TWO, requantize=Affine(scales[2], -128)), kinds)
        x = {"a": a[:, :size], "b": b[:, :size]}
        folder = tmp_path / str(size)
        folder.mkdir()
        (got,) = answers(program, folder, cpu, "balanced", x).values()
        np.testing.assert_array_equal(got.ravel(), run(program, x)["o"].ravel())
        assert any("eb_sum" in one.read_text() for one in (folder / "library").glob("*.c"))


def real_network() -> Program:
    """Convolution with border and stride, depthwise, both pools, dense: all in float32."""
    rng = np.random.default_rng(4)
    deep, flat = constants(rng, (5, 1, 3, 3)), constants(rng, (7, 5 * 2 * 3))
    held = constants(rng, (5, 3, 3, 3)) | {
        **{f"deep.{name}": one for name, one in deep.items()},
        **{f"flat.{name}": one for name, one in flat.items()},
    }
    ops = (
        Conv2d(name="c", inputs=("x",), output="m", weight="w", bias="b", stride=(1, 2),
               padding=(1, 1, 1, 1), activation="relu"),
        Conv2d(name="d", inputs=("m",), output="n", weight="deep.w", bias="deep.b", groups=5,
               padding=(1, 1, 1, 1)),
        MaxPool(name="p", inputs=("n",), output="o", kernel=(2, 2), stride=(2, 2)),
        AvgPool(name="q", inputs=("o",), output="r", kernel=(2, 2), stride=(2, 2)),
        Dense(name="e", inputs=("r",), output="y", weight="flat.w", bias="flat.b"),
    )  # fmt: skip
    return Program("real", {"x": TensorType((3, 8, 24), "float32", 1.0)}, ops, ("y",), held)


@pytest.mark.parametrize("cpu", list(CORES))
def test_float32_layers_run_on_every_core(cpu: str, tmp_path: Path) -> None:
    program = real_network()
    x, found = computed(program, tmp_path, cpu, "balanced", 3)
    for name, want in run(program, x).items():
        got = found[name].reshape(want.shape)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
        assert np.ptp(got) > 0.1  # something was computed
