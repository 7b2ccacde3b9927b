"""Networks of unusual shape quantise as well as usual ones, or keep what has no integer form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from float_networks import floats, op

from edgebed.compress.agreement import COSINE, agreement
from edgebed.compress.calibration import calibrate
from edgebed.compress.equalise import equalise, pairs
from edgebed.compress.imported import Data, compress
from edgebed.compress.quantize import quantise
from edgebed.compress.scheme import Settings
from edgebed.compress.sensitivity import noise_between
from edgebed.program.arithmetic import Affine
from edgebed.program.run import run
from edgebed.program.types import Op, Program, TensorType

RNG = np.random.default_rng(5)
PAD = {"padding": (1, 1, 1, 1)}


def weights(*shape: int) -> Any:
    return floats(RNG.normal(size=shape) / np.sqrt(np.prod(shape[1:])))


W1, W2 = weights(8, 3, 3, 3), weights(8, 8, 3, 3)
FIRST = op("conv2d", "a", "x", weight="w1", **PAD)
SECOND = op("conv2d", "b", "a", weight="w2", **PAD)


def network(*ops: Op, outputs: tuple[str, ...] = ("y",), **constants: Any) -> Program:
    given = {"w1": W1, "w2": W2, **constants}
    used = {name: given[name] for one in ops for name in one.constants}
    image = {"x": TensorType((3, 8, 8), "float32", 1.0)}
    return Program("unusual", image, ops, outputs, used)


def samples(count: int = 8, seed: int = 2) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [{"x": rng.normal(size=(3, 8, 8)).astype(np.float32)} for _ in range(count)]


def made_and_noise(program: Program, settings: Settings) -> tuple[Program, float]:
    made = quantise(program, calibrate(program, samples()), settings)
    new = samples(4, 9)
    both = ([run(one, sample) for sample in new] for one in (program, made))
    return made, noise_between(*both)


@pytest.mark.parametrize("wide", [(), ("a",), ("b",), ("x", "a"), ("y",), ("a", "b", "y")])
@pytest.mark.parametrize("kind", ["add", "subtract", "multiply", "maximum"])
def test_operands_of_unequal_width(kind: str, wide: tuple[str, ...]) -> None:
    program = network(FIRST, SECOND, op(kind, "y", "a", "b"))
    assert made_and_noise(program, Settings(wide=frozenset(wide)))[1] > 25


@pytest.mark.parametrize(
    ("behind", "lowest"),
    [
        (op("unary", "y", "m", function="sigmoid"), 35),
        (op("unary", "y", "m", function="relu"), 30),
        (op("unary", "y", "m", function="clip", low=-0.5, high=0.75), 30),
        (op("softmax", "y", "m", axis=0), 20),
        (op("reduce", "y", "m", function="mean", axes=(1, 2)), 25),
        (op("argmax", "y", "m", axis=0), 0),
    ],
    ids=lambda one: one.kind if isinstance(one, Op) else "",
)
@pytest.mark.parametrize("wide", [(), ("x", "a"), ("m",)])
def test_sixteen_bits_spread_over_moves(behind: Op, lowest: float, wide: tuple[str, ...]) -> None:
    pool = op("max_pool", "m", "a", kernel=(2, 2), stride=(2, 2))
    program = network(FIRST, pool, behind)
    made, noise = made_and_noise(program, Settings(wide=frozenset(wide)))
    assert noise > lowest
    if wide:
        assert made.types["m.q"].dtype == made.types["a.q"].dtype == "int16"


@pytest.mark.parametrize("function", ["relu", "relu6"])
def test_a_clamp_of_sixteen_bits_is_no_float_layer(function: str) -> None:
    program = network(
        FIRST,
        op("unary", "r", "a", function=function),
        replace(SECOND, inputs=("r",)),
        outputs=("b",),
    )
    made, noise = made_and_noise(program, Settings(wide=frozenset({"x", "a", "r"})))
    assert [one.kind for one in made.ops] == ["quantize", "conv2d", "conv2d", "dequantize"]
    assert noise > 35


def test_a_magnitude_stays_real() -> None:
    program = network(replace(FIRST, activation="abs"), outputs=("a",))  # type: ignore[call-arg]
    assert made_and_noise(program, Settings())[1] > 60


def test_functions_without_a_result_for_some_inputs() -> None:
    program = network(
        FIRST, op("unary", "p", "a", function="exp"), op("unary", "y", "p", function="log")
    )
    assert np.isfinite(run(made_and_noise(program, Settings())[0], samples()[0])["y"]).all()


@pytest.mark.parametrize(
    "between",
    [
        op("pad", "m", "a", before=(4, 0, 0), after=(0, 0, 0)),
        op("pad", "m", "a", before=(0, 1, 1), after=(0, 1, 1), value=0.5),
        op("unary", "m", "a", function="sigmoid"),
    ],
    ids=["channels", "border", "sigmoid"],
)
def test_only_what_keeps_channels_and_scale_is_equalised_across(between: Op) -> None:
    behind = op("conv2d", "y", "m", weight="w3", **PAD)
    inner = 12 if between.kind == "pad" and between.before[0] else 8  # type: ignore[attr-defined]
    program = network(FIRST, between, behind, w3=weights(4, inner, 3, 3))
    assert not pairs(program)
    assert equalise(program).constants == program.constants


def test_integer_layers_are_not_equalised() -> None:
    program = network(FIRST, SECOND, outputs=("b",))
    made = quantise(program, calibrate(program, samples()))
    assert len(pairs(program)) == 1
    assert not pairs(made)
    assert equalise(made) == made


def test_layers_may_share_weights_and_outputs_may_be_inner_tensors() -> None:
    again = op("conv2d", "c", "b", weight="w2", **PAD)
    program = network(FIRST, SECOND, again, op("add", "y", "c", "b"), outputs=("x", "a", "y", "c"))
    made, noise = made_and_noise(program, Settings())
    assert made.outputs == program.outputs
    assert noise > 25


def test_joined_integers_are_left_alone() -> None:
    index = op("argmax", "i", "a", axis=0, keep=True)
    program = network(FIRST, index, op("concat", "y", "i", "i"))
    assert made_and_noise(program, Settings())[0].types["y"].dtype == "int32"


def test_rule_float_takes_operands_of_unequal_width() -> None:
    program = network(FIRST, SECOND, op("add", "y", "a", "b"))
    made, noise = made_and_noise(program, Settings(wide=frozenset({"b"}), rounding="float"))
    rule = next(one.requantize for one in made.ops if one.kind == "add")  # type: ignore[attr-defined]
    assert isinstance(rule, Affine)
    assert noise > 25


def test_an_output_that_quantisation_makes_infinite_is_no_agreement() -> None:
    """A quotient may meet an integer 0 where the float network had a small number."""
    real, other = np.array([1.0, 1e-3, 2.0], np.float32), np.array([0.0, 0.0, 2.0], np.float32)
    with np.errstate(divide="ignore"):
        whole, broken = [{"y": 1 / real}], [{"y": 1 / other}]
    assert agreement(COSINE, whole, broken) == 0.0
    assert agreement(COSINE, broken, broken) == 1.0
    assert noise_between(whole, broken) == -200
    assert noise_between(broken, broken) == 200


def test_a_network_that_breaks_at_8_bits_gets_more_or_misses_its_budget() -> None:
    small = op("unary", "s", "a", function="sigmoid")
    ends = op("unary", "y", "s", function="reciprocal")
    bias = floats(np.repeat([-30.0, 0.0], 4))
    program = network(replace(FIRST, bias="b1"), small, ends, b1=bias)  # type: ignore[call-arg]
    settings = Settings(floats=frozenset({"y"}))
    eight = quantise(program, calibrate(program, samples()), settings)
    assert not np.isfinite(run(eight, samples()[0])["y"]).all()
    done = compress(program, Data(samples(), samples(4, 9)), settings, max_drop=0.01)
    assert done.choice.wide
    assert np.isfinite(run(done.choice.program, samples()[0])["y"]).all()
    assert np.isfinite(done.choice.drop)
