"""The golden cases, as the tests of this folder read them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from edgebed.targets.max78000.ai8x import parse_flags, read_project
from edgebed.targets.max78000.hints import Project

_ROOT = Path(__file__).parents[4] / os.environ.get("EDGEBED_CASES", "../shared/cases")
_FOUND = sorted(path.parent for path in (_ROOT.resolve() / "max78000").glob("*/network.yaml"))
_ABSENT = pytest.param(Path(), marks=pytest.mark.skip(reason="EDGEBED_CASES: no max78000 cases"))
every_case = pytest.mark.parametrize("case", _FOUND or [_ABSENT], ids=lambda case: case.name)
every_checkpoint = pytest.mark.parametrize(
    "case",
    [case for case in _FOUND if (case / "checkpoint.pth.tar").exists()] or [_ABSENT],
    ids=lambda case: case.name,
)


def read_case(case: Path, weights: str = "weights_int.npz") -> Project:
    """Read a case with the command line that it records."""
    flags = parse_flags(json.loads((case / "meta.json").read_text())["case"]["args"])
    return read_project(case / "network.yaml", case / weights, flags)


def config_of(case: Path) -> dict[str, Any]:
    """Return the resolved configuration of a case."""
    config: dict[str, Any] = json.loads((case / "meta.json").read_text())["config"]
    return config
