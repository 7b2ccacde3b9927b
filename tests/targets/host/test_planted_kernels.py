"""A kernel of the host library that is wrong in one step is found, on each instruction set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planted_library import PlantedLibrary
from planted_networks import drawn
from planted_trials import DEFECTS, Defect, trial

from edgebed.targets._shared.toolchain import host_compilers
from edgebed.targets.host.kernels.isa import runnable

pytestmark = pytest.mark.skipif(not host_compilers(), reason="no C compiler")
NAMES = [isa.name for isa in runnable()]


def found(
    seed: int, isa: str, defect: Defect | None, folder: Path
) -> tuple[str | None, str | None]:
    """Return the layer that is wrong, and the one that is named."""
    library = PlantedLibrary(drawn(seed, wide=True), isa)
    planted = library.draw(defect, np.random.default_rng(seed)) if defect else None
    if defect and planted is None:
        pytest.skip("no layer can have it")
    said = trial(library, planted, seed, folder)
    library.close()
    return planted.layer if planted else None, said.layer


@pytest.mark.parametrize("defect", ["overflow", "border"])
def test_the_wrong_layer_is_named(defect: Defect, tmp_path: Path) -> None:
    wrong, named = found(3, NAMES[-1], defect, tmp_path)
    assert named == wrong


def test_without_a_defect_no_layer_is_named(tmp_path: Path) -> None:
    assert found(3, NAMES[-1], None, tmp_path) == (None, None)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("defect", DEFECTS)
@pytest.mark.parametrize("isa", NAMES)
def test_the_wrong_layer_is_named_on_each_instruction_set(
    isa: str, defect: Defect, seed: int, tmp_path: Path
) -> None:
    wrong, named = found(seed, isa, defect, tmp_path)
    assert named in (wrong, None)  # or the defect changes nothing
