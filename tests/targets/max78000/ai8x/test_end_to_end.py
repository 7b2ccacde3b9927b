"""Golden cases through the compiler and the virtual accelerator, placed as given and anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai8x_cases import every_case, read_case
from image_runner import run_image

from edgebed.program.run import run
from edgebed.targets.max78000.compiler import compile_program


@every_case
@pytest.mark.parametrize("replan", [False, True], ids=["given", "replanned"])
def test_accelerator_gives_the_expected_outputs(case: Path, replan: bool) -> None:
    project = read_case(case)
    x = np.load(case / "sample_input.npy")
    compiled = compile_program(project, replan=replan)
    outputs, maps = run_image(compiled.image, x)
    expected = run(project.program, x)
    assert outputs.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(outputs[name], expected[name], err_msg=name)
    final = project.program.outputs[0]
    np.testing.assert_array_equal(outputs[final], np.load(case / "expected_output.npy"))
    with np.load(case / "layer_outputs.npz") as layers:
        np.testing.assert_array_equal(maps[list(maps)[-1]], layers[final])
