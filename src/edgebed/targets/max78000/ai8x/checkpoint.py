"""Weights of a network from a quantised checkpoint of the ai8x training tools (spec 2.17)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgebed import events
from edgebed.errors import EdgebedError
from edgebed.targets.max78000.ai8x.network import Network
from edgebed.targets.max78000.ai8x.unpickle import read_checkpoint
from edgebed.targets.max78000.ai8x.weights import Weights

Array = npt.NDArray[Any]
DEFAULT_BITS = 8


def read_quantised(
    path: Path,
    network: Network,
    *,
    skip: int = 0,
    ignore_bn: bool = False,
    listen: events.Listener = events.ignore,
) -> Mapping[int, Weights]:
    """Read a checkpoint's weights, by layer number.

    Weights belong to the layers that have any in the order of their keys in the file.

    Args:
        path: the checkpoint.
        network: the layers that the weights are for.
        skip: number of weights to leave out at the beginning.
        ignore_bn: leave out batch-norm weights instead of stopping.
        listen: receives a note when weights are left over.

    Raises:
        EdgebedError: not a checkpoint, for another architecture, or with weights that are not
            quantised integers; the key is named.
    """
    content = read_checkpoint(path)
    state = content.get("state_dict")
    if not isinstance(state, dict):
        raise EdgebedError("the checkpoint has no `state_dict`", where=str(path))
    _check_architecture(content, network, path)
    keys = list(_weight_keys(state, path, ignore_bn))[skip:]
    takers = [x.number for x in network.layers if x.weighted and x.weight_source is None]
    if len(keys) < len(takers):
        layer = network.layers[takers[len(keys)]]
        raise layer.place.fail(
            f"layer {layer.number} ({layer.op}) has no weights",
            why=f"{path} has weights for {len(keys)} layers, {len(takers)} are needed",
        )
    if len(keys) > len(takers):
        listen(events.Note("compile", f"weights without a layer: {', '.join(keys[len(takers) :])}"))
    return {number: _weights(state, key, path) for number, key in zip(takers, keys, strict=False)}


def _check_architecture(content: Mapping[str, Any], network: Network, path: Path) -> None:
    found = content.get("arch")
    if isinstance(found, str) and found.lower() != network.arch.lower():
        raise EdgebedError(
            f"the checkpoint is for architecture {found!r}",
            where=str(path),
            why=f"{network.file} says {network.arch!r}",
        )


def _weight_keys(state: Mapping[str, Any], path: Path, ignore_bn: bool) -> Iterator[str]:
    for key, value in state.items():
        if not isinstance(key, str) or key.rpartition(".")[2] != "weight" or "." not in key:
            continue
        if not isinstance(value, np.ndarray):
            raise EdgebedError(f"{key} is not a tensor", where=str(path))
        if value.ndim > 1:
            yield key
        elif not (ignore_bn and key.endswith(".bn.weight")):
            raise EdgebedError(
                f"{key} has shape {value.shape}",
                where=str(path),
                why="weights have two axes or more",
                try_="fold the batch norm into the weights",
            )


def _weights(state: Mapping[str, Any], key: str, path: Path) -> Weights:
    source = f"{path}: {key}"
    operation = key.removesuffix(".weight")
    # `conv1.op.weight` belongs to layer `conv1`, whose parameters stand beside `op`.
    layer = operation.rpartition(".")[0] if key.count(".") > 1 else operation
    values = _integers(state[key], source)
    stored = _single(state, f"{layer}.weight_bits", path)
    bits = stored or DEFAULT_BITS
    bias = state.get(f"{operation}.bias")
    return Weights(
        source=source,
        values=values,
        shaped=True,
        bias=None if bias is None else _bias(bias, bits, f"{path}: {operation}.bias"),
        bits=bits if values.any() else 1,
        shift=_single(state, f"{layer}.output_shift", path) or 0,
    )


def _integers(values: Any, source: str) -> Array:
    if not isinstance(values, np.ndarray) or values.size == 0:
        raise EdgebedError("it is not a tensor with values", where=source)
    if values.dtype.kind in "iu":
        return values.astype(np.int64)
    if not np.isfinite(values).all():
        raise EdgebedError("it holds values that are not finite (NaN or infinite)", where=source)
    if (values != np.round(values)).any():
        raise EdgebedError(
            "it holds values that are not integers",
            where=source,
            why="the checkpoint is not quantised",
            try_="the quantised checkpoint (usually named *-q.pth.tar)",
        )
    return values.astype(np.int64)


def _bias(values: Any, bits: int, source: str) -> Array:
    """Return biases of one step = 128 accumulator units; stored times 2**(bits - 1)."""
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.size == 0:
        raise EdgebedError("it is not a vector", where=source)
    if not np.isfinite(values).all():
        raise EdgebedError("it holds values that are not finite (NaN or infinite)", where=source)
    return np.floor(values / 2.0 ** (bits - 1)).astype(np.int64)


def _single(state: Mapping[str, Any], key: str, path: Path) -> int | None:
    value = state.get(key)
    if value is None:
        return None
    if not isinstance(value, np.ndarray) or value.size != 1:
        raise EdgebedError("it is not a single number", where=f"{path}: {key}")
    return int(_integers(value, f"{path}: {key}").reshape(())[()])
