"""What the virtual board assumes about the real one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BoardOptions:
    """Wiring and timing.

    Attributes:
        cpu_hz: system clock after the firmware selected the internal 100 MHz oscillator.
        cycles_per_instruction: average; an assumption for code that runs from flash through the
            instruction cache (Cortex-M4: one cycle for most, two for loads, up to four for taken
            branches). Rounded to 1/16.
        lcd_dc: port and pin of the display's data/command line.
        camera_width: sensor output when the firmware leaves the sensor's size registers alone.
        camera_height: likewise.
        camera_clock_hz: sensor clock when no pulse train drives it.
        camera_blanking: frame time spent between lines and frames, as a share of the pixels.
        fifo_depth: words one accelerator FIFO holds; the status bit reads full beyond, and words
            pushed into a full FIFO are reported. 0 = never full.
        uart_polls: reads of an empty UART in a row after which the board waits for the host.
    """

    cpu_hz: float = 100e6
    cycles_per_instruction: float = 1.25
    lcd_dc: tuple[int, int] = (0, 8)
    camera_width: int = 224
    camera_height: int = 224
    camera_clock_hz: float = 10e6
    camera_blanking: float = 0.25
    fifo_depth: int = 16
    uart_polls: int = 256
