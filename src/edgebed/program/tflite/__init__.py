"""Reading .tflite files: `read` gives the program that computes what the file says."""

from __future__ import annotations

from pathlib import Path

from edgebed.program.types import Program


def read(path: Path) -> Program:
    """Read a TensorFlow Lite network, quantised or float.

    Integer networks compute what TensorFlow Lite Micro computes, bit for bit. Inputs and outputs
    keep the file's names and types; inside, unsigned bytes are signed ones with a zero point 128
    lower. Maps are transposed to channels, rows, columns around the ops that need them so.

    Args:
        path: of the .tflite file.

    Raises:
        EdgebedError: the file is absent, damaged or no TensorFlow Lite file; it breaks a rule of
            the quantisation specification; an operator is not supported.
    """
    from edgebed.program.tflite.importer import program_of
    from edgebed.program.tflite.schema import read_file

    return program_of(read_file(Path(path)))
