"""The words of the per-layer registers (spec 2.6), from layers and their places."""

from __future__ import annotations

from collections.abc import Sequence

from edgebed.targets.max78000.layers import (
    PER_INSTANCE,
    PER_QUADRANT,
    QUADRANTS,
    Placed,
    quadrant_bits,
)
from edgebed.targets.max78000.stream_registers import row_buffer, stream_words

RCNT, CCNT, ONED, PRCNT, PCCNT, STRIDE, WPTR, TOFFS, MOFFS, CHOFFS, RPTR = range(11)
LCTL, MCNT, TPTR, ENA, POST, STREAM1, STREAM2, FMAX = range(11, 19)
LCTL2 = 20
ORDER = (0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 20, 12, 2, 13, 15, 14, 16, 17, 18)

FUNCTION = {"subtract": 0, "add": 1, "bit_or": 2, "bit_xor": 3}
WEIGHT_BITS = {8: 0, 1: 1, 2: 2, 4: 3}
NEXT_INSTANCE = 0x2000


def layer_registers(
    chain: Sequence[Placed], index: int, quadrant: int, used: tuple[int, ...], *, fifo: bool
) -> dict[int, int]:
    """Return the registers of layer `index` in one quadrant, by number, zeros included."""
    placed = chain[index]
    words = sizes(placed) | _addresses(placed, quadrant) | _control(placed, quadrant, used)
    words |= {ENA: _enables(placed, quadrant), POST: _post(placed, quadrant)}
    words |= {TPTR: row_buffer(chain, index)}
    streamed = stream_words(chain, index, fifo=fifo)
    words |= dict(zip((STREAM1, STREAM2, FMAX), streamed, strict=False))
    return {number: words[number] for number in ORDER if number in words}


def sizes(placed: Placed) -> dict[int, int]:
    """Return the registers that count rows, columns and steps, by number."""
    layer, passes = placed.layer, placed.at.passes
    _, rows, columns = layer.in_shape
    if layer.operator == "conv_transpose2d":
        rows, columns = 2 * rows, 2 * columns
    if layer.flatten:
        rows = columns = 1
    if folds_passes(placed):
        rows *= passes
    pad_rows, pad_columns = layer.padding
    stride = layer.pool_stride - 1
    return {
        RCNT: pad_rows << 16 | (rows - 1 + 2 * pad_rows),
        CCNT: pad_columns << 16 | (columns - 1 + 2 * pad_columns),
        ONED: _oned(placed),
        PRCNT: layer.pool[0] - 1,
        PCCNT: layer.pool[1] - 1,
        STRIDE: stride,
    }


def folds_passes(placed: Placed) -> bool:
    """Return whether passes of a multi-operand passthrough are walked as rows (spec 2.6).

    Two operands in two passes are what the device combines by itself.
    """
    operands, passes = placed.layer.operands, placed.at.passes
    several = operands > 1 and passes > 1
    return placed.layer.passthrough and several and (operands, passes) != (2, 2)


def time_slots(placed: Placed) -> int:
    """Return the time slots per pass: 1 for convolutions (spec 2.11, passthrough)."""
    if not placed.layer.passthrough:
        return 1
    busiest = max(quadrant_bits(placed.at.processors, q).bit_count() for q in range(QUADRANTS))
    return (busiest - 1) // PER_INSTANCE + 1


def _oned(placed: Placed) -> int:
    layer = placed.layer
    word = time_slots(placed) - 1
    if layer.kernel is not None:
        word |= placed.sad << 4
    if layer.operator == "conv1d":
        word |= layer.kernel_shape[0] << 8 | 1 << 12
    elif layer.slot_bytes == 1 and not (layer.passthrough and layer.operands > 1):
        word |= 1 << 8
    if layer.combine is not None:
        word |= 1 << 13 | FUNCTION[layer.combine] << 14 | (layer.operands - 1) << 18
        word |= int(layer.pooling and layer.pool_first) << 16
        word |= int(not layer.passthrough) << 17
    return word


