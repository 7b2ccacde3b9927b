"""Each peripheral of the virtual board, driven by a small C program."""

import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from board_programs import build

from edgebed.data.preprocess import cut_bits, to_frame
from edgebed.errors import EdgebedError
from edgebed.program.contract import ImageInput
from edgebed.targets.max78000.board.board import Board
from edgebed.targets.max78000.board.camera import colour_bars

Boot = Callable[[str], Board]
FINISH = "for (;;) while (REG(0x40042004) & 0x10) ;"


@pytest.fixture
def boot(tmp_path: Path) -> Boot:
    return lambda source: Board(build(tmp_path, source))


def said(board: Board, seconds: float = 2.0) -> str:
    board.run(seconds)
    return board.chip.uart.read().decode()


def words(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


def test_clocks_are_ready_and_resets_clear_themselves(boot: Boot) -> None:
    board = boot(r"""
        int main(void) {
            REG(0x40000008) |= 1 << 20;
            number(REG(0x40000008) >> 25 & 31); number(REG(0x40000008) >> 13 & 1);
            REG(0x40000004) = 1 << 11; number(REG(0x40000004));
            REG(0x4002A100) = 1; number(REG(0x4002A100)); number(REG(0x40004440) & 15);
            REG(0x4000440C) = 0x55; number(REG(0x4000440C));
            """ + FINISH + "}")  # fmt: skip
    assert words(said(board)) == [0x1F, 1, 0, 0x10001, 15, 0x55]


def test_timer_counts_the_peripheral_clock_and_interrupts_on_its_period(boot: Boot) -> None:
    board = boot(r"""
        volatile int hits;
        void tmr0(void) { hits++; REG(0x4001000C) = 1; }
        int main(void) {
            hits = 0;
            ISER(5) = 1 << 5;
            REG(0x40010004) = 1000; REG(0x40010018) = 1 << 8;
            REG(0x40010010) = 1 | 2 << 4 | 1 << 14 | 1 << 15;  /* continuous, PCLK / 4 */
            number(REG(0x40010018) >> 2 & 3);
            while (hits < 10) __asm volatile("wfi");
            REG(0x40010010) = 0;
            """ + FINISH + "}")  # fmt: skip
    assert words(said(board)) == [3]
    assert board.seconds == pytest.approx(10 * 1000 * 4 / 50e6, rel=0.01)


def test_one_shot_timer_is_polled_and_stops(boot: Boot) -> None:
    board = boot(r"""
        int main(void) {
            REG(0x40011004) = 500;
            REG(0x40011010) = 0 | 1 << 14 | 1 << 15;
            while (!(REG(0x4001100C) & 1)) ;
            REG(0x4001100C) = 1;
            number(REG(0x40011010) >> 15 & 1); number(REG(0x4001100C) & 1);
            """ + FINISH + "}")  # fmt: skip
    assert words(said(board)) == [0, 0]


def test_gpio_outputs_inputs_and_a_button_interrupt(boot: Boot) -> None:
    board = boot(r"""
        void gpio0(void) { number(REG(0x40008040)); REG(0x40008048) = 1 << 2; }
        int main(void) {
            REG(0x40008010) = 0xF0; REG(0x4000801C) = 0x50; REG(0x40008020) = 0x10;
            number(REG(0x40008018)); number(REG(0x40008024) & 0xFF);
            REG(0x40008038) = 1 << 2; ISER(24) = 1 << 24;
            for (;;) __asm volatile("wfi");
        }""")  # fmt: skip
    board.run(0.01, until=lambda: board.chip.uart.available >= 18)
    assert words(board.chip.uart.read().decode()) == [0x40, 0x4F]
    board.chip.gpio[0].drive(2, False)
    board.run(0.01, until=lambda: board.chip.uart.available >= 9)
    assert words(board.chip.uart.read().decode()) == [4]


def test_uart_interrupt_wakes_the_core_for_every_byte(boot: Boot) -> None:
    board = boot(r"""
        void uart(void) { while (!(REG(0x40042004) & 0x10)) put((char)(REG(0x40042020) ^ 0x20));
                          REG(0x4004200C) = 0x10; }
        int main(void) {
            REG(0x40042000) = 1 | 1 << 15; number(REG(0x40042000) >> 19 & 1);
            REG(0x40042008) = 0x10; ISER(14) = 1 << 14;
            for (;;) __asm volatile("wfi");
        }""")  # fmt: skip
    assert said(board) == "00000001 "
    board.chip.uart.feed(b"hello world over twenty bytes")
    assert said(board) == "HELLO\0WORLD\0OVER\0TWENTY\0BYTES"


def test_flash_controller_erases_and_clears_bits(boot: Boot) -> None:
    board = boot(r"""
        int main(void) {
            uint32_t at = 0x10040000;
            REG(0x40029000) = at; REG(0x40029008) = 2u << 28 | 0x55 << 8 | 4;
            number(REG(at));
            REG(0x40029030) = 0xFFFF0000; REG(0x40029034) = 0x12345678;
            REG(0x40029038) = REG(0x4002903C) = 0xFFFFFFFF;
            REG(0x40029008) = 2u << 28 | 1;
            number(REG(at)); number(REG(at + 4)); number(REG(0x40029008) & 7);
            REG(0x40029030) = 0x00FFFFFF; REG(0x40029008) = 2u << 28 | 1;
            number(REG(at));
            """ + FINISH + "}")  # fmt: skip
    assert words(said(board)) == [0xFFFFFFFF, 0xFFFF0000, 0x12345678, 0, 0x00FF0000]


I2C = r"""
    #define I2C 0x4001E000
    static void wait(void) { while (!(REG(I2C + 8) & 0x4041)) ; }
    static void begin(void) { REG(I2C + 0x24) = 1 << 7; REG(I2C + 0x1C) = 1 << 7;
                              REG(I2C + 8) = 0xFFFFFF; }
    static int sensor_write(uint32_t device, uint32_t r, uint32_t v) {
        begin();
        REG(I2C + 0x2C) = device << 1; REG(I2C + 0x2C) = r; REG(I2C + 0x2C) = v;
        REG(I2C + 0x30) = 1; REG(I2C + 0x30) = 4; wait();
        return !(REG(I2C + 8) & 0x400);
    }
    static uint32_t sensor_read(uint32_t r) {
        begin();
        REG(I2C + 0x2C) = 0x78; REG(I2C + 0x2C) = r; REG(I2C + 0x30) = 1; REG(I2C + 0x30) = 4;
        wait(); begin();
        REG(I2C + 0x20) = 1; REG(I2C + 0x2C) = 0x79; REG(I2C + 0x30) = 1; REG(I2C + 0x30) = 4;
        wait();
        return REG(I2C + 0x2C);
    }
"""


def test_sensor_answers_on_i2c_and_an_absent_device_does_not(boot: Boot) -> None:
    board = boot(I2C + r"""
        int main(void) {
            REG(I2C) = 3;
            number(sensor_read(0x0A)); number(sensor_read(0x0B));
            number((uint32_t)sensor_write(0x3C, 0x11, 0x5A)); number(sensor_read(0x11));
            number((uint32_t)sensor_write(0x21, 0x11, 0x5A));
            sensor_write(0x3C, 0x12, 0x80); number(sensor_read(0x11));
            """ + FINISH + "}")  # fmt: skip
    assert words(said(board)) == [0x76, 0x92, 1, 0x5A, 0, 0]


CAPTURE = r"""
    static uint8_t frame[64 * 48 * 2] __attribute__((aligned(4)));
    volatile int done;
    void dma0(void) { REG(0x40028104) = 4; done = 1; }
    static void capture(void) {
        done = 0;
        REG(0x40028000) = 1; ISER(28) = 1 << 28;
        REG(0x40028108) = 0x4000E030; REG(0x4002810C) = (uint32_t)(uintptr_t)frame;
        REG(0x40028110) = sizeof frame;
        REG(0x40028100) = 1 | 0x0D << 4 | 2 << 16 | 2 << 20 | 1 << 22 | 1u << 31;
        REG(0x4000E008) = 1 | 4 << 5 | 1 << 16 | 4 << 17 | 1u << 31;
        for (;;) {
            __asm volatile("cpsid i" ::: "memory");
            if (done) break;
            __asm volatile("wfi\n cpsie i\n isb" ::: "memory");
        }
        __asm volatile("cpsie i" ::: "memory");
    }
    static void small(void) {
        REG(I2C) = 3;
        sensor_write(0x3C, 0xCC, 0); sensor_write(0x3C, 0xCD, 64);
        sensor_write(0x3C, 0xCE, 0); sensor_write(0x3C, 0xCF, 48);
    }
    static void pixel(int x, int y) {
        uint8_t *p = frame + 2 * (64 * y + x); number((uint32_t)(p[0] << 8 | p[1]));
    }
"""


def test_camera_sends_colours_and_corners_where_they_belong(boot: Boot) -> None:
    """Red first: the colour swap that the published firmware suffers from would show here."""
    board = boot(I2C + CAPTURE + r"""
        int main(void) {
            small(); capture();
            pixel(0, 0); pixel(63, 0); pixel(0, 47); pixel(63, 47);
            REG(0x4000E010); number(REG(0x4000E010));
            """ + FINISH + "}")  # fmt: skip
    picture = np.zeros((96, 128, 3), np.uint8)
    picture[:48, :64], picture[:48, 64:] = (255, 0, 0), (0, 255, 0)
    picture[48:, :64], picture[48:, 64:] = (0, 0, 255), (255, 255, 0)
    board.chip.camera.put(picture)
    assert words(said(board)) == [0xF800, 0x07E0, 0x001F, 0xFFE0, 1]
    assert board.chip.camera.frames == 1


def test_camera_frame_takes_the_time_of_its_pixels(boot: Boot) -> None:
    source = I2C + CAPTURE + "int main(void) { small(); %s capture();" + FINISH + "}"
    slow = boot(source % "")
    slow.run(1.0)
    fast = boot(source % "REG(0x4003C020) = 1 << 27 | 1; REG(0x4003C000) = 1;")
    fast.run(1.0)
    pixels = 64 * 48 * 2 * 1.25
    assert slow.seconds == pytest.approx(pixels / 10e6, rel=0.1)
    assert fast.seconds == pytest.approx(pixels / 25e6, rel=0.1)


LCD = r"""
    #define SPI 0x400BE000
    static void send(const uint8_t *bytes, int count) {
        REG(SPI + 0x20) = 1 << 11; REG(SPI + 8) = (uint32_t)count;
        for (int i = 0; i < count; i++) *(volatile uint8_t *)SPI = bytes[i];
        REG(SPI + 4) |= 1 << 5;
        while (!(REG(SPI + 0x20) & 1 << 11)) ;
    }
    static void command(uint8_t c, int count, uint32_t a, uint32_t b) {
        uint8_t p[4] = {(uint8_t)(a >> 8), (uint8_t)a, (uint8_t)(b >> 8), (uint8_t)b};
        REG(0x40008020) = 1 << 8; send(&c, 1); REG(0x4000801C) = 1 << 8;
        if (count) send(count == 1 ? p + 1 : p, count);
    }
    static void lcd(uint32_t orientation) {
        REG(SPI + 0x14) = 2 << 8 | 2; REG(SPI + 4) = 3;
        command(0x01, 0, 0, 0); command(0x11, 0, 0, 0); command(0x3A, 1, 0x55, 0);
        command(0x36, 1, orientation, 0); command(0x29, 0, 0, 0);
    }
"""


def test_display_shows_a_pattern_sent_by_the_cpu(boot: Boot) -> None:
    board = boot(LCD + r"""
        int main(void) {
            lcd(0x28);
            command(0x2A, 4, 10, 13); command(0x2B, 4, 20, 21); command(0x2C, 0, 0, 0);
            for (uint32_t i = 0; i < 8; i++) {
                uint16_t colours[8] = {0xF800, 0x07E0, 0x001F, 0xFFFF, 0, 0xFFE0, 0x8410, 0xF81F};
                uint8_t p[2] = {(uint8_t)(colours[i] >> 8), (uint8_t)colours[i]};
                send(p, 2);
            }
            """ + FINISH + "}")  # fmt: skip
    board.run(1.0)
    expected = np.zeros((240, 320, 3), np.uint8)
    expected[20, 10:14] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
    expected[21, 10:14] = (0, 0, 0), (255, 255, 0), (132, 130, 132), (255, 0, 255)
    assert np.array_equal(board.chip.lcd.picture(), expected)


@pytest.mark.parametrize(
    ("orientation", "shape", "corner"),
    [
        (0x28, (240, 320), (0, 0)),  # landscape
        (0x48, (320, 240), (0, 0)),  # portrait
        (0x68, (240, 320), (0, 319)),  # mirrored, as on the panel
    ],
)
def test_display_orientation_decides_what_the_viewer_sees(
    boot: Boot, orientation: int, shape: tuple[int, int], corner: tuple[int, int]
) -> None:
    board = boot(LCD + r"""
        int main(void) {
            lcd(ORIENTATION);
            command(0x2A, 4, 0, 0); command(0x2B, 4, 0, 0); command(0x2C, 0, 0, 0);
            uint8_t red[2] = {0xF8, 0}; send(red, 2);
            """.replace("ORIENTATION", str(orientation)) + FINISH + "}")  # fmt: skip
    board.run(1.0)
    picture = board.chip.lcd.picture()
    assert picture.shape == (*shape, 3)
    assert picture[corner].tolist() == [255, 0, 0]
    assert np.count_nonzero(picture.any(-1)) == 1


def test_display_swaps_red_and_blue_when_the_colour_bit_is_wrong(boot: Boot) -> None:
    board = boot(LCD + r"""
        int main(void) {
            lcd(0x20); command(0x2C, 0, 0, 0); uint8_t red[2] = {0xF8, 0}; send(red, 2);
            """ + FINISH + "}")  # fmt: skip
    board.run(1.0)
    assert [0, 0, 255] in board.chip.lcd.picture().reshape(-1, 3).tolist()


def test_camera_picture_goes_to_the_display_by_dma(boot: Boot) -> None:
    board = boot(I2C + CAPTURE + LCD + r"""
        volatile int sent;
        void spi(void) { if (REG(SPI + 0x20) & 1 << 11) sent = 1; REG(SPI + 0x20) = 1 << 11; }
        int main(void) {
            small(); capture(); lcd(0x28);
            command(0x2A, 4, 0, 63); command(0x2B, 4, 0, 47); command(0x2C, 0, 0, 0);
            sent = 0;
            REG(SPI + 0x20) = 1 << 11; REG(SPI + 0x24) = 1 << 11; ISER(56) = 1 << 24;
            REG(SPI + 8) = sizeof frame; REG(SPI + 0x1C) = 1 << 15 | 1 << 6;
            REG(0x40028128) = (uint32_t)(uintptr_t)frame; REG(0x4002812C) = SPI;
            REG(0x40028130) = sizeof frame;
            REG(0x40028120) = 1 | 0x2F << 4 | 2 << 16 | 1 << 18 | 2 << 20;
            REG(SPI + 4) |= 1 << 5;
            for (;;) {
                __asm volatile("cpsid i" ::: "memory");
                if (sent) break;
                __asm volatile("wfi\n cpsie i\n isb" ::: "memory");
            }
            put('k');
            """ + FINISH + "}")  # fmt: skip
    picture = np.random.default_rng(5).integers(0, 256, (100, 130, 3)).astype(np.uint8)
    board.chip.camera.put(picture)
    assert said(board) == "k"
    expected = cut_bits(to_frame(picture, ImageInput(64, 48)))
    assert np.array_equal(board.chip.lcd.picture()[:48, :64], expected)


def test_camera_plays_a_list_and_holds_the_last_picture(boot: Boot) -> None:
    board = boot(I2C + CAPTURE + r"""
        int main(void) { small(); for (int i = 0; i < 4; i++) { capture(); pixel(5, 5); }
        """ + FINISH + "}")  # fmt: skip
    plain: list[npt.NDArray[np.uint8]] = [
        np.full((48, 64, 3), colour, np.uint8) for colour in (0, 255, 8)
    ]
    board.chip.camera.play(plain)
    assert words(said(board)) == [0, 0xFFFF, 0x0841, 0x0841]


def test_camera_shows_colour_bars_without_a_picture(boot: Boot) -> None:
    board = boot(I2C + CAPTURE + "int main(void) { small(); capture(); pixel(2, 1); pixel(45, 1); "
                 + FINISH + "}")  # fmt: skip
    assert words(said(board)) == [0xFFFF, 0xF800]
    assert colour_bars()[0, 0].tolist() == [255, 255, 255]


def test_memory_to_memory_dma_and_a_bad_address(boot: Boot) -> None:
    board = boot(r"""
        static uint32_t from[8], to[8];
        int main(void) {
            for (uint32_t i = 0; i < 8; i++) from[i] = i * 3, to[i] = 0;
            REG(0x40028108) = (uint32_t)(uintptr_t)from; REG(0x4002810C) = (uint32_t)(uintptr_t)to;
            REG(0x40028110) = 32; REG(0x40028100) = 1 | 2 << 16 | 1 << 18 | 2 << 20 | 1 << 22;
            while (!(REG(0x40028104) & 4)) ;
            number(to[7]); number(REG(0x40028100) & 1);
            REG(0x40028108) = 0x70000000; REG(0x40028110) = 4; REG(0x40028104) = 4;
            REG(0x40028100) = 1 | 2 << 16 | 1 << 18 | 2 << 20 | 1 << 22;
            number(REG(0x40028104) >> 4 & 1);
            """ + FINISH + "}")  # fmt: skip
    assert words(said(board)) == [21, 0, 1]
    assert any("0x70000000" in note for note in board.notes)


def test_real_time_clock_follows_virtual_time(boot: Boot) -> None:
    board = boot(r"""
        void systick(void) { }
        int main(void) {
            REG(0x40006000) = 100; REG(0x40006010) = 1 | 1 << 15;
            REG(0xE000E014) = 9999999; REG(0xE000E018) = 0; REG(0xE000E010) = 7;
            for (int i = 0; i < 25; i++) __asm volatile("wfi");
            REG(0xE000E010) = 0;
            number(REG(0x40006000)); number(REG(0x40006004) >> 8);
            """ + FINISH + "}")  # fmt: skip
    assert words(said(board, 5.0)) == [102, 8]


def test_a_terminal_attaches_over_tcp(boot: Boot) -> None:
    board = boot(r"""
        int main(void) { text("hi\n"); for (;;) { while (REG(0x40042004) & 0x10) ;
                         put((char)(REG(0x40042020) + 1)); } }""")  # fmt: skip
    port = board.chip.serve_uart()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as terminal:
        terminal.settimeout(5)
        board.run(0.1)
        assert terminal.recv(100) == b"hi\n"
        terminal.sendall(b"ABC")
        while not board.chip.uart.available:
            board.run(0.1)
        board.run(0.1)
        assert terminal.recv(100) == b"BCD"
    assert board.chip.uart.read() == b"hi\nBCD"
    board.close()


def test_a_taken_port_is_named(boot: Boot) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        board = boot("int main(void) { " + FINISH + "}")
        with pytest.raises(EdgebedError, match=r"port \d+ on 127\.0\.0\.1 cannot be used"):
            board.chip.serve_uart(other.getsockname()[1])
