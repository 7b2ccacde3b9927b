"""Training state on disk: written whole or not at all, read without executing anything."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from edgebed import files
from edgebed.errors import EdgebedError


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors, numbers, texts, lists and dictionaries of them.

    Raises:
        EdgebedError: the disk is full; the previous checkpoint is still there.
    """
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    files.write_bytes(path, buffer.getvalue())


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote. Nothing but tensors and plain values is ever unpickled.

    Raises:
        EdgebedError: the file is absent, damaged, or holds other objects.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise EdgebedError("there is no such checkpoint", where=str(path)) from error
    except Exception as error:  # torch raises half a dozen kinds for a damaged file
        raise EdgebedError(
            "this is not a readable checkpoint",
            where=str(path),
            why=str(error).splitlines()[0] if str(error) else type(error).__name__,
            try_="delete it to train anew",
        ) from error
    if not isinstance(state, dict) or "settings" not in state:
        raise EdgebedError("this is not a training checkpoint", where=str(path))
    return state


def differs(state: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint was written under other settings."""
    return bool(json.loads(state["settings"]) != json.loads(dump(settings)))


def check_settings(path: Path, state: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse to continue a run under other settings.

    Raises:
        EdgebedError: names the first setting that differs.
    """
    saved = json.loads(state["settings"])
    wanted = json.loads(dump(settings))
    for name in sorted({*saved, *wanted}):
        if saved.get(name) != wanted.get(name):
            raise EdgebedError(
                f"this run was started with {name} = {_short(saved.get(name))}, "
                f"now it is {_short(wanted.get(name))}",
                where=str(path),
                try_="the same settings, or a new folder",
            )


def settings_of(path: Path, state: Mapping[str, Any], needed: Sequence[str]) -> dict[str, Any]:
    """Return the settings a checkpoint was written under.

    Raises:
        EdgebedError: one of `needed` is missing: the checkpoint is of another stage.
    """
    settings: dict[str, Any] = json.loads(state["settings"])
    missing = [name for name in needed if name not in settings]
    if missing:
        raise EdgebedError(
            f"this checkpoint does not say its {missing[0]}",
            where=str(path),
            try_="the file quantised.pt of a training run",
        )
    return settings


def dump(settings: Mapping[str, Any]) -> str:
    """Return settings as the text that a checkpoint stores."""
    return json.dumps(settings, sort_keys=True)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else text[:57] + "..."
