"""Pictures in reports: stored once, labelled within their frame, written whole."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgebed.observe.pictures import (
    Box,
    Shot,
    contact_sheet,
    framed,
    png,
    side_by_side,
    write_png,
)

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 80, 3)).astype(np.uint8)


def test_png_keeps_every_byte(tmp_path: Path) -> None:
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(PICTURE)))), PICTURE)
    write_png(tmp_path / "deep" / "a.png", PICTURE)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "deep" / "a.png")), PICTURE)


def test_both_panels_show_one_stored_picture_and_their_own_boxes() -> None:
    truth, found = [Box(8, 4, 40, 36, 0)], [Box(10, 5, 42, 37, 1, 0.875)]
    drawn = side_by_side(Shot("a <b>", PICTURE, truth, found), ["cat", "dog & co"], width=160)
    assert drawn.count("data:image/jpeg") == 1
    assert drawn.count("<use ") == 2
    left, right = drawn.split("<use ")[1:]
    assert ">cat<" in left
    assert ">dog &amp; co 0.88<" in right
    assert "a &lt;b&gt;" in drawn
    assert 'x="16.0" y="8.0" width="64.0" height="64.0"' in left


@pytest.mark.parametrize("x", [-3.0, 0.0, 75.0])
def test_labels_stay_inside_the_picture(x: float) -> None:
    shot = Shot("s", PICTURE, [], [Box(x, 0, x + 5, 5, 0, 0.5)])
    drawn = side_by_side(shot, ["label"], width=160)
    left, wide = re.findall(r'<rect x="([-\d.]+)"[^>]*width="(\d+)" height="13"', drawn)[0]
    assert 0 <= float(left) <= 160 - float(wide)


def test_a_contact_sheet_holds_all_pictures_in_order() -> None:
    pictures = [np.full((4, 6, 3), 10 * i, np.uint8) for i in range(5)]
    sheet = contact_sheet(pictures, columns=3, gap=2)
    assert sheet.shape == (2 * 6 + 2, 3 * 8 + 2, 3)
    for i in range(5):
        y, x = 2 + i // 3 * 6, 2 + i % 3 * 8
        assert np.array_equal(sheet[y : y + 4, x : x + 6], pictures[i])


def test_a_frame_is_inside_the_file() -> None:
    assert "data:image/png;base64," in framed("n", "2 found", png(PICTURE))
