"""Tensors that no layer computes: parts, joints, reshapes, and tensors wanted in several places."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_conformance import assert_equal_everywhere

from edgebed.program.arithmetic import PowerOfTwo
from edgebed.program.ops.add import Add
from edgebed.program.ops.concat import Concat
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.crop import Crop
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.space_to_depth import SpaceToDepth
from edgebed.program.types import Constant, Op, Program, TensorType
from edgebed.targets.max78000.check import check
from edgebed.targets.max78000.compiler import Compiled, compile_program

CONSTANTS: dict[str, Constant] = {}


def conv(name: str, source: str, out: int, inner: int) -> Op:
    rng = np.random.default_rng(len(CONSTANTS))
    values = rng.integers(-128, 128, (out, inner, 3, 3)).astype(np.int8)
    CONSTANTS[name] = Constant(values, 8, 2.0**-10)
    return Conv2d(
        name=name,
        inputs=(source,),
        output=name,
        weight=name,
        padding=(1, 1, 1, 1),
        requantize=PowerOfTwo(10),
    )


def op(kind: Any, name: str, *sources: str, **fields: Any) -> Op:
    made: Op = kind(name=name, inputs=sources, output=name, **fields)
    return made


NETWORKS: dict[str, tuple[int, tuple[str, ...], tuple[Op, ...]]] = {
    "stacked operands": (
        8,
        ("c",),
        (
            op(Slice, "a", "x", start=0, stop=4),
            op(Slice, "b", "x", start=4, stop=8),
            op(Add, "s", "a", "b"),
            conv("c", "s", 9, 4),
        ),
    ),
    "rows of an inner map": (
        3,
        ("d2",),
        (
            conv("d1", "x", 70, 3),
            op(Crop, "rows", "d1", start=1, stop=4),
            conv("d2", "rows", 5, 70),
        ),
    ),
    "rows of the input": (
        3,
        ("e",),
        (op(Crop, "some", "x", start=1, stop=4), conv("e", "some", 5, 3)),
    ),
    "another shape": (
        3,
        ("f3",),
        (
            conv("f1", "x", 8, 3),
            op(Reshape, "long", "f1", shape=(8, 24, 2)),
            conv("f2", "long", 5, 8),
            op(Reshape, "f3", "f2", shape=(5, 6, 8)),
        ),
    ),
    "folded pixels": (
        3,
        ("g",),
        (op(SpaceToDepth, "fold", "x", block=2), conv("g", "fold", 8, 12)),
    ),
    "twice the same operand": (
        3,
        ("h2", "h1"),
        (conv("h1", "x", 8, 3), op(Add, "twice", "h1", "h1"), conv("h2", "twice", 8, 8)),
    ),
    "three times the same part": (
        3,
        ("i2", "i"),
        (conv("i1", "x", 8, 3), op(Concat, "i", "i1", "i1", "i1"), conv("i2", "i", 8, 24)),
    ),
    "parts in several passes": (
        3,
        ("j2", "j"),
        (conv("j1", "x", 70, 3), op(Concat, "j", "j1", "j1", "x"), conv("j2", "j", 8, 143)),
    ),
    "channels of an inner map": (
        3,
        ("k2",),
        (
            conv("k1", "x", 8, 3),
            op(Slice, "mid", "k1", start=2, stop=7),
            conv("k2", "mid", 8, 5),
        ),
    ),
    "the input as output": (3, ("l", "x"), (op(Identity, "l", "x"),)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_views_are_read_where_they_lie(name: str) -> None:
    channels, outputs, ops = NETWORKS[name]
    constants = {c: CONSTANTS[c] for one in ops for c in one.constants}
    program = Program(name, {"x": TensorType((channels, 6, 8))}, ops, outputs, constants)
    assert check(program) == []
    assert_equal_everywhere(compile_program(program), seed=2)


def test_copies_are_made_only_where_readers_conflict() -> None:
    channels, outputs, ops = NETWORKS["stacked operands"]
    constants = {c: CONSTANTS[c] for one in ops for c in one.constants}
    program = Program("net", {"x": TensorType((channels, 6, 8))}, ops, outputs, constants)
    compiled: Compiled = compile_program(program)
    assert [placed.layer.ops for placed in compiled.chain] == [("s", "c")]
