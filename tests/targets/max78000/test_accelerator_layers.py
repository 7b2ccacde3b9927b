"""Small register programs against plain Python loops, over shapes, bits, pools, pads, passes."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from register_program import (
    LayerProgram,
    Map,
    expected,
    filled,
    prepare,
    read_output,
    start,
    write,
    write_input,
    write_layer,
)

from edgebed.targets.max78000 import Accelerator
from edgebed.targets.max78000.accelerator.arithmetic import Arithmetic, PlainArithmetic
from edgebed.targets.max78000.accelerator.fast import best_arithmetic

KINDS: dict[str, Arithmetic] = {"plain": PlainArithmetic(), "fast": best_arithmetic()}
few = settings(max_examples=25, deadline=None)


def check(program: LayerProgram) -> None:
    want, shape = expected(program)
    for name, arithmetic in KINDS.items():
        accelerator = Accelerator(arithmetic=arithmetic)
        write(accelerator, program)
        result = accelerator.run()
        assert result.finished and accelerator.events == []
        assert result.layers[0].out_shape == shape
        got = read_output(accelerator, program, shape)
        assert got == want, name
        computed = accelerator.layer_outputs()[0]
        assert all(computed[at] == value for at, value in want.items()), name


@few
@given(data=st.data())
def test_convolution_equals_plain_loops(data: st.DataObject) -> None:
    draw = data.draw
    kernel = draw(st.sampled_from([(3, 3), (1, 1)]))
    window = draw(st.sampled_from([(1, 1), (2, 2), (3, 2), (1, 3)]))
    rows, columns = (draw(st.integers(kernel[0] + w - 1, 7)) for w in window)
    stride = draw(st.integers(1, 2))
    pooled = [(n - w) // stride + 1 for n, w in zip((rows, columns), window, strict=True)]
    pad = draw(st.integers(max(0, (kernel[0] - min(pooled) + 1) // 2), 2))
    wide = draw(st.booleans())
    program = LayerProgram(
        channels=draw(st.integers(1, 9)),
        rows=rows,
        columns=columns,
        out_channels=draw(st.integers(1, 21)),
        kernel=kernel,
        pad=pad,
        window=window,
        stride=stride,
        maximum=draw(st.booleans()),
        rounding=draw(st.booleans()),
        bits=draw(st.sampled_from([1, 2, 4, 8])),
        shift=draw(st.integers(-15, 15)),
        activation=0 if wide else draw(st.integers(0, 2)),
        wide=wide,
        column_offset=draw(st.integers(0, 5)),
        first_processor=draw(st.integers(0, 55)),
    )
    seed = random.Random(draw(st.integers(0, 2**32)))
    check(filled(program, seed, bias=draw(st.booleans())))


@few
@given(data=st.data())
def test_one_dimensional_convolution_equals_plain_loops(data: st.DataObject) -> None:
    draw = data.draw
    length, pool = draw(st.integers(1, 9)), draw(st.integers(1, 3))
    program = LayerProgram(
        channels=draw(st.integers(1, 6)),
        rows=draw(st.integers((length + 1) * pool, 40)),
        columns=1,
        out_channels=draw(st.integers(1, 18)),
        kernel=(length, 1),
        one_dimensional=True,
        pad=draw(st.integers(0, 2)),
        window=(pool, 1),
        stride=pool,
        maximum=draw(st.booleans()),
        rounding=draw(st.booleans()),
        bits=draw(st.sampled_from([1, 2, 4, 8])),
        shift=draw(st.integers(-4, 8)),
        column_offset=draw(st.integers(0, 5)),
    )
    check(filled(program, random.Random(draw(st.integers(0, 2**32))), bias=draw(st.booleans())))


@few
@given(data=st.data())
def test_many_channels_take_passes(data: st.DataObject) -> None:
    draw = data.draw
    program = LayerProgram(
        channels=draw(st.sampled_from([3, 65, 132])),
        rows=draw(st.integers(1, 3)),
        columns=draw(st.integers(1, 2)),
        out_channels=draw(st.sampled_from([5, 66])),
        kernel=(1, 1),
        bits=draw(st.sampled_from([1, 2, 4, 8])),
        shift=-3,
        wide=draw(st.booleans()),
        write_gap=draw(st.integers(0, 2)),
    )
    check(filled(program, random.Random(draw(st.integers(0, 2**32))), bias=True))


@few
@given(data=st.data())
def test_passthrough_and_element_wise_equal_plain_loops(data: st.DataObject) -> None:
    draw = data.draw
    operands = draw(st.integers(1, 4))
    window = draw(st.sampled_from([(1, 1), (2, 2), (2, 3)]))
    program = LayerProgram(
        channels=draw(st.sampled_from([1, 4, 7, 19, 72])),
        rows=draw(st.integers(window[0], 5)),
        columns=draw(st.integers(window[1], 5)),
        kernel=(0, 0),
        window=window,
        stride=draw(st.integers(1, 3)),
        maximum=draw(st.booleans()),
        rounding=draw(st.booleans()),
        function=draw(st.integers(0, 3)) if operands > 1 else None,
        pool_last=operands > 1 and window != (1, 1) and draw(st.booleans()),
        first_processor=draw(st.sampled_from([0, 4, 12])) if operands < 3 else 0,
    )
    if program.channels > 64:
        program = replace(program, first_processor=0)
    check(filled(program, random.Random(draw(st.integers(0, 2**32))), operands))


@few
@given(data=st.data())
def test_element_wise_before_a_convolution(data: st.DataObject) -> None:
    draw = data.draw
    window = draw(st.sampled_from([(1, 1), (2, 2)]))
    program = LayerProgram(
        channels=draw(st.sampled_from([2, 5, 72])),
        rows=draw(st.integers(4, 6)),
        columns=draw(st.integers(4, 6)),
        out_channels=3,
        kernel=draw(st.sampled_from([(3, 3), (1, 1)])),
        pad=1,
        window=window,
        stride=window[0],
        maximum=draw(st.booleans()),
        function=draw(st.integers(0, 3)),
        pool_last=window != (1, 1) and draw(st.booleans()),
        shift=-2,
    )
    check(filled(program, random.Random(draw(st.integers(0, 2**32))), operands=2))


@pytest.mark.parametrize("pad", [0, 1, 2])
def test_transposed_convolution_spreads_its_input(pad: int) -> None:
    program = LayerProgram(3, 4, 5, 6, transposed=True, pad=pad, shift=-1)
    check(filled(program, random.Random(pad)))


@pytest.mark.parametrize(("channels", "size"), [(4, 3), (12, 4), (3, 16), (128, 4)])
def test_flatten_reads_every_pixel_as_a_pass(channels: int, size: int) -> None:
    program = LayerProgram(channels, size, size, 5, kernel=(1, 1), flatten=True, wide=True)
    check(filled(program, random.Random(channels), bias=True))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_chw_input_has_one_channel_per_instance(channels: int) -> None:
    program = LayerProgram(channels, 5, 7, 8, pad=1, big_data=True, window=(2, 2), stride=2)
    check(filled(program, random.Random(channels)))


def test_write_gap_leaves_room_for_a_second_operand() -> None:
    program = filled(LayerProgram(2, 3, 3, 4, kernel=(1, 1), write_gap=1), random.Random(1))
    accelerator = Accelerator()
    accelerator.sram[0, 0x1000:0x1012] = 0x55555555
    write(accelerator, program)
    accelerator.run()
    assert (accelerator.sram[0, 0x1001:0x1012:2] == 0x55555555).all()
    assert (accelerator.sram[0, 0x1000:0x1012:2] != 0x55555555).any()


def chain() -> tuple[LayerProgram, LayerProgram, Map, tuple[int, int, int]]:
    """Return two layers that follow each other, with what both together should give."""
    source = random.Random(11)
    first = filled(LayerProgram(3, 6, 5, 70, pad=1, shift=-2, out_word=0x1FF0), source, bias=True)
    second = LayerProgram(
        70, 6, 5, 4, pad=1, shift=-3, window=(2, 2), stride=2, in_word=0x1FF0, out_word=0x100,
        column_offset=70,
    )  # fmt: skip
    second = replace(filled(second, source, bias=True), maps=(expected(first)[0],))
    return first, second, *expected(second)


def test_a_streaming_chain_needs_no_room_between_its_layers() -> None:
    first, second, want, shape = chain()
    accelerator = Accelerator()
    prepare(accelerator, last_layer=1)
    write_layer(accelerator, first, 0, bias=8)
    write_layer(accelerator, second, 1, bias=100)
    # Layer 0 of a stream skips one bias: the words above go one further.
    accelerator.load_words(0x50108000 + 4 * 9, [value & 255 for value in first.bias])
    for quadrant in range(4):
        base = 0x50100010 + quadrant * 0x400000 + 16 * 0x80
        accelerator.load_words(base, [1, 17])  # STREAM1 of both layers
    write_input(accelerator, first)
    start(accelerator, 0x4000)
    accelerator.write32(0x50100000, 0x4008)
    before = accelerator.sram[:, 0x1FF0:].copy()
    start(accelerator, 0x4000)
    result = accelerator.run()
    assert read_output(accelerator, second, shape) == want
    assert (accelerator.sram[:, 0x1FF0:] == before).all()
    assert result.layers[1].scaled_cycles == (15 * result.layers[1].cycles + 9) // 10
    assert result.scaled_cycles == sum(layer.scaled_cycles for layer in result.layers) + 1


def test_without_streaming_the_same_layers_share_data_memory() -> None:
    first, second, want, shape = chain()
    first, second = replace(first, out_word=0x800), replace(second, in_word=0x800)
    accelerator = Accelerator()
    prepare(accelerator, last_layer=1)
    write_layer(accelerator, first, 0)
    write_layer(accelerator, second, 1, bias=100)
    write_input(accelerator, first)
    start(accelerator)
    result = accelerator.run()
    assert read_output(accelerator, second, shape) == want
    inner = accelerator.layer_outputs()[0]
    assert all(inner[at] == value for at, value in expected(first)[0].items())
    assert [layer.macs for layer in result.layers] == [30 * 70 * 3 * 9, 6 * 4 * 72 * 9]
