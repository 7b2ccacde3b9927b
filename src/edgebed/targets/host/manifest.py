"""What a compiled folder says about itself: `manifest.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from edgebed.errors import EdgebedError

FILE: Final = "manifest.json"
VERSION: Final = 2


@dataclass(frozen=True)
class TensorFacts:
    """An input or output as the imported file has it.

    Attributes:
        name: in the file.
        shape: in the file, batch axis included.
        dtype: numpy's name.
        scale: real value of one step; 1.0 for real numbers.
        zero_point: the integer that means 0.0.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int


@dataclass(frozen=True)
class LayerFacts:
    """A layer: its name, the op's kind, multiply-accumulates, bytes moved, output shape.

    `real`: it computes in float32, so that the int8 peak says nothing about it.
    """

    name: str
    kind: str
    macs: int
    nbytes: int
    shape: tuple[int, ...]
    real: bool = False


@dataclass(frozen=True)
class InnerFacts:
    """A tensor inside the network as an observed build shows it.

    Attributes:
        name: in the program.
        kind: of the op that writes it.
        shape: as it lies, without batch axis.
        axes: of the program's tensor, from the sparsest to the densest: (1, 2, 0) for a map with
            channels last.
        dtype: numpy's name.
        scale: real value of one step; 1.0 for real numbers.
        zero_point: the integer that means 0.0.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int


@dataclass(frozen=True)
class Manifest:
    """A compiled folder.

    Attributes:
        name: C identifier of the network.
        title: the network's own name.
        digest: of the network and its generated code.
        machine: processor family the library is for, `platform.machine()`.
        system: operating system, `sys.platform`.
        library: file name of the shared library.
        library_sha256: of its bytes; empty until it is built.
        inputs: tensors in the library's order.
        outputs: tensors in the library's order.
        layers: in the order of execution.
        arena_bytes: memory of one run.
        arena_lower_bound: no placement of the tensors needs less.
        constant_bytes: packed weights and tables.
        inner: what an observed build shows between inputs and outputs, in this order.
    """

    name: str
    title: str
    digest: str
    machine: str
    system: str
    library: str
    library_sha256: str
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    layers: tuple[LayerFacts, ...]
    arena_bytes: int
    arena_lower_bound: int
    constant_bytes: int
    inner: tuple[InnerFacts, ...] = ()

    def to_json(self) -> str:
        """Return the text of `manifest.json`."""
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1) + "\n"


def read(folder: Path) -> Manifest:
    """Return the manifest of a compiled folder.

    Raises:
        EdgebedError: it is missing, damaged, or of another version.
    """
    path = folder / FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EdgebedError(
            "is no compiled network", where=str(folder), why=f"{FILE} is missing",
            try_="edgebed compile MODEL --target host --out DIR",
        ) from None  # fmt: skip
    except (OSError, ValueError) as error:
        raise EdgebedError(
            "cannot be read", where=str(path), why=str(error), try_="compile the network again"
        ) from error
    return _parsed(path, data)


def _parsed(path: Path, data: Any) -> Manifest:
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise EdgebedError(
            "was written by another version of edgebed", where=str(path),
            try_="compile the network again",
        )  # fmt: skip
    try:
        fields = {key: value for key, value in data.items() if key != "version"}
        fields["inputs"] = tuple(_tensor(one) for one in data["inputs"])
        fields["outputs"] = tuple(_tensor(one) for one in data["outputs"])
        fields["layers"] = tuple(
            LayerFacts(**{**one, "shape": tuple(one["shape"])}) for one in data["layers"]
        )
        fields["inner"] = tuple(_inner(one) for one in data.get("inner", ()))
        manifest = Manifest(**fields)
        _check(manifest)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EdgebedError(
            "is damaged", where=str(path), why=f"{type(error).__name__}: {error}",
            try_="compile the network again",
        ) from error  # fmt: skip
    return manifest


def _tensor(one: Mapping[str, Any]) -> TensorFacts:
    return TensorFacts(**{**one, "shape": tuple(int(n) for n in one["shape"])})


def _inner(one: Mapping[str, Any]) -> InnerFacts:
    shape, axes = (tuple(int(n) for n in one[key]) for key in ("shape", "axes"))
    return InnerFacts(**{**one, "shape": shape, "axes": axes})


def _check(manifest: Manifest) -> None:
    if not manifest.name.isidentifier() or "/" in manifest.library:
        raise ValueError("a name is not one")
    if not isinstance(manifest.arena_bytes, int) or manifest.arena_bytes < 0:
        raise ValueError("the arena's size is not a number")
