"""A float network and its integer program answer alike; what quantisation breaks is repaired."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from float_networks import floats, mobile, op, pictures
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebed.compress.calibration import Range, calibrate
from edgebed.compress.equalise import equalise, pairs
from edgebed.compress.quantize import quantise
from edgebed.compress.scheme import Settings, grid
from edgebed.compress.sensitivity import noise_between
from edgebed.errors import EdgebedError
from edgebed.program.run import run, trace
from edgebed.program.types import Program

FEW = pictures(8)


def outputs(program: Program, count: int = 6) -> list[dict[str, np.ndarray]]:
    return [run(program, sample) for sample in pictures(count, seed=7)]


def noise(program: Program, given_settings: Settings, source: Program | None = None) -> float:
    source = source or program
    made = quantise(source, calibrate(source, FEW), given_settings)
    return noise_between(outputs(program), outputs(made))


@pytest.mark.parametrize("rounding", ["fixed_point", "float"])
@pytest.mark.parametrize("method", ["minmax", "percentile", "mse"])
def test_eight_bits_keep_the_answers(method: str, rounding: str) -> None:
    chosen = Settings(method=method, rounding=rounding)  # type: ignore[arg-type]
    assert noise(mobile(), chosen) > 20


def test_every_layer_becomes_integers_and_the_edges_stay_real() -> None:
    program = mobile()
    made = quantise(program, calibrate(program, FEW))
    assert made.inputs == program.inputs
    assert made.outputs == program.outputs
    assert all(made.types[name].is_float for name in made.outputs)
    real = {o.kind for o in made.ops if made.types[o.output].is_float}
    assert real == {"dequantize"}
    assert not [o for o in made.ops if o.kind == "unary"]
    weights = [made.constants[o.weight] for o in made.ops if hasattr(o, "weight")]
    assert {constant.values.dtype for constant in weights} == {np.dtype(np.int8)}
    assert min(int(constant.values.min()) for constant in weights) >= -127


def test_a_relu_behind_a_layer_is_its_clamp() -> None:
    program = mobile()
    made = quantise(program, calibrate(program, FEW))
    first = next(o for o in made.ops if o.name == "c1")
    assert first.output == "r1.q"
    zero = first.requantize.zero_point
    assert first.requantize.low == zero
    assert dict(trace(made, FEW[0]))["r1.q"].min() == zero


def test_equalisation_keeps_the_function_and_repairs_uneven_channels() -> None:
    even, uneven = mobile(), mobile(uneven=3000.0)
    np.testing.assert_allclose(
        outputs(even)[0]["scores"], outputs(uneven)[0]["scores"], rtol=1e-3, atol=1e-4
    )
    balanced = equalise(uneven)
    assert [(one.first.name, one.second.name) for one in pairs(uneven)] == [("c2", "c3")]
    np.testing.assert_allclose(
        outputs(uneven)[0]["scores"], outputs(balanced)[0]["scores"], rtol=1e-3, atol=1e-4
    )
    plain = Settings(equalise=False, correct_bias=False)
    assert noise(uneven, plain, balanced) > noise(uneven, plain) + 6


def test_sixteen_bits_are_better_than_eight() -> None:
    program = mobile()
    every = frozenset(program.types) - {"classes"}
    eight, sixteen = noise(program, Settings()), noise(program, Settings(wide=every))
    assert sixteen > eight + 3


def test_bias_correction_removes_a_shift() -> None:
    rng = np.random.default_rng(3)
    weights = np.full((4, 64), 0.4) + rng.normal(size=(4, 64)) * 0.001
    weights[:, 0] = 50.0  # one outlier makes the steps coarse: 0.4 of a step of 0.39
    program = Program(
        "shifted",
        {"x": replace(mobile().inputs["x"], shape=(64,))},
        (op("dense", "y", "x", weight="w", last_axis=True),),
        ("y",),
        {"w": floats(weights)},
    )
    samples = [{"x": rng.random(64).astype(np.float32) + np.float32(1)} for _ in range(16)]
    seen = calibrate(program, samples)
    wide = frozenset({"x", "y"})
    errors = []
    for correct in (False, True):
        made = quantise(program, seen, Settings(correct_bias=correct, wide=wide))
        off = [run(made, s)["y"] - run(program, s)["y"] for s in samples]
        errors.append(float(np.abs(np.mean(off, axis=0)).max()))
    assert errors[1] < errors[0] / 4


def test_layers_can_stay_real() -> None:
    program = mobile()
    made = quantise(program, calibrate(program, FEW), Settings(floats=frozenset({"scores"})))
    scores = next(o for o in made.ops if o.name == "scores")
    assert made.types[scores.output].is_float
    assert made.constants[scores.weight].values.dtype == np.float32


@given(st.floats(-1e6, 0), st.floats(0, 1e6), st.booleans())
def test_zero_is_an_integer_of_every_grid(low: float, high: float, wide: bool) -> None:
    found = grid(Range(low, high), wide=wide)
    assert found.low <= found.zero_point <= found.high
    step = found.scale
    assert (found.low - found.zero_point) * step <= low + step
    assert (found.high - found.zero_point) * step >= high - step


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_random_weights_quantise_well(seed: int) -> None:
    assert noise(mobile(seed), Settings()) > 12


def test_nothing_to_calibrate_with() -> None:
    with pytest.raises(EdgebedError, match="no calibration sample"):
        calibrate(mobile(), [])


def test_weights_that_are_not_numbers_name_their_layer() -> None:
    program = mobile()
    broken = program.constants["w3"].values.copy()
    broken[0, 0] = np.nan
    bad = program.with_(constants={**program.constants, "w3": floats(broken)})
    with pytest.raises(EdgebedError, match=r"(c3|NaN)"):
        quantise(bad, calibrate(program, FEW))


def test_a_network_that_overflows_names_the_tensor() -> None:
    program = mobile()
    huge = {**program.constants, "b1": floats(np.full(8, np.inf))}
    with pytest.raises(EdgebedError, match="'c1' holds NaN or infinity"):
        calibrate(program.with_(constants=huge), FEW)
