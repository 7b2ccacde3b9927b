"""The layout that people see: it must agree with the device's own sizes."""

from __future__ import annotations

import itertools
import json

import pytest

from edgebed.targets import load
from edgebed.targets.layout import Layout
from edgebed.targets.max78000.describe import ranges
from edgebed.train.networks import network

TARGET = load("max78000")


@pytest.mark.parametrize(
    ("numbers", "text"),
    [((), "-"), ((3,), "3"), ((0, 1, 2), "0-2"), ((0, 1, 5, 7, 8), "0-1, 5, 7-8")],
)
def test_ranges(numbers: tuple[int, ...], text: str) -> None:
    assert ranges(numbers) == text


@pytest.fixture(scope="module", params=["bed", "bed-fast"])
def layout(request: pytest.FixtureRequest) -> Layout:
    pytest.importorskip("torch")
    from edgebed.program.contract import Contract, ImageInput
    from edgebed.train.export import to_program
    from edgebed.train.qat import QuantisedDetector

    described = network(request.param, 5)
    contract = Contract(ImageInput(224, 224), tuple("abcde"), described.decode)
    return TARGET.layout(to_program(QuantisedDetector.blank(described).eval(), contract))


def test_a_row_for_every_layer_with_the_same_cells(layout: Layout) -> None:
    names = [row["layer"] for row in layout.layers]
    assert names == [f"layer{i:02d}" for i in range(len(names))]
    assert len({tuple(row) for row in layout.layers}) == 1


def test_regions_stay_inside_their_memory_and_weights_do_not_overlap(layout: Layout) -> None:
    for one in layout.maps:
        for region in one.regions:
            assert one.x[0] <= region.x[0] < region.x[1] <= one.x[1]
            assert one.y[0] <= region.y[0] < region.y[1] <= one.y[1], region
    columns: dict[float, list[tuple[float, float]]] = {}
    for region in layout.maps[0].regions:
        columns.setdefault(region.x[0], []).append(region.y)
    for parts in columns.values():
        parts.sort()
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(parts))


def test_it_survives_being_stored(layout: Layout) -> None:
    assert Layout.from_json(json.loads(json.dumps(layout.to_json()))) == layout
