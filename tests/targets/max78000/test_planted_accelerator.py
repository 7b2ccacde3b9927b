"""An accelerator that is wrong in one layer is found there, from the virtual board's traces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from planted_trials import DEFECTS, Defect, trial

pytest.importorskip("unicorn", reason="unicorn is not installed")

from planted_board import PlantedBoard


@pytest.fixture(scope="module")
def board() -> Iterator[PlantedBoard]:
    made = PlantedBoard(4)
    yield made
    made.close()


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_wrong_layer_is_named(board: PlantedBoard, defect: Defect, tmp_path: Path) -> None:
    named = 0
    for seed in range(6):
        planted = board.draw(defect, np.random.default_rng(seed))
        assert planted is not None
        said = trial(board, planted, seed, tmp_path)
        assert said.layer in (planted.layer, None)  # or it changes nothing
        named += said.layer is not None
    assert named >= 2


def test_a_board_without_a_defect_is_clean(board: PlantedBoard, tmp_path: Path) -> None:
    assert trial(board, None, 0, tmp_path).layer is None


@pytest.mark.slow
@pytest.mark.parametrize("network", range(40))
def test_the_wrong_layer_of_any_network_is_named(network: int, tmp_path: Path) -> None:
    board, rng = PlantedBoard(network), np.random.default_rng(network)
    try:
        for seed, defect in enumerate(DEFECTS):
            planted = board.draw(defect, rng)
            if planted is not None:
                assert trial(board, planted, seed, tmp_path).layer in (planted.layer, None)
    finally:
        board.close()
