"""One C function on one emulated core: results, exact counts, stack, and clear words."""

from __future__ import annotations

import shutil
import struct

import pytest

from edgebed.errors import EdgebedError
from edgebed.targets._shared import bare_metal
from edgebed.targets._shared.arm_cores import CORES, find_core
from edgebed.targets._shared.bare_metal import build_c, run_c

qemu = shutil.which("qemu-system-arm")
needs_qemu = pytest.mark.skipif(qemu is None, reason="qemu-system-arm is not installed")
needs_gcc = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not installed"
)

SUM = {
    "sum.c": """
#include <stdint.h>
#include "count.h"
int8_t data[COUNT]; int32_t result = 7; const volatile int32_t start = 100;
static int32_t scratch;
__attribute__((noinline)) void add(int i) { scratch += data[i]; }
void bench(void) {
    scratch = start + result;
    for (int i = 0; i < COUNT; i++) add(i);
    result = scratch;
}
"""
}
COUNT = {"count.h": "#define COUNT 10\n"}


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if not CORES[name].unicorn and qemu is None:
        pytest.skip("qemu-system-arm is not installed")
    return name


@pytest.mark.parametrize("compiler", ["zig", pytest.param("gcc", marks=needs_gcc)])
def test_a_function_reads_inputs_and_leaves_outputs(core: str, compiler: str) -> None:
    ran = run_c(
        core,
        SUM,
        headers=COUNT,
        inputs={"data": struct.pack("10b", *range(-3, 7)), "start": struct.pack("<i", 1000)},
        outputs=["result"],
        marks=["add"],
        compiler=compiler,
    )
    assert struct.unpack("<i", ran.outputs["result"]) == (1000 + 7 + sum(range(-3, 7)),)
    assert len(ran.entries) == 10 and ran.functions is not None
    # Every call of the same code takes the same, and the parts add up to the whole.
    assert len(set(ran.between("add")[:-1])) == 1
    assert ran.entries[0][1] + sum(ran.between("add")) == ran.instructions
    assert sum(ran.functions.values()) == ran.instructions


LOOP = """
#include <stdint.h>
uint32_t result;
__attribute__((naked)) void bench(void) {
    __asm volatile(".syntax unified\\n"
        "movs r0, #50\\n"
        "1: subs r0, r0, #1\\n" "nop\\n" "bne 1b\\n"
        "ldr r1, =result\\n" "str r0, [r1]\\n" "bx lr\\n" ".ltorg\\n");
}
"""


def test_instructions_of_a_known_loop_are_exact(core: str) -> None:
    ran = run_c(core, {"loop.c": LOOP}, outputs=["result"])
    # movs, 50 times the three of the loop, ldr, str, bx
    assert ran.instructions == 1 + 50 * 3 + 3
    assert ran.stack_bytes == 0


@needs_qemu
@pytest.mark.parametrize("name", ["m4", "m7", "m33"])
def test_qemu_counts_the_same_as_unicorn(name: str) -> None:
    program = build_c(name, SUM, headers=COUNT)
    first, second = (program.run(["result"], marks=["add"], qemu=q) for q in (False, True))
    assert first == second


def test_the_stack_is_what_the_deepest_call_used(core: str) -> None:
    source = """
#include <stdint.h>
uint32_t bytes = 0, out;
__attribute__((noinline)) static void use(uint32_t n) {
    volatile uint32_t memory[256];
    for (uint32_t i = 0; i < 256; i++) memory[i] = n;
    out = memory[n & 3];
}
void bench(void) { use(5); }
"""
    ran = run_c(core, {"stack.c": source}, outputs=["out"])
    assert 1024 <= ran.stack_bytes <= 1024 + 64


FEATURES = {
    "dsp": """
#include <arm_acle.h>
int32_t a = 0x00020003, b = 0x00040005, out;
void bench(void) { out = __smlad(a, b, 1); }
""",
    "fpu": """
volatile float a = 3, b = 4; int out;
void bench(void) { out = (int)(a * b) + 12; }
""",
    "mve": """
#include <arm_mve.h>
int8_t data[16] = {1, 2, 3, 4}; int32_t out;
void bench(void) { int8x16_t v = vldrbq_s8(data); out = vmladavq_s8(v, v) - 6; }
""",
}


@pytest.mark.parametrize(
    ("feature", "name", "expected"),
    [
        *[("dsp", name, 2 * 4 + 3 * 5 + 1) for name in ("m4", "m7", "m33", "m55")],
        *[("fpu", name, 24) for name in CORES],
        pytest.param("mve", "m55", 1 + 4 + 9 + 16 - 6),
    ],
)
@pytest.mark.parametrize("compiler", ["zig", pytest.param("gcc", marks=needs_gcc)])
def test_instruction_sets_are_on(feature: str, name: str, expected: int, compiler: str) -> None:
    if not CORES[name].unicorn and qemu is None:
        pytest.skip("qemu-system-arm is not installed")
    source = "#include <stdint.h>\n" + FEATURES[feature]
    ran = run_c(name, {"feature.c": source}, outputs=["out"], compiler=compiler)
    assert struct.unpack("<i", ran.outputs["out"]) == (expected,)


def test_division_needs_no_library_of_the_user() -> None:
    source = """
#include <stdint.h>
int64_t a = 1234567890123, b = 1001, out;
void bench(void) { out = a / b; }
"""
    ran = run_c("m0plus", {"division.c": source}, outputs=["out"])
    assert struct.unpack("<q", ran.outputs["out"]) == (1234567890123 // 1001,)


def test_a_fault_names_the_function() -> None:
    source = """
#include <stdint.h>
volatile uint32_t out;
__attribute__((noinline)) void stray(void) { out = *(volatile uint32_t *)0x90000000; }
void bench(void) { stray(); out = 1; }
"""
    with pytest.raises(EdgebedError, match=r"stray.*bus fault.*read 0x90000000"):
        run_c("m4", {"fault.c": source}, outputs=["out"])


def test_a_hang_ends_with_a_word() -> None:
    source = "#include <stdint.h>\nvolatile int out;\nvoid bench(void) { while (!out) { } }\n"
    program = build_c("m4", {"hang.c": source})
    with pytest.raises(EdgebedError, match="did not return within 100,000 instructions"):
        program.run(["out"], limit=100_000)


def test_unknown_names_are_told() -> None:
    with pytest.raises(EdgebedError, match=r"no core is called 'm44'.*did you mean 'm4'"):
        find_core("m44")
    program = build_c("m4", SUM, headers=COUNT)
    with pytest.raises(EdgebedError, match="no variable 'results'"):
        program.run(["results"])
    with pytest.raises(EdgebedError, match="no function 'sub'"):
        program.run(["result"], marks=["sub"])
    with pytest.raises(EdgebedError, match="11 bytes for 'data', which has 10"):
        program.run(["result"], inputs={"data": bytes(11)})


def test_a_source_that_does_not_compile_is_quoted() -> None:
    with pytest.raises(EdgebedError, match=r"bad\.c.*error"):
        build_c("m4", {"bad.c": "void bench(void) { wrong }\n"})


def test_a_missing_qemu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bare_metal, "find_installed", lambda *_names: None)
    with pytest.raises(EdgebedError, match=r"Cortex-M55 needs qemu-system-arm.*apt install"):
        run_c("m55", {"loop.c": LOOP}, outputs=["result"])
    with pytest.raises(EdgebedError, match=r"no machine with a Cortex-M0\+"):
        build_c("m0plus", {"loop.c": LOOP}).run(["result"], qemu=True)
