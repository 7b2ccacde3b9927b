"""What firmware sees: addresses, kernel loads, flags, FIFOs, and errors that name the register."""

from __future__ import annotations

import random

import numpy as np
import pytest
from register_program import LayerProgram, Q, expected, filled, read_output, start, write

from edgebed.errors import EdgebedError
from edgebed.targets.max78000 import Accelerator

CTL, LCNT, BIST = 0x50100000, 0x50100008, 0x5010000C


def layer_register(register: int, layer: int = 0, quadrant: int = 0) -> int:
    return 0x50100010 + quadrant * Q + register * 0x80 + layer * 4


def small() -> LayerProgram:
    return filled(LayerProgram(2, 4, 4, 3, pad=1), random.Random(7))


@pytest.mark.parametrize(
    ("address", "instance", "word"),
    [
        (0x50400000, 0, 0),
        (0x50408004, 1, 1),
        (0x50418000, 3, 0),
        (0x50800000, 4, 0),
        (0x50C07FFC, 8, 8191),
        (0x51018000, 15, 0),
    ],
)
def test_data_memory_addresses(address: int, instance: int, word: int) -> None:
    accelerator = Accelerator()
    accelerator.write32(address, 0xDEADBEEF)
    assert accelerator.sram[instance, word] == 0xDEADBEEF
    assert accelerator.read32(address) == 0xDEADBEEF


def test_data_memory_can_come_from_outside() -> None:
    memory = np.zeros((16, 8192), np.uint32)
    accelerator = Accelerator(memory)
    memory[5, 9] = 77
    assert accelerator.read32(0x50800000 + 0x8000 + 36) == 77
    with pytest.raises(EdgebedError, match=r"must be uint32 \(16, 8192\)"):
        Accelerator(np.zeros((16, 100), np.uint32))


@pytest.mark.parametrize("address", [0x4FFFFFFC, 0x50000020, 0x50109000, 0x50300000, 0x51100000])
def test_addresses_outside_the_map_are_refused(address: int) -> None:
    with pytest.raises(EdgebedError, match=f"{address:#010x}"):
        Accelerator().read32(address)


def test_unaligned_words_are_refused() -> None:
    with pytest.raises(EdgebedError, match="multiple of 4"):
        Accelerator().write32(0x50400002, 0)


def test_registers_read_back_what_was_written() -> None:
    accelerator = Accelerator()
    for address in (layer_register(0), layer_register(20, 31, 3), 0x50100990, LCNT, 0x50000000):
        accelerator.write32(address, 0x1234)
        assert accelerator.read32(address) == 0x1234
    assert accelerator.read32(0x50000004) == 0  # FIFOs are never full


def test_biases_are_one_signed_byte_per_word() -> None:
    accelerator = Accelerator()
    accelerator.load_words(0x50108000 + Q, [0x1FF, 5])
    assert accelerator.storage.bias[1, 0] == -1
    assert accelerator.read32(0x50108004 + Q) == 5


def test_compressed_and_plain_kernel_loads_store_the_same() -> None:
    column, processor = 3, 21
    base = 0x50180000 + Q + (processor - 16) * 0x4000
    plain, compressed = Accelerator(), Accelerator()
    for i, word in enumerate([0x01, 0x02030405, 0x06070809, 0]):
        plain.write32(base + column * 16 + 4 * i, word)
    compressed.write32(CTL + Q, 0x00100008)
    compressed.write8(base + column * 4 | 1, 1)
    for i, word in enumerate([0x01020304, 0x05060708, 0x09AABBCC]):
        compressed.write32(base + column * 4 + 4 * i, word)
    assert plain.storage.kernels.data[processor, column].tolist() == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    np.testing.assert_array_equal(plain.storage.kernels.data, compressed.storage.kernels.data)
    assert [plain.read32(base + column * 16 + 4 * i) for i in range(4)] == [
        0x01, 0x02030405, 0x06070809, 0,
    ]  # fmt: skip


def test_bulk_load_equals_single_words() -> None:
    words = np.random.default_rng(3).integers(0, 2**32, 27, np.uint32)
    one, bulk = Accelerator(), Accelerator()
    for accelerator in (one, bulk):
        accelerator.write32(CTL, 0x00100008)
        accelerator.write8(0x50184000 | 1, 1)
    for i, word in enumerate(words):
        one.write32(0x50184000 + 4 * i, int(word))
    bulk.load_words(0x50184000, words)
    np.testing.assert_array_equal(one.storage.kernels.data, bulk.storage.kernels.data)
    bulk.load_words(0x50407FF8, [1, 2, 3, 4])  # runs on into the next instance
    assert bulk.sram[0, 8190:].tolist() == [1, 2] and bulk.sram[1, :2].tolist() == [3, 4]


def test_compressed_load_out_of_sequence_is_refused() -> None:
    accelerator = Accelerator()
    accelerator.write32(CTL, 0x00100008)
    with pytest.raises(EdgebedError, match="does not continue a load"):
        accelerator.write32(0x50180000, 1)
    accelerator.write8(0x50180000 | 1, 1)
    accelerator.write32(0x50180000, 1)
    with pytest.raises(EdgebedError, match="processor 0"):
        accelerator.write32(0x50180008, 1)


