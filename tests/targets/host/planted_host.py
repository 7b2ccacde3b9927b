"""Defects planted in one step of a host library's generated C, one instruction set at a time.

The step becomes a function of its own with a copy of all kernels it calls, under other names; in
the copy one thing is wrong. All other steps, and the file that runs them, stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from planted_trials import Defect

STEP = re.compile(
    r"/\* (?P<op>[^\n]*?): (?P<kind>\w+) to [^\n]*\*/\n"
    r"(?P<text>static void step_(?P<number>\d+)\(.*?\n\}\n)",
    re.DOTALL,
)
_BORDER = re.compile(
    r"\{ /\* the border \*/\n +\w+ \*out = [^\n]*io->(?P<where>arena \+ \d+)\);.*?\n  \}",
    re.DOTALL,
)
_VALUE = re.compile(r"(out\[[^\]]*\] = )(\d+);")
_KERNELS = ("eb_conv", "eb_depthwise", "eb_winograd", "eb_average", "eb_scale", "eb_requantize")

_NARROW = """
EB_INLINE eb_i32x16 eb_scale16(eb_i32x16 acc, const int32_t *table, eb_requantization r) {
  int32_t lane[16];
  eb_store_i32x16(lane, acc);
  for (int i = 0; i < 16; i++) lane[i] = (int32_t)((uint32_t)lane[i] << LEFT) >> LEFT;
  return eb_scale16_right(eb_load_i32x16(lane), table, r);
}
"""
_NARROW_LINE = """
EB_INLINE eb_bytes eb_apply_line(eb_bytes acc, eb_line c, int line) {
  int32_t lane[sizeof acc / 4];
  memcpy(lane, &acc, sizeof acc);
  for (unsigned i = 0; i < sizeof acc / 4; i++)
    lane[i] = (int32_t)((uint32_t)lane[i] << LEFT) >> LEFT;
  memcpy(&acc, lane, sizeof acc);
  return eb_apply_line_right(acc, c, line);
}
"""
_NEXT = """
EB_INLINE eb_i32x16 eb_scale16(eb_i32x16 acc, const int32_t *table, eb_requantization r) {
  int32_t word[96];
  memcpy(word, table, 4 * EB_TABLE_WORDS(r.rule));
  const int first = r.rule == EB_LINE ? 16 : 0;
  for (int i = 0; i < 16; i++) {
    word[first + i] = table[first + (i + 1) % 16];
    if (r.rule == EB_LINE) word[i] = table[(i + 1) % 16];
  }
  for (int i = 0; i < 16 && r.rule == EB_LINE; i += 2) word[32 + i] = word[16 + i + 1];
  return eb_scale16_right(acc, word, r);
}
"""
_NEXT_LINE = """
EB_INLINE eb_bytes eb_apply_line(eb_bytes acc, eb_line c, int line) {
  float a[sizeof c.a / 4], b[sizeof c.a / 4];
  memcpy(a, &c.a, sizeof a);
  for (unsigned i = 0; i < sizeof a / 4; i++) b[i] = a[(i + 1) % (sizeof a / 4)];
  memcpy(&c.a, b, sizeof b);
  return eb_apply_line_right(acc, c, line);
}
"""
_CUT = """
EB_INLINE eb_i32x16 eb_scale16(eb_i32x16 acc, const int32_t *table, eb_requantization r) {
  acc = eb_scale16_right(acc, table, r);
  return r.fraction ? eb_sub_i32x16(acc, eb_set1_i32x16(1 << (r.fraction - 1))) : acc;
}
"""
_HALVES = (
    ("* multiplier + (1 << 30)) >> 31", "* multiplier) >> 31"),
    ("(high + half - (right && high < 0))", "(high)"),
    (" + ((int64_t)1 << (30 - shift))) >> (31 - shift)", ") >> (31 - shift)"),
    ("(wide + ((int64_t)1 << (right - 1))) >> right", "wide >> right"),
    ("away ? count / 2 : 0", "0 * away"),
    ("const int64_t half = ((int64_t)1 << right) >> 1;", ""),
)
"""What rounds in integers, and what cuts."""
_DOWN = """
static __attribute__((noinline)) void planted_step(const eb_io *io, int part, int parts) {
  uint32_t before, down;
  __asm__ volatile("stmxcsr %0" : "=m"(before));
  down = (before & ~0x6000u) | 0x2000u; /* floats round down */
  __asm__ volatile("ldmxcsr %0" : : "m"(down) : "memory");
  planted_inner(io, part, parts);
  __asm__ volatile("ldmxcsr %0" : : "m"(before) : "memory");
}
"""


@dataclass(frozen=True)
class Place:
    """A step that can have a defect.

    Attributes:
        number: of the step.
        op: that it computes, or part of it.
        kind: of the op.
        defects: that it can have.
        border: for `border`, the step that fills its input's border.
    """

    number: int
    op: str
    kind: str
    defects: tuple[Defect, ...]
    border: int = -1


def places(layers: str) -> Iterator[Place]:
    """Give the steps of a layers file that can have a defect; see `Place`."""
    filled: dict[str, int] = {}
    for found in STEP.finditer(_with_inputs(layers)):
        number, text = int(found["number"]), found["text"]
        fills = {one["where"]: number for one in _BORDER.finditer(text)}
        reads = re.findall(r"const \w+ \*\w+ = [^\n]*io->(arena \+ \d+)\);\n", text)
        border = next((filled.pop(place) for place in reads if place in filled), -1)
        filled |= fills
        if found["op"] == "input":
            continue
        defects: list[Defect] = ["stale"]
        if any(kernel in text for kernel in _KERNELS) or "kernel_" in text:
            defects += ["overflow", "scale", "rounding"]
        if border >= 0:
            defects.append("border")
        yield Place(number, found["op"], found["kind"], tuple(defects), border)


def _with_inputs(layers: str) -> str:
    return layers.replace("/* input */\n", "/* input: input to nothing */\n")


def plant(
    folder: Path, name: str, place: Place, defect: Defect, level: int, rng: np.random.Generator
) -> str:
    """Return the layers file with a defect in one step, for one instruction set.

    Args:
        folder: of the project.
        name: of the project.
        place: of `places`.
        defect: one that is possible there.
        level: EB_ISA; the other instruction sets get empty tables.
        rng: chooses bits, rows and values.
    """
    text = (folder / f"{name}_layers.c").read_text()
    if defect == "border":
        text = _other_border(text, place.border, rng)
    elif defect == "stale":
        text = _stale(text, place.number, rng)
    else:
        text = _other_kernels(text, folder, place.number, defect, int(rng.integers(12, 17)))
    return only(text, level)


def only(text: str, level: int) -> str:
    """Return a layers file that has steps for one instruction set alone."""
    head, rest = text.split('#include "edgebed/step.h"\n', 1)
    table = re.search(r"extern (const eb_step EB_TABLE\[\d+\]) EB_HIDDEN;", rest)
    assert table
    empty = f"{table[0]}\n{table[1]} = {{{{0, 0, 0}}}};\n"
    hidden = '#define EB_HIDDEN __attribute__((visibility("hidden")))\n'
    return (
        f'{head}#include "edgebed/step.h"\n#if EB_ISA != {level}\n{hidden}{empty}'
        f"#else\n{rest}#endif\n"
    )


def _step(text: str, number: int) -> str:
    found = re.search(rf"static void step_{number}\(.*?\n\}}\n", text, re.DOTALL)
    assert found
    return found[0]


def _other_border(text: str, number: int, rng: np.random.Generator) -> str:
    """Fill the border with another integer than the one that means 0.0."""
    old = _step(text, number)
    wrong = int(rng.integers(24, 90))
    new = _BORDER.sub(
        lambda one: _VALUE.sub(lambda m: f"{m[1]}{(int(m[2]) + wrong) % 256};", one[0]), old, 1
    )
    assert new != old
    return text.replace(old, new)


def _stale(text: str, number: int, rng: np.random.Generator) -> str:
    """Leave the last rows as they lie in memory, or do nothing in every second frame."""
    old = _step(text, number)
    rows = re.search(r"y1 = (\d+ \* \(part \+ 1\) / parts);", old)
    if rows and rng.integers(2):
        kept = int(rng.integers(2, 7))
        new = old.replace(rows[0], f"y1 = {rows[1][:-1]}{rows[1][-1]} * {kept} / 8;")
    else:
        mark = "  (void)io, (void)parts;\n"
        new = old.replace(
            mark, f"{mark}  static int calls;\n  if (part == 0 && calls++ & 1) return;\n"
        )
    assert new != old
    return text.replace(old, new)


def _other_kernels(text: str, folder: Path, number: int, defect: Defect, bits: int) -> str:
    """Let a step call kernels of its own."""
    head, _ = text.split("#define EB_HIDDEN", 1)
    kernels = "".join(_joined(one, folder, set()) for one in _headers(head))
    old = _step(text, number)
    shared = "".join(
        _function(text, name) for name in dict.fromkeys(re.findall(r"kernel_\d+", old))
    )
    step = old.replace(f"step_{number}(", "planted_inner(")
    wrong = _renamed(_wrong(kernels, defect, bits) + shared + step)
    call = _DOWN if defect == "rounding" else ""
    name = "planted_step" if call else "planted_inner"
    text = text.replace(old, wrong + call)
    return text.replace(f"{{step_{number}, ", f"{{{name}, ")


def _headers(head: str) -> list[str]:
    found = re.findall(r'#include "edgebed/([\w.]+)"', head)
    return [one for one in found if one != "step.h"]


def _joined(header: str, folder: Path, seen: set[str]) -> str:
    """Return a header with all that it includes, once each, in its place."""
    seen.add(header)

    def one(found: re.Match[str]) -> str:
        return "" if found[1] in seen else _joined(found[1], folder, seen)

    text = (folder / "edgebed" / header).read_text()
    return re.sub(r'#include "([\w.]+)"\n', one, text)


def _function(text: str, name: str) -> str:
    found = re.search(rf"static [^\n]*\bvoid {name}\(.*?\n\}}\n", text, re.DOTALL)
    assert found
    return found[0]


def _wrong(kernels: str, defect: Defect, bits: int) -> str:
    """Return kernels whose last step, from sums to bytes, does something else."""
    scale, line = {
        "overflow": (_NARROW, _NARROW_LINE), "scale": (_NEXT, _NEXT_LINE), "rounding": (_CUT, ""),
    }[defect]  # fmt: skip
    if defect == "rounding":
        for right, cut in _HALVES:
            kernels = kernels.replace(right, cut)
    left = str(32 - bits)
    kernels = _wrapped(kernels, "eb_scale16", scale.replace("LEFT", left))
    return _wrapped(kernels, "eb_apply_line", line.replace("LEFT", left)) if line else kernels


def _wrapped(kernels: str, name: str, wrapper: str) -> str:
    """Rename a function where it is defined and put another of its name behind it."""
    pattern = re.compile(rf"(EB_INLINE \w+ ){name}(\(.*?\n\}}\n)", re.DOTALL)
    return pattern.sub(lambda m: f"{m[1]}{name}_right{m[2]}{wrapper}", kernels)


def _renamed(text: str) -> str:
    text = re.sub(r"\beb_(?!io\b|step\b)(?=\w)", "pl_", text)
    text = re.sub(r"\bEB_(?!ISA\b|TABLE\b)(?=\w)", "PL_", text)
    return re.sub(r"\bkernel_(\d+)", r"planted_kernel_\1", text)
