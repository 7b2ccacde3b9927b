"""Small C programs for the board tests: a start-up of our own, and the compiler call."""

import subprocess
from pathlib import Path

import pytest

from edgebed.targets._shared.elf import Firmware, load_firmware
from edgebed.targets._shared.toolchain import find_zig

START = r"""
#include <stdint.h>
#define REG(a) (*(volatile uint32_t *)(uintptr_t)(a))
#define ISER(n) REG(0xE000E100 + 4 * ((n) / 32))
extern uint32_t _estack[];
int main(void);
__attribute__((naked)) void reset(void) {
    __asm volatile("ldr r0, =0xe000ed88\n ldr r1, =0xf00000\n str r1, [r0]\n dsb\n isb\n bl main\n"
                   "1: wfi\n b 1b\n");
}
void dead(void) { for (;;) ; }
void svc(void), pendsv(void), systick(void), uart(void), tmr0(void), tmr1(void);
void dma0(void), dma1(void), spi(void), camera(void), cnn(void), gpio0(void);
__attribute__((section(".vectors"), used)) void *const vectors[16 + 104] = {
    _estack, reset, [2 ... 10] = dead, [11] = svc, [14] = pendsv, [15] = systick,
    [16 + 5] = tmr0, [16 + 6] = tmr1, [16 + 14] = uart, [16 + 24] = gpio0, [16 + 28] = dma0,
    [16 + 29] = dma1, [16 + 56] = spi, [16 + 91] = camera, [16 + 101] = cnn };
static inline void put(char c) { REG(0x40042020) = (uint8_t)c; }
static inline void text(const char *s) { while (*s) put(*s++); }
static void number(uint32_t v) {
    for (int i = 28; i >= 0; i -= 4) put("0123456789abcdef"[v >> i & 15]);
    put(' ');
}
void *memset(void *d, int c, unsigned n) { char *p = d; while (n--) *p++ = (char)c; return d; }
void *memcpy(void *d, const void *s, unsigned n) {
    char *p = d; const char *q = s; while (n--) *p++ = *q++; return d; }
"""

LINK = """
ENTRY(reset)
MEMORY {
  FLASH (rx) : ORIGIN = 0x10000000, LENGTH = 512K
  SRAM (rwx) : ORIGIN = 0x20000000, LENGTH = 128K
}
SECTIONS {
  .text : { KEEP(*(.vectors)) *(.text*) *(.rodata*) } > FLASH
  .bss (NOLOAD) : { *(.data*) *(.bss*) *(COMMON) } > SRAM
  PROVIDE(svc = dead);
  PROVIDE(pendsv = dead);
  PROVIDE(systick = dead);
  PROVIDE(uart = dead);
  PROVIDE(tmr0 = dead);
  PROVIDE(tmr1 = dead);
  PROVIDE(dma0 = dead);
  PROVIDE(dma1 = dead);
  PROVIDE(spi = dead);
  PROVIDE(camera = dead);
  PROVIDE(cnn = dead);
  PROVIDE(gpio0 = dead);
  _estack = ORIGIN(SRAM) + LENGTH(SRAM);
  /DISCARD/ : { *(.ARM.exidx*) }
}
"""


def build(folder: Path, source: str, name: str = "program") -> Firmware:
    """Compile `source` (after START) for the board; skip when there is no compiler."""
    pytest.importorskip("unicorn", reason="the virtual board needs unicorn")
    pytest.importorskip("elftools", reason="the virtual board needs pyelftools")
    zig = find_zig()
    if zig is None:
        pytest.skip("no zig to compile the test program with")
    c, ld, o, elf = (folder / f"{name}.{end}" for end in ("c", "ld", "o", "elf"))
    c.write_text(START + source)
    ld.write_text(LINK)
    include = zig.parent / "lib" / "include"
    compile_ = [zig, "clang", "--target=thumbv7em-none-eabihf", "-mcpu=cortex-m4", "-O2",
                "-ffreestanding", "-fno-builtin", "-nostdinc", "-isystem", include,
                "-c", c, "-o", o]  # fmt: skip
    for command in (compile_, [zig, "ld.lld", "-T", ld, o, "-o", elf]):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        assert not done.returncode, done.stderr
    return load_firmware(elf)
