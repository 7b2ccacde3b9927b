"""Functions of one real number in float32, with numpy's exp, log and tanh."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]
Function = Literal[
    "relu", "relu6", "leaky_relu", "sigmoid", "tanh", "hard_swish", "hard_sigmoid", "exp", "log",
    "sqrt", "rsqrt", "abs", "neg", "floor", "ceil", "round", "elu", "celu", "selu", "gelu",
    "gelu_tanh", "silu", "mish", "softplus", "softsign", "erf", "clip", "sign", "reciprocal",
    "square", "sin", "cos",
]  # fmt: skip
"""`round` rounds half to even; `rsqrt` is 1 / sqrt(x); `gelu` uses erf, `gelu_tanh` tanh."""

SELU_ALPHA, SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875  # ONNX's
_ONE, _HALF = np.float32(1), np.float32(0.5)


def apply(
    function: Function,
    x: Floats,
    *,
    alpha: float = 0.0,
    beta: float = 0.0,
    low: float | None = None,
    high: float | None = None,
) -> Floats:
    """Return function(x) for every value, in x's own precision (float32, or float64)."""
    a, b = np.float32(alpha), np.float32(beta)
    with np.errstate(all="ignore"):
        if function == "clip":
            result = _clip(x, low, high)
        elif function in _SHAPED:
            result = _SHAPED[function](x, a, b)
        else:
            result = _PLAIN[function](x)
    return np.asarray(result, x.dtype)


def _clip(x: Floats, low: float | None, high: float | None) -> Floats:
    if low is not None:
        x = np.maximum(x, np.float32(low))
    return x if high is None else np.minimum(x, np.float32(high))


def sigmoid(x: Floats) -> Floats:
    """Return 1 / (1 + exp(-x))."""
    result: Floats = _ONE / (_ONE + np.exp(-x))
    return result


def _relu6(x: Floats) -> Floats:
    return _clip(x, 0, 6)


def _hard_swish(x: Floats) -> Floats:
    return np.asarray(x * _relu6(x + np.float32(3)) / np.float32(6))


def _elu(x: Floats, alpha: np.float32) -> Floats:
    return np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, np.float32(0))))


def _softplus(x: Floats) -> Floats:
    return np.maximum(x, np.float32(0)) + np.log1p(np.exp(-np.abs(x)))


def erf(x: Floats) -> Floats:
    """Return the error function, by Python's own in double precision."""
    flat = np.fromiter(map(math.erf, x.ravel().tolist()), np.float64, x.size)
    return flat.astype(x.dtype).reshape(x.shape)


def _gelu(x: Floats) -> Floats:
    return _HALF * x * (_ONE + erf(x * np.float32(math.sqrt(0.5))))


def _gelu_tanh(x: Floats) -> Floats:
    inner = np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x * x * x)
    return np.asarray(_HALF * x * (_ONE + np.tanh(inner)))


_PLAIN: dict[str, Callable[[Floats], Floats]] = {
    "relu": lambda x: np.maximum(x, np.float32(0)),
    "relu6": _relu6,
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "hard_swish": _hard_swish,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: _ONE / np.sqrt(x),
    "abs": np.abs,
    "neg": np.negative,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "selu": lambda x: np.float32(SELU_GAMMA) * _elu(x, np.float32(SELU_ALPHA)),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": lambda x: x * sigmoid(x),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "softplus": _softplus,
    "softsign": lambda x: x / (_ONE + np.abs(x)),
    "erf": erf,
    "sign": np.sign,
    "reciprocal": lambda x: _ONE / x,
    "square": np.square,
    "sin": np.sin,
    "cos": np.cos,
}  # fmt: skip
_SHAPED: dict[str, Callable[[Floats, np.float32, np.float32], Floats]] = {
    "leaky_relu": lambda x, a, _: np.where(x >= 0, x, a * x),
    "elu": lambda x, a, _: _elu(x, a),
    "celu": lambda x, a, _: np.where(x >= 0, x, a * np.expm1(np.minimum(x, np.float32(0)) / a)),
    "hard_sigmoid": lambda x, a, b: _clip(a * x + b, 0, 1),
}
