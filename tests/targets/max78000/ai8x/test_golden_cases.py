"""Every golden case: description and weights give a program equal to every expected layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ai8x_cases import config_of, every_case, every_checkpoint, read_case

from edgebed.program.run import trace


@every_case
def test_layers_equal_the_expected_ones(case: Path) -> None:
    project = read_case(case)
    results = dict(trace(project.program, np.load(case / "sample_input.npy")))
    with np.load(case / "layer_outputs.npz") as expected:
        for name in expected.files:
            np.testing.assert_array_equal(results[name], expected[name], err_msg=name)
    final, *further = project.program.outputs
    np.testing.assert_array_equal(results[final], np.load(case / "expected_output.npy"))
    for name in further:
        np.testing.assert_array_equal(
            results[name], np.load(case / f"expected_output_{name}.npy"), err_msg=name
        )


@every_case
def test_placement_is_the_resolved_one(case: Path) -> None:
    project, config = read_case(case), config_of(case)
    for number, hint in enumerate(project.layers):
        assert hint.processors == int(config["processor_map"][number], 16)
        assert hint.output_processors == int(config["output_processor_map"][number], 16)
        assert hint.in_offset == config["in_offset"][number]
        assert hint.out_offset == config["out_offset"][number]
        assert hint.write_gap == config["write_gap"][number]
        assert hint.streaming == config["streaming"][number]
        assert hint.big_data == config["big_data"][number]
    assert project.options.fifo == config["fifo"]
    assert project.options.avg_pool_rounding == config["avg_pool_rounding"]


@every_case
def test_sizes_are_the_resolved_ones(case: Path) -> None:
    project, config = read_case(case), config_of(case)
    types = project.program.types
    assert [hint.name for hint in project.layers] == [
        f"layer{number:02d}" for number in range(config["layers"])
    ]
    for number, hint in enumerate(project.layers):
        channels = config["output_channels"][number]
        assert types[hint.name].shape == (channels, *config["output_dim"][number])
        wide = config["output_width"][number] == 32
        assert types[hint.name].dtype == ("int32" if wide else "int8")


@every_checkpoint
def test_a_checkpoint_gives_the_same_project_as_its_integer_weights(case: Path) -> None:
    from_checkpoint, plain = read_case(case, "checkpoint.pth.tar"), read_case(case)
    assert from_checkpoint.program == plain.program
    assert from_checkpoint.layers == plain.layers
