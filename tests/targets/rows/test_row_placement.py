"""Placements of networks of known shapes: memory, runs, fixed places, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny_shapes
from row_oracle import execute

from edgebed.errors import EdgebedError
from edgebed.targets._shared.rows.placement import pareto, plan
from edgebed.targets._shared.rows.stage import Network, Stage, Tensor, Window


def _executed(network: Network, goal):
    """The plan, after it was found to overwrite nothing; maps without a width are one pixel."""
    placed = plan(network, goal)
    widths = {name: tiny_shapes.width(network, name) for name in network.tensors}
    execute(network, placed, widths)
    return placed


def test_keyword_spotting_fits_beside_two_rows_of_its_largest_map() -> None:
    """A 25x5x64 map is 8000 bytes; 3x3 depthwise layers move it by two rows of 320 bytes."""
    network = tiny_shapes.keyword_spotting()
    assert _executed(network, "time").peak <= 8700
    assert _executed(network, "balanced").peak <= 8700
    assert _executed(network, "ram").peak <= 6000


def test_visual_wake_words() -> None:
    """The input alone is 27648 bytes; TensorFlow Lite Micro takes 100.7 KB."""
    network = tiny_shapes.visual_wake_words()
    assert _executed(network, "time").peak < 40_000
    assert 27_648 <= _executed(network, "balanced").peak < 38_000
    assert _executed(tiny_shapes.visual_wake_words(fetch=True), "ram").peak < 20_000


def test_resnet8() -> None:
    network = tiny_shapes.resnet8()
    assert _executed(network, "time").peak < 36_000
    assert _executed(network, "balanced").peak < 22_000
    assert _executed(network, "ram").peak < 22_000


@pytest.mark.parametrize("goal", ["time", "balanced", "ram"])
def test_autoencoder_needs_its_largest_layer_and_nothing_more(goal) -> None:
    placed = _executed(tiny_shapes.autoencoder(), goal)
    assert placed.peak == placed.lower_bound == 640 + 128
    assert len(placed.runs) == 10


def test_points_of_the_pareto_set_trade_runs_for_memory() -> None:
    points = pareto(tiny_shapes.resnet8())
    peaks = [placed.peak for placed in points]
    assert len(points) > 3
    assert peaks == sorted(set(peaks), reverse=True)
    assert len(points[0].runs) < len(points[-1].runs) < 400


def test_the_same_network_gets_the_same_plan() -> None:
    assert plan(tiny_shapes.resnet8(), "ram") == plan(tiny_shapes.resnet8(), "ram")


def test_the_oracle_notices_a_tensor_that_lies_eight_bytes_too_low() -> None:
    network = tiny_shapes.keyword_spotting()
    placed = plan(network, "time")
    widths = {name: tiny_shapes.width(network, name) for name in network.tensors}
    caught = 0
    for name, offset in placed.offsets.items():
        wrong = replace(placed, offsets=placed.offsets | {name: offset + 8}, peak=placed.peak + 8)
        try:
            execute(network, wrong, widths)
        except AssertionError:
            caught += 1
    assert caught > len(network.tensors) // 2


def _pair(scratch: int = 0, **more) -> Network:
    tensors = {"x": Tensor("x", 4, 6, "input"), "y": Tensor("y", 4, 6, "output")}
    stage = Stage("copy", "copy", "y", (Window("x"),), 4, "f", "h", "t", "", (), scratch, **more)
    return Network("n", tensors, (stage,), ("x",), ("y",))


def test_a_stage_in_place_needs_no_second_map() -> None:
    assert plan(_pair(in_place=(0,)), "time").peak == 24


def test_a_stage_that_is_not_in_place_needs_one_row_more() -> None:
    assert plan(_pair(), "time", alignment=1).peak == 24 + 6


def test_scratch_memory_lies_beside_what_is_live() -> None:
    network = _pair(scratch=10, in_place=(0,))
    placed = plan(network, "ram")
    execute(network, placed, {"x": 6, "y": 6})
    assert placed.peak == 34


def test_a_fixed_place_is_kept() -> None:
    network = tiny_shapes.resnet8()
    placed = plan(network, "balanced", fixed={"x": 1000})
    assert placed.offsets["x"] == 1000
    execute(network, placed, dict.fromkeys(network.tensors, 1))


def test_fixed_places_that_overlap_are_refused() -> None:
    with pytest.raises(EdgebedError, match="fixed places of x and y overlap"):
        plan(_pair(), "time", fixed={"x": 0, "y": 5})


def test_a_fixed_place_of_no_tensor_is_refused() -> None:
    with pytest.raises(EdgebedError, match="z has a fixed place"):
        plan(_pair(), "time", fixed={"z": 0})


@pytest.mark.parametrize("goal", ["time", "balanced", "ram"])
def test_a_network_that_only_passes_its_input_on(goal) -> None:
    network = Network("n", {"x": Tensor("x", 4, 6, "input")}, (), ("x",), ("x",))
    placed = plan(network, goal)
    assert (placed.peak, placed.runs, placed.offsets) == (24, (), {"x": 0})


def test_reversed_layers_are_runs_of_one_row_and_save_what_they_cost() -> None:
    """Four depthwise layers that all run downwards need 640 bytes each beside the map."""
    network = tiny_shapes.keyword_spotting()
    placed = plan(network, "time")
    upwards = [run for run in placed.runs if run.count == 1 and run.stage < 9]
    assert len(upwards) == 50
    assert placed.peak == placed.lower_bound == 8000 + 2 * 320


@pytest.mark.parametrize(
    ("in_place", "x", "y", "fits"),
    [
        ((0,), 8, 8, True),
        ((0,), 8, 7, True),
        ((0,), 8, 9, False),
        ((), 8, 8, False),
        ((), 8, 2, True),
        ((), 8, 3, False),
        ((), 8, 13, False),
        ((), 8, 14, True),
    ],
)
def test_the_least_distance_between_input_and_output_rows(in_place, x, y, fits) -> None:
    """Rows have six bytes: without in place, the output lies a row lower.

    Or a row higher: then the rows are computed from the last to the first.
    """
    network = _pair(in_place=in_place)
    if not fits:
        with pytest.raises(EdgebedError, match="overlap"):
            plan(network, "ram", fixed={"x": x, "y": y})
        return
    placed = plan(network, "ram", fixed={"x": x, "y": y})
    execute(network, placed, {"x": 6, "y": 6})
    assert placed.offsets == {"x": x, "y": y}


@pytest.mark.parametrize(("y", "fits"), [(8, True), (3, True), (9, False), (13, False), (14, True)])
def test_a_row_in_place_does_not_begin_above_its_input(y, fits) -> None:
    pair = _pair(in_place=(0,))
    tensors = {name: replace(tensor, rows=1) for name, tensor in pair.tensors.items()}
    network = replace(pair, tensors=tensors, stages=(replace(pair.stages[0], steps=1),))
    if fits:
        assert plan(network, "time", fixed={"x": 8, "y": y}).peak == max(14, y + 6)
    else:
        with pytest.raises(EdgebedError, match="overlap"):
            plan(network, "time", fixed={"x": 8, "y": y})


def test_an_input_that_is_read_again_later_is_not_overwritten() -> None:
    network = _pair(in_place=(0,))
    tensors = network.tensors | {"y": Tensor("y", 4, 6), "z": Tensor("z", 4, 6, "output")}
    again = Stage(
        "add", "add", "z", (Window("x"), Window("y")), 4, "f", "h", "t", "", (), 0, (0, 1)
    )
    network = Network("n", tensors, (*network.stages, again), ("x",), ("z",))
    layers, rows = (plan(network, goal) for goal in ("time", "ram"))
    execute(network, layers, dict.fromkeys(tensors, 6))
    execute(network, rows, dict.fromkeys(tensors, 6))
    assert (layers.peak, rows.peak) == (48, 30)


def _with(network: Network, *stages: Stage) -> Network:
    return replace(network, stages=stages)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: (replace(s, steps=3),), "3 steps do not make 4 rows"),
        (lambda s: (s, s), "y is written twice"),
        (lambda s: (replace(s, inputs=(Window("y"),)),), "y is read before it is written"),
        (lambda s: (replace(s, inputs=(Window("q"),)),), "q is read before it is written"),
    ],
)
def test_stages_that_do_not_fit_are_refused(change, words) -> None:
    network = _pair()
    with pytest.raises(EdgebedError, match=words):
        plan(_with(network, *change(network.stages[0])), "time")
