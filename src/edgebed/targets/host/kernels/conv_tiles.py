"""Which register tile a convolution should use, by a small model of the processor's cycles."""

from __future__ import annotations

from dataclasses import dataclass

from edgebed.targets.host.kernels.conv import ConvShape, Tile
from edgebed.targets.host.kernels.isa import AVX2, AVX512, AVXVNNI, PORTABLE, Isa
from edgebed.targets.host.kernels.requantize import BLOCK


@dataclass(frozen=True)
class Machine:
    """Cycles of the parts of a tile, fitted to measurements; only their ratios matter.

    Attributes:
        accumulators: sums of sixteen channels that fit the registers beside everything else.
        dot: one dot-product step of one pixel and one vector.
        load: one load of inputs or weights; loads run beside the dot products.
        latency: from one dot product to the next one of the same sum.
        finish: requantising and storing one pixel's vector; they are packed in fours.
        roomy: sums that leave registers free for requantising; each further one costs `crowded`
            cycles more for every vector.
        store: one store.
        far: one load of weights from the second-level cache.
        enter: what a tile costs whatever its size.
    """

    accumulators: int
    dot: float
    load: float
    latency: float
    finish: float
    enter: float
    roomy: int
    crowded: float
    store: float
    far: float


MACHINES = {
    AVX512.name: Machine(28, 1.0, 0.55, 4.0, 3.5, 6.0, 16, 0.15, 0.4, 2.0),
    AVXVNNI.name: Machine(6, 1.0, 0.5, 5.0, 8.0, 12.0, 6, 0.0, 0.4, 1.5),
    AVX2.name: Machine(3, 4.0, 1.0, 5.0, 10.0, 12.0, 3, 0.0, 0.4, 1.5),
    PORTABLE.name: Machine(1, 8.0, 1.0, 5.0, 40.0, 12.0, 1, 0.0, 0.4, 1.5),
}

_SPLITS = (1, 2, 4)
_NEAR_BYTES = 20_000  # weights of a tile that stay in the first-level cache beside the maps


def tiles(shape: ConvShape, isa: Isa = AVX512) -> list[Tile]:
    """Return the tiles that fit the registers, the one with the fewest modelled cycles first."""
    machine = MACHINES[isa.name]
    return sorted(
        _candidates(shape, machine),
        key=lambda tile: (round(modelled(shape, tile, machine)), tile.rows, tile.vectors),
    )


def modelled(shape: ConvShape, tile: Tile, machine: Machine) -> float:
    """Return the cycles of a layer in the model, the last narrower tiles included."""
    total = 0.0
    for vectors, vector_count in _cuts(shape.blocks, tile.vectors):
        first = True  # the first tile brings the weights near
        for rows, row_count in _cuts(shape.scan.height, tile.rows):
            for columns, column_count in _cuts(shape.scan.width, tile.columns):
                part = Tile(rows, columns, vectors, tile.splits)
                count, far = row_count * column_count, _is_large(shape, vectors)
                total += vector_count * count * _tile_cycles(shape, part, machine, far)
                if first and not far:
                    extra = _tile_cycles(shape, part, machine, True)
                    total += vector_count * (extra - _tile_cycles(shape, part, machine, False))
                first = False
    return total * shape.groups


def _is_large(shape: ConvShape, vectors: int) -> bool:
    return shape.runs.steps * vectors * 64 > _NEAR_BYTES


def _tile_cycles(shape: ConvShape, tile: Tile, machine: Machine, far: bool) -> float:
    pixels = tile.rows * tile.columns
    sums = pixels * tile.vectors
    dots = sums + (pixels if shape.weight_zero_point else 0)
    step = max(
        dots * machine.dot,
        pixels * machine.load + tile.vectors * (machine.far if far else machine.load),
        machine.latency * machine.dot / tile.splits,
    )
    joins = sums * (tile.splits - 1) * 0.5
    fours = -(-sums // 4)
    crowded = machine.crowded * max(0, sums * tile.splits - machine.roomy)
    finish = fours * (4 * (machine.finish + crowded) + _stores(shape, tile) * machine.store)
    return shape.runs.steps * step + finish + joins + machine.enter


def _stores(shape: ConvShape, tile: Tile) -> int:
    """Return into how many stores four finished vectors fall."""
    beside = tile.columns if shape.scan.width > 1 else tile.rows
    if shape.out_pixel_pitch != BLOCK * tile.vectors or (beside * tile.vectors) % 4:
        beside = 1
    return 1 if beside * tile.vectors % 4 == 0 else 4


def _candidates(shape: ConvShape, machine: Machine) -> list[Tile]:
    found = []
    room = machine.accumulators
    for vectors in range(1, min(shape.blocks, room) + 1):
        if shape.interleave > 1 and shape.interleave % vectors:
            continue
        for columns in range(1, min(shape.scan.width, room // vectors) + 1):
            for rows in range(1, min(shape.scan.height, room // (vectors * columns)) + 1):
                extra = rows * columns if shape.weight_zero_point else 0
                for splits in _SPLITS:
                    sums = rows * columns * vectors * splits + extra
                    if sums <= room and splits <= shape.runs.quads:
                        found.append(Tile(rows, columns, vectors, splits))
    return found or [Tile(1, 1, 1)]


def _cuts(length: int, step: int) -> list[tuple[int, int]]:
    """Return the sizes of the pieces of a length and how often each occurs."""
    whole, rest = divmod(length, step)
    return [(size, count) for size, count in ((step, whole), (rest, 1)) if size and count]
