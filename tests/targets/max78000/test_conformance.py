"""Random programs: placed, loaded and run on the accelerator model, equal to the interpreter.

Every layer is compared, not only the outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from programs import STEPS, Abilities, inputs_of, programs

from edgebed.program.run import trace
from edgebed.program.types import Program
from edgebed.targets.max78000 import direct
from edgebed.targets.max78000.assemble import assemble
from edgebed.targets.max78000.check import check
from edgebed.targets.max78000.compiler import Compiled, compile_program, with_memories
from edgebed.targets.max78000.latency import chain_cycles
from edgebed.targets.max78000.lowering import lower
from edgebed.targets.max78000.planner import decide, stream_lengths
from edgebed.targets.max78000.resolve import resolve
from edgebed.targets.max78000.target import ARITHMETIC
from edgebed.targets.max78000.watch import channels_of

Array = npt.NDArray[Any]
CHANNELS = (1, 2, 3, 4, 7, 12, 16, 33, 64, 70, 128)
ALL = Abilities(steps=tuple(STEPS), channels=CHANNELS)
PLAIN = Abilities(steps=("conv", "pool_conv"), channels=(1, 3, 4, 12, 16, 64, 70), pads=(1, 2))

LINES = Abilities(
    steps=("conv", "pool_conv", "combine"),
    channels=(1, 3, 16, 64, 70),
    pads=(0, 0, 1, 2),
    dilations=(1, 2, 4, 7, 13),
    narrow=True,
    largest=60,
    depth=3,
)


def assert_equal_everywhere(compiled: Compiled, seed: int) -> None:
    program, image = compiled.program, compiled.image
    expected = dict(trace(program, inputs_of(program, seed)))
    accelerator = direct.load(image)
    outputs = direct.run(accelerator, image, expected[image.inputs[0].name])
    results = accelerator.layer_outputs()
    for placed, result in zip(compiled.chain, results, strict=True):
        layer = placed.layer
        if layer.output in expected:
            wanted = expected[layer.output].reshape(layer.out_shape[0], -1)
            first = layer.skipped  # around it, a dilated convolution leaves junk
            mine = channels_of(placed, result)[:, first : first + wanted.shape[1]]
            np.testing.assert_array_equal(mine, wanted, err_msg=layer.name)
    for name in program.outputs:
        np.testing.assert_array_equal(outputs[name], expected[name], err_msg=name)


def assert_conforms(program: Program, seed: int) -> None:
    assume(not check(program))
    assert_equal_everywhere(compile_program(program), seed)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(ARITHMETIC, ALL), st.integers(0, 2**16))
def test_any_program_gives_the_interpreters_integers(program: Program, seed: int) -> None:
    assert_conforms(program, seed)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(ARITHMETIC, LINES), st.integers(0, 2**16))
def test_sequences_and_dilated_kernels_too(program: Program, seed: int) -> None:
    assert_conforms(program, seed)


def streamed(program: Program, length: int, chw: bool) -> Compiled:
    made = decide(program, lower(program), length, chw=chw)
    placed = resolve(program, made.layers, made.hints, made.copies, made.provided)
    resolved = with_memories(placed)
    cycles = chain_cycles(resolved.chain)
    image = assemble(program, resolved, cycles, fifo=made.fifo)
    return Compiled(program, resolved, made.fifo, image)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(ARITHMETIC, PLAIN), st.integers(0, 2**16), st.data())
def test_streaming_as_far_as_possible_changes_nothing(
    program: Program, seed: int, data: st.DataObject
) -> None:
    assume(not check(program))
    lengths = stream_lengths(program, lower(program))
    assume(lengths)
    compiled = streamed(program, data.draw(st.sampled_from(lengths)), False)
    assert compiled.fifo
    assert_equal_everywhere(compiled, seed)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    programs(ARITHMETIC, Abilities(steps=("conv",), channels=(1, 3, 16), depth=2)),
    st.integers(0, 2**16),
)
def test_channel_first_input_changes_nothing(program: Program, seed: int) -> None:
    assume(not check(program) and lower(program)[0].operator == "conv2d")
    assert_equal_everywhere(streamed(program, 0, True), seed)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(ARITHMETIC, ALL), st.integers(0, 2**16))
def test_many_programs_give_the_interpreters_integers(program: Program, seed: int) -> None:
    assert_conforms(program, seed)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    programs(ARITHMETIC, Abilities(steps=("conv", "pool_conv"), channels=CHANNELS, largest=120)),
    st.integers(0, 2**16),
)
def test_large_pictures_stream_by_themselves(program: Program, seed: int) -> None:
    assert_conforms(program, seed)
