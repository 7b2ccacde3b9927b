"""The placed network for people: a row a device layer, and maps of weight and data memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from edgebed.targets.layout import Layout, MemoryMap, Region
from edgebed.targets.max78000.compiler import Compiled
from edgebed.targets.max78000.kernels import kernel_length
from edgebed.targets.max78000.layers import (
    INSTANCE_BYTES,
    KERNEL_COLUMNS,
    KERNEL_WORD,
    PROCESSORS,
    Placed,
    Shape,
    processors_in,
)
from edgebed.targets.max78000.locations import Location, result_location

WORD = 4


def layout(compiled: Compiled) -> Layout:
    """Return the table of layers and the memory maps of a placed network."""
    return Layout(
        layers=tuple(_row(placed, compiled.image.cycles) for placed in compiled.chain),
        maps=(_weights(compiled.chain), _data(compiled)),
    )


def _row(placed: Placed, cycles: Mapping[str, int]) -> dict[str, str]:
    layer, at = placed.layer, placed.at
    return {
        "layer": layer.name,
        "does": _does(placed),
        "in": _size(layer.in_shape),
        "out": _size(layer.out_shape) + (" int32" if layer.wide else ""),
        "bits": "-" if layer.passthrough else str(layer.bits),
        "shift": str(layer.shift),
        "processors": ranges(processors_in(at.processors)),
        "passes": f"{at.passes}/{at.out_passes}",
        "reads at": f"{at.in_offset:#06x}",
        "writes at": f"{at.out_offset:#06x}",
        "to": ranges(processors_in(at.output_processors)),
        "kernel bytes": f"{0 if layer.kernel is None else layer.kernel.size * layer.bits // 8}",
        "cycles": f"{cycles.get(layer.name, 0)}",
    }


def _does(placed: Placed) -> str:
    layer = placed.layer
    parts = []
    if layer.pooling:
        kind = "avg" if layer.average else "max"
        parts.append(f"{kind} pool {layer.pool[0]}x{layer.pool[1]}/{layer.pool_stride}")
    if layer.combine is not None:
        parts.append(f"{layer.combine} of {layer.operands}")
    if layer.flatten:
        parts.append("flatten")
    size = "" if layer.passthrough else f" {layer.kernel_shape[0]}x{layer.kernel_shape[1]}"
    parts.append(layer.operator + size)
    parts += [layer.activation] if layer.activation != "none" else []
    parts += ["streaming"] if layer.streaming else []
    return ", ".join(parts)


def _size(shape: Shape) -> str:
    return "x".join(str(number) for number in shape)


def ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers as `0-15, 32`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts) or "-"


def _weights(chain: Sequence[Placed]) -> MemoryMap:
    regions = [
        Region(
            f"{placed.layer.name}, processor {processor}",
            index,
            (processor, processor + 1),
            (start * KERNEL_WORD, (start + kernel_length(placed)) * KERNEL_WORD),
        )
        for index, placed in enumerate(chain)
        if not placed.layer.passthrough
        for processor in processors_in(placed.at.processors)
        for start in [placed.at.kernel_column]
    ]
    return MemoryMap(
        "Weight memory of each processor",
        "processor",
        "bytes",
        (0, PROCESSORS),
        (0, KERNEL_COLUMNS * KERNEL_WORD),
        tuple(regions),
    )


def _data(compiled: Compiled) -> MemoryMap:
    chain = compiled.chain
    regions = [*_inputs(compiled), *(r for i in range(len(chain)) for r in _results(chain, i))]
    return MemoryMap(
        "Data memory while each layer runs",
        "layer",
        "byte of a memory instance",
        (0, len(chain)),
        (0, INSTANCE_BYTES),
        tuple(regions),
    )


def _results(chain: Sequence[Placed], index: int) -> Iterator[Region]:
    """Yield where a layer's result lies, from when it is written until it was last read."""
    layer = chain[index].layer
    if layer.streaming and index + 1 < len(chain) and chain[index + 1].layer.streaming:
        return  # a rolling buffer of a few rows; its extent is not the whole map
    pixels = layer.out_shape[1] * layer.out_shape[2]
    until = max((i for i, one in enumerate(chain) if layer.output in one.layer.sources), default=-1)
    end = until + 1 if until > index else len(chain)
    yield Region(
        f"{layer.name}: {_size(layer.out_shape)}",
        index,
        (index, end),
        _bytes(result_location(layer, chain[index].at), pixels),
    )


def _inputs(compiled: Compiled) -> Iterator[Region]:
    if compiled.fifo:
        return
    chain = compiled.chain
    for given in compiled.resolved.inputs:
        users = [i for i, one in enumerate(chain) if given.tensor in one.layer.sources] or [0]
        shape = chain[users[0]].layer.in_shape
        extent = _bytes(given.location, shape[1] * shape[2])
        yield Region(f"input {given.tensor}", -1, (0, max(users) + 1), extent)


def _bytes(location: Location, pixels: int) -> tuple[float, float]:
    first, last = min(location.words), max(location.words)
    if location.chw:
        return first * WORD, first * WORD + pixels
    lanes = 4 if location.wide else 1
    return first * WORD, (last + location.stride * (pixels - 1) + lanes) * WORD
