"""Numbers computed by hand from the device's rules, and plain numpy against compiled C."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebed.targets._shared.native import build_library
from edgebed.targets._shared.toolchain import Compiler, host_compilers
from edgebed.targets.max78000.accelerator.arithmetic import (
    ABS,
    ADD,
    OR,
    RELU,
    SUB,
    XOR,
    Arithmetic,
    Convolution,
    Memory,
    Moves,
    PlainArithmetic,
    Source,
    Window,
)
from edgebed.targets.max78000.accelerator.fast import KERNELS, FastArithmetic

VARIANTS = {"native": None, "avx2": ("-O2", "-mavx2"), "baseline": ("-O2",)}
many = settings(max_examples=30, deadline=None)


@cache
def arithmetic(name: str) -> Arithmetic:
    """Return plain numpy, or the C file built for one kind of CPU."""
    if name == "plain":
        return PlainArithmetic()
    installed = host_compilers()
    if not installed:
        pytest.skip("no C compiler")
    flags = VARIANTS[name]
    if flags is None:
        return FastArithmetic()
    compiler = installed[-1]
    if name == "avx2" and "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this CPU has no AVX2")
    library = build_library(KERNELS, Compiler(compiler.name, compiler.command, flags))
    return FastArithmetic(ctypes.CDLL(str(library)))


ALL = ["plain", *VARIANTS]


def finish(kind: str, total: int, shift: int, activation: int = 0, wide: bool = False) -> int:
    """Push one accumulator value through shift, rounding, clip and activation.

    The accumulator is built from 128 * bias plus one product.
    """
    bias, rest = divmod(total + 64 * 128, 128)
    # rest < 128 is one input times weight 1; biases beyond 8 bits are fine for the arithmetic
    convolution = Convolution(
        weights=np.array([[[[1, 0, 0, 0]]]], np.int8),
        bias=np.array([bias - 64], np.int32),
        shape=(1, 1),
        pad=(0, 0),
        transposed=False,
        shift=shift,
        activation=activation,
        wide=wide,
    )
    x = np.array([[[rest, 0, 0, 0]]], np.int8)
    return int(arithmetic(kind).convolution(convolution)(x)[0, 0])


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    ("total", "shift", "want"),
    [
        (64, 0, 1),
        (-64, 0, 0),
        (-65, 0, -1),
        (16320, 0, 127),
        (-16449, 0, -128),
        (256, -2, 1),
        (7, 3, 0),
        (8, 3, 1),
        (100, 7, 100),
        (31, 9, 124),
        (32, 9, 127),
        (-32, 9, -128),
        (-33, 9, -128),
        (1 << 21, -15, 1),
        ((1 << 21) - 1, -15, 0),
    ],
)
def test_rounding_is_half_up_then_clipped(kind: str, total: int, shift: int, want: int) -> None:
    assert finish(kind, total, shift) == want


@pytest.mark.parametrize("kind", ALL)
def test_activations_follow_the_clip(kind: str) -> None:
    assert finish(kind, -20000, 0, ABS) == 127  # clipped to -128 first
    assert finish(kind, -256, 0, ABS) == 2
    assert finish(kind, -256, 0, RELU) == 0
    assert finish(kind, 256, 0, RELU) == 2


@pytest.mark.parametrize("kind", ALL)
def test_wide_output_is_the_accumulator(kind: str) -> None:
    assert finish(kind, -123456, -5, wide=True) == -123456


def window(**changes: object) -> Window:
    settings_ = {
        "size": (1, 1), "stride": 1, "maximum": False,
        "rounding": False, "pool_last": False, "function": ADD,
    }  # fmt: skip
    return Window(**{**settings_, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    ("values", "truncated", "rounded"),
    [((0, 0, 0, 3), 0, 1), ((0, 0, 0, -3), 0, -1), ((-1, -1), -1, -1), ((-1, 0), 0, -1)],
)
def test_average(kind: str, values: tuple[int, ...], truncated: int, rounded: int) -> None:
    maps = np.array(values, np.int8).reshape(1, 1, -1, 1)
    for rounding, want in ((False, truncated), (True, rounded)):
        pooling = window(size=(1, len(values)), rounding=rounding)
        assert arithmetic(kind).pool_and_combine(pooling, maps)[0, 0, 0] == want


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    ("function", "values", "want"),
    [
        (ADD, (100, 100), 127),
        (SUB, (-100, 100), -128),
        (ADD, (100, 100, -100), 100),  # clipped once, at the end
        (SUB, (100, -100, 120), 80),
        (OR, (1, -128), -127),
        (XOR, (-1, 1), -2),
    ],
)
def test_element_wise(kind: str, function: int, values: tuple[int, ...], want: int) -> None:
    maps = np.array(values, np.int8).reshape(-1, 1, 1, 1)
    assert arithmetic(kind).pool_and_combine(window(function=function), maps)[0, 0, 0] == want


@pytest.mark.parametrize("kind", list(VARIANTS))
@many
@given(data=st.data())
def test_compiled_pooling_equals_plain(kind: str, data: st.DataObject) -> None:
    draw = data.draw
    size = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    shape = (
        draw(st.integers(1, 3)),
        draw(st.integers(size[0], 9)),
        draw(st.integers(size[1], 9)),
        4 * draw(st.integers(1, 33)),
    )
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    maps = random.integers(-128, 128, shape).astype(np.int8)
    pooling = Window(
        size,
        draw(st.integers(1, 4)),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.integers(0, 3)),
    )
    got = arithmetic(kind).pool_and_combine(pooling, maps)
    np.testing.assert_array_equal(got, PlainArithmetic().pool_and_combine(pooling, maps))


@pytest.mark.parametrize("kind", list(VARIANTS))
@many
@given(data=st.data())
def test_compiled_convolution_equals_plain(kind: str, data: st.DataObject) -> None:
    draw = data.draw
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (1, 1), (5, 1)]))
    rows, columns = draw(st.integers(1, 9)), draw(st.integers(1, 9)) if kernel != (5, 1) else 1
    pad_columns = 0 if kernel == (5, 1) else draw(st.integers(0, 2))
    pad_rows = draw(st.integers(0, 2))
    rows = max(rows, kernel[0])
    columns = max(columns, kernel[1])
    wide = draw(st.booleans())
    outputs, channels = draw(st.integers(1, 150)), 4 * draw(st.integers(1, 9))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    convolution = Convolution(
        weights=random.integers(-128, 128, (outputs, *kernel, channels)).astype(np.int8),
        bias=random.integers(-128, 128, outputs).astype(np.int32),
        shape=(rows, columns),
        pad=(pad_rows, pad_columns),
        transposed=kernel == (3, 3) and draw(st.booleans()),
        shift=draw(st.integers(-15, 15)),
        activation=draw(st.integers(0, 2)),
        wide=wide,
    )
    x = random.integers(-128, 128, (rows, columns, channels)).astype(np.int8)
    got = arithmetic(kind).convolution(convolution)(x)[:, :outputs]
    np.testing.assert_array_equal(got, PlainArithmetic().convolution(convolution)(x))


@pytest.mark.parametrize("kind", list(VARIANTS))
@many
@given(data=st.data())
def test_compiled_reads_and_writes_equal_plain(kind: str, data: st.DataObject) -> None:
    draw = data.draw
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    layout = draw(st.sampled_from([(64, 1, 63), (1, 8, -1)]))
    content = random.integers(0, 2**32, 512, np.uint32)
    memories = [Memory(content.copy(), *layout) for _ in range(2)]
    instances = draw(st.sampled_from([(1, 2, 3), (5, 2, 7), (0,)]))
    source = Source(draw(st.integers(0, 20)), 9, 2, draw(st.integers(1, 2)), instances)
    read = [which.gather(memories[0], source) for which in (arithmetic(kind), PlainArithmetic())]
    np.testing.assert_array_equal(*read)
    words = draw(st.sampled_from([[(0, 3, 5, 0), (8, 1, 6, 0)], [(4, 3, 5, 0), (8, 4, 5, 0)]]))
    singles = np.array([(5, 2, 6, 1), (6, 2, 6, 3)], np.int32)
    moves = Moves(np.array(words, np.int32), singles, draw(st.integers(2, 4)))
    values = random.integers(-128, 128, (9, 12)).astype(np.int8)
    for which, memory in zip((arithmetic(kind), PlainArithmetic()), memories, strict=True):
        which.scatter(memory, moves, values)
    np.testing.assert_array_equal(memories[0].data, memories[1].data)
    assert not np.array_equal(memories[0].data, content)
