"""What to do about operators that cannot be converted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edgebed.errors import did_you_mean

_RECURRENT = "convolutions over time, or the network unrolled to a fixed number of steps"
_DILATED = "the network converted again by a newer TensorFlow, which writes dilated convolutions"
_LATER = "end the network before it and compute it in the application"

_ADVICE: Final = {
    "ADD_N": "ADD of two tensors at a time",
    "BATCH_TO_SPACE_ND": _DILATED,
    "SPACE_TO_BATCH_ND": _DILATED,
    "BIDIRECTIONAL_SEQUENCE_LSTM": _RECURRENT,
    "BIDIRECTIONAL_SEQUENCE_RNN": _RECURRENT,
    "CONV_3D": "CONV_2D on frames, or frames stacked as channels",
    "CUMSUM": _LATER,
    "EMBEDDING_LOOKUP": _LATER,
    "FAKE_QUANT": "the network converted with its quantisation applied",
    "GATHER_ND": "GATHER or SLICE with constant indices",
    "HASHTABLE_LOOKUP": _LATER,
    "L2_POOL_2D": "AVERAGE_POOL_2D or MAX_POOL_2D",
    "LOCAL_RESPONSE_NORMALIZATION": "batch normalisation, folded into the convolution",
    "LSTM": _RECURRENT,
    "NON_MAX_SUPPRESSION_V4": "the network's raw boxes and scores, suppressed in the application",
    "NON_MAX_SUPPRESSION_V5": "the network's raw boxes and scores, suppressed in the application",
    "ONE_HOT": _LATER,
    "RELU_0_TO_1": "RELU6",
    "RNN": _RECURRENT,
    "SELECT": "MAXIMUM, MINIMUM or a product with a mask",
    "SELECT_V2": "MAXIMUM, MINIMUM or a product with a mask",
    "SVDF": "CONV_2D over time and FULLY_CONNECTED",
    "TOPK_V2": _LATER,
    "TRANSPOSE_CONV_3D": "TRANSPOSE_CONV on frames",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _RECURRENT,
    "UNIDIRECTIONAL_SEQUENCE_RNN": _RECURRENT,
    "WHERE": _LATER,
}


def advice(kind: str, *, custom: bool, known: Iterable[str]) -> str:
    """Return what to replace an operator with."""
    if kind in _ADVICE:
        return _ADVICE[kind]
    if kind.startswith("Flex"):
        return "the network converted with TFLITE_BUILTINS alone, without SELECT_TF_OPS"
    if kind.startswith("edgetpu"):
        return "the network before it went through the Edge TPU compiler"
    if custom:
        return "end the network before it, or build it from standard operators"
    if kind.startswith("STABLEHLO"):
        return "the network converted to TFLITE_BUILTINS operators"
    return f"another operator: {did_you_mean(kind, known)}"
