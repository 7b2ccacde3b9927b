"""Dilated convolutions written as SPACE_TO_BATCH_ND, convolution, BATCH_TO_SPACE_ND.

The first takes every d-th row and column into a batch of its own, the last puts them back; between
them a convolution with stride 1 sees pixels d apart. Rows of padding that the last cuts off again
only fill the picture to a multiple of d.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgebed.program.tflite.file import File, Operator
from edgebed.program.tflite.operators.convolutions import EXPLICIT_PADDING

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def with_dilations(file: File) -> tuple[Operator, ...]:
    """Return the operators with each such triple as one convolution."""
    reads = Counter(i for op in file.operators for i in op.inputs) + Counter(file.outputs)
    reader = {op.inputs[0]: op for op in file.operators if op.inputs}
    merged: dict[int, Operator] = {}
    gone: set[int] = set()
    for first in file.operators:
        triple = _triple(first, reader, reads)
        dilated = _dilated(file, triple) if triple else None
        if triple and dilated is not None:
            merged[triple[1].index] = dilated
            gone |= {triple[0].index, triple[2].index}
    return tuple(merged.get(op.index, op) for op in file.operators if op.index not in gone)


def _triple(
    first: Operator, reader: dict[int, Operator], reads: Counter[int]
) -> tuple[Operator, Operator, Operator] | None:
    if first.kind != "SPACE_TO_BATCH_ND":
        return None
    chain = [first]
    for kinds in (_CONVOLUTIONS, ("BATCH_TO_SPACE_ND",)):
        outputs = chain[-1].outputs
        if len(outputs) != 1 or reads[outputs[0]] != 1 or outputs[0] not in reader:
            return None
        following = reader[outputs[0]]
        if following.kind not in kinds:
            return None
        chain.append(following)
    return chain[0], chain[1], chain[2]


def _dilated(file: File, triple: Sequence[Operator]) -> Operator | None:
    before, convolution, after = triple
    tables = [_constants(file, op) for op in (before, after)]
    options = convolution.options or {}
    plain = [options.get(name, 1) for name in (
        "StrideH", "StrideW", "DilationHFactor", "DilationWFactor", "Padding",
    )]  # fmt: skip
    if tables[0] is None or tables[1] is None or plain != [1, 1, 1, 1, 1]:
        return None
    (block, pads), (block_after, crops) = tables[0], tables[1]
    same_scale = all(
        _meaning(file, op.inputs[0]) == _meaning(file, op.outputs[0]) for op in (before, after)
    )
    if (block != block_after).any() or (crops > pads).any() or not same_scale:
        return None
    (top, bottom), (left, right) = (pads - crops).tolist()
    return replace(
        convolution,
        inputs=(before.inputs[0], *convolution.inputs[1:]),
        outputs=after.outputs,
        options={
            **options, "DilationHFactor": int(block[0]), "DilationWFactor": int(block[1]),
            EXPLICIT_PADDING: (top, left, bottom, right),
        },
    )  # fmt: skip


def _constants(file: File, op: Operator) -> tuple[np.ndarray, np.ndarray] | None:
    """Return block (2) and paddings or crops (2 x 2) of an operator, None if not constant."""
    if len(op.inputs) != 3 or len(op.outputs) != 1 or min(op.inputs) < 0:
        return None
    tensors = [file.tensors[i] for i in op.inputs[1:]]
    shapes = [tensor.shape for tensor in tensors]
    if shapes != [(2,), (2, 2)] or any(t.data is None or t.dtype != "INT32" for t in tensors):
        return None
    block, table = (tensor.values() for tensor in tensors)
    return (block, table) if (block > 0).all() and (table >= 0).all() else None


def _meaning(file: File, index: int) -> object:
    tensor = file.tensors[index]
    return tensor.dtype, tensor.quantisation
