"""The factor of a layer with one weight scale is computed in double precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tflite_model import Tensor, constant, micro, single

from edgebed.program.arithmetic import Affine, multiplier_table, quantize_multiplier
from edgebed.program.run import run
from edgebed.program.tflite import read

pytest.importorskip("tflite_micro")


STRETCH = float(np.float32(2**23))  # results so coarse that 30-bit sums just fill 8 bits


def scales(seed: int) -> tuple[float, float, float]:
    """Return float32 scales for which single and double precision give other multipliers."""
    rng = np.random.default_rng(seed)
    while True:
        source, weight, result = (float(np.float32(s)) for s in rng.uniform(0.1, 0.3, 3))
        single_product = float(np.float32(source) * np.float32(weight))
        one = quantize_multiplier(single_product / (result * STRETCH))
        if one != quantize_multiplier(source * weight / (result * STRETCH)):
            return source, weight, result * STRETCH


def edges(factor: float) -> np.ndarray:
    """Return sums next to those at which a result of 8 bits changes."""
    limit = min(120, int(2**30 * factor))
    middles = (np.arange(-limit, limit) + 0.5) / factor
    return np.concatenate([np.rint(middles) + step for step in range(-12, 13)])


@pytest.mark.parametrize("seed", range(6))
def test_fully_connected_agrees_where_the_precision_matters(tmp_path: Path, seed: int) -> None:
    source, weight, result = scales(seed)
    bias = edges(source * weight / result)
    model = single(
        "FULLY_CONNECTED",
        [
            Tensor("x", (1, 4), "int8", source, 3),
            constant("w", np.zeros((len(bias), 4)), "int8", scale=weight),
            constant("b", bias, "int32", scale=source * weight),
        ],
        [Tensor("y", (1, len(bias)), "int8", result, 0)],
        "FullyConnectedOptions",
    )
    path = tmp_path / "fc.tflite"
    path.write_bytes(model)
    x = np.zeros((1, 4), np.int8)
    (expected,) = micro(model, x)
    (found,) = run(read(path), x[0]).values()
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)
    product = np.float32(source) * np.float32(weight)
    other = multiplier_table([float(product) / result])
    assert (Affine(result).apply(bias[:, None].astype(np.int64), other)[:, 0] != expected).any()
