"""The ONNX importer: float graphs, quantised ones (QDQ and QLinear operators), run-time scales.

`read` takes a file, `from_model` a message. A node's shapes are worked out when it is imported, so
arithmetic on shapes is folded on the way (`folding`); the batch is 1 and its axis is left away
(`draft`, `axes`); an op between DequantizeLinear and QuantizeLinear becomes an integer op with a
rule of rounding `float` (`scales`, `weighted`); what moves numbers stays integer without one.

Held against ONNX Runtime 1.31 on x86-64, int8 and uint8 activations, with all graph optimisations
and with none (`tests/unit/program/test_onnx_quantised.py`):

- Equal in every integer: Conv (dense, grouped, depthwise, dilated), ConvTranspose, Gemm and MatMul
  with constant weights, MatMul of two activations, Add, Sub, Mul, Max, Concat, MaxPool,
  AveragePool without padding, GlobalAveragePool, ReduceMean, Softmax, every function of one number
  (Sigmoid, Tanh, LeakyRelu, HardSwish, ...), Resize by nearest, and what only moves numbers.
- One quantum apart now and then, where the exact result lies in the middle of two integers (or
  within float32 rounding of it): Conv with int8 activations, which ONNX Runtime sums in float32
  (about 1 in 2,000 of uniformly random results); Add of scales in a simple ratio, which its
  vectorised kernel rounds together with the zero point (0.4 %); AveragePool whose padding does not
  count, which it sums as reals (about 1 %); linear Resize to the same scale, which it weighs with
  both axes' products at once (1 % to 7 %).
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
    """Read an `.onnx` file.

    Args:
        path: of the file; external data lies beside it.
        input_shapes: by input name, batch axis included, where the file leaves sizes open.

    Raises:
        EdgebedError: the file is damaged, or holds what is not supported; names the layer.
    """
    from edgebed.program.onnx_graph.load import load

    return _program(load(path), str(path), path.parent, input_shapes)


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
