"""Which operator is imported by what, and what to put in the place of the others."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import NoReturn

from edgebed.program.onnx_graph import (
    einsum,
    elementwise,
    functions,
    integers,
    joining,
    logic,
    movement,
    normalising,
    recurrent,
    reducing,
    resizing,
)
from edgebed.program.onnx_graph.convolution import conv, conv_transpose
from edgebed.program.onnx_graph.draft import Draft
from edgebed.program.onnx_graph.graph import DOMAINS
from edgebed.program.onnx_graph.linear import dequantize_linear, quantize_linear
from edgebed.program.onnx_graph.matrix import gemm, matmul
from edgebed.program.onnx_graph.node import Node
from edgebed.program.onnx_graph.pooling import (
    average_pool,
    global_average_pool,
    global_max_pool,
    max_pool,
)

Handler = Callable[[Draft, Node], None]

ONNX: Mapping[str, Handler] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Gemm": gemm,
    "MatMul": matmul,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "QuantizeLinear": quantize_linear,
    "DequantizeLinear": dequantize_linear,
    **elementwise.OPERATORS,
    **functions.OPERATORS,
    **movement.OPERATORS,
    **joining.OPERATORS,
    **reducing.OPERATORS,
    **normalising.OPERATORS,
    **resizing.OPERATORS,
    **logic.OPERATORS,
    **integers.OPERATORS,
    **einsum.OPERATORS,
    **recurrent.OPERATORS,
}
MICROSOFT: Mapping[str, Handler] = {
    "QuantizeLinear": quantize_linear,
    "DequantizeLinear": dequantize_linear,
    **functions.MICROSOFT,
}

_POST = "export the network without its post-processing; the contract decodes and suppresses boxes"
REPLACEMENTS: Mapping[str, str] = {
    "NonMaxSuppression": _POST,
    "TopK": _POST,
    "RoiAlign": _POST,
    "NonZero": _POST,
    "Compress": _POST,
    "EfficientNMS_TRT": _POST,
    "Loop": "unroll the loop before export",
    "Scan": "unroll the loop before export",
    "GridSample": "Resize, or a transposed convolution",
    "ScatterND": "Concat or Where",
    "ScatterElements": "Concat or Where",
    "GatherND": "Gather or Slice with constant indices",
    "GatherElements": "Gather or Slice with constant indices",
    "MaxUnpool": "Resize or ConvTranspose",
    "MaxRoiPool": _POST,
    "LpPool": "AveragePool of the squares",
    "RandomNormal": "a constant",
    "RandomUniform": "a constant",
    "Attention": "MatMul and Softmax (an older operator set writes it so)",
}


def handler(node: Node) -> Handler:
    """Return the importer of a node's operator.

    Raises:
        EdgebedError: there is none; the message says what to put in its place.
    """
    table = MICROSOFT if node.domain == "com.microsoft" else ONNX
    if node.domain in DOMAINS and node.kind in table:
        return table[node.kind]
    refuse(node, table)


def refuse(node: Node, table: Mapping[str, Handler]) -> NoReturn:
    """Raise the error for an operator that is not supported."""
    if node.domain not in DOMAINS:
        raise node.fail(
            f"operator {node.kind!r} of domain {node.domain!r} is not supported",
            why="operators of ONNX and com.microsoft are looked up",
            try_="export with ONNX's own operators",
        )
    raise node.fail(
        f"operator {node.kind!r} is not supported",
        try_=REPLACEMENTS.get(node.kind) or _nearest(node.kind, table),
    )


def _nearest(kind: str, table: Mapping[str, Handler]) -> str:
    close = difflib.get_close_matches(kind, table, n=1, cutoff=0.85)
    if close:
        return f"{close[0]}, which is supported"
    return "write it with supported operators (sums, products, MatMul, Gather, Where, Reduce...)"
