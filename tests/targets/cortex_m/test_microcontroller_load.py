"""`edgebed.load` of a microcontroller's folder: the same calls, computed by emulated firmware."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgebed
from edgebed.deploy import library
from edgebed.program.arithmetic import Affine
from edgebed.program.ops.dense import Dense
from edgebed.program.run import run
from edgebed.program.types import Constant, Program, TensorType
from edgebed.targets import load as load_target

pytest.importorskip("unicorn")


def network() -> Program:
    rng = np.random.default_rng(0)
    constants = {
        "w": Constant(rng.integers(-127, 128, (5, 12)).astype(np.int8), 8),
        "m": Constant(np.array([[1 << 30], [-8]], np.int32), 32),
    }
    op = Dense(
        name="d", inputs=("x",), output="y", weight="w", multiplier="m",
        requantize=Affine(0.1, -3),
    )  # fmt: skip
    return Program("small", {"x": TensorType((12,), "int8", 0.1, 4)}, (op,), ("y",), constants)


def test_arrays_lists_and_names_give_the_interpreters_integers(tmp_path: Path) -> None:
    program = network()
    device = load_target("cortex_m").with_options({"cpu": "m0plus"})  # type: ignore[attr-defined]
    library.build(program, device, tmp_path / "build")
    x = np.random.default_rng(1).integers(-128, 128, (4, 12)).astype(np.int8)
    wanted = run(program, {"x": x})["y"].reshape(4, -1)
    with_names = edgebed.load(tmp_path / "build")
    try:
        for given in (x, [x], {"x": x}):
            np.testing.assert_array_equal(with_names.run(given).reshape(4, -1), wanted)
        one = with_names.run(x[:1])
        np.testing.assert_array_equal(one.ravel(), wanted[0])
        with pytest.raises(edgebed.EdgebedError, match="2 arrays for 1 inputs"):
            with_names.run([x, x])
    finally:
        with_names.close()
