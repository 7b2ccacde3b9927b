"""The report and the model card show the numbers that they are given, each in its place."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgebed.figures import Figure
from edgebed.observe.model_card import ModelCard, markdown
from edgebed.observe.page import Tile
from edgebed.observe.pictures import Box, Shot, side_by_side
from edgebed.observe.report import DetectionReport, Screen, by_unit, html
from edgebed.targets.contract import Cost, LayerCost
from edgebed.targets.layout import MemoryMap, Region


def metrics(ap50: float, coco: float | None, loose: float, **classes: float) -> dict[str, Any]:
    curves = {name: {"recall": [0.0, 0.5, 1.0], "precision": [1.0, 0.8, 0.6]} for name in classes}
    return {
        "split": "test", "pictures": 7, "ap50": ap50, "coco_map": coco,
        "loose_ap_iou_0.01": loose, "ap50_per_class": classes, "curves": curves,
    }  # fmt: skip


ACCURACY = {
    "float network": metrics(0.8125, 0.4567, 0.91, cat=0.75, dog=0.875),
    "int8 program": metrics(0.7654, None, 0.8999, cat=0.7001),
}
TIME = Figure(2.5, "ms", "estimated", "a model", 2.0, 3.0)
REPORT = DetectionReport(
    title="a <net> on data",
    subtitle="sub & title",
    classes=("cat", "dog"),
    tiles=(Tile("AP@0.5", "81.3 %", "float"),),
    shots=(Shot("one", np.zeros((20, 40, 3), np.uint8), [Box(4, 5, 20, 15, 0)],
                [Box(2, 3, 12, 13, 1, 0.876)]),),
    screens=(Screen("one", "1 found", b"png"),),
    accuracy=ACCURACY,
    agreement="all equal",
    history=({"loss": 2.0, "box": 1.0}, {"loss": 1.0, "box": 0.5, "val_ap50": 0.2}),
    cost=Cost(
        (LayerCost("first", 10, {"time": TIME}),
         LayerCost("second", 20, {"time": replace(TIME, value=0.125, low=None, high=None)})),
        {"time": TIME},
    ),
    maps=(
        MemoryMap("Kernels", "bank", "bytes", (0, 4), (0, 8), (Region("k0", 0, (0, 1), (0, 4)),)),
    ),
    figures={"flash": Figure(123456, "bytes", "measured", "size table")},
    functions={"decode": Figure(5000, "instructions", "emulated", "counted"),
               "draw": Figure(70000, "instructions", "emulated", "counted")},
    about={"network": "net, 5 parameters"},
    command="edgebed run bed --data 'a b'",
)  # fmt: skip


def cells(page: str, first: str) -> list[str]:
    row = re.search(rf"<tr><td>{re.escape(first)}</td>(.*?)</tr>", page)
    assert row is not None
    return re.findall(r"<td>(.*?)</td>", row[1])


def test_accuracy_is_shown_in_percent_with_a_dash_for_what_is_not_known() -> None:
    page = html(REPORT)
    assert cells(page, "float network") == ["7", "81.2", "45.7", "91.0", "75.0", "87.5"]
    assert cells(page, "int8 program") == ["7", "76.5", "-", "90.0", "70.0", "-"]
    assert "all equal" in page


def test_layers_functions_and_figures_carry_their_values_and_units() -> None:
    page = html(REPORT)
    assert "2.5 ms" in page and "0.125 ms" in page and "a model" in page
    assert page.index("draw") < page.index(">decode"), "most instructions first"
    assert "70,000" in page and "5,000" in page
    assert cells(page, "flash") == ["123,456 bytes", "size table"]


def test_text_cannot_become_markup() -> None:
    page = html(REPORT)
    assert "a &lt;net&gt; on data" in page and "<net>" not in page
    assert "sub &amp; title" in page
    assert "edgebed run bed --data &#x27;a b&#x27;" in page


def test_sections_without_content_are_left_out() -> None:
    bare = replace(
        REPORT, screens=(), shots=(), accuracy={}, history=(), cost=Cost((), {}), maps=(),
        figures={}, functions={}, command="",
    )  # fmt: skip
    page = html(bare)
    titles = re.findall(r"<h2>(.*?)</h2>", page)
    assert titles == ["About this run"]
    assert len(re.findall(r"<h2>", html(REPORT))) == 9


@pytest.mark.parametrize("losses", [(0.0, 0.0), (1e-9, 2e-9), (1e6, 3e6)])
def test_flat_and_extreme_histories_are_drawn(losses: tuple[float, float]) -> None:
    page = html(replace(REPORT, history=tuple({"loss": one} for one in losses)))
    assert "polyline" in page
    assert not re.search(r'"[^"]*\b(nan|inf)\b[^"]*"', page)


def test_boxes_are_drawn_at_the_pictures_scale() -> None:
    drawn = side_by_side(REPORT.shots[0], REPORT.classes, width=80)  # twice as large
    assert '<rect x="8.0" y="10.0" width="32.0" height="20.0"' in drawn
    assert '<rect x="4.0" y="6.0" width="20.0" height="20.0"' in drawn
    assert "dog 0.88" in drawn and "annotated 1 | found 1" in drawn


def test_names_that_look_alike_do_not_show_each_others_picture() -> None:
    shots = [replace(REPORT.shots[0], name=name) for name in ("a b", "a-b", "a_b", "ä b")]
    ids = [re.findall(r'id="(.*?)"', side_by_side(one, REPORT.classes))[0] for one in shots]
    assert len(set(ids)) == 4
    for one, shot in zip(ids, shots, strict=True):
        uses = re.findall(r'<use href="#(.*?)"', side_by_side(shot, REPORT.classes))
        assert uses == [one, one]


def test_the_first_figure_of_a_unit_is_found() -> None:
    figures = {"energy": Figure(1, "mJ", "estimated", ""), "time": TIME}
    assert by_unit(figures, ("us", "ms")) is TIME
    assert by_unit(figures, ("cycles",)) is None


CARD = ModelCard(
    name="net on data",
    data={
        "name": "farm", "classes": ["cat", "dog|wolf"], "left_out": ["a.xml:3: no area"],
        "splits": {"train": {"pictures": 9, "objects": {"cat": 4, "dog|wolf": 6}}},
    },
    accuracy=ACCURACY,
    figures={"time": TIME},
    shape=(3, 224, 224),
    parameters=300123,
    weight_bits="8,4",
    preprocessing="stretch",
    command="edgebed run bed",
    limits=("Never seen a wolf.",),
)  # fmt: skip


def columns(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_the_card_states_the_facts() -> None:
    text = markdown(CARD)
    assert "Input 3 x 224 x 224, 300,123 parameters, 8,4-bit weights" in text
    lines = [columns(line) for line in text.splitlines() if line.startswith("|")]
    assert ["float network", "test", "7", "0.812", "0.457", "0.910"] in lines
    assert ["int8 program", "test", "7", "0.765", "-", "0.900"] in lines
    assert ["time", "2.5 ms", "estimated", "a model"] in lines
    assert "1 defective annotations were left out" in text
    assert "- Never seen a wolf." in text


def test_a_bar_in_a_class_name_opens_no_column() -> None:
    tables = [line for line in markdown(CARD).splitlines() if line.startswith("|")]
    head, _, row = (columns(line) for line in tables[:3])
    assert head == ["split", "pictures", "cat", r"dog\|wolf"]
    assert row == ["train", "9", "4", "6"]
