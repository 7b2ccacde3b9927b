"""Self-test vectors: inputs from a tiny generator, and the outputs that the interpreter gives."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from edgebed.program.run import run
from edgebed.program.types import Array, Program, TensorType
from edgebed.targets._shared.rows.emit import Project

COUNT: Final = 2
_SHOWN: Final = 8
_SAMPLED: Final = 32
_NEAR: Final = 1e-4
_EXACT: Final = frozenset(
    [
        "cast",
        "concat",
        "constant",
        "crop",
        "dequantize",
        "identity",
        "pad",
        "quantize",
        "reshape",
        "slice",
        "strided_slice",
        "transpose",
    ]
)
"""Ops whose result is the same everywhere, real numbers or not."""


def generated_bytes(count: int, seed: int) -> npt.NDArray[np.uint8]:
    """Return the first bytes of x = 1664525 x + 1013904223 mod 2**32, its top 8 bits each.

    The constants are Numerical Recipes' "quick and dirty" generator.
    """
    values = np.empty(count, np.uint8)
    state = seed
    for i in range(count):
        state = (1664525 * state + 1013904223) & 0xFFFFFFFF
        values[i] = state >> 24
    return values


def generated_inputs(program: Program, seed: int) -> dict[str, Array]:
    """Return one sample of every input in the program's shapes, one after the other."""
    sizes = [kind.size for kind in program.inputs.values()]
    values = generated_bytes(sum(sizes), seed)
    parts = np.split(values, np.cumsum(sizes)[:-1])
    return {
        name: _typed(part, kind).reshape(kind.shape)
        for (name, kind), part in zip(program.inputs.items(), parts, strict=True)
    }


def _typed(values: npt.NDArray[np.uint8], kind: TensorType) -> Array:
    if kind.dtype == "uint8":
        return values
    signed = values.view(np.int8)
    if kind.is_float:
        return signed.astype(np.float32) / np.float32(128)
    return signed.astype(kind.dtype)


def fnv(data: bytes) -> int:
    """Return the 32-bit FNV-1a hash (Fowler, Noll, Vo)."""
    state = 2166136261
    for byte in data:
        state = (state ^ byte) * 16777619 & 0xFFFFFFFF
    return state


def files(project: Project) -> dict[str, bytes]:
    """Return the C of the self-test; it has no other needs than the network itself."""
    program, answers, texts = project.program, list[dict[str, Array]](), list[str]()
    for seed in range(1, COUNT + 1):
        batch = {name: value[None] for name, value in generated_inputs(program, seed).items()}
        with np.errstate(all="ignore"):  # random inputs may lie outside a function's domain
            answers.append({name: value[0] for name, value in run(program, batch).items()})
        first = answers[-1][program.outputs[0]].ravel()[:_SHOWN].tolist()
        texts.append(f"   seed {seed}: output 0 begins with {', '.join(map(str, first))}")
    name = project.name
    return {
        f"{name}_selftest.h": _header(name).encode(),
        f"{name}_selftest.c": _source(project, answers, texts).encode(),
    }


def _inexact(program: Program) -> set[str]:
    """Return the tensors that follow from real arithmetic, whose last digits may differ."""
    found: set[str] = set()
    for op in program.ops:
        real = any(program.types[name].is_float for name in (*op.inputs, op.output))
        if (real and op.kind not in _EXACT) or any(name in found for name in op.inputs):
            found.add(op.output)
    return found


