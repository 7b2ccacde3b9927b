"""What an application computes with, as sources of inner tensors: sessions and interpreters."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.observe.recorders import litert, onnx_runtime
from edgebed.observe.trace import Level, Manifest, Tensor
from edgebed.program.types import Array


class Runtime(Protocol):
    """Shows what a runtime computed."""

    def manifest(self, level: Level) -> Manifest:
        """Return what a trace of it begins with."""

    def renamed(self, tensors: list[Tensor]) -> list[Tensor]:
        """Return a frame's tensors with the network's own names and scales for its inputs."""

    def tensors(self, inputs: Mapping[str, Array]) -> Iterable[Tensor]:
        """Return inner tensors and outputs.

        Args:
            inputs: what the application recorded, by name.
        """


def runtime_of(source: object) -> Runtime:
    """Return what reads a session, an interpreter or a network's file.

    Raises:
        EdgebedError: it is nothing of these.
    """
    if hasattr(source, "get_tensor_details") and hasattr(source, "invoke"):
        return _LiteRt(source)
    if hasattr(source, "get_inputs") and hasattr(source, "run"):
        return _Onnx(_path_of(source))
    if isinstance(source, str | Path):
        path = Path(source)
        return _Onnx(path) if path.suffix.lower() == ".onnx" else _LiteRtFile(path)
    raise EdgebedError(
        f"{type(source).__name__} shows no layers",
        where="watch.layers",
        try_="an ONNX Runtime session, a LiteRT interpreter, or a mapping of arrays by name",
    )


def _path_of(session: Any) -> Path:
    path = getattr(session, "_model_path", None)
    if not path or not Path(path).is_file():
        raise EdgebedError(
            "the session was not made from a file",
            where="watch.layers",
            try_='watch.layers("model.onnx")',
        )
    return Path(path)


class _Onnx:
    """Computes once more in a session of its own, whose outputs are all tensors."""

    def __init__(self, path: Path) -> None:
        self._graph = onnx_runtime.read(path)
        self._session: Any = None

    def manifest(self, level: Level) -> Manifest:
        """See `Runtime.manifest`."""
        return onnx_runtime.manifest(self._graph, level)

    def renamed(self, tensors: list[Tensor]) -> list[Tensor]:
        """See `Runtime.renamed`."""
        return _with_names(tensors, list(self._graph.inputs), {})

    def tensors(self, inputs: Mapping[str, Array]) -> Iterable[Tensor]:
        """See `Runtime.tensors`."""
        if self._session is None:
            self._session = onnx_runtime.session_of(self._graph, "full")
        given = _by_order(inputs, self._graph.inputs)
        names = [one.name for one in self._session.get_outputs()]
        try:
            found = dict(zip(names, self._session.run(names, given), strict=True))
        except Exception as error:  # the runtime has exceptions of its own
            why = " ".join(str(error).split())[:200]
            raise EdgebedError(
                "cannot compute", where=f"watch.layers, {self._graph.path}", why=why
            ) from error
        everything = onnx_runtime.frame_tensors(self._graph, {}, found)
        return [one for one in everything if one.role != "input"]


def _by_order(inputs: Mapping[str, Array], wanted: Mapping[str, Any]) -> dict[str, Array]:
    """Return inputs under the network's names: by name, or else in order."""
    if set(wanted) <= set(inputs):
        return {name: inputs[name] for name in wanted}
    if len(wanted) != len(inputs):
        raise EdgebedError(
            f"{len(inputs)} inputs were recorded, the network has {len(wanted)}",
            where="watch.layers",
            try_="watch.input({name: array}) before it",
        )
    return dict(zip(wanted, inputs.values(), strict=True))


@dataclass(frozen=True)
class _LiteRtFile:
    """A file alone: for name and digest."""

    path: Path

    def manifest(self, level: Level) -> Manifest:
        """See `Runtime.manifest`."""
        try:
            digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
        except OSError as error:
            raise EdgebedError("cannot be read", where=str(self.path), why=str(error)) from error
        return Manifest(litert.SOURCE, level, self.path.stem, digest)

    def renamed(self, tensors: list[Tensor]) -> list[Tensor]:
        """See `Runtime.renamed`."""
        return tensors

    def tensors(self, inputs: Mapping[str, Array]) -> Iterable[Tensor]:
        """See `Runtime.tensors`: only an interpreter has them.

        Raises:
            EdgebedError: always.
        """
        raise EdgebedError(
            f"{self.path} computes nothing by itself",
            where="watch.layers",
            try_="watch.layers(interpreter), made with experimental_preserve_all_tensors=True",
        )


@dataclass(frozen=True)
class _LiteRt:
    """Reads what the application's own interpreter holds."""

    interpreter: Any

    def manifest(self, level: Level) -> Manifest:
        """See `Runtime.manifest`."""
        layers = tuple(name for _, name, _ in litert.layers_of(self.interpreter))
        path = getattr(self.interpreter, "_model_path", None)
        known = Manifest(litert.SOURCE, level)
        if path and Path(path).is_file():
            known = _LiteRtFile(Path(path)).manifest(level)
        return replace(known, layers=layers)

    def renamed(self, tensors: list[Tensor]) -> list[Tensor]:
        """See `Runtime.renamed`."""
        return _with_names(tensors, list(self._inputs), self._inputs)

    def tensors(self, inputs: Mapping[str, Array]) -> Iterable[Tensor]:
        """See `Runtime.tensors`.

        Raises:
            EdgebedError: the interpreter was made to forget them.
        """
        return litert.read_rows(self.interpreter, self._rows)

    @cached_property
    def _rows(self) -> tuple[litert.Row, ...]:
        rows = litert.rows_of(self.interpreter)
        litert.check_kept(self.interpreter, rows)
        return rows

    @cached_property
    def _inputs(self) -> dict[str, Any]:
        return {one["name"]: one for one in self.interpreter.get_input_details()}


def _with_names(
    tensors: list[Tensor], names: list[str], details: Mapping[str, Any]
) -> list[Tensor]:
    given = [one for one in tensors if one.role == "input"]
    if len(given) != len(names) and not {one.name for one in given} <= set(names):
        return tensors
    new = dict(zip((one.name for one in given), names, strict=False))
    return [
        _described(one, one.name if one.name in names else new[one.name], details)
        if one.role == "input"
        else one
        for one in tensors
    ]


def _described(tensor: Tensor, name: str, details: Mapping[str, Any]) -> Tensor:
    parameters = details.get(name, {}).get("quantization_parameters", {})
    scales, zeros = parameters.get("scales", ()), parameters.get("zero_points", ())
    if len(scales) != 1 or np.dtype(tensor.dtype).kind not in "iu":
        return replace(tensor, name=name)
    return replace(tensor, name=name, scale=float(scales[0]), zero_point=int(zeros[0]))
