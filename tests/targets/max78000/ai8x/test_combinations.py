"""Combinations of features: the accelerator, placed as given and anew, equals the program."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from combination_projects import ONLY_AS_PLACED, PROJECTS, one
from image_runner import run_image
from small_project import Small, mask

from edgebed.errors import EdgebedError
from edgebed.program.run import run, trace
from edgebed.targets.max78000.ai8x import read_project
from edgebed.targets.max78000.compiler import compile_program


def check(small: Small, folder: Path, *, replan: bool) -> None:
    project, x = small.read(folder)
    expected = run(project.program, x)
    outputs, _ = run_image(compile_program(project, replan=replan).image, x)
    assert outputs.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(outputs[name], values, err_msg=name)


@pytest.mark.parametrize("replan", [False, True], ids=["given", "replanned"])
@pytest.mark.parametrize("name", PROJECTS)
def test_accelerator_equals_the_program(name: str, replan: bool, tmp_path: Path) -> None:
    check(PROJECTS[name], tmp_path, replan=replan)


@pytest.mark.parametrize("name", ONLY_AS_PLACED)
def test_parts_of_maps_are_read_where_they_are(name: str, tmp_path: Path) -> None:
    check(ONLY_AS_PLACED[name], tmp_path, replan=False)


@pytest.mark.parametrize(
    ("small", "message"),
    [
        (
            Small(one("processors: 0xf000f, op: add, output_processors: 0xf000f"), (16, 5, 6), {},
                  "--fifo"),
            "2 operands through a FIFO",
        ),
        (
            Small(one("processors: 0xff, op: conv2d"), (8, 5, 6), {0: (3, 8, 3, 3)}, "--fifo"),
            "processors 0x00000000000000ff read a FIFO",
        ),
    ],
)  # fmt: skip
def test_illegal_placements_are_refused(small: Small, message: str, tmp_path: Path) -> None:
    project, _ = small.read(tmp_path)
    with pytest.raises(EdgebedError, match=message):
        compile_program(project)


def test_writing_behind_the_reader_is_a_warning(tmp_path: Path) -> None:
    small = Small("- {processors: 0xf, op: conv2d, in_offset: 0x40, out_offset: 0x20}\n",
                  (4, 6, 6), {0: (4, 4, 3, 3)})  # fmt: skip
    (warning,) = compile_program(small.read(tmp_path)[0]).warnings
    assert "writes over its own input 'input'" in warning.what
    check(small, tmp_path, replan=False)


def test_a_residual_layer_reads_the_original_not_the_copy(tmp_path: Path) -> None:
    project, x = PROJECTS["residual network that goes on from the copied map"].read(tmp_path)
    branch = next(op for op in project.program.ops if op.name == "layer02")
    assert branch.inputs == ("layer00",)
    tensors = dict(trace(project.program, x))
    np.testing.assert_array_equal(tensors["layer01"], tensors["layer00"])


def test_outputs_begin_with_the_last_layer(tmp_path: Path) -> None:
    project, _ = PROJECTS["two outputs"].read(tmp_path)
    assert project.program.outputs == ("layer03", "layer02")


def test_bias_is_left_out_on_request(tmp_path: Path) -> None:
    small = Small(one(f"processors: {mask(2)}, op: conv2d"), (2, 4, 4), {0: (3, 2, 3, 3)},
                  biased=(0,))  # fmt: skip
    with_bias, _ = small.read(tmp_path)
    _, weights, arrays = small.write(tmp_path)
    without = read_project(
        tmp_path / "network.yaml", weights, {"input-shape": "2,4,4", "no-bias": "0"}
    )
    kept, dropped = with_bias.program.constants, without.program.constants
    np.testing.assert_array_equal(kept["layer00.bias"].values, 128 * arrays["bias00"])
    assert set(dropped) == {"layer00.weight"}


def test_processors_must_match_the_channels(tmp_path: Path) -> None:
    small = Small(one(f"processors: {mask(3)}, op: conv2d"), (2, 4, 4), {0: (3, 2, 3, 3)})
    with pytest.raises(EdgebedError, match=r"network.yaml:5: layer 0 enables 3 .*2 channels"):
        small.read(tmp_path)
