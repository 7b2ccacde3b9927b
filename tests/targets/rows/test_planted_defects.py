"""A kernel that is wrong in one layer is found there, from traces of the generated C."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planted_cores import PlantedCore, PlantedRows
from planted_networks import drawn
from planted_trials import DEFECTS, Defect, trial

from edgebed.targets.cortex_m.target import Microcontroller

TRIALS = [(seed, defect) for seed in range(40) for defect in DEFECTS]


@pytest.fixture(scope="module")
def rows() -> PlantedRows:
    return PlantedRows(drawn(1))


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_wrong_layer_of_portable_c_is_named(
    rows: PlantedRows, defect: Defect, tmp_path: Path
) -> None:
    planted = rows.draw(defect, np.random.default_rng(4))
    assert planted is not None
    assert trial(rows, planted, 0, tmp_path).layer == planted.layer


def test_without_a_defect_no_layer_is_named(rows: PlantedRows, tmp_path: Path) -> None:
    assert trial(rows, None, 0, tmp_path).layer is None


def core(cpu: str, seed: int) -> PlantedCore:
    pytest.importorskip("unicorn", reason="unicorn is not installed")
    return PlantedCore(drawn(seed), Microcontroller(cpu=cpu))


@pytest.mark.parametrize("defect", ["overflow", "rounding"])
def test_the_wrong_layer_of_a_virtual_core_is_named(defect: Defect, tmp_path: Path) -> None:
    m4 = core("m4", 1)
    planted = m4.draw(defect, np.random.default_rng(5))
    assert planted is not None and planted.form.endswith("_dsp")
    assert trial(m4, planted, 0, tmp_path).layer == planted.layer


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "defect"), TRIALS)
def test_any_wrong_layer_of_a_virtual_core_is_named(
    seed: int, defect: Defect, tmp_path: Path
) -> None:
    m4 = core("m4", seed)
    planted = m4.draw(defect, np.random.default_rng(seed))
    if planted is None:
        pytest.skip("no layer can have it")
    assert trial(m4, planted, seed, tmp_path).layer in (planted.layer, None)  # or nothing changes
