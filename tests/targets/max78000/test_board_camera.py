"""The camera interface and its sensor: geometry, FIFO, overflow, continuous capture; both buses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from test_board_peripherals import CAPTURE, FINISH, I2C
from test_board_registers import numbers

from edgebed.targets.max78000.board.board import Board

Boot = Callable[[str], Board]


def quarters() -> np.ndarray:
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32], picture[:24, 32:] = (255, 0, 0), (0, 255, 0)
    picture[24:, :32], picture[24:, 32:] = (0, 0, 255), (255, 255, 255)
    return picture


@pytest.mark.parametrize(
    ("setting", "corners"),
    [
        (0x40, [0x07E0, 0xF800, 0xFFFF, 0x001F]),  # left and right
        (0x80, [0x001F, 0xFFFF, 0xF800, 0x07E0]),  # top and bottom
        (0x04, [0x001F, 0x07E0, 0xF800, 0xFFFF]),  # red and blue
    ],
)
def test_sensor_settings_turn_the_picture(boot: Boot, setting: int, corners: list[int]) -> None:
    source = I2C + CAPTURE + r"""
        int main(void) {
            small(); sensor_write(0x3C, 0x0C, SETTING); capture();
            pixel(0, 0); pixel(63, 0); pixel(0, 47); pixel(63, 47);
            """.replace("SETTING", str(setting)) + FINISH + "}"  # fmt: skip
    board = boot(source)
    board.chip.camera.put(quarters())
    assert numbers(board) == corners


def test_a_picture_is_read_from_the_fifo_without_dma(boot: Boot) -> None:
    board = boot(I2C + CAPTURE + r"""
        int main(void) {
            small(); REG(0x4000E008) = 1 | 4 << 5 | 1u << 31;
            uint32_t first = 0, last = 0, count = 0;
            while (!(REG(0x4000E010) & 8)) ;
            while (REG(0x4000E010) & 8) { last = REG(0x4000E030); if (!count++) first = last; }
            number(first); number(last); number(count);
            """ + FINISH + "}")  # fmt: skip
    board.chip.camera.put(quarters())
    # two pixels a word, high byte first
    assert numbers(board) == [0x00F800F8, 0xFFFFFFFF, 64 * 48 // 2]


def test_a_dma_buffer_that_is_too_small_sets_the_overflow_flag(boot: Boot) -> None:
    board = boot(I2C + CAPTURE + r"""
        int main(void) {
            small();
            REG(0x4002810C) = (uint32_t)(uintptr_t)frame; REG(0x40028110) = sizeof frame - 4;
            REG(0x40028100) = 1 | 0x0D << 4 | 2 << 16 | 2 << 20 | 1 << 22;
            REG(0x4000E008) = 1 | 4 << 5 | 1 << 16 | 4 << 17 | 1u << 31;
            while (!(REG(0x4000E010) & 1)) ;
            number(REG(0x4000E010) & 3);
            """ + FINISH + "}")  # fmt: skip
    assert numbers(board) == [3]


def test_continuous_capture_goes_on_until_it_is_switched_off(boot: Boot) -> None:
    board = boot(I2C + CAPTURE + r"""
        int main(void) {
            small(); REG(0x4000E008) = 2 | 4 << 5 | 1u << 31;
            for (int i = 0; i < 3; i++) {
                while (!(REG(0x4000E010) & 1)) ;
                REG(0x4000E010) = 1;
            }
            REG(0x4000E008) = 0;
            for (volatile int i = 0; i < 300000; i++) ;
            number(REG(0x4000E010) & 1);
            """ + FINISH + "}")  # fmt: skip
    assert numbers(board) == [0]
    assert board.chip.camera.frames == 3
