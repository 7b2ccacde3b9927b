"""A copy of a row-wise kernel, with every name of its own, in which one step is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping

_INCLUDE = re.compile(r'#include "(\w+\.h)"\n')
_CUT = """
    int64_t y;
    if (output->rule == 0) {
        uint32_t low;
        const int32_t half = output->fraction ? 1 << (output->fraction - 1) : 0;
        y = (eb_rules_product(sum, line->multiplier, &low) + line->c - half) >> output->fraction;
        return (int8_t)eb_limit((int32_t)y, output->low, output->high);
    }
    if (output->rule == 4) {
        union { int32_t bits; float real; } factor = {line->multiplier};
        y = (int32_t)((float)sum * factor.real);
    } else {
        const int32_t right = output->rule == 3 ? 32 + line->c : 31 - line->c;
        y = right > 62 ? -(sum < 0) : ((int64_t)sum * line->multiplier) >> right;
    }
    return (int8_t)eb_limit((int32_t)y + output->zero_point, output->low, output->high);"""
_BYTE = (
    "static inline int8_t planted_byte(int32_t sum, const eb_line *line,\n"
    "                                  const eb_output *output) {{\n    {body}\n}}\n"
)
_SMMLA = re.compile(r'"smmla (" \w+ "|r\d+), ')


def planted_name(function: str) -> str:
    """Return what the copy of a kernel is called."""
    return function.replace("eb_", "planted_", 1)


def copied(header: str, made: Mapping[str, bytes], defect: str, bits: int) -> str:
    """Return C that defines the kernels of a header again, under other names and wrong.

    Args:
        header: of the kernel, a file in the folder edgebed/ of the project.
        made: the project's files.
        defect: overflow or rounding.
        bits: that an accumulator has left, for overflow.
    """
    text = _joined(header, made, set())
    if defect == "overflow":
        body = (
            f"return eb_byte((int32_t)((uint32_t)sum << {32 - bits}) >> {32 - bits}, line, output);"
        )
        text = _SMMLA.sub(rf'"sbfx \1, \1, #0, #{bits}\\n" \g<0>', text)
        by_rule = f"    sum = (int32_t)((uint32_t)sum << {32 - bits}) >> {32 - bits};\n"
    else:
        body, by_rule = _CUT, f"    if (1) {{{_CUT}\n    }}\n"
    text = re.sub(r"(int8_t eb_dsp_rule_byte\([^{]*\{\n)", lambda m: m[1] + by_rule, text)
    uses_bytes = "eb_byte(" in text
    text = text.replace("eb_byte(", "planted_byte(")
    return (_BYTE.format(body=body) if uses_bytes else "") + _renamed(text)


def _joined(header: str, made: Mapping[str, bytes], seen: set[str]) -> str:
    """Return a header with those of its kind that it includes, once each, in its place."""
    seen.add(header)

    def one(found: re.Match[str]) -> str:
        name = found[1]
        if "_dsp" not in name:
            return f'#include "edgebed/{name}"\n'
        return "" if name in seen else _joined(name, made, seen)

    return _INCLUDE.sub(one, made[f"edgebed/{header}"].decode())


def _renamed(text: str) -> str:
    text = re.sub(r"\beb_(\w*dsp\w*|(?:conv|depthwise)_\w+)", r"planted_\1", text)
    own = set(re.findall(r"#define (EB_\w+)", text)) | set(re.findall(r"enum \{ (EB_\w+)", text))
    own |= set(re.findall(r"#ifndef (EB_\w+_H)\b", text))
    own -= {"EB_WITHOUT_FPU"}
    for name in sorted(own, key=len, reverse=True):
        text = re.sub(rf"\b{name}\b", f"PLANTED_{name[3:]}", text)
    return text
