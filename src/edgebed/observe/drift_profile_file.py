"""The file of a profile: plain data with numbers of six digits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgebed.errors import EdgebedError


def read_plain(path: Path, known: int) -> dict[str, Any]:
    """Return a profile's plain data, without its format.

    Raises:
        EdgebedError: there is no such file, it is no profile, or of another format than `known`.
    """
    where, try_ = str(path), "a file that --write-profile made"
    try:
        plain = json.loads(path.read_bytes())
    except OSError as error:
        raise EdgebedError(f"cannot be read: {error.strerror}", where=where, try_=try_) from error
    except ValueError as error:
        raise EdgebedError("is no JSON", where=where, why=str(error), try_=try_) from error
    if not isinstance(plain, dict) or "format" not in plain or "thresholds" not in plain:
        raise EdgebedError("is no profile", where=where, try_=try_)
    if (found := plain.pop("format")) != known:
        why = f"this version of edgebed reads format {known}"
        raise EdgebedError(f"has profile format {found}", where=where, why=why, try_=try_)
    return plain


def tuples(plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields of a dataclass: JSON has lists where they have tuples."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in plain.items()}


def rounded(value: Any) -> Any:
    """Return plain data with six digits a number: more say nothing and double the file."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, tuple) else value
