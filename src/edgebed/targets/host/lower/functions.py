"""Functions of one real number, with the C library's exp, log and tanh."""

from __future__ import annotations

import math
from typing import Final, cast

from edgebed.program.ops._functions import SELU_ALPHA, SELU_GAMMA
from edgebed.program.ops.unary import Unary
from edgebed.program.types import Op
from edgebed.targets.host.frame import Frame
from edgebed.targets.host.lower.elementwise import each
from edgebed.targets.host.lower.expressions import real

_SIGMOID: Final = "1.0f / (1.0f + expf(-{x}))"
_SOFTPLUS: Final = "(fmaxf({x}, 0.0f) + log1pf(expf(-fabsf({x}))))"
_ELU: Final = "({x} >= 0 ? {x} : {a} * expm1f(fminf({x}, 0.0f)))"
_RELU6: Final = "fminf(fmaxf({x}, 0.0f), 6.0f)"

FORMULAS: Final = {
    "relu": "fmaxf({x}, 0.0f)",
    "relu6": _RELU6,
    "leaky_relu": "{x} >= 0 ? {x} : {a} * {x}",
    "sigmoid": _SIGMOID,
    "tanh": "tanhf({x})",
    "hard_swish": "{x} * fminf(fmaxf({x} + 3.0f, 0.0f), 6.0f) / 6.0f",
    "hard_sigmoid": "fminf(fmaxf({a} * {x} + {b}, 0.0f), 1.0f)",
    "exp": "expf({x})",
    "log": "logf({x})",
    "sqrt": "sqrtf({x})",
    "rsqrt": "1.0f / sqrtf({x})",
    "abs": "fabsf({x})",
    "neg": "-{x}",
    "floor": "floorf({x})",
    "ceil": "ceilf({x})",
    "round": "eb_round({x})",
    "elu": _ELU,
    "celu": "{x} >= 0 ? {x} : {a} * expm1f(fminf({x}, 0.0f) / {a})",
    "selu": f"{real(SELU_GAMMA)} * " + _ELU.replace("{a}", real(SELU_ALPHA)),
    "gelu": f"0.5f * {{x}} * (1.0f + erff({{x}} * {real(math.sqrt(0.5))}))",
    "gelu_tanh": (
        f"0.5f * {{x}} * (1.0f + tanhf({real(math.sqrt(2 / math.pi))} * "
        f"({{x}} + {real(0.044715)} * {{x}} * {{x}} * {{x}})))"
    ),
    "silu": "{x} * (" + _SIGMOID + ")",
    "mish": "{x} * tanhf(" + _SOFTPLUS + ")",
    "softplus": _SOFTPLUS,
    "softsign": "{x} / (1.0f + fabsf({x}))",
    "erf": "erff({x})",
    "sign": "(float)(({x} > 0) - ({x} < 0))",
    "reciprocal": "1.0f / {x}",
    "square": "{x} * {x}",
    "sin": "sinf({x})",
    "cos": "cosf({x})",
}
"""C expression of every function of `edgebed.program.ops._functions`; a and b are literals."""


def unary(frame: Frame, op: Op) -> None:
    """Lower a function of one real number."""
    layer = cast(Unary, op)
    each(frame, op, lambda values: formula(layer, values[0]))


def formula(op: Unary, x: str) -> str:
    """Return the C expression of a function."""
    if op.function != "clip":
        return FORMULAS[op.function].format(x=x, a=real(op.alpha), b=real(op.beta))
    if op.low is not None:
        x = f"fmaxf({x}, {real(op.low)})"
    return x if op.high is None else f"fminf({x}, {real(op.high)})"
