"""detect.c, compiled for this machine, against the reference decoder: equal in every integer."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from firmware_projects import CLASSES, contract
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebed.data.fixed_decode import FixedDetections, decode_fixed
from edgebed.program.contract import Contract, Nms
from edgebed.program.ops.identity import Identity
from edgebed.program.types import Program, TensorType
from edgebed.targets._shared.native import load_library
from edgebed.targets.max78000 import tables
from edgebed.targets.max78000.emit import _sources
from edgebed.targets.max78000.image import DeviceImage, TensorLayout
from edgebed.targets.max78000.ports import Ports, ports
from edgebed.targets.max78000.wire import detections_bytes, wire

Decoder = Callable[[np.ndarray], bytes]

_HOST = """
#include "network.c"
#include "detect.c"
const uint32_t network_kernels[1];
static const int32_t *map;
static void read(uint32_t cell, int32_t *values)
{
    for (int i = 0; i < DETECT_CHANNELS; i++)
        values[i] = map[cell * DETECT_CHANNELS + i];
}
uint32_t detect_map(const int32_t *cells, int32_t *rows);
uint32_t detect_map(const int32_t *cells, int32_t *rows)
{
    static struct detection found[DETECT_MAXIMUM];
    map = cells;
    uint32_t count = detect(read, found);
    for (uint32_t i = 0; i < count; i++) {
        int32_t *row = rows + 6 * i;
        row[0] = found[i].label, row[1] = found[i].score;
        row[2] = found[i].x1, row[3] = found[i].y1, row[4] = found[i].x2, row[5] = found[i].y2;
    }
    return count;
}
"""

CONTRACTS = {
    "softmax": (contract(32, 8), 2.0**-9),
    "sigmoid, sizes not squared": (contract(32, 5, 2, size="sigmoid", class_score="sigmoid"), 1e-3),
    "few candidates": (replace(contract(32, 6, 3), nms=Nms(0.01, 0.45, 5, 7)), 0.013),
    "everything is a candidate": (replace(contract(32, 8), nms=Nms(0.0, 0.999, 200, 4096)), 0.25),
    "one cell, wide stretch": (contract(32, 1, stretch=3.0), 0.02),
    "int8 head": (contract(32, 4), 1 / 16),
}  # fmt: skip


def compiled(rules: Contract, scale: float, folder: Path) -> Decoder:
    grid = rules.decode
    shape = (rules.output_channels, grid.grid_height, grid.grid_width)
    size = (3, rules.input.height, rules.input.width)
    program = Program(
        "decoder",
        {"x": TensorType(size), "map": TensorType(shape, "int32", scale)},
        (Identity(name="copy", inputs=("map",), output="y"),),
        ("y",),
        contract=rules,
    )
    image = _image(size, shape)
    one_input = replace(program, inputs={"x": TensorType(size)}, ops=(), outputs=("x",))
    loading = wire(one_input, replace(image, outputs=()))
    order = replace(loading, outputs=_outputs(image), output_shapes={"y": shape})
    network = tables.Network(program, image, order, ())
    for name, text in _sources(detector=True).items():
        (folder / name).write_text(text)
    (folder / "network.h").write_text(tables.network_h(network))
    (folder / "network.c").write_text(tables.network_c(network))
    (folder / "host.c").write_text(_HOST + f"/* {folder} */\n")
    function = load_library(folder / "host.c").detect_map
    function.restype = ctypes.c_uint32

    def decode(output: np.ndarray) -> bytes:
        cells = np.ascontiguousarray(output.reshape(shape[0], -1).T, np.int32)
        found = np.zeros((rules.nms.maximum, 6), np.int32)
        arrays = (array.ctypes.data_as(ctypes.c_void_p) for array in (cells, found))
        count = function(*arrays)
        return found[:count].astype("<i4").tobytes()

    return decode


def _image(size: tuple[int, int, int], shape: tuple[int, int, int]) -> DeviceImage:
    none = np.zeros((1, 2), np.uint32)
    given = TensorLayout("x", size, 0, "hwc", False, (0, 1, 2), 1, 0, 1)
    made = TensorLayout("y", shape, 0, "hwc", True, tuple(range(shape[0])), 1, 0, 1)
    return DeviceImage(none, np.zeros(1, np.uint32), {}, none, none, (0,), (given,), (made,), {})


def _outputs(image: DeviceImage) -> tuple[Ports, ...]:
    return tuple(ports(layout) for layout in image.outputs)


@pytest.fixture(scope="module", params=list(CONTRACTS))
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Contract, float, Decoder]:
    rules, scale = CONTRACTS[request.param]
    return rules, scale, compiled(rules, scale, tmp_path_factory.mktemp("detect"))


def check(case: tuple[Contract, float, Decoder], output: np.ndarray) -> FixedDetections:
    rules, scale, decode = case
    found = decode_fixed(output, scale, rules)
    assert decode(output) == detections_bytes(found)
    return found


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), spread=st.sampled_from([0, 1, 3, 20, 300, 10_000, 2**27]))
def test_random_maps(case: tuple[Contract, float, Decoder], seed: int, spread: int) -> None:
    rng = np.random.default_rng(seed)
    grid = case[0].decode
    shape = (case[0].output_channels, grid.grid_height, grid.grid_width)
    check(case, rng.integers(-spread, spread + 1, shape).astype(np.int32))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_hand_picked_values(case: tuple[Contract, float, Decoder], data: st.DataObject) -> None:
    grid = case[0].decode
    shape = (case[0].output_channels, grid.grid_height, grid.grid_width)
    extreme = [0, 1, -1, 127, -128, 2**20, -(2**20), 2**31 - 1, -(2**31)]
    values = data.draw(st.lists(st.sampled_from(extreme), min_size=1, max_size=12))
    output = np.resize(np.array(values, np.int64), shape).astype(np.int32)
    check(case, output)


def test_equal_scores_keep_the_reference_order(case: tuple[Contract, float, Decoder]) -> None:
    grid = case[0].decode
    shape = (case[0].output_channels, grid.grid_height, grid.grid_width)
    found = check(case, np.full(shape, 40, np.int32))
    assert set(found.labels.tolist()) <= set(range(len(CLASSES)))