def _known(project: Project, answers: list[dict[str, Array]]) -> tuple[str, str]:
    """Return the tables of known answers, and the statements that hold outputs against them."""
    inexact = _inexact(project.program)
    tables, checks = [], []
    for n, name in enumerate(project.program.outputs):
        kind = project.program.types[name]
        output = f"{project.name}_output(arena, {n})"
        if name not in inexact:
            raw = np.dtype(kind.dtype).newbyteorder("<")
            hashes = [fnv(np.ascontiguousarray(one[name], raw).tobytes()) for one in answers]
            listed = ", ".join(f"{value}u" for value in hashes)
            tables.append(f"static const uint32_t known_{n}[] = {{{listed}}};")
            size = f"{project.name.upper()}_OUTPUT_{n}_BYTES"
            checks.append(f"if (hashed({output}, {size}) != known_{n}[i]) return i + 1;")
            continue
        step = max(1, -(-kind.size // _SAMPLED))
        some = [one[name].ravel()[::step].astype(np.float64) for one in answers]
        near = _NEAR * max(1.0, *(float(np.abs(one).max(initial=0)) for one in some))
        near = near if kind.is_float else max(near, 4.0)
        rows = ", ".join(f"{{{', '.join(f'{_finite(v)!r}f' for v in one)}}}" for one in some)
        tables.append(f"static const float known_{n}[][{len(some[0])}] = {{{rows}}};")
        c_type = "float" if kind.is_float else f"{np.dtype(kind.dtype).name}_t"
        checks.append(
            f"for (int32_t k = 0; k < {len(some[0])}; k++)\n"
            f"            if (far((float)((const {c_type} *){output})[k * {step}], "
            f"known_{n}[i][k], {near!r}f))\n                return i + 1;"
        )
    return "\n".join(tables), "\n        ".join(checks)


def _finite(value: float) -> float:
    return float(np.clip(np.nan_to_num(value), -3e38, 3e38))


def _header(name: str) -> str:
    upper = name.upper()
    return f"""/* Known answers of {name}. Generated by edgebed. */
#ifndef {upper}_SELFTEST_H
#define {upper}_SELFTEST_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

/* Runs the network on {COUNT} generated inputs in {upper}_ARENA_BYTES of memory; returns 0, or the
   number of the first input (from 1) whose output differs from the reference interpreter's. */
int32_t {name}_selftest(void *arena);

#ifdef __cplusplus
}}
#endif

#endif
"""


def _source(project: Project, answers: list[dict[str, Array]], texts: list[str]) -> str:
    name = project.name
    tables, checks = _known(project, answers)
    helpers = (_HASHED if "hashed(" in checks else "") + (_FAR if "far(" in checks else "")
    shown = "\n".join(texts)
    inputs = list(project.program.inputs.values())
    kinds = {(kind.is_float, np.dtype(kind.dtype).itemsize) for kind in inputs}
    fill = "\n".join(_filler(*kind) for kind in sorted(kinds))
    run_ = _fetched_run(project) if project.fetched else _plain_run(project)
    return f"""/* Known answers of {name}. Generated by edgebed.
{shown} */
#include "{name}_selftest.h"

#include "{name}.h"

{tables}

/* Numerical Recipes' generator, top 8 bits. */
static int8_t next(uint32_t *state) {{
    *state = 1664525u * *state + 1013904223u;
    return (int8_t)(uint8_t)(*state >> 24);
}}

{fill}
{run_}
{helpers}int32_t {name}_selftest(void *arena) {{
    for (int32_t i = 0; i < {COUNT}; i++) {{
        run_known(arena, (uint32_t)i + 1);
        {checks}
    }}
    return 0;
}}
"""


_HASHED = """static uint32_t hashed(const void *values, uint32_t count) {
    const uint8_t *data = values;
    uint32_t hash = 2166136261u;
    for (uint32_t i = 0; i < count; i++) hash = (hash ^ data[i]) * 16777619u;
    return hash;
}

"""
_FAR = """/* Real arithmetic may end in other last digits on another processor. */
static int32_t far(float value, float known, float most) {
    const float gap = value - known;
    return !(gap <= most && gap >= -most);
}

"""


def _filler(is_float: bool, size: int) -> str:
    c_type = "float" if is_float else {1: "int8_t", 2: "int16_t", 4: "int32_t"}[size]
    value = "(float)next(state) / 128.0f" if is_float else "next(state)"
    return f"""static void fill_{c_type}({c_type} *to, uint32_t count, uint32_t *state) {{
    for (uint32_t i = 0; i < count; i++) to[i] = {value};
}}
"""


def _fill_name(kind: TensorType) -> str:
    size = np.dtype(kind.dtype).itemsize
    return "float" if kind.is_float else {1: "int8_t", 2: "int16_t", 4: "int32_t"}[size]


def _plain_run(project: Project) -> str:
    name = project.name
    lines = [
        f"    fill_{_fill_name(kind)}({name}_input(arena, {n}), {kind.size}, &state);"
        for n, kind in enumerate(project.program.inputs.values())
    ]
    fills = "\n".join(lines)
    return f"""static void run_known(void *arena, uint32_t seed) {{
    uint32_t state = seed;
{fills}
    {name}_run(arena);
}}
"""


def _fetched_run(project: Project) -> str:
    name = project.name
    (kind,) = project.program.inputs.values()
    tensor = project.network.tensors[project.network.inputs[0]]
    count = kind.size // tensor.rows
    return f"""static void read_known(void *context, int32_t input, int32_t row, void *to) {{
    (void)input, (void)row;
    fill_{_fill_name(kind)}(to, {count}, context);
}}

static void run_known(void *arena, uint32_t seed) {{
    uint32_t state = seed;
    {name}_run(arena, read_known, &state);
}}
"""
