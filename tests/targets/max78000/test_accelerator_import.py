"""Importing the target is cheap; its names come when they are asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgebed.targets import max78000


def test_importing_the_target_does_not_load_the_model() -> None:
    code = (
        "import sys, edgebed.targets.max78000 as t; "
        "assert 'edgebed.targets.max78000.accelerator' not in sys.modules; "
        "assert 'torch' not in sys.modules; print(t.Accelerator.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "Accelerator", done.stderr


def test_unknown_names_are_attribute_errors() -> None:
    assert "Accelerator" in dir(max78000)
    with pytest.raises(AttributeError, match="Acelerator"):
        _ = max78000.Acelerator  # type: ignore[attr-defined]