def test_kernels_behind_the_end_are_refused() -> None:
    accelerator = Accelerator()
    accelerator.write32(CTL, 0x00100008)
    accelerator.write8(0x50180000 + 767 * 4 | 1, 1)
    with pytest.raises(EdgebedError, match="768 columns"):
        accelerator.load_words(0x50180000 + 767 * 4, np.zeros(5, np.uint32))


def test_byte_writes_elsewhere_are_refused() -> None:
    with pytest.raises(EdgebedError, match="whole 32-bit word"):
        Accelerator().write8(CTL, 1)


def test_self_test_zeroes_memory_and_reports_ready() -> None:
    accelerator = Accelerator()
    accelerator.sram[4:8] = 1
    accelerator.sram[0] = 1
    accelerator.write32(0x50108000 + Q, 3)
    accelerator.write32(BIST + Q, 1 << 0 | 1 << 6)
    assert not accelerator.sram[4:8].any() and accelerator.sram[0].all()
    assert accelerator.read32(0x50108000 + Q) == 0
    value = accelerator.read32(BIST + Q)
    assert value >> 27 & 1 and value >> 18 & 1 and value >> 21 & 1
    assert not value >> 14 & 0b1111


def test_done_flag_is_set_at_the_end_and_cleared_by_firmware() -> None:
    accelerator = Accelerator()
    write(accelerator, small())
    assert accelerator.started and not accelerator.interrupt_pending
    accelerator.run()
    assert accelerator.interrupt_pending and not accelerator.started
    for q in range(4):
        accelerator.write32(CTL + q * Q, accelerator.read32(CTL + q * Q) & ~0x1001)
    assert not accelerator.interrupt_pending
    accelerator.write32(CTL, 0x1008)
    assert not accelerator.read32(CTL) & 0x1000  # software cannot set it


def test_the_flag_can_wait_for_the_emulated_time() -> None:
    accelerator = Accelerator()
    write(accelerator, small())
    assert accelerator.run(raise_done=False).cycles > 0
    assert not accelerator.interrupt_pending
    accelerator.signal_done()
    assert accelerator.read32(CTL) & 0x1000


def test_nothing_runs_without_a_start() -> None:
    accelerator = Accelerator()
    assert not accelerator.run().finished
    write(accelerator, small())
    accelerator.write32(CTL, 0x8)  # stopped again
    assert not accelerator.run().finished


def test_changed_kernels_and_data_are_seen_by_the_next_run() -> None:
    accelerator = Accelerator()
    for seed in (1, 2, 3):
        program = filled(LayerProgram(2, 4, 4, 3, pad=1), random.Random(seed))
        write(accelerator, program)
        accelerator.run()
        want, shape = expected(program)
        assert read_output(accelerator, program, shape) == want
        accelerator.write32(BIST, 1 << 2 | 1 << 0)


def fifo_program(accelerator: Accelerator) -> LayerProgram:
    """Write a layer whose input comes through FIFO 0; nothing is pushed yet."""
    program = small()
    write(accelerator, program)
    accelerator.write32(CTL, 0x8)
    accelerator.write32(0x50000000, 0x1908)
    for q in range(4):
        accelerator.write32(0x50100990 + q * Q, 16)
    accelerator.sram[0] = 0
    start(accelerator, 0x8000)
    return program


def fifo_words(program: LayerProgram) -> list[int]:
    at = program.maps[0]
    return [(at[0, y, x] & 255) | (at[1, y, x] & 255) << 8 for y in range(4) for x in range(4)]


def test_fifo_input_waits_for_the_whole_frame() -> None:
    accelerator = Accelerator()
    program = fifo_program(accelerator)
    words = fifo_words(program)
    for word in words[:15]:
        accelerator.write32(0x50000008, word)
    assert not accelerator.run().finished and accelerator.started
    accelerator.push_fifo(0, np.array([*words[15:], 0x77], np.uint32))
    assert accelerator.run().finished
    want, shape = expected(program)
    assert read_output(accelerator, program, shape) == want
    assert accelerator.fifo_level(0) == 1  # the next frame's first word stays


def test_fast_fifo_feeds_like_fifo_0() -> None:
    accelerator = Accelerator()
    program = fifo_program(accelerator)
    accelerator.write32(0x50000000, 0)
    accelerator.write32(CTL, 0x8)
    start(accelerator, 1 << 22)
    accelerator.push_fifo(0, fifo_words(program))
    assert accelerator.run().finished
    want, shape = expected(program)
    assert read_output(accelerator, program, shape) == want


def test_fifo_that_does_not_feed_the_layer_is_named() -> None:
    accelerator = Accelerator()
    fifo_program(accelerator)
    accelerator.write32(0x50000000, 0x2908)
    accelerator.push_fifo(1, range(16))
    with pytest.raises(EdgebedError, match="FIFO i feeds processors 16 i"):
        accelerator.run()


