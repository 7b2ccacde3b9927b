"""What a layer reads: joined, split, cut and reshaped as its convolution needs it."""

from __future__ import annotations

from collections.abc import Sequence

from edgebed.program.ops.concat import Concat
from edgebed.program.ops.crop import Crop
from edgebed.program.ops.identity import Identity
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.slice import Slice
from edgebed.targets.max78000.ai8x.network import INPUT, Layer
from edgebed.targets.max78000.ai8x.tape import INPUT_TENSOR, Tape, make_op
from edgebed.targets.max78000.layers import passes_of, per_pass

VIEWS = (Concat, Crop, Reshape, Slice)


def operands_of(tape: Tape, layer: Layer, *, drop_channels: bool) -> list[str]:
    """Return the tensor of each operand: joined, split and viewed as the layer reads it.

    Args:
        tape: receives the ops that this needs.
        layer: what the description says.
        drop_channels: channels that the layer does not read are left out.

    Raises:
        EdgebedError: the layers it reads do not fit together.
    """
    sources = [INPUT_TENSOR if n == INPUT else f"layer{n:02d}" for n in layer.inputs]
    if len(sources) == 1:
        sources = [_original(tape, layer, sources[0])]
    wide = [name for name in sources if tape.types[name].dtype != "int8"]
    if wide:
        raise layer.place.fail(
            f"layer {layer.number} reads the 32-bit result of {wide[0]}",
            try_="output_width: 8 in that layer",
        )
    operands = _operands(tape, layer, sources)
    if drop_channels:
        operands = [_dropped(tape, layer, n, tensor) for n, tensor in enumerate(operands)]
    return [_viewed(tape, layer, n, tensor) for n, tensor in enumerate(operands)]


def _original(tape: Tape, layer: Layer, tensor: str) -> str:
    """Return the tensor that lies where the layer reads, if the named one is only a copy of it.

    Residual networks copy a map to interleave it and go on from the map that was copied; the
    order of layers names the copy, `in_offset` the original.
    """
    writer = next((op for op in tape.ops if op.output == tensor), None)
    if layer.in_offset is None or not isinstance(writer, Identity):
        return tensor
    if tape.offsets[tensor] == layer.in_offset:
        return tensor
    before = _original(tape, layer, writer.inputs[0])
    return before if tape.offsets.get(before) == layer.in_offset else tensor


def _operands(tape: Tape, layer: Layer, sources: Sequence[str]) -> list[str]:
    shapes = {tape.shape(name)[1:] for name in sources}
    if len(shapes) > 1:
        sizes = ", ".join(f"{name} {tape.shape(name)}" for name in sources)
        raise layer.place.fail(f"layer {layer.number} reads maps of different sizes", why=sizes)
    channels = {tape.shape(name)[0] for name in sources}
    if len(sources) == layer.operands and len(channels) == 1:
        return list(sources)
    whole = sources[0]
    if len(sources) > 1:
        whole = tape.add(layer, make_op(Concat, layer, "concat", tuple(sources)))
    if layer.operands == 1:
        return [whole]
    count = tape.shape(whole)[0]
    if count % layer.operands:
        raise layer.place.fail(
            f"layer {layer.number} has {layer.operands} operands in {count} channels",
            why=f"{count} is not a multiple of {layer.operands}",
        )
    size = count // layer.operands
    return [
        tape.add(
            layer,
            make_op(Slice, layer, f"operand{n}", (whole,), start=n * size, stop=(n + 1) * size),
        )
        for n in range(layer.operands)
    ]


def _dropped(tape: Tape, layer: Layer, number: int, tensor: str) -> str:
    """Leave out the channels that the layer does not read (`--reshape-inputs`)."""
    channels = tape.shape(tensor)[0]
    start = layer.in_channel_skip
    wanted = layer.in_channels or min(layer.processors.bit_count(), channels - start)
    if wanted == channels:
        return tensor
    if start + wanted > channels:
        raise layer.place.fail(
            f"layer {layer.number} reads channels {start}:{start + wanted} of {channels}"
        )
    suffix = f"channels{number}"
    return tape.add(
        layer, make_op(Slice, layer, suffix, (tensor,), start=start, stop=start + wanted)
    )


def _viewed(tape: Tape, layer: Layer, number: int, tensor: str) -> str:
    channels, rows, columns = tape.shape(tensor)
    if layer.in_channels not in (None, channels) and not layer.flatten:
        raise layer.place.fail(
            f"layer {layer.number} gets {channels} channels",
            why=f"`in_channels` says {layer.in_channels}",
            try_="--reshape-inputs, which leaves channels out",
        )
    if layer.in_crop != (0, 0):
        tensor = _cropped(tape, layer, number, tensor)
        _, rows, columns = tape.shape(tensor)
    if layer.in_dim in (None, (rows, columns)):
        return _one_column(layer, tensor, columns)
    wanted = layer.in_dim
    _one_column(layer, tensor, wanted[1])
    if wanted[0] * wanted[1] != rows * columns:
        raise layer.place.fail(
            f"layer {layer.number} gets maps of {rows} x {columns}",
            why=f"`in_dim` says {wanted[0]} x {wanted[1]}, another number of values",
        )
    return tape.add(
        layer, make_op(Reshape, layer, f"reshape{number}", (tensor,), shape=(channels, *wanted))
    )


def _one_column(layer: Layer, tensor: str, columns: int) -> str:
    if layer.op == "conv1d" and columns != 1:
        raise layer.place.fail(
            f"layer {layer.number} (conv1d) gets maps of {columns} columns",
            why="one-dimensional data has one column",
            try_="`in_dim` with the length",
        )
    return tensor


def _cropped(tape: Tape, layer: Layer, number: int, tensor: str) -> str:
    """Leave out rows at the beginning and end (`in_crop`)."""
    _, rows, _ = tape.shape(tensor)
    before, after = layer.in_crop
    if INPUT in layer.inputs:
        raise layer.place.fail("`in_crop` of the network's input", try_="a smaller input")
    if before + after >= rows:
        raise layer.place.fail(f"`in_crop` leaves none of {rows} rows")
    suffix = f"crop{number}"
    return tape.add(layer, make_op(Crop, layer, suffix, (tensor,), start=before, stop=rows - after))


def check_processors(tape: Tape, layer: Layer, tensor: str) -> None:
    """Refuse a map with another number of processors than the layer has channels in a pass."""
    channels = tape.shape(tensor)[0]
    needed, found = per_pass(channels), layer.processors.bit_count()
    if found != needed:
        passes = passes_of(channels)
        raise layer.place.fail(
            f"layer {layer.number} enables {found} processors",
            why=f"{channels} channels in {passes} pass{'es' if passes > 1 else ''} need {needed}",
        )
