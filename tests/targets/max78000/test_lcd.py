"""The display controller: what commands and pixels make a viewer see."""

from __future__ import annotations

import numpy as np
import pytest

from edgebed.data.preprocess import cut_bits
from edgebed.targets.max78000.board.lcd import Lcd


def lcd(*parts: tuple[int, bytes]) -> Lcd:
    """A display that is awake and shows landscape, after commands with their data."""
    display = Lcd()
    for command, data in [(0x11, b""), (0x29, b""), (0x36, b"\x28"), (0x3A, b"\x55"), *parts]:
        entries = [command, *(256 | byte for byte in data)]
        display.receive(np.array(entries, np.uint16))
    return display


RED = (0x2C, b"\xf8\x00")


@pytest.mark.parametrize("off", [(0x28, b""), (0x10, b""), (0x01, b"")])
def test_a_display_that_sleeps_or_is_off_shows_black(off: tuple[int, bytes]) -> None:
    assert lcd(RED).picture()[0, 0].tolist() == [255, 0, 0]
    dark = lcd(RED, off)
    assert not dark.on
    assert not dark.picture().any()


def test_inversion_turns_every_colour_round() -> None:
    assert lcd(RED, (0x21, b"")).picture()[0, 0].tolist() == [0, 255, 255]
    assert lcd(RED, (0x21, b""), (0x20, b"")).picture()[0, 0].tolist() == [255, 0, 0]


def test_three_bytes_a_pixel_carry_six_bits_each() -> None:
    shown = lcd((0x3A, b"\x66"), (0x2C, b"\xfc\x80\x03" + b"\x00\x04")).picture()
    assert shown[0, 0].tolist() == [255, 130, 0]
    assert not shown[0, 1].any()  # its third byte has not come yet


def test_a_pixel_may_come_in_two_transfers() -> None:
    assert lcd((0x2C, b"\xf8"), (0x3C, b"\x00")).picture()[0, 0].tolist() == [255, 0, 0]


def test_an_empty_window_takes_nothing() -> None:
    assert not lcd((0x2A, b"\x00\x05\x00\x02"), RED).picture().any()


def test_a_window_goes_round() -> None:
    window = (0x2A, b"\x00\x02\x00\x03"), (0x2B, b"\x00\x07\x00\x07")
    shown = lcd(*window, (0x2C, b"\xf8\x00\x07\xe0\x00\x1f")).picture()
    assert shown[7, 2].tolist() == [0, 0, 255]
    assert shown[7, 3].tolist() == [0, 255, 0]
    assert np.count_nonzero(shown.any(-1)) == 2


def test_addresses_can_run_from_the_bottom() -> None:
    shown = lcd((0x36, b"\xa8"), RED).picture()
    assert sorted(map(tuple, np.argwhere(shown.any(-1)).tolist())) == [(0, 319)]


def test_colours_are_those_of_the_camera() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (1, 320, 3)).astype(np.uint8)
    red, green, blue = (colours[0, :, i].astype(int) for i in range(3))
    coded = (red >> 3 << 11 | green >> 2 << 5 | blue >> 3).astype(">u2").tobytes()
    assert np.array_equal(
        lcd((0x2A, b"\x00\x00\x01\x3f"), (0x2C, coded)).picture()[:1], cut_bits(colours)
    )
