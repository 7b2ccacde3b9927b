"""Is a complete placement legal? Ranges, fields, streaming, and nothing needed is overwritten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from edgebed.program.types import Program
from edgebed.targets.contract import Problem
from edgebed.targets.max78000.hints import Options
from edgebed.targets.max78000.layers import (
    PER_INSTANCE,
    QUADRANTS,
    Placed,
    per_pass,
    processors_in,
    quadrant_bits,
)
from edgebed.targets.max78000.occupancy import (
    WORDS,
    Area,
    areas,
    input_clashes,
    input_words,
    layer_area,
)
from edgebed.targets.max78000.registers import CCNT, RCNT, sizes
from edgebed.targets.max78000.resolve import Resolved
from edgebed.targets.max78000.stream_registers import (
    TRAM_ROWS,
    ring_words,
    row_length,
    stream_start,
)

STREAMING_LAYERS = 8
PASSES = 256
MOST_SKIPPED = 15  # LCTL2[7:4]
MOST_COUNTED = 1024  # RCNT[9:0] + 1
MOST_BUFFERED = 4096  # TPTR[27:16] + 1
FIFO_PROCESSORS = {False: 0x000F000F000F000F, True: 0x0001000100010001}
Finding = tuple[str, str, str]


def placement_problems(program: Program, resolved: Resolved, options: Options) -> list[Problem]:
    """Return everything illegal about a placement."""
    chain = resolved.chain
    found: list[Problem] = []
    for index, placed in enumerate(chain):
        findings = [*_maps(placed), *_fields(placed)]
        if not _inside_stream(chain, index):
            findings += _range(placed)
        findings += _fifo(placed) if index == 0 and options.fifo else ()
        findings += _stream(chain, index) if placed.layer.streaming else ()
        found += [Problem(placed.layer.name, *finding) for finding in findings]
    found += _inputs(program, resolved, options)
    if found:
        return found
    return [*_row_buffers(chain), *_overwritten(program, resolved, options)]


def _inside_stream(chain: Sequence[Placed], index: int) -> bool:
    """Return whether a layer's result only exists as a ring of a few rows."""
    pair = [placed.layer.streaming for placed in chain[index : index + 2]]
    return pair == [True, True]