def test_wrong_frame_size_is_noted() -> None:
    accelerator = Accelerator()
    fifo_program(accelerator)
    accelerator.write32(0x50100990, 9)
    accelerator.push_fifo(0, range(16))
    assert accelerator.run().finished
    assert accelerator.events == ["layer 0: IFRM is 9, a frame has 16 words"]


@pytest.mark.parametrize(
    ("address", "value", "note"),
    [
        (layer_register(7), 5, "WPTR_TOFFS is 0x5, expected 0x0"),
        (layer_register(8), 0, "WPTR_MOFFS is 0x0, expected 0x2000"),
        (layer_register(11), 0x120, "LCTL 0x120 lacks bit 5 or 11"),
        (layer_register(11), 0x920, "LCTL sources are 0x0, expected 0x2"),
        (layer_register(10), 0x1FF8, "reads up to word 0x2007 of an instance"),
        (0x50100004 + Q, 0, "quadrant 1: SRAM control is 0x0, the chip needs 0x40e"),
    ],
)
def test_settings_only_the_chip_needs_are_noted_once(address: int, value: int, note: str) -> None:
    program = filled(LayerProgram(20, 4, 4, 2, pad=1), random.Random(0))
    accelerator = Accelerator()
    write(accelerator, program)
    for quadrant in range(2 if address >= layer_register(10) else 1):
        accelerator.write32(address + quadrant * Q, value)
    accelerator.run()
    assert any(note in event for event in accelerator.events)
    events = list(accelerator.events)
    accelerator.write32(CTL, 8)
    start(accelerator)
    accelerator.write32(0x50108000, 1)
    accelerator.run()
    assert accelerator.events == events


def test_fifo_overflow_is_noted() -> None:
    accelerator = Accelerator(fifo_depth=16)
    accelerator.push_fifo(2, range(16))
    assert not accelerator.events
    accelerator.push_fifo(2, [1])
    assert accelerator.events == ["FIFO 2 overflows: 17 words, depth 16"]
    with pytest.raises(EdgebedError, match="no FIFO 4"):
        accelerator.push_fifo(4, [0])


@pytest.mark.parametrize(
    ("register", "value", "message"),
    [
        (0, 0x0003_0003, "RCNT = 0x30003.*padding 3"),
        (2, 0x200, "ONED = 0x200.*kernel code 2"),
        (2, 0x1A00, "1-D kernel length 10"),
        (2, 0x90, "ONED = 0x90.*byte offset 9"),
        (3, 7, "PRCNT = 0x7.*window"),
        (11, 0x10B20, "32-bit output with an activation"),
        (12, 0x00080000, "MCNT = 0x80000"),
        (14, 0, "ENA = 0x0.*no processor"),
        (14, 0x0001_0003, "kernel enables"),
        (15, 1 << 30, "MAX78002"),
        (11, 0x960, "CHW input on processors"),
    ],
)
def test_illegal_values_name_layer_register_and_value(
    register: int, value: int, message: str
) -> None:
    accelerator = Accelerator()
    write(accelerator, small())
    accelerator.write32(layer_register(register), value)
    with pytest.raises(EdgebedError, match=message) as error:
        accelerator.run()
    assert "layer 0, register" in str(error.value) and "legal" in str(error.value)


def test_kernels_and_biases_must_lie_inside_their_memories() -> None:
    accelerator = Accelerator()
    write(accelerator, small())
    accelerator.write32(layer_register(12), 767 * 8 << 16 | 767 * 8 + 16)
    with pytest.raises(EdgebedError, match=r"column 76[89]|column 77"):
        accelerator.run()
    write(accelerator, small())
    accelerator.write32(layer_register(15), 1 << 12 | 511)
    with pytest.raises(EdgebedError, match="below 512"):
        accelerator.run()


def test_quadrants_must_agree_and_one_owns_the_bias() -> None:
    program = filled(LayerProgram(20, 3, 3, 2, kernel=(1, 1)), random.Random(0))
    accelerator = Accelerator()
    write(accelerator, program)
    accelerator.write32(layer_register(0, quadrant=1), 5)
    with pytest.raises(EdgebedError, match="RCNT = 0x2: quadrant 1 holds 0x5"):
        accelerator.run()
    write(accelerator, program)
    for q in (0, 1):
        accelerator.write32(layer_register(15, quadrant=q), 1 << 12)
    with pytest.raises(EdgebedError, match=r"bias enabled in quadrants \[0, 1\]"):
        accelerator.run()


@pytest.mark.parametrize("bit", [8, 16, 21, 30, 31])
def test_control_bits_of_other_modes_are_refused(bit: int) -> None:
    accelerator = Accelerator()
    write(accelerator, small())
    accelerator.write32(CTL, 0x9 | 1 << bit)
    with pytest.raises(EdgebedError, match=f"bit {bit}"):
        accelerator.run()


def test_layer_range_must_be_in_order() -> None:
    accelerator = Accelerator()
    write(accelerator, small())
    accelerator.write32(LCNT, 0x0200)
    with pytest.raises(EdgebedError, match="runs layers 2 to 0"):
        accelerator.run()
