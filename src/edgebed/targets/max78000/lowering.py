"""From a program to device layers: what is computed together, and the kernels' device form.

One device layer computes [pool] + [element-wise] + [convolution], or pools after combining. With
a project's hints the grouping is the project's; without, every pool and element-wise op that only
one layer reads joins that layer where the device allows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.program.arithmetic import PowerOfTwo
from edgebed.program.ops.add import Add
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.bit_or import BitOr
from edgebed.program.ops.bit_xor import BitXor
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.subtract import Subtract
from edgebed.program.types import Op, Program
from edgebed.targets.max78000.dilation import LONGEST, spaced
from edgebed.targets.max78000.hints import LayerHint
from edgebed.targets.max78000.layers import PROCESSORS, Combine, Layer, passes_of
from edgebed.targets.max78000.views import VIEWS

PADDING = 2  # the largest, spec 2.16

Weighted = Conv2d | ConvTranspose2d | Dense
Pool = MaxPool | AvgPool
WEIGHTED = (Conv2d, ConvTranspose2d, Dense)
POOLS = (MaxPool, AvgPool)
COMBINES: dict[type[Op], Combine] = {
    Subtract: "subtract",
    Add: "add",
    BitOr: "bit_or",
    BitXor: "bit_xor",
}
BIAS_UNIT = 128
Int8 = npt.NDArray[np.int8]


def lower(program: Program, hints: Sequence[LayerHint] = ()) -> tuple[Layer, ...]:
    """Return the device layers in execution order.

    Args:
        program: passes `check.op_problems`.
        hints: the project's own grouping; empty = derive it.

    Raises:
        EdgebedError: the hints leave an op out or group what the device cannot do at once.
    """
    by_name = {op.name: op for op in program.ops}
    if hints:
        groups = [_hinted(by_name, hint) for hint in hints]
        streaming = [hint.streaming for hint in hints]
    else:
        groups = list(group_ops(program))
        streaming = [False] * len(groups)
    _check_cover(program, groups)
    layers = [
        replace(_layer(program, group, f"layer{number:02}"), streaming=streams)
        for number, (group, streams) in enumerate(zip(groups, streaming, strict=True))
    ]
    return tuple(for_streaming(layers))


def for_streaming(layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers with 1x1 kernels widened in and right after the streaming chain."""
    return [
        _widened(layer) if _beside_stream(layers, index) else layer
        for index, layer in enumerate(layers)
    ]


def _beside_stream(layers: Sequence[Layer], index: int) -> bool:
    near = layers[max(0, index - 1) : index + 1]
    return layers[index].operator == "conv2d" and any(layer.streaming for layer in near)


def can_widen(layer: Layer) -> bool:
    """Return whether a layer can run in, or right after, a stream: it may have to be widened."""
    narrow = layer.operator == "conv2d" and layer.kernel_shape == (1, 1)
    return not narrow or max(layer.padding) < PADDING


