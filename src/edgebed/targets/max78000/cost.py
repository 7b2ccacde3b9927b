"""Time and energy per layer, all estimated: the cycle law, and a calibrated energy model.

Time. The vendor's law without its streaming factor gives 89.7 ms for the BED network at 50 MHz;
published is 91.9 ms (2.4 % more). At the two other published networks with a time, cats-dogs and
FaceID, it is 17 % and 14 % low. Hence the band of +2 to +17 %.

Energy. E = P * time + e * MAC has two unknowns and is calibrated on one published measurement:
BED, 1.845 mJ for 4,485,195 cycles and 421.0 million MAC as executed. How much of it is static is
not public. ASSUMPTION: one half, the middle of the possible range; each figure's band runs from
all static (energy follows time) to all dynamic (energy follows MACs), and for BED both ends meet.
Other published points were not used, and all lie above the model, whatever the split:
TinyissimoYOLO, 0.196 mJ (5.56 ms, 29.4 M MAC), is estimated 0.122 mJ (-38 %); face recognition,
0.09 mJ (1.4 ms, 8.2 M MAC), 0.032 mJ (-64 %); KWS20, about 0.25 mJ, a tenth of that. They were
taken on other boards and may include loading; so compare networks by these numbers, and do not
size a battery by them.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgebed.figures import Figure
from edgebed.targets.contract import Cost, LayerCost
from edgebed.targets.max78000.compiler import Compiled
from edgebed.targets.max78000.cycles import STARTUP_CYCLES
from edgebed.targets.max78000.layers import Placed

CLOCK_HZ = 50_000_000
BAND = (1.02, 1.17)

BED_MILLIJOULES = 1.845
BED_CYCLES = 4_485_195
BED_MACS = 420_950_768
STATIC_SHARE = 0.5

LAW = "cycle law of ai8x-synthesis without its streaming factor; published times are 2 to 17 % more"
ENERGY = "two-term model calibrated on BED (1.845 mJ); half static by assumption, band 0 to 1"
COUNT = "counted in the device image"


def cost_of(compiled: Compiled) -> Cost:
    """Return the cost of a placed network, per device layer and in total."""
    chain = compiled.chain
    layers = tuple(_layer(chain, index, compiled.image.cycles) for index in range(len(chain)))
    cycles = sum(compiled.image.cycles.values()) + STARTUP_CYCLES
    macs = sum(layer.macs for layer in layers)
    total = _running(cycles, macs) | {
        "weights": _bytes(sum(kernel_bytes(placed) for placed in chain)),
        "biases": _bytes(sum(bias_bytes(placed) for placed in chain)),
        "data": _bytes(max(_map_bytes(chain, index) for index in range(len(chain)))),
    }
    return Cost(layers, total)


def _layer(chain: Sequence[Placed], index: int, cycles: dict[str, int]) -> LayerCost:
    placed = chain[index]
    layer = placed.layer
    figures = _running(cycles[layer.name], layer.macs) | {
        "weights": _bytes(kernel_bytes(placed)),
        "biases": _bytes(bias_bytes(placed)),
        "data": _bytes(_map_bytes(chain, index)),
    }
    name = f"{layer.name} {'+'.join(layer.ops)}".strip()
    return LayerCost(name, layer.macs, figures)


def _running(cycles: int, macs: int) -> dict[str, Figure]:
    milliseconds = cycles / CLOCK_HZ * 1000
    low, high = (milliseconds * factor for factor in BAND)
    return {
        "cycles": Figure(cycles, "cycles", "estimated", LAW),
        "time": Figure(milliseconds, "ms", "estimated", LAW, low, high),
        "energy": energy(cycles, macs),
    }


def energy(cycles: int, macs: int) -> Figure:
    """Return the energy in mJ of so many cycles and multiply-accumulates."""
    static = BED_MILLIJOULES * cycles / BED_CYCLES
    dynamic = BED_MILLIJOULES * macs / BED_MACS
    value = STATIC_SHARE * static + (1 - STATIC_SHARE) * dynamic
    low, high = sorted((static, dynamic))
    return Figure(value, "mJ", "estimated", ENERGY, low, high)


def kernel_bytes(placed: Placed) -> int:
    """Return the weights' size without dummies and alignment."""
    kernel = placed.layer.kernel
    return 0 if kernel is None else -(-kernel.size * placed.layer.bits // 8)


def bias_bytes(placed: Placed) -> int:
    """Return the biases' size."""
    return 0 if placed.layer.bias is None else len(placed.layer.bias)


def _map_bytes(chain: Sequence[Placed], index: int) -> int:
    """Return the bytes of a layer's operands and result; maps inside a stream are never whole."""
    layer = chain[index].layer
    follower = chain[index + 1].layer if index + 1 < len(chain) else None
    channels, rows, columns = layer.in_shape
    read = 0 if layer.streaming else channels * rows * columns * layer.operands
    if layer.streaming and follower is not None and follower.streaming:
        return read
    channels, rows, columns = layer.out_shape
    return read + channels * rows * columns * (4 if layer.wide else 1)


def _bytes(count: int) -> Figure:
    return Figure(count, "bytes", "measured", COUNT)
