"""The ONNX importer: float graphs, quantised ones (QDQ and QLinear operators), run-time scales.

`read` takes a file, `from_model` a message. A node's shapes are worked out when it is imported, so
arithmetic on shapes is folded on the way (`folding`); the batch is 1 and its axis is left away
(`draft`, `axes`); an op between DequantizeLinear and QuantizeLinear becomes an integer op with a
rule of rounding `float` (`scales`, `weighted`); what moves numbers stays integer without one.

Held against ONNX Runtime 1.31 on x86-64, int8 and uint8 activations, with all graph optimisations
and with none (`tests/unit/program/test_onnx_quantised.py`, `test_onnx_zero_first.py`):

- Equal in every integer: Conv (dense, grouped, depthwise, dilated), ConvTranspose, Gemm and MatMul
  with constant weights, MatMul of two activations, Add, Sub, Mul, Max, Concat, MaxPool,
  AveragePool, GlobalAveragePool, ReduceMean, Softmax, every function of one number (Sigmoid, Tanh,
  LeakyRelu, HardSwish, ...), Resize (nearest and linear), and what only moves numbers.
- ONNX Runtime's fused kernels of Add, Mul and AveragePool (QLinearAdd, QLinearMul,
  QLinearAveragePool) add the zero point before they round half to even; the standard and every
  other kernel of it add it after. The importer says so in the rule (`Affine.zero_first`) where
  ONNX Runtime uses these kernels: operands and result of one 8-bit type and no activation between
  that cuts (`scales.as_one_integer_op`). Without optimisations ONNX Runtime itself answers
  otherwise in the middle of two integers.
- One quantum apart through float32 rounding near a middle: Conv with int8 activations whose
  result no DequantizeLinear follows, which stays real in ONNX Runtime (1 in 2,000 of random
  results).
- What only moves numbers, and MaxPool, between an op and its QuantizeLinear works on integers here;
  ONNX Runtime leaves int8 real there, and uint8 behind a Relu, which moves single results as above.
- Activations with a scale a channel (NNCF has them before depthwise convolutions) are computed in
  reals, step by step.
- MatMul followed by Add of a real bias is one integer layer here, its bias rounded to accumulator
  units; ONNX Runtime adds it in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgebed.program.types import Program

if TYPE_CHECKING:
    import onnx


def read(path: Path, input_shapes: Mapping[str, tuple[int, ...]] | None = None) -> Program:
    """Read an `.onnx` file; the program has the file's name, for graphs bear their exporter's.

    Args:
        path: of the file; external data lies beside it.
        input_shapes: by input name, batch axis included, where the file leaves sizes open.

    Raises:
        EdgebedError: the file is damaged, or holds what is not supported; names the layer.
    """
    from edgebed.program.onnx_graph.load import load

    program = _program(load(path), str(path), path.parent, input_shapes)
    return program.with_(name=path.stem)


def from_model(
    model: onnx.ModelProto,
    where: str,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Program:
    """Import a model that is in memory.

    Args:
        model: with every tensor inside.
        where: it came from, for messages.
        input_shapes: see `read`.

    Raises:
        EdgebedError: see `read`.
    """
    return _program(model, where, None, input_shapes)


def _program(
    model: onnx.ModelProto,
    where: str,
    folder: Path | None,
    input_shapes: Mapping[str, tuple[int, ...]] | None,
) -> Program:
    from edgebed.program.onnx_graph.building import build
    from edgebed.program.onnx_graph.graph import read_graph

    return build(read_graph(model, where, folder, input_shapes or {}))