def _addresses(placed: Placed, quadrant: int) -> dict[int, int]:
    layer, at = placed.layer, placed.at
    if layer.passthrough:
        several = layer.operands > 1 and at.passes > 1
        slots = 0x2000 if at.processors.bit_count() > PER_INSTANCE or several else 0x800
        instance = _first_result(at.output_processors, quadrant) // PER_INSTANCE
        words = {WPTR: instance << 13 | at.out_offset // 4, TOFFS: slots}
    else:
        start = at.out_offset - 4 * layer.skipped * at.out_passes * _step(placed)
        flat = layer.operator in ("conv2d", "linear") and layer.slot_bytes == 1
        words = {
            WPTR: at.first_column // PER_INSTANCE << 13 | start // 4,
            TOFFS: int(flat),
            MOFFS: NEXT_INSTANCE,
        }
    step = _step(placed) if at.out_passes > 1 else 0
    return words | {CHOFFS: step, RPTR: at.in_offset // 4}


def _step(placed: Placed) -> int:
    """Return the words from one written (pixel, pass) to the next."""
    return (4 if placed.layer.wide else 1) * (placed.at.write_gap + 1)


def _first_result(output_processors: int, quadrant: int) -> int:
    mine = quadrant_bits(output_processors, quadrant)
    return PER_QUADRANT * quadrant + (mine & -mine).bit_length() - 1 if mine else 0


def _control(placed: Placed, quadrant: int, used: tuple[int, ...]) -> dict[int, int]:
    layer, at = placed.layer, placed.at
    lctl = 1 << 5 | int(at.big_data) << 6 | int(layer.pooling) << 7 | 1 << 11
    lctl |= int(not (layer.pooling and layer.average)) << 8
    lctl |= int(layer.activation == "relu") << 9 | int(layer.wide) << 16
    if quadrant == used[0]:
        lctl |= _sources(placed, quadrant)
    return {LCTL: lctl, LCTL2: _control2(placed), MCNT: _kernel_range(placed)}


def _sources(placed: Placed, master: int) -> int:
    if placed.layer.passthrough:
        return 0
    others = {q for q in range(QUADRANTS) if quadrant_bits(placed.at.processors, q)}
    if placed.at.bias is not None:
        others.add(placed.at.bias[0])
    return sum(1 << (12 + q) for q in others - {master})


def _control2(placed: Placed) -> int:
    layer, at = placed.layer, placed.at
    passes = 0 if folds_passes(placed) else placed.total_passes - 1 & 0xF
    if layer.passthrough:
        return at.write_gap << 4 | passes
    skip = at.out_passes * (at.write_gap + 1) - 1
    return (at.columns_per_pass - 1) * layer.bits << 8 | skip << 4 | passes


def _kernel_range(placed: Placed) -> int:
    if placed.layer.passthrough:
        return 0 if folds_passes(placed) else (placed.at.out_passes - 1) * 8
    start = placed.koffs * 8
    return start << 16 | start + (placed.kernels - 1) * placed.layer.bits


def _enables(placed: Placed, quadrant: int) -> int:
    mine = quadrant_bits(placed.at.processors, quadrant)
    return mine if placed.layer.passthrough else mine << 16 | mine


def _post(placed: Placed, quadrant: int) -> int:
    layer, at = placed.layer, placed.at
    if layer.passthrough:
        return (3 if layer.operands == 1 else 1) << 24
    word = abs(layer.shift) << 13 | int(layer.shift < 0) << 17 | WEIGHT_BITS[layer.bits] << 22
    if at.bias is not None and at.bias[0] == quadrant:
        word |= 1 << 12 | at.bias[1]
    if layer.flatten:
        word |= (placed.total_passes - 1 >> 4) << 18
        word |= int(placed.total_passes > 16) << 27
    word |= int(layer.activation == "abs") << 26
    return word | int(layer.operator == "conv_transpose2d") << 28
