"""What starting costs: help and import stay quick and pull in nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

import edgebed

HEAVY = {"torch", "onnx", "unicorn", "onnxruntime", "ziglang", "av", "PIL", "numpy"}


def _modules_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_import_is_light() -> None:
    assert not _modules_after("import edgebed") & HEAVY


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["doctor"], ["targets"]])
def test_light_verbs_stay_light(arguments: list[str]) -> None:
    code = f"from edgebed.cli import execute\nexecute({arguments!r})"
    assert not _modules_after(code) & (HEAVY - {"numpy"})


def test_public_names_exist_and_are_few() -> None:
    assert len(edgebed.__all__) < 26
    for name in edgebed.__all__:
        assert getattr(edgebed, name) is not None
    assert set(edgebed.__all__) <= set(dir(edgebed))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Programm'"):
        _ = edgebed.Programm
