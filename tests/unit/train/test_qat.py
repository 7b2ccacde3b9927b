"""The integers of training equal the specification's, and the exported program's."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebed.errors import EdgebedError
from edgebed.program.contract import Contract, ImageInput
from edgebed.program.run import run
from edgebed.train.detector import FloatDetector, fold
from edgebed.train.export import to_program
from edgebed.train.networks import LayerSpec, Network, network
from edgebed.train.qat import QuantisedDetector, QuantisedLayer, best_shift, calibrate


def layer(
    weights: list[int], bias: int, post_shift: int, bits: int = 8, **changes: object
) -> QuantisedLayer:
    """Return a 1x1 layer with one output that holds these integers."""
    spec = LayerSpec("one", len(weights), 1, 1, 0, activation="none", weight_bits=bits)
    shift = post_shift - 8 + bits
    step = 2.0 ** (shift - bits + 1)
    weight = torch.tensor(weights, dtype=torch.float64).reshape(1, -1, 1, 1) * step
    changed = replace(spec, **changes)  # type: ignore[arg-type]
    module = QuantisedLayer(changed, weight, torch.tensor([bias * step]), shift)
    return module.eval()


def output(module: QuantisedLayer, inputs: list[int]) -> int:
    x = torch.tensor(inputs, dtype=torch.float32).reshape(1, -1, 1, 1)
    with torch.no_grad():
        return int(module(x).item())


# Accumulator, post shift, result: worked out by hand in the specification.
VECTORS = [
    (64, 0, 1),
    (-64, 0, 0),
    (-65, 0, -1),
    (16320, 0, 127),
    (-16449, 0, -128),
    (256, -2, 1),
    (7, 3, 0),
    (8, 3, 1),
    (5, 7, 5),
    (3, 9, 12),
]


@pytest.mark.parametrize(("acc", "shift", "expected"), VECTORS)
def test_the_specifications_vectors(acc: int, shift: int, expected: int) -> None:
    # Three inputs and the bias reach every accumulator of the table.
    high = max(-128, min(127, acc // 127)) if abs(acc) > 127 else 0
    rest = acc - 127 * high
    bias = round(rest / 128) if abs(rest) > 127 else 0
    rest -= 128 * bias
    assert output(layer([high, 1, 1], bias, shift), [127, rest, 0]) == expected


@pytest.mark.parametrize(("acc", "expected"), [(-64, 0), (-12800, 0), (12800, 100), (16384, 127)])
def test_relu_clips_at_both_ends(acc: int, expected: int) -> None:
    module = layer([1, 0], acc // 128 if acc % 128 == 0 else 0, 0, activation="relu")
    assert output(module, [0 if acc % 128 == 0 else acc, 0]) == expected


def test_the_wide_layer_returns_the_accumulator() -> None:
    assert output(layer([127, -128], 3, 5, wide=True), [100, 127]) == 12700 - 16256 + 384


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from([8, 4, 2, 1]), st.integers(-15, 15))
def test_every_layer_equals_exact_fractions(data: st.DataObject, bits: int, post: int) -> None:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    weights = data.draw(st.lists(st.integers(low, high), min_size=1, max_size=6))
    inputs = [data.draw(st.integers(-128, 127)) for _ in weights]
    bias = data.draw(st.integers(-128, 127))
    relu = data.draw(st.booleans())
    acc = sum(w * x for w, x in zip(weights, inputs, strict=True)) + 128 * bias
    rounded = math.floor(acc * Fraction(2) ** post / 128 + Fraction(1, 2))
    expected = max(0 if relu else -128, min(127, rounded))
    module = layer(weights, bias, post, bits, activation="relu" if relu else "none")
    assert module.post_shift == post
    assert output(module, inputs) == expected


@given(st.floats(-3, 3), st.sampled_from([8, 4, 2, 1]), st.integers(-7, 7))
def test_weights_round_half_up_and_clip(value: float, bits: int, shift: int) -> None:
    spec = LayerSpec("one", 1, 1, 1, 0, weight_bits=bits)
    weight = torch.tensor([[[[value]]]])
    module = QuantisedLayer(spec, weight, torch.tensor([value]), shift)
    exact = Fraction(float(np.float32(value))) * 2 ** (bits - 1) / Fraction(2) ** shift
    expected = max(-(2 ** (bits - 1)), min(2 ** (bits - 1) - 1, math.floor(exact + Fraction(1, 2))))
    # Where adding one half is not exact in float32, both neighbours of the tie are right.
    exact_in_float32 = (exact * 2).denominator <= 2**8
    assert abs(int(module.integer_weight().item()) - expected) <= (0 if exact_in_float32 else 1)
    stored = max(-128, min(127, math.floor(exact + Fraction(1, 2))))
    assert abs(int(module.integer_bias().item()) - stored) <= (0 if exact_in_float32 else 1)


def test_long_sums_are_exact_beyond_float32() -> None:
    count = 1200
    module = layer([127] * count + [1], 0, -15, wide=True)
    acc = output(module, [127] * count + [1])
    assert acc == count * 127 * 127 + 1 > 2**24


def test_gradients_pass_the_rounding() -> None:
    module = layer([3, -5], 0, 0).train()
    x = torch.tensor([50.0, 30.0]).reshape(1, 2, 1, 1).requires_grad_()
    module(x).sum().backward()
    assert module.weight.grad is not None and module.weight.grad.abs().sum() > 0
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [3 / 128, -5 / 128]


def test_a_positive_weight_of_one_bit_can_come_back() -> None:
    module = layer([0], 0, 7, bits=1).train()
    with torch.no_grad():
        module.weight.fill_(0.7)  # stored as 0: out of the range -1..0
    module(torch.full((1, 1, 1, 1), 10.0)).sum().backward()
    assert module.weight.grad is not None and float(module.weight.grad) != 0


def test_fold_keeps_rows_and_columns_in_order() -> None:
    x = torch.arange(2 * 4 * 4).reshape(1, 2, 4, 4)
    y = fold(x, 2)
    assert y.shape == (1, 8, 2, 2)
    for row in range(2):
        for column in range(2):
            for channel in range(2):
                part = y[0, (row * 2 + column) * 2 + channel]
                assert torch.equal(part, x[0, channel, row::2, column::2])


def small(bits: int = 8) -> Network:
    """Return a shallow relative of bed-fast, so that signals survive random weights."""
    whole = network("bed-fast", 2)
    layers = (*whole.layers[:4], whole.layers[-1])
    return replace(whole, layers=layers).with_weight_bits(bits)


def trained(described: Network) -> FloatDetector:
    """Return random weights with statistics as after training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = FloatDetector(described).train()
        with torch.no_grad():
            for _ in range(60):
                model(torch.rand(4, 3, 224, 224) * 2 - 1)
            head = model.layers[-1].conv
            head.weight.normal_(0, 0.1)
    return model.eval()


