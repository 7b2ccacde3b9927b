"""The optional packages: what each enables and how to get it."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from edgebed.errors import EdgebedError

CROSS_COMPILER: Final = "arm-none-eabi-gcc"


@dataclass(frozen=True)
class Extra:
    """An optional part of edgebed.

    Attributes:
        name: what goes into the brackets of `pip install 'edgebed[...]'`.
        packages: distribution name by import name.
        enables: what a user can do with it.
    """

    name: str
    packages: dict[str, str]
    enables: str

    @property
    def command(self) -> str:
        """The pip command that installs it."""
        return f"pip install 'edgebed[{self.name}]'"


EXTRAS: Final = (
    Extra("train", {"torch": "torch"}, "train detectors: edgebed run, edgebed demo"),
    Extra(
        "torch",
        {"torch": "torch", "onnxscript": "onnxscript"},
        "read PyTorch modules (.pt2): edgebed compile, edgebed compress",
    ),
    Extra("tflite", {"tflite": "tflite"}, "read .tflite files"),
    Extra(
        "cc",
        {"ziglang": "ziglang"},
        "build firmware, and libraries where no clang or gcc is installed",
    ),
    Extra(
        "emu",
        {"unicorn": "unicorn", "elftools": "pyelftools"},
        "run firmware on the virtual board: edgebed compile, edgebed run",
    ),
    Extra("eval", {"faster_coco_eval": "faster-coco-eval"}, "compute COCO mAP beside VOC AP@0.5"),
    Extra("serial", {"serial": "pyserial"}, "hear real boards: edgebed trace, edgebed run --board"),
    Extra("video", {"av": "av"}, "hold video files before the virtual camera"),
    Extra(
        "bench",
        {
            "onnxruntime": "onnxruntime",
            "ai_edge_litert": "ai-edge-litert",
            "openvino": "openvino",
            "tflite_micro": "tflite-micro",
        },
        "hold networks against these runtimes: edgebed bench, edgebed compare",
    ),
)
BASE: Final = {
    "numpy": "numpy",
    "onnx": "onnx",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "cyclopts": "cyclopts",
    "rich": "rich",
}


def extra_for(module: str) -> Extra | None:
    """Return the extra that holds an importable module; None where none does."""
    top = module.partition(".")[0]
    return next((extra for extra in EXTRAS if top in extra.packages), None)


def version(distribution: str) -> str | None:
    """Return the installed version without importing the package; None where it is absent."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_installed(names: Sequence[str]) -> None:
    """Refuse before hours of work what would fail after them.

    Args:
        names: extras that the work needs; an installed cross compiler makes `cc` unnecessary.

    Raises:
        EdgebedError: a package is missing.
    """
    for extra in EXTRAS:
        if extra.name not in names or (extra.name == "cc" and shutil.which(CROSS_COMPILER)):
            continue
        for module, package in extra.packages.items():
            if find_spec(module) is None:
                raise EdgebedError(
                    f"the package {package} is not installed",
                    why=f"without it you cannot {extra.enables}",
                    try_=extra.command,
                )