def _maps(placed: Placed) -> Iterator[Finding]:
    layer, at = placed.layer, placed.at
    results = at.output_processors.bit_count()
    needed = per_pass(layer.out_shape[0])
    if results != needed and not layer.passthrough:
        channels = layer.out_shape[0]
        yield f"{results} output processors", f"{channels} channels need {needed}", f"{needed}"
    instances = {p // PER_INSTANCE for p in processors_in(at.processors)}
    if at.big_data and len(instances) < at.processors.bit_count():
        what = f"processors {at.processors:#018x} read CHW data"
        yield what, "one channel in each instance of 4 processors", "0x1111... or HWC data"
    if at.big_data and (placed.total_passes > 1 or layer.operands > 1):
        what = f"reads CHW data in {placed.total_passes} passes of {layer.operands} operands"
        yield what, "one pass of one operand", "HWC data"
    if layer.passthrough and not _same_quadrants(at.processors, at.output_processors):
        yield (
            f"copies processors {at.processors:#018x} to {at.output_processors:#018x}",
            "data stay in their quadrants of 16 processors",
            "as many output processors in each quadrant as there are input processors",
        )
    first = processors_in(at.output_processors)[0] if at.output_processors else 0
    aligned = first % PER_INSTANCE == 0
    if not layer.passthrough and layer.bits < 8 and not aligned:
        yield (
            f"first output processor {first} with {layer.bits}-bit weights",
            "a multiple of 4 for weights below 8 bits",
            f"processor {first // PER_INSTANCE * PER_INSTANCE}",
        )
    if at.in_offset % 4 or at.out_offset % 4 or at.out_offset < 4 * layer.skipped * at.out_passes:
        least = 4 * layer.skipped * at.out_passes
        yield f"offsets {at.in_offset:#x}, {at.out_offset:#x}", f"multiples of 4, >= {least}", "4"


def _same_quadrants(one: int, other: int) -> bool:
    return all(
        quadrant_bits(one, q).bit_count() == quadrant_bits(other, q).bit_count()
        for q in range(QUADRANTS)
    )


def _fields(placed: Placed) -> Iterator[Finding]:
    """What a register field cannot hold."""
    layer, at = placed.layer, placed.at
    skip = (1 if layer.passthrough else at.out_passes) * (at.write_gap + 1) - 1
    if skip > MOST_SKIPPED:
        most = (MOST_SKIPPED + 1) // (skip // (at.write_gap + 1) + 1) - 1
        what = f"skips {skip} words after each one it writes"
        yield what, f"{MOST_SKIPPED}", f"a write gap of at most {most}"
    words = sizes(placed)
    for axis, number in (("rows", RCNT), ("columns", CCNT)):
        count = (words[number] & 0xFFFF) + 1
        if count > MOST_COUNTED:
            yield f"walks {count} {axis}, padding included", f"{MOST_COUNTED}", f"fewer {axis}"


def _inputs(program: Program, resolved: Resolved, options: Options) -> Iterator[Problem]:
    """The network's input, as the CPU writes it before the first layer."""
    layers = [placed.layer.name for placed in resolved.chain]
    for index, reads in enumerate(resolved.reads[1:], 1):
        if options.fifo and any(piece in reads for piece in resolved.inputs):
            what = "reads the network's input, which went through a FIFO"
            yield Problem(layers[index], what, "layer 0 only", "the input in data memory (no FIFO)")
    if options.fifo:
        yield from _frame(program, resolved)
        return
    ends = [int(input_words(program, piece).max()) + 1 for piece in resolved.inputs]
    if max(ends) > WORDS:
        what = f"needs the input up to offset {4 * max(ends):#x}"
        limit = f"{4 * WORDS:#x} bytes in each instance"
        yield Problem(layers[0], what, limit, "CHW, a FIFO, a smaller offset or a smaller map")
        return
    for tensor in input_clashes(program, resolved):
        what = f"{tensor!r} would have to lie in two ways in the same words"
        yield Problem(layers[0], what, "one value for each byte", "another offset for one reader")


def _frame(program: Program, resolved: Resolved) -> Iterator[Problem]:
    """A folded sequence waits for whole rows (spec 2.10); the FIFO gets what there is."""
    layer = resolved.chain[0].layer
    waits = layer.in_shape[1] * layer.in_shape[2]
    for piece in resolved.inputs:
        _, rows, columns = program.types[piece.tensor].shape
        if rows * columns < waits:
            what = f"waits for {waits} values of a sequence of {rows * columns} from the FIFO"
            limit = f"whole rows of {layer.in_shape[2]}"
            yield Problem(layer.name, what, limit, "the input in data memory (no FIFO)")


def _range(placed: Placed) -> Iterator[Finding]:
    end = layer_area(placed).end
    if end > WORDS:
        yield (
            f"writes up to offset {4 * end:#x}",
            f"{4 * WORDS:#x} bytes in each instance",
            f"an output offset of at most {max(0, placed.at.out_offset - 4 * (end - WORDS)):#x}",
        )
    if placed.total_passes > PASSES:
        yield f"{placed.total_passes} passes", f"{PASSES}", "fewer channels or pixels"
    if not placed.layer.passthrough:
        last = placed.koffs * 8 + (placed.kernels - 1) * placed.layer.bits
        if last >= 1 << 16:
            yield f"last kernel at bit {last}", f"{(1 << 16) - 1}", "fewer channels or passes"


def _fifo(placed: Placed) -> Iterator[Finding]:
    legal = FIFO_PROCESSORS[placed.at.big_data]
    if placed.at.processors & ~legal:
        form = "CHW" if placed.at.big_data else "HWC"
        yield (
            f"processors {placed.at.processors:#018x} read a FIFO",
            f"FIFOs feed {legal:#018x} ({form})",
            f"at most {legal.bit_count()} channels, on these processors",
        )
    if placed.layer.operands > 1:
        what = f"{placed.layer.operands} operands through a FIFO"
        yield what, "one pixel of one tensor per word", "the input in data memory (no --fifo)"
    _, rows, columns = placed.layer.in_shape
    if rows * columns >= 1 << 20:
        yield f"{rows * columns} pixels through a FIFO", f"{(1 << 20) - 1}", "a smaller input"


def _stream(chain: Sequence[Placed], index: int) -> Iterator[Finding]:
    placed = chain[index]
    layer = placed.layer
    if index >= STREAMING_LAYERS:
        yield f"streams as layer {index}", f"layers 0 to {STREAMING_LAYERS - 1}", "pool earlier"
    if index and not chain[index - 1].layer.streaming:
        yield "streams after a layer that does not", "streaming from layer 0 on", "no gap"
    if layer.flatten:
        yield "flattens while streaming", "no flatten in a stream", "end the stream before"
    plain = not layer.passthrough and layer.operator != "conv_transpose2d"
    if plain and not _inside_stream(chain, index) and not max(layer.padding):
        yield "ends the stream without padding", "padding 1 or 2 there", "padding 1"
    limits = [("start", stream_start(chain, index), 14), ("ring", ring_words(chain, index), 17)]
    limits += [("passes", sum(p.at.passes for p in chain[:index]), 4)]
    limits += [("step", layer.pool_stride * layer.operands, 5)]
    for what, value, bits in limits:
        if value >= 1 << bits:
            yield f"stream {what} {value}", f"{(1 << bits) - 1}", "narrower maps"


def _row_buffers(chain: Sequence[Placed]) -> Iterator[Problem]:
    """Streaming layers share one row buffer; how much of it they may use is not published."""
    total = 0
    for placed in chain:
        if placed.layer.streaming:
            before, total = total, total + row_length(placed.layer) * placed.at.passes
            if total > TRAM_ROWS:
                what = f"streaming layers up to here buffer {total} columns"
                fits = before < MOST_BUFFERED
                yield Problem(placed.layer.name, what, f"{TRAM_ROWS}", "narrower maps", fits)


def _overwritten(program: Program, resolved: Resolved, options: Options) -> Iterator[Problem]:
    """Results over data that is still needed; warnings where the author vouches for overlaps.

    A shared word may hold both in different lanes, or what is overwritten may not matter.
    """
    alive = areas(program, resolved, fifo=options.fifo)
    for index, placed in enumerate(resolved.chain):
        mine = next(area for area in alive if area.writer == index)
        for other in alive:
            if other is mine or not mine.meets(other):
                continue
            if other.first < mine.first or (other.first == mine.first and other.writer < index):
                if other.last > index:
                    yield replace(_clash(placed, other), warning=options.overlap_data)
                elif not options.overlap_data:
                    yield _chase(placed, other)


def _chase(placed: Placed, other: Area) -> Problem:
    """Writing behind the reader: the order of reads and writes in silicon is not published."""
    return Problem(
        placed.layer.name,
        f"writes over its own input {other.name!r} while reading it",
        f"{4 * other.start:#x} to {4 * other.end:#x} of {len(other.lanes)} processors",
        f"another output offset than {placed.at.out_offset:#x}, or planning anew",
        warning=True,
    )


def _clash(placed: Placed, other: Area) -> Problem:
    return Problem(
        placed.layer.name,
        f"writes over {other.name!r}, which layer {other.last} still reads",
        f"{4 * other.start:#x} to {4 * other.end:#x} of {len(other.lanes)} processors",
        f"another output offset than {placed.at.out_offset:#x}, or planning anew",
    )