@pytest.fixture(scope="module")
def detector() -> FloatDetector:
    return trained(small())


@pytest.fixture(scope="module")
def pictures() -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
    return np.random.default_rng(5).integers(-128, 128, (2, 3, 224, 224), dtype=np.int8)


def quantised(
    detector: FloatDetector, pictures: np.ndarray[tuple[int, ...], np.dtype[np.int8]], bits: int = 8
) -> QuantisedDetector:
    described = small(bits)
    return calibrate(detector, described, torch.from_numpy(pictures).float() / 128).eval()


@pytest.mark.parametrize("bits", [8, 4, 2, 1])
def test_the_program_gives_the_same_integers(
    detector: FloatDetector, pictures: np.ndarray[tuple[int, ...], np.dtype[np.int8]], bits: int
) -> None:
    model = quantised(detector, pictures, bits)
    contract = Contract(ImageInput(224, 224), ("a", "b"), model.network.decode)
    program = to_program(model, contract)
    (expected,) = run(program, pictures).values()
    got = model.integers(pictures)
    assert got.dtype == np.int32
    assert np.array_equal(got, expected)
    assert len(np.unique(got)) > 30, "the comparison must see real values"
    assert program.types[program.outputs[0]].scale == model.output_scale


def test_eight_bits_stay_close_to_float(
    detector: FloatDetector, pictures: np.ndarray[tuple[int, ...], np.dtype[np.int8]]
) -> None:
    model = quantised(detector, pictures)
    with torch.no_grad():
        wanted = detector(torch.from_numpy(pictures).float() / 128).numpy()
    error = model.integers(pictures) * model.output_scale - wanted
    assert np.abs(error).mean() < 0.1 * wanted.std()


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_coarse_weights_keep_every_channels_mean(
    detector: FloatDetector, pictures: np.ndarray[tuple[int, ...], np.dtype[np.int8]], bits: int
) -> None:
    model = quantised(detector, pictures, bits)
    with torch.no_grad():
        wanted = detector(torch.from_numpy(pictures).float() / 128).numpy()
    error = (model.integers(pictures) * model.output_scale - wanted).mean(axis=(0, 2, 3))
    half_a_step = 128 * model.output_scale / 2
    assert np.abs(error).max() <= half_a_step * 1.01


def test_training_mode_refuses_to_pass_for_exact(
    detector: FloatDetector, pictures: np.ndarray[tuple[int, ...], np.dtype[np.int8]]
) -> None:
    with pytest.raises(RuntimeError, match="eval"):
        quantised(detector, pictures).train().integers(pictures)


def test_nan_weights_are_refused_by_layer() -> None:
    spec = LayerSpec("conv7", 1, 1, 1, 0)
    with pytest.raises(EdgebedError, match="layer conv7: the weights hold NaN"):
        best_shift(spec, torch.tensor([[[[math.nan]]]]), torch.zeros(1))


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_the_shift_follows_the_size_of_the_weights(bits: int) -> None:
    spec = LayerSpec("conv", 8, 8, 3, 1, weight_bits=bits)
    weight = torch.randn(8, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    shifts = [best_shift(spec, weight * 2.0**k, torch.zeros(8)) for k in (-3, 0, 2)]
    assert [b - a for a, b in itertools.pairwise(shifts)] == [3, 2]
