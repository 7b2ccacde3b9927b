"""A network library by hand: echoes its input backwards, and its sum, in a schedule of three."""

from __future__ import annotations

from pathlib import Path

from edgebed.targets._shared.arm_cores import find_core
from edgebed.targets._shared.rows.manifest import Manifest, StageFacts, TensorFacts
from edgebed.targets.cortex_m import sources

BYTES = 1200
TURNS = (100, 250, 7)
"""Of a loop of three instructions, by entry of the schedule."""
STEP = 2
"""Instructions of an entry besides its loop: one before, the return."""

HEADER = """
#ifndef STUB_H
#define STUB_H
#include <stdint.h>
#define STUB_ARENA_BYTES %(arena)d
extern const char stub_digest[65];
void eb_step(uint32_t turns);
%(functions)s
static inline const void *stub_output(const void *arena, int32_t index) {
    return (const uint8_t *)arena + (index ? 0 : 16);
}
#endif
"""
PLAIN = """
void stub_run(void *arena);
static inline void *stub_input(void *arena, int32_t index) {
    (void)index;
    return (uint8_t *)arena + 16;
}
"""
FETCHED = """
typedef void stub_reader(void *context, int32_t input, int32_t row, void *to);
void stub_run(void *arena, stub_reader *read, void *context);
"""
SOURCE = """
#include "stub.h"
const char stub_digest[65] = "%(digest)s";
#define WEIGHTS __attribute__((section(".rodata.eb_weights")))
static const volatile int8_t weights[%(weights)d] WEIGHTS = {1, 2};
static const uint16_t turns[] = {%(turns)s};

__attribute__((naked, noinline, used)) void eb_step(__attribute__((unused)) uint32_t turns) {
    __asm volatile(".syntax unified\\n"
        "movs r1, #0\\n"
        "1: subs r0, r0, #1\\n" "cmp r0, r1\\n" "bne 1b\\n"
        "bx lr\\n");
}

static void compute(uint8_t *data) {
    int32_t sum = weights[0] - 1;
    volatile uint32_t deep[%(stack)d / 4];
    for (uint32_t i = 0; i < %(stack)d / 4; i++) deep[i] = 1;
    for (int32_t i = 0; i < 3; i++) eb_step(turns[i]);
    for (int32_t i = 0; i < %(bytes)d; i++) sum += (int8_t)data[i];
    for (int32_t i = 0, k = %(bytes)d - 1; i < k; i++, k--) {
        uint8_t kept = data[i];
        data[i] = data[k], data[k] = kept;
    }
    *(int32_t *)(void *)(data - 16) = sum + (int32_t)deep[0] - 1;
}
"""
PLAIN_RUN = """
void stub_run(void *arena) { compute((uint8_t *)arena + 16); }
"""
FETCHED_RUN = """
void stub_run(void *arena, stub_reader *read, void *context) {
    for (int32_t row = 0; row < 2; row++)
        read(context, 0, row, (uint8_t *)arena + 16 + row * %(bytes)d / 2);
    compute((uint8_t *)arena + 16);
}
"""
DIGEST = "0123456789abcdef" * 4


def manifest(cpu: str, *, digest: str = DIGEST, fetched: bool = False) -> Manifest:
    offset, rows = (-1, 2) if fetched else (16, 1)
    return Manifest(
        name="stub",
        title="stub",
        digest=digest,
        cpu=cpu,
        goal="balanced",
        inputs=(TensorFacts("x", (1, BYTES), "int8", 1.0, 0, offset, BYTES, rows),),
        outputs=(
            TensorFacts("back", (1, BYTES), "int8", 1.0, 0, 16, BYTES),
            TensorFacts("sum", (1,), "int32", 1.0, 0, 0, 4),
        ),
        stages=(StageFacts("first", "conv", "f", 10), StageFacts("second", "dense", "g", 20)),
        runs=(0, 1, 0),
        arena_bytes=BYTES + 16,
        arena_lower_bound=BYTES,
        peak_layer="first",
        weight_bytes=64,
    )


def write(
    folder: Path,
    cpu: str,
    *,
    digest: str = DIGEST,
    fetched: bool = False,
    stack: int = 64,
    passes: bool = True,
    weights: int = 64,
    **limits: int,
) -> Path:
    """Write a compiled folder: library, firmware and manifest."""
    found = manifest(cpu, digest=digest, fetched=fetched)
    values = {
        "arena": found.arena_bytes,
        "functions": FETCHED if fetched else PLAIN,
        "digest": digest,
        "bytes": BYTES,
        "stack": stack,
        "weights": weights,
        "turns": ", ".join(map(str, TURNS)),
    }
    run = FETCHED_RUN if fetched else PLAIN_RUN
    library = {
        "stub.h": HEADER % values,
        "stub.c": (SOURCE + run) % values,
        "stub_selftest.h": "#include <stdint.h>\nint32_t stub_selftest(void *arena);\n",
        "stub_selftest.c": '#include "stub_selftest.h"\nint32_t stub_selftest(void *arena) '
        f"{{ (void)arena; return {0 if passes else 2}; }}\n",
    }
    (folder / "library").mkdir(parents=True)
    (folder / "firmware").mkdir()
    for name, text in library.items():
        (folder / "library" / name).write_text(text)
    for name, data in sources.files(find_core(cpu), found, **limits).items():
        (folder / "firmware" / name).write_bytes(data)
    (folder / "network.json").write_text(found.to_json())
    return folder
