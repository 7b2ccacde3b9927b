"""Every golden case: description and weights give a program equal to every expected layer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebed.program.run import trace
from edgebed.targets.max78000.ai8x import parse_flags, read_project
from edgebed.targets.max78000.hints import Project


def read_case(case: Path, weights: str = "weights_int.npz") -> Project:
    flags = parse_flags(json.loads((case / "meta.json").read_text())["case"]["args"])
    flags.pop("sample-input", None)  # a path inside the generator's repository
    return read_project(case / "network.yaml", case / weights, flags)


def cases(root: Path) -> list[Path]:
    return sorted(path.parent for path in (root / "max78000").glob("*/network.yaml"))


def config_of(case: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((case / "meta.json").read_text())["config"]
    return config


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" not in metafunc.fixturenames:
        return
    import os

    root = Path(__file__).parents[4] / os.environ.get("EDGEBED_CASES", "../shared/cases")
    found = cases(root.resolve())
    absent = pytest.param(None, marks=pytest.mark.skip(reason="no golden cases here"))
    metafunc.parametrize("case", found or [absent], ids=lambda case: getattr(case, "name", "-"))


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
