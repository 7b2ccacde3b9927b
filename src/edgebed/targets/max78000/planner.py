"""Planning: streaming or not, windows of processors, offsets; the result is a set of hints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from edgebed.errors import EdgebedError
from edgebed.program.types import Program
from edgebed.targets.max78000.buffers import plan_buffers
from edgebed.targets.max78000.layers import (
    KERNEL_COLUMNS,
    PER_INSTANCE,
    PROCESSORS,
    Layer,
    passes_of,
)
from edgebed.targets.max78000.lowering import can_widen, for_streaming
from edgebed.targets.max78000.memory import (
    WORDS,
    Buffer,
    Cluster,
    Tie,
    clash,
    clusters,
    place_offsets,
    place_windows,
)
from edgebed.targets.max78000.sketch import Decision, Sketch
from edgebed.targets.max78000.views import device_inputs

LONGEST_STREAM = 8
FIFO_CHANNELS = 16


def candidates(program: Program, layers: Sequence[Layer]) -> Iterator[Decision]:
    """Yield placements whose data fit, best first; kernels and biases may still not fit.

    Raises:
        EdgebedError: no placement of the data fits; the error names the tensor.
    """
    first: EdgebedError | None = None
    found = False
    for stream, chw in _streams(program, layers):
        for columns in (KERNEL_COLUMNS * 3 // 4, 0):
            try:
                decision = decide(program, layers, stream, chw=chw, columns=columns)
            except EdgebedError as error:
                first = first or error
                continue
            found = True
            yield decision
    if not found and first is not None:
        raise first


def _streams(program: Program, layers: Sequence[Layer]) -> Iterator[tuple[int, bool]]:
    """Yield (streaming layers, CHW input), simplest first.

    Layers stream up to the last map that cannot be stored; a longer chain relieves the memory.
    """
    needed = 0
    for index, layer in enumerate(layers):
        if layer.operands == 1 and _map_words(layer) > WORDS:
            needed = index + 1
    if needed == 0:
        yield 0, False
    if needed <= 1 and _fits_chw(program, layers[0]):
        yield 0, True
    for length in stream_lengths(program, layers):
        if length >= needed:
            yield length, False
    if needed > _chain(program, layers):
        yield 0, False  # so that the failure names the tensor


def stream_lengths(program: Program, layers: Sequence[Layer]) -> tuple[int, ...]:
    """Return with how many streaming layers a program can be run; the last one must have padding.

    A 1x1 kernel counts as padded: in and right after a stream it becomes a 3x3 one with one more
    pixel of padding, so it must not have the largest padding already.
    """
    return tuple(
        length
        for length in range(1, _chain(program, layers) + 1)
        if max(layers[length - 1].padding) > 0 or layers[length - 1].kernel_shape == (1, 1)
        if all(can_widen(layer) for layer in layers[: length + 1])
    )


def _map_words(layer: Layer) -> int:
    channels, rows, columns = layer.in_shape
    return rows * columns * passes_of(channels)


def _fits_chw(program: Program, first: Layer) -> bool:
    channels, rows, columns = first.in_shape
    plain = first.sources[0] in device_inputs(program) and first.operands == 1
    fits = channels <= PROCESSORS // PER_INSTANCE and rows * columns <= 4 * WORDS
    alone = len(program.readers(first.sources[0])) == 1
    return plain and fits and alone and first.operator == "conv2d" and not first.flatten


def _chain(program: Program, layers: Sequence[Layer]) -> int:
    """Return how many leading layers could stream: plain convolutions one after the other."""
    given = device_inputs(program)
    expected = layers[0].sources[0]
    if expected not in given or layers[0].in_shape[0] > FIFO_CHANNELS:
        return 0
    for index, layer in enumerate(layers[:LONGEST_STREAM]):
        alone = len(program.readers(expected)) == 1 and expected not in program.outputs
        if layer.sources != (expected,) or not alone or layer.operator != "conv2d" or layer.wide:
            return index
        expected = layer.output
    return min(len(layers), LONGEST_STREAM)


def decide(
    program: Program, layers: Sequence[Layer], stream: int, *, chw: bool = False, columns: int = 0
) -> Decision:
    """Return a placement of the data.

    Args:
        program: the layers' program.
        layers: without copies and without streaming.
        stream: leading layers that run at once; the input then arrives through the FIFOs.
        chw: the first layer reads channel-first data.
        columns: kernel columns up to which windows are packed to the front instead of spread.

    Raises:
        EdgebedError: a tensor finds no room, or would have to lie in two places.
    """
    streamed = [replace(layer, streaming=i < stream) for i, layer in enumerate(layers)]
    sketch, buffers, groups = _tied(program, for_streaming(streamed), stream, chw)
    starts = place_windows(
        buffers, groups, sketch.loads(), lambda full, start: (max(full, columns), start)
    )
    if starts is None:
        raise EdgebedError("tied tensors need more than 64 processors side by side")
    words = place_offsets(buffers, starts)
    if isinstance(words, str):
        raise _no_room(buffers, starts, words)
    return sketch.decision(starts, words)


def _tied(
    program: Program, layers: Sequence[Layer], stream: int, chw: bool
) -> tuple[Sketch, dict[str, Buffer], list[Cluster]]:
    """Return a plan whose passthrough layers agree on windows.

    A copy that would have to move data to other processors becomes a 1x1 convolution.
    """
    moved: frozenset[str] = frozenset()
    while True:
        sketch = Sketch(program, plan_buffers(program, layers, moved), stream, chw)
        buffers = sketch.buffers()
        groups = clusters(buffers, sketch.ties())
        if not isinstance(groups, Tie):
            return sketch, buffers, groups
        copies = {layer.name for layer in sketch.layers if not layer.ops}
        if groups.layer not in copies - moved:
            raise EdgebedError(
                f"{groups.second!r} would have to lie on two sets of processors",
                where=groups.layer,
                why="passthrough layers keep data on their processors",
                try_="a 1x1 convolution instead of this layer",
            )
        moved |= {groups.layer}


def _no_room(buffers: Mapping[str, Buffer], starts: Mapping[str, int], name: str) -> EdgebedError:
    beside = [other for other in buffers.values() if _beside(buffers[name], other, starts)]
    sizes = [f"{other.name!r} {4 * other.words}" for other in beside]
    total = buffers[name].words + sum(other.words for other in beside)
    share = max(1, 100 * WORDS // total)
    return EdgebedError(
        f"no room for {name!r}: {4 * buffers[name].words} bytes in each instance",
        why=f"{4 * WORDS} bytes; alive at the same time: {', '.join(sizes) or 'nothing else'}",
        try_=f"maps of {share} % of these pixels (pool earlier, or fold pixels into channels)",
    )


def _beside(one: Buffer, other: Buffer, starts: Mapping[str, int]) -> bool:
    return other is not one and clash(one, other, starts)
