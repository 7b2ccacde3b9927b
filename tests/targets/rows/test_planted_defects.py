"""A kernel that is wrong in one layer is found there, from traces of the generated C."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from planted import DEFECTS, Defect, NativeObserved, PortableM4, places, plant, write_traces

from edgebed.observe.trace_comparison import compare_traces
from edgebed.targets._shared.rows.emit import Project, files

sys.path.append(str(Path(__file__).parents[1] / "cortex_m"))

from small_networks import mobile, quantised


@pytest.fixture(scope="module")
def project() -> Project:
    return PortableM4(cpu="m4").project(quantised(mobile(channels=9)))


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_wrong_layer_is_named(project: Project, defect: Defect, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    able = [place for place in places(project) if defect in place.defects]
    place = able[0]  # the widest sums are there: all defects show
    native = NativeObserved(project, plant(project, place, defect, rng), tmp_path)
    paths = write_traces(project.program, native.watch, tmp_path, "native")
    departure = compare_traces(*paths).departure
    assert departure is not None and departure.layer == place.stage.output
    assert departure.pattern in ("step", "seldom")


def test_without_a_defect_no_layer_is_named(project: Project, tmp_path: Path) -> None:
    native = NativeObserved(project, files(project), tmp_path)
    found = compare_traces(*write_traces(project.program, native.watch, tmp_path, "native"))
    assert found.departure is None and found.exact


def test_most_layers_can_have_most_defects(project: Project) -> None:
    able = {defect: sum(defect in place.defects for place in places(project)) for defect in DEFECTS}
    assert all(count >= 2 for count in able.values()), able
