"""Verdicts on a deployment: the first departure, and what every assertion says."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.observe.departure_verdict import command, departure_verdict
from edgebed.observe.layer_error import LayerError
from edgebed.observe.observed import Observed, Signal, paired
from edgebed.observe.trace_comparison import TraceComparison
from edgebed.observe.verdict import Verdict, ranked

MOST_BYTES: Final = 60_000_000
"""Of values of either trace that assertions get to see at once."""

Assertion = Callable[[Observed, Observed], list[Verdict]]


def examine(
    comparison: TraceComparison, assertions: Mapping[str, Assertion] | None = None
) -> tuple[Verdict, ...]:
    """Return every verdict on a comparison, the surest first.

    Args:
        comparison: of two traces.
        assertions: by name; None takes those of `edgebed.observe.assertions`.

    Raises:
        EdgebedError: an assertion failed to run, or gave something else than verdicts.
    """
    found = [one for one in (departure_verdict(comparison),) if one is not None]
    chosen = known_assertions() if assertions is None else assertions
    if chosen:
        pair = paired(comparison.reference.path, comparison.device.path, most_bytes=MOST_BYTES)
        reference, device = pair[0], _renamed(pair[1], comparison)
        for name, assertion in chosen.items():
            found += _asked(name, assertion, reference, device, comparison)
    return ranked(found)


def known_assertions() -> Mapping[str, Assertion]:
    """Return the assertions that come with edgebed, by name."""
    module = importlib.import_module("edgebed.observe.assertions")
    found: Mapping[str, Assertion] = getattr(module, "ASSERTIONS", {})
    return found


def user_assertion(where: str) -> tuple[str, Assertion]:
    """Load a function `(Observed, Observed) -> list[Verdict]`.

    Args:
        where: `FILE.py:function`.

    Returns:
        Its name and the function.

    Raises:
        EdgebedError: the file cannot be loaded or has no such function.
    """
    file, _, name = where.rpartition(":")
    path = Path(file)
    if not file or not path.is_file():
        raise EdgebedError(f"there is no file {file or where!r}", where=f"--assert {where}",
                           try_="--assert checks.py:my_check")  # fmt: skip
    module = _loaded(path)
    found = getattr(module, name, None)
    if not callable(found):
        functions = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise EdgebedError(f"has no function {name!r}", where=file,
                           try_=did_you_mean(name, functions))  # fmt: skip
    return name, found


def _loaded(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"edgebed_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise EdgebedError("is no Python file", where=str(path), try_="FILE.py:function")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses in the file look themselves up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's file raises
        raise EdgebedError(
            f"cannot be loaded: {type(error).__name__}: {error}", where=str(path)
        ) from error
    return module


def _asked(
    name: str, assertion: Assertion, reference: Observed, device: Observed,
    comparison: TraceComparison,
) -> Sequence[Verdict]:  # fmt: skip
    try:
        found = assertion(reference, device)
    except EdgebedError:
        raise
    except Exception as error:  # whatever a user's function raises
        raise EdgebedError(
            f"raised {type(error).__name__}: {error}",
            where=f"assertion {name}",
            try_="a function that returns a list of verdicts for every pair of traces",
        ) from error
    if not isinstance(found, list) or not all(isinstance(one, Verdict) for one in found):
        raise EdgebedError(
            f"returned {type(found).__name__}",
            where=f"assertion {name}",
            why="a list of edgebed.observe.verdict.Verdict is needed",
        )
    return [one if one.command else replace(one, command=command(comparison)) for one in found]


def _renamed(device: Observed, comparison: TraceComparison) -> Observed:
    """Return the device's layers by the reference's names, order and axes where they differ."""
    layers: dict[str, Signal] = {}
    taken = set()
    for error in comparison.errors:
        key = error.pair.device
        if error.pair.role != "layer" or key[0] != "layer" or key[1] not in device.layers:
            continue
        layers[error.name] = _as_reference(device.layers[key[1]], error)
        taken.add(key[1])
    rest = {n: s for n, s in device.layers.items() if n not in taken and n not in layers}
    figures = {e.pair.device[1]: e.name for e in comparison.errors if e.pair.role == "layer"}
    renamed = {figures.get(name, name): value for name, value in device.layer_figures.items()}
    return replace(device, layers={**layers, **rest}, layer_figures=renamed)


def _as_reference(signal: Signal, error: LayerError) -> Signal:
    order = error.pair.order
    if signal.name == error.name and not order.moves:
        return signal
    stored = tuple(order.of(one) if order.moves else one for one in signal.stored)
    return replace(signal, name=error.name, stored=stored)
