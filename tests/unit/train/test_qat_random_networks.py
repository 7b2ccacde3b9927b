"""Random chains of layers: training's integers equal those of the exported program.

Weights and biases are drawn beyond what the integers can hold, so that many sit at their limits.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebed.program.arithmetic import weight_range
from edgebed.program.contract import Contract, GridDecode, ImageInput
from edgebed.program.run import run
from edgebed.train.export import to_program
from edgebed.train.networks import LayerSpec, Network
from edgebed.train.qat import QuantisedDetector, QuantisedLayer

SIDE = 16


@st.composite
def networks(draw: st.DrawFn) -> Network:
    fold = draw(st.sampled_from([1, 1, 2, 4]))
    channels, side, layers = 3 * fold**2, SIDE // fold, []
    count = draw(st.integers(1, 4))
    for index in range(count):
        last = index == count - 1
        kernel = draw(st.sampled_from([1, 3]))
        pool = draw(st.sampled_from([1, 2] if side >= 4 else [1]))
        pad = draw(st.integers(0 if side // pool >= 3 else 1, 2))
        grow = 2 * pad - kernel + 1
        out = 6 if last else draw(st.integers(1, 9))
        activation: Literal["relu", "none"] = (
            "none" if last else draw(st.sampled_from(["relu", "none"]))
        )
        layers.append(
            LayerSpec(
                f"layer{index}", channels, out, kernel, pad, pool=pool, bias=draw(st.booleans()),
                activation=activation, wide=last, weight_bits=draw(st.sampled_from([8, 4, 2, 1])),
            )
        )  # fmt: skip
        channels, side = out, side // pool + grow
    grid = GridDecode(side, side, 1, ((1.0, 1.0),))
    return Network("drawn", 3, SIDE, SIDE, fold, tuple(layers), grid)


def filled(described: Network, seed: int, reach: float) -> QuantisedDetector:
    """Return integers drawn evenly from -reach to reach of their ranges, cut to the ranges."""
    rng = np.random.default_rng(seed)
    layers = []
    for spec in described.layers:
        post = int(rng.integers(-8, 4))
        shape = (spec.out_channels, spec.in_channels, spec.kernel, spec.kernel)
        module = QuantisedLayer(
            spec, torch.zeros(shape), torch.zeros(shape[0]), post - 8 + spec.weight_bits
        )
        with torch.no_grad():
            module.weight.copy_(torch.from_numpy(rng.uniform(-reach, reach, shape)))
            if module.bias is not None:
                module.bias.copy_(torch.from_numpy(rng.uniform(-reach, reach, shape[0])))
        layers.append(module)
    return QuantisedDetector(described, layers).eval()


@settings(deadline=None, max_examples=60)
@given(networks(), st.integers(0, 2**32 - 1), st.sampled_from([0.3, 1.0, 3.0]))
def test_program_and_training_agree_in_every_integer(
    described: Network, seed: int, reach: float
) -> None:
    model = filled(described, seed, reach)
    rng = np.random.default_rng(seed)
    pictures = rng.integers(-128, 128, (3, 3, SIDE, SIDE), dtype=np.int8)
    pictures[1], pictures[2] = -128, 127
    contract = Contract(ImageInput(SIDE, SIDE), ("a",), described.decode)
    program = to_program(model, contract)
    (expected,) = run(program, pictures).values()
    got = model.integers(pictures)
    assert got.shape == expected.shape == (3, *described.shapes()[-1])
    assert np.array_equal(got, expected)
    real = model(torch.from_numpy(pictures).float() / 128).detach().numpy()
    assert np.array_equal(real, expected * program.types[program.outputs[0]].scale)


@pytest.mark.parametrize("bits", [8, 4, 2, 1])
@pytest.mark.parametrize("sign", [-1, 1])
def test_what_is_out_of_range_is_stored_at_the_limit(bits: int, sign: int) -> None:
    spec = LayerSpec("one", 3, 2, 1, 0, weight_bits=bits, wide=True, activation="none")
    described = Network("one", 3, 2, 2, 1, (spec,), GridDecode(2, 2, 1, ((1, 1),)))
    module = QuantisedLayer(spec, torch.zeros(2, 3, 1, 1), torch.zeros(2), 0)
    with torch.no_grad():
        module.weight.fill_(5.0 * sign)
        assert module.bias is not None
        module.bias.fill_(5.0 * sign)
    model = QuantisedDetector(described, [module]).eval()
    constants = to_program(
        model, Contract(ImageInput(2, 2), ("a",), described.decode)
    ).constants  # fmt: skip
    low, high = weight_range(bits)
    assert set(constants["one.weight"].values.flatten().tolist()) == {low if sign < 0 else high}
    assert set(constants["one.bias"].values.tolist()) == {128 * (-128 if sign < 0 else 127)}