def _widened(layer: Layer) -> Layer:
    """Return a 1x1 convolution as a 3x3 one with padding and a centre weight (spec 2.13)."""
    if layer.kernel is None or layer.kernel_shape != (1, 1):
        return layer
    if not can_widen(layer):
        raise EdgebedError(
            f"a 1x1 kernel with padding {max(layer.padding)} in or right after a stream",
            where=layer.name,
            why=f"it runs as a 3x3 one with one more, and {PADDING} is the largest",
            try_="padding 1",
        )
    rows, columns = layer.padding
    kernel = np.pad(layer.kernel, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return replace(layer, kernel=kernel, kernel_shape=(3, 3), padding=(rows + 1, columns + 1))


def _hinted(by_name: dict[str, Op], hint: LayerHint) -> tuple[Op, ...]:
    for name in hint.ops:
        if name not in by_name:
            raise EdgebedError(f"the placement names an unknown op {name!r}", where=hint.name)
    return tuple(by_name[name] for name in hint.ops if not isinstance(by_name[name], VIEWS))


def _check_cover(program: Program, groups: Sequence[tuple[Op, ...]]) -> None:
    covered = {op.name for group in groups for op in group}
    for op in program.ops:
        if op.name not in covered and not isinstance(op, VIEWS):
            raise op.fail("no device layer computes it", try_="a placement that names every op")


def group_ops(program: Program) -> Iterator[tuple[Op, ...]]:
    """Yield the ops of each device layer, in program order."""
    taken: set[str] = set()
    groups: list[tuple[Op, ...]] = []
    for op in reversed(program.ops):
        if op.name in taken or isinstance(op, VIEWS):
            continue
        before = _joined(program, op)
        groups.append((*before, op))
        taken.update(member.name for member in before)
    yield from reversed(groups)


def _joined(program: Program, op: Op) -> tuple[Op, ...]:
    """Return what runs in front of an op in the same device layer."""
    if isinstance(op, Identity):
        return ()
    if isinstance(op, WEIGHTED):
        if _flattens(program, op) or _folded(program, op):
            return ()
        return _before(program, op, op.inputs[0], one_dimensional(program, op))
    if isinstance(op, POOLS):
        return _combined(program, op.inputs[0], alone=True)
    return _pools_of(program, op)


def _before(program: Program, op: Op, tensor: str, narrow: bool) -> tuple[Op, ...]:
    writer = _only_read_by(program, tensor)
    if isinstance(writer, POOLS):
        if narrow and program.types[writer.inputs[0]].shape[2] > 1:
            assert isinstance(op, Conv2d)
            if program.constants[op.weight].values.shape[2] > 1:
                return ()  # conv1d pools along one column only
            narrow = False  # a 1x1 kernel runs in two dimensions too
        inner = () if narrow else _combined(program, writer.inputs[0], alone=False)
        return (*inner, writer)
    if type(writer) in COMBINES and not narrow and _one_or_two_passes(program, writer):
        assert writer is not None
        return (*_pools_of(program, writer, before_convolution=True), writer)
    return ()


def _one_or_two_passes(program: Program, writer: Op | None) -> bool:
    """Return whether a convolution can follow in the same layer (spec 2.16)."""
    assert writer is not None
    passes = passes_of(program.types[writer.output].shape[0])
    return passes == 1 or (passes == 2 and len(writer.inputs) == 2)


def _combined(program: Program, tensor: str, *, alone: bool) -> tuple[Op, ...]:
    """Return the element-wise op whose result is pooled in the same layer (pool last)."""
    writer = _only_read_by(program, tensor)
    if type(writer) not in COMBINES or not _single_pass(program, tensor):
        return ()
    assert writer is not None
    return (writer,) if len(writer.inputs) == 2 else ()


def _pools_of(program: Program, op: Op, *, before_convolution: bool = False) -> tuple[Op, ...]:
    """Return equal pools of all operands, or nothing."""
    if not before_convolution and not _single_pass(program, op.output):
        return ()
    pools = [_only_read_by(program, tensor) for tensor in op.inputs]
    settings = {_settings(pool) if isinstance(pool, POOLS) else None for pool in pools}
    if len(settings) != 1 or None in settings or len(set(op.inputs)) < len(pools):
        return ()
    order = {other.name: number for number, other in enumerate(program.ops)}
    return tuple(sorted((p for p in pools if p is not None), key=lambda p: order[p.name]))


def _settings(pool: Pool) -> tuple[object, ...]:
    return type(pool), pool.kernel, pool.stride, getattr(pool, "rounding", None)


def _single_pass(program: Program, tensor: str) -> bool:
    return program.types[tensor].shape[0] <= PROCESSORS


def _only_read_by(program: Program, tensor: str) -> Op | None:
    """Return the writer of a tensor that one op reads once and nobody else needs."""
    reads = sum(op.inputs.count(tensor) for op in program.ops)
    return program.writer(tensor) if reads == 1 and tensor not in program.outputs else None


def _flattens(program: Program, op: Op) -> bool:
    _, rows, columns = program.types[op.inputs[0]].shape
    return isinstance(op, Dense) and rows * columns > 1


def _folded(program: Program, op: Op) -> bool:
    """Return whether a dilated conv1d is too long and runs as a 3x3 convolution (spec 2.10)."""
    if not isinstance(op, Conv2d) or not one_dimensional(program, op):
        return False
    taps = int(program.constants[op.weight].values.shape[2])
    return (taps - 1) * op.dilation[0] + 1 > LONGEST


def one_dimensional(program: Program, op: Op) -> bool:
    """Return whether a convolution runs as conv1d: width 1 and a kernel of k x 1."""
    if not isinstance(op, Conv2d):
        return False
    _, rows, columns = program.types[op.inputs[0]].shape
    kernel = program.constants[op.weight].values.shape[2:]
    return columns == 1 and kernel[1] == 1 and (rows > 1 or kernel[0] > 1)


def _layer(program: Program, group: tuple[Op, ...], name: str) -> Layer:
    last = group[-1]
    core = last if isinstance(last, WEIGHTED) else None
    pool, combine, pool_first, sources = _front(group, core)
    base = Layer(
        name=name,
        operator="passthrough",
        ops=tuple(op.name for op in group),
        sources=sources,
        output=last.output,
        in_shape=program.types[sources[0]].chw,
        out_shape=program.types[last.output].chw,
        combine=COMBINES[type(combine)] if combine is not None else None,
        pool_first=pool_first,
    )
    if pool is not None:
        base = replace(
            base,
            pool=pool.kernel,
            pool_stride=common_stride(pool, base.in_shape) or pool.stride[0],
            average=isinstance(pool, AvgPool) and max(pool.kernel) > 1,
        )
    return _pooled_alone(base) if core is None else _with_core(program, base, core)


def _pooled_alone(layer: Layer) -> Layer:
    """Return a layer without weights, as a 1x1 convolution where more than 64 channels are pooled.

    A passthrough layer pools several passes only down to one pixel (spec 2.16).
    """
    pools = layer.pooling or layer.pool_stride > 1
    several = layer.in_shape[0] > PROCESSORS and layer.pooled != (1, 1)
    return copying(layer) if pools and several and layer.combine is None else layer


def copying(layer: Layer) -> Layer:
    """Return a 1x1 convolution that does what a passthrough layer does."""
    # 64 x shifted left by 1 and rounded at bit 7 is x, for every x
    kernel = (64 * np.eye(layer.in_shape[0], dtype=np.int8))[:, :, None, None]
    return replace(layer, operator="conv2d", kernel=kernel, shift=1)


def common_stride(pool: Pool, shape: tuple[int, ...]) -> int | None:
    """Return one stride, at most 16, that gives a pool's windows on both axes, or None.

    On an axis with a single window the stride does not matter.
    """
    wanted = _counts(shape, pool.kernel, pool.stride)
    for stride in sorted({*pool.stride, 1}, reverse=True):
        if stride <= 16 and _counts(shape, pool.kernel, (stride, stride)) == wanted:
            return stride
    return None


def _counts(
    shape: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int]
) -> tuple[int, int]:
    rows, columns = (
        (size - k) // step + 1 for size, k, step in zip(shape[1:], kernel, stride, strict=True)
    )
    return rows, columns


