"""The PyTorch front door: a module, through `torch.export` and ONNX, becomes a program.

The one file of `edgebed.program` that imports torch, and only when a function is called.
"""

from __future__ import annotations

import io
import logging
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebed.errors import EdgebedError
from edgebed.program import onnx_graph
from edgebed.program.types import Program

if TYPE_CHECKING:
    import torch

OPSET = 20
"""The newest operator set in which torch writes attention as products and sums."""

LARGEST_BYTES = 1 << 31
"""An archive with more is not loaded."""

_UNSAFE_JSON = (b'"expr_str"', b'"use_pickle": true', b': "custom_obj_', b': "opaque_obj_')
_INSTALL = "pip install 'edgebed[torch]'"


def from_torch(module: torch.nn.Module, example_inputs: Sequence[torch.Tensor]) -> Program:
    """Import a module for inference.

    Args:
        module: any module that `torch.export` can follow; taken in evaluation mode, and left in
            the mode it was in. Parameters are read, not changed.
        example_inputs: one tensor an argument, with a batch axis of 1; they fix every shape.

    Returns:
        A program in float32 whose inputs and outputs have the names that torch gives.

    Raises:
        EdgebedError: torch or onnxscript is missing, torch cannot export the module, or an
            operator is not supported.
    """
    torch = _torch()
    name = type(module).__name__
    training = module.training
    try:
        with _quiet(), torch.no_grad():
            exported = torch.export.export(module.eval(), tuple(example_inputs))
    except EdgebedError:
        raise
    except Exception as error:  # torch raises many kinds, its own and the module's
        raise _failed("torch.export cannot follow the module", name, error) from error
    finally:
        module.train(training)
    return _imported(exported, name)


def read_torch(path: Path) -> Program:
    """Import a program that `torch.export.save` wrote (`.pt2`), with fixed shapes.

    `torch.export.load` would run code that an archive brings along (pickles, libraries, symbolic
    expressions); an archive with any of them is refused before it is loaded.

    Raises:
        EdgebedError: see `from_torch`; or the file is missing, damaged, or of another kind.
    """
    torch = _torch()
    if not path.is_file():
        raise EdgebedError("cannot read: no such file", where=str(path))
    _check_archive(path)
    try:
        with _quiet():
            exported = torch.export.load(path)
    except Exception as error:  # torch raises many kinds on damaged archives
        raise _failed(
            "not a program of torch.export", str(path), error, "torch.export.save(exported, path)"
        ) from error
    return _imported(exported, str(path))


def _check_archive(path: Path) -> None:
    """Refuse an archive whose loading would run code that it holds."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = _code_in(archive)
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        raise EdgebedError("a damaged archive", where=str(path), why=str(error)[:200]) from error
    if found is not None:
        raise EdgebedError(
            f"holds {found}",
            where=str(path),
            why="loading it could run code of the file",
            try_="export again with torch.export.save, with plain tensors and fixed shapes",
        )


def _code_in(archive: zipfile.ZipFile) -> str | None:
    entries = archive.infolist()
    if sum(entry.file_size for entry in entries) > LARGEST_BYTES:
        return f"more than {LARGEST_BYTES} bytes"
    for entry in entries:
        name = entry.filename
        if "/aotinductor/" in name or name.endswith((".so", ".dll", ".pkl")):
            return f"compiled or pickled code ({name!r})"
        if name.endswith(".pt") and not _plain_tensors(archive.read(name)):
            return f"pickled objects ({name!r})"
        if name.endswith(".json"):
            text = archive.read(name)
            if any(mark in text for mark in _UNSAFE_JSON):
                return f"symbolic sizes or objects ({name!r})"
    return None


def _plain_tensors(data: bytes) -> bool:
    """Return whether a pickle holds tensors and plain containers alone."""
    try:
        with _quiet():
            _torch().load(io.BytesIO(data), weights_only=True)
    except Exception:  # whatever torch says, it is not known to be harmless
        return not data
    return True


def _imported(exported: Any, where: str) -> Program:
    torch = _torch()
    try:
        with _quiet():
            converted = torch.onnx.export(exported, dynamo=True, opset_version=OPSET, verbose=False)
        model = converted.model_proto
    except ModuleNotFoundError as error:
        raise EdgebedError(f"{error.name} is not installed", where=where, try_=_INSTALL) from error
    except Exception as error:  # torch raises many kinds
        raise _failed("torch cannot write the module as ONNX", where, error) from error
    model.graph.name = Path(where).stem
    return onnx_graph.from_model(model, where)


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise EdgebedError("PyTorch is not installed", try_=_INSTALL) from error
    return torch


def _failed(
    what: str, where: str, error: Exception, try_: str = "operations that torch.export supports"
) -> EdgebedError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    why = f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]
    return EdgebedError(what, where=where, why=why, try_=try_)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch from logging tracebacks and warning about what a user cannot change."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
