"""The published network as its table says, and ours inside the accelerator's limits."""

from __future__ import annotations

import math

import pytest

from edgebed.errors import EdgebedError
from edgebed.train.networks import LayerSpec, Network, network

# in, out, kernel, pool before, size in, size out: the published table of the 24 layers.
BED_TABLE = [
    (3, 64, 3, 1, 224, 224),
    (64, 24, 3, 2, 224, 112),
    (24, 16, 1, 2, 112, 56),
    (16, 32, 3, 1, 56, 56),
    (32, 32, 1, 1, 56, 56),
    (32, 64, 3, 1, 56, 56),
    (64, 32, 1, 2, 56, 28),
    (32, 64, 3, 1, 28, 28),
    (64, 32, 1, 1, 28, 28),
    (32, 64, 3, 1, 28, 28),
    (64, 32, 1, 1, 28, 28),
    (32, 64, 3, 1, 28, 28),
    (64, 32, 1, 2, 28, 14),
    (32, 64, 3, 1, 14, 14),
    (64, 32, 1, 1, 14, 14),
    (32, 64, 3, 1, 14, 14),
    (64, 64, 3, 1, 14, 14),
    (64, 64, 3, 1, 14, 14),
    (64, 64, 3, 2, 14, 7),
    (64, 64, 3, 1, 7, 7),
    (64, 64, 1, 1, 7, 7),
    (64, 16, 1, 1, 7, 7),
    (16, 16, 1, 1, 7, 7),
    (16, 15, 1, 1, 7, 7),
]


def test_bed_is_the_published_table() -> None:
    bed = network("bed", 5)
    height, rows = bed.height, []
    for layer, (_, after, _) in zip(bed.layers, bed.shapes(), strict=True):
        rows.append(
            (layer.in_channels, layer.out_channels, layer.kernel, layer.pool, height, after)
        )
        height = after
    assert rows == BED_TABLE


def test_bed_has_the_published_counts() -> None:
    bed = network("bed", 5)
    assert bed.parameters == 296_447
    assert bed.macs / 1e6 == pytest.approx(411.3, abs=0.05)
    assert bed.shapes()[-1] == (15, 7, 7)
    assert sum(layer.out_channels for layer in bed.layers if layer.bias) == 975


def test_bed_streams_its_first_layers_plain_and_ends_wide() -> None:
    bed = network("bed", 5)
    assert not any(layer.bias for layer in bed.layers[:3])
    assert {layer.norm for layer in bed.layers[:3]} == {"none"}
    assert all(layer.activation == "relu" for layer in bed.layers[:-1])
    assert (bed.layers[-1].wide, bed.layers[-1].activation) == (True, "none")


@pytest.mark.parametrize("name", ["bed", "bed-fast"])
@pytest.mark.parametrize("classes", [1, 3, 20])
def test_the_head_follows_the_classes(name: str, classes: int) -> None:
    described = network(name, classes)
    assert described.layers[-1].out_channels == 5 * described.decode.boxes + classes
    rows, columns = described.shapes()[-1][1:]
    assert (rows, columns) == (described.decode.grid_height, described.decode.grid_width)


def layer_cycles(layer: LayerSpec, height: int, width: int) -> int:
    """Return cycles by the specification's law: pool first, one operand, pooled input size."""
    passes, kernel, side = math.ceil(layer.in_channels / 64), layer.kernel, layer.pad
    pad, dat = 2 * passes, passes * (layer.pool**2 + 1)
    out_width = width + 2 * side - kernel + 1
    inner = kernel - 1 - side
    first = 2 * side * (pad + 1) + width * (pad + 1)
    quiet = 2 * side * (pad + 1) + width * (dat + 1)
    edge = side * (pad + 1) + side * pad
    row = edge + inner * (dat + 1) + (out_width - side) * dat
    bottom = edge + inner * (pad + 1) + (out_width - side) * pad
    out = passes * out_width * layer.out_channels
    late = kernel - 1 - side
    total = side * first + late * quiet + (row + out) * (height - late)
    return total + side * (bottom + out)


def cycles(described: Network) -> int:
    _, height, width = described.folded
    total = 1
    for layer, shape in zip(described.layers, described.shapes(), strict=True):
        total += layer_cycles(layer, height // layer.pool, width // layer.pool)
        height, width = shape[1:]
    return total


def test_the_law_gives_the_known_estimate_of_bed() -> None:
    # The published 4,485,195 runs the streamed 1x1 layer as 3x3, which costs a few rows more.
    assert cycles(network("bed", 5)) == pytest.approx(4_485_195, rel=0.0003)


def test_bed_fast_needs_less_than_a_third_of_beds_cycles_and_300_kb() -> None:
    fast = network("bed-fast", 5)
    assert cycles(fast) < 4_485_195 / 3
    assert fast.macs < network("bed", 5).macs / 3
    assert fast.kernel_bytes <= 300_000


def test_bed_fast_fits_the_accelerators_memories() -> None:
    fast = network("bed-fast", 20)
    maps = [fast.folded, *fast.shapes()]
    words = 0
    for layer, (_, rows, columns), after in zip(fast.layers, maps[:-1], maps[1:], strict=True):
        out_bytes = 4 * after[1] * after[2] * (4 if layer.wide else 1)
        assert 4 * rows * columns + out_bytes <= 32_768, "both maps lie in 32 KB of an instance"
        words += math.ceil(layer.out_channels * layer.kernel**2 / 9)
    assert max(shape[0] for shape in maps) <= 64, "one pass through the processors"
    assert words <= 768
    assert len(fast.layers) <= 32
    assert sum(layer.out_channels for layer in fast.layers) <= 2048


def test_a_typo_gets_the_nearest_name() -> None:
    with pytest.raises(EdgebedError, match="did you mean 'bed-fast'"):
        network("bed_fast", 3)


def test_no_class_is_refused() -> None:
    with pytest.raises(EdgebedError, match="at least one class"):
        network("bed", 0)


def test_one_width_spares_first_and_last_layer() -> None:
    widths = [layer.weight_bits for layer in network("bed-fast", 3).with_weight_bits(2).layers]
    assert widths[0] == widths[-1] == 8
    assert set(widths[1:-1]) == {2}


def test_fewer_bits_need_fewer_bytes() -> None:
    fast = network("bed-fast", 3)
    sizes = [fast.with_weight_bits(bits).kernel_bytes for bits in (8, 4, 2, 1)]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(("bits", "complaint"), [(3, "weights of 3 bits"), ((8, 8), "2 weight")])
def test_impossible_widths_are_refused(bits: int | tuple[int, ...], complaint: str) -> None:
    with pytest.raises(EdgebedError, match=complaint):
        network("bed-fast", 3).with_weight_bits(bits)