def _front(
    group: tuple[Op, ...], core: Op | None
) -> tuple[Pool | None, Op | None, bool, tuple[str, ...]]:
    """Return pool, element-wise op, whether pooling comes first, and the operands."""
    inside = {op.output: op for op in group if op is not core}
    tip = core.inputs[0] if core is not None else group[-1].output
    first = inside.pop(tip, None)
    pool: Pool | None = None
    combine: Op | None = None
    pool_first = True
    sources: tuple[str, ...] = (tip,)
    if isinstance(first, Identity):
        sources = first.inputs
    if isinstance(first, POOLS):
        pool, sources = first, first.inputs
        combine = inside.pop(sources[0], None)
        if combine is not None:
            pool_first, sources = False, combine.inputs
    elif type(first) in COMBINES:
        assert first is not None
        combine, sources = first, first.inputs
        pools = [inside.pop(tensor, None) for tensor in dict.fromkeys(sources)]
        found = [p for p in pools if isinstance(p, POOLS)]
        if found and len({_settings(p) for p in found}) == 1 and len(found) == len(pools):
            pool = found[0]
            written = {p.output: p.inputs[0] for p in found}
            sources = tuple(written[tensor] for tensor in sources)
    _check_front(group, inside, combine)
    return pool, combine, pool_first, sources


def _check_front(group: tuple[Op, ...], left: dict[str, Op], combine: Op | None) -> None:
    wrong = next(iter(left.values()), None)
    if combine is not None and type(combine) not in COMBINES:
        wrong = combine
    if wrong is not None:
        raise wrong.fail(
            f"cannot share a device layer with {group[-1].name}",
            why="a layer does [pool] + [element-wise] + [convolution], or pools last",
        )


def _with_core(program: Program, base: Layer, core: Weighted) -> Layer:
    weight = program.constants[core.weight]
    rule = core.requantize
    assert rule is None or isinstance(rule, PowerOfTwo)  # `check` refuses others
    shift = 0 if rule is None else 7 - rule.right_shift
    layer = replace(
        base,
        bits=next(bits for bits in (1, 2, 4, 8) if bits >= weight.bits),
        bias=_bias(program, core),
        shift=shift,
        activation=core.activation,
        wide=core.requantize is None,
    )
    values: Int8 = weight.values.astype(np.int8)
    if isinstance(core, Dense):
        return _linear(layer, values)
    if isinstance(core, ConvTranspose2d):
        kernel = np.ascontiguousarray(values.swapaxes(0, 1)[:, :, ::-1, ::-1])
        pad = (2 - core.padding[0], 2 - core.padding[1])
        return replace(
            layer, operator="conv_transpose2d", kernel=kernel, kernel_shape=(3, 3), padding=pad
        )
    # Nothing is combined in front of conv1d; a 1x1 kernel can run in two dimensions instead.
    if one_dimensional(program, core) and layer.in_shape[2] == 1 and layer.combine is None:
        return spaced(replace(layer, padding=core.padding[:2]), values, core.dilation[0])
    return replace(
        layer,
        operator="conv2d",
        kernel=values,
        kernel_shape=values.shape[2:],
        padding=core.padding[:2],
    )


def _linear(layer: Layer, values: Int8) -> Layer:
    channels, rows, columns = layer.in_shape[0], *layer.pooled
    flatten = rows * columns > 1
    kernel = values.reshape(len(values), channels, rows, columns)
    return replace(layer, operator="linear", kernel=kernel, flatten=flatten)


def _bias(program: Program, core: Weighted) -> Int8 | None:
    if core.bias is None:
        return None
    values = program.constants[core.bias].values
    return (values // BIAS_UNIT).astype(np.int8) if values.any() else None
