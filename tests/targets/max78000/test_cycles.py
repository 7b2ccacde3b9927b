"""The cycle law against published figures and against the vendor tool's own estimates."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edgebed.targets.max78000.cycles import STARTUP_CYCLES, LayerShape, layer_cycles

_CASES = Path(__file__).parents[3] / os.environ.get("EDGEBED_CASES", "../shared/cases") / "max78000"


def bed() -> list[LayerShape]:
    """The 24 layers of BED: 3x3 and 1x1 convolutions, 2x2 pooling (public network file)."""
    table = """
    224 64 1 3 s|112 24 2 3 s|56 16 2 3 s|56 32 1 3|56 32 1 1|56 64 1 3|28 32 2 1|28 64 1 3
    28 32 1 1|28 64 1 3|28 32 1 1|28 64 1 3|14 32 2 1|14 64 1 3|14 32 1 1|14 64 1 3|14 64 1 3
    14 64 1 3|7 64 2 3|7 64 1 3|7 64 1 1|7 16 1 1|7 16 1 1|7 15 1 1"""
    shapes = []
    for line in table.replace("\n", "|").strip("| ").split("|"):
        size, channels, pool, kernel = (int(word) for word in line.split()[:4])
        shapes.append(
            LayerShape(
                rows=size,
                columns=size,
                out_columns=size,
                channels=channels,
                pool_rows=pool,
                pool_columns=pool,
                pad_rows=kernel // 2,
                pad_columns=kernel // 2,
                kernel_rows=kernel,
                kernel_columns=kernel,
                streaming=line.endswith("s"),
            )
        )
    return shapes


def test_bed_takes_the_published_cycles() -> None:
    cycles = [layer_cycles(shape) for shape in bed()]
    assert [one.scaled for one in cycles[:8]] == [
        4971474, 547698, 99810, 107308, 106624, 207660, 29008, 52092,
    ]  # fmt: skip
    assert sum(one.scaled for one in cycles) + STARTUP_CYCLES == 6358189
    assert sum(one.unscaled for one in cycles) + STARTUP_CYCLES == 4485195


def test_one_output_costs_one_cycle_more_per_row_and_flatten_one_in_all() -> None:
    one = layer_cycles(LayerShape(1, 1, 1, 1)).unscaled
    two = layer_cycles(LayerShape(1, 1, 1, 2)).unscaled
    assert (one, two) == (4, 4)  # two to read, one per output, one extra for a single output
    assert layer_cycles(LayerShape(1, 1, 1, 2, flatten=True)).unscaled == 5


def _shape(args: dict) -> LayerShape:
    rows, columns = args["pooled_dim"]
    height, width = args["pool"]
    kernel, pad = args["kernel_size"], args["padding"]
    return LayerShape(
        rows=rows,
        columns=columns,
        out_columns=args["output_dim"][1],
        channels=args["output_chan"],
        passes=args["multipass"],  # pooling passthrough: 2 * passes - 1 already
        operands=args["num_elements"],
        pool_rows=height,
        pool_columns=width,
        pad_rows=pad[0],
        pad_columns=pad[1],
        kernel_rows=kernel[0],
        kernel_columns=kernel[1],
        pool_last=not args["pool_first"],
        passthrough=args["passthrough"],
        time_slots=args["pass_out_chan"],
        kernel_offset=args["kern_offs"],
        flatten=args["flatten"],
        streaming=args["streaming"],
    )


@pytest.mark.parametrize("path", sorted(_CASES.glob("*/meta.json")), ids=lambda p: p.parent.name)
def test_law_equals_the_vendor_estimate(path: Path) -> None:
    for number, layer in enumerate(json.loads(path.read_text())["latency"]):
        got = layer_cycles(_shape(layer["args"])).scaled
        assert got == layer["cycles"], f"layer {number}: {layer['args']}"
