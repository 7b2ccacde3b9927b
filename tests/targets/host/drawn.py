"""Random programs: chains of ops that fit each other, several of them side by side in one program.

One program of many chains costs one compile, and its tensors crowd the same arena.
"""

from __future__ import annotations

import numpy as np
from chain import Chain, Draw
from drawn_layers import conv, dense, pair, pool, transposed
from drawn_moves import concat, convert, real_function, shape_op, statistic
from hypothesis import strategies as st

from edgebed.program.types import Program, TensorType

GROWERS = (
    conv, conv, conv, dense, pool, pair, pair, concat, shape_op, shape_op, convert, statistic,
    transposed, real_function,
)  # fmt: skip


def grow(c: Chain, length: int) -> None:
    """Put so many ops behind a new input."""
    dtype = c.pick("int8", "int8", "int8", "uint8", "float32")
    shape = c.pick((3, 7, 6), (1, 9, 4), (16, 5, 5), (8, 8), (40,), (20, 3, 9), (64, 4, 4))
    zero = {"int8": c.whole(-128, 127), "uint8": c.whole(0, 255), "float32": 0}[dtype]
    scale = 1.0 if dtype == "float32" else c.scale()
    known = dict(c.types)
    c.types.clear()
    last = c.input(TensorType(shape, dtype, scale, zero))
    for _ in range(length):
        grower = c.pick(*GROWERS)
        made = grower(c, last)
        if made is not None and c.types[made].size <= 20000:
            last = made
        elif made is not None:
            c.ops.pop()
            del c.types[made]
    c.types.update(known)


@st.composite
def programs(draw: Draw, chains: int = 6, length: int = 7) -> Program:
    """Programs of several chains; every tensor that nobody reads is an output, and some others."""
    c = Chain(draw)
    c.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    for _ in range(chains):
        grow(c, length)
    read = {name for op in c.ops for name in op.inputs}
    loose = [op.output for op in c.ops if op.output not in read]
    more = [op.output for op in c.ops if op.output in read and draw(st.booleans())][:3]
    outputs = tuple(loose + more) or tuple(c.inputs)
    used = {name for op in c.ops for name in op.constants}
    constants = {name: value for name, value in c.constants.items() if name in used}
    return Program("drawn", c.inputs, tuple(c.ops), outputs, constants)
