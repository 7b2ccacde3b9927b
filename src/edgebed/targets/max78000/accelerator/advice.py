"""Settings that do not change this model's results but that the chip needs, checked by rule.

The rules are what the vendor's generator always writes (specification: WPTR_TOFFS, WPTR_MOFFS,
LCTL sources, time slots, SRAM control). A compiler that breaks one passes here and may fail on
silicon, so the model says so.
"""

from __future__ import annotations

from collections.abc import Iterator

from edgebed.targets.max78000.accelerator.decode import Fields
from edgebed.targets.max78000.accelerator.memory import SRAM_CONTROL, SRAM_WORDS, Storage
from edgebed.targets.max78000.accelerator.registers import (
    LayerRegisters,
    NetworkRegisters,
    Register,
)

_SRAM_CONTROL = 0x40E


def network_advice(storage: Storage, network: NetworkRegisters) -> Iterator[str]:
    """Yield one line for every quadrant whose data memory is not set up."""
    for quadrant in network.quadrants:
        value = int(storage.control[quadrant, SRAM_CONTROL])
        if value != _SRAM_CONTROL:
            yield f"quadrant {quadrant}: SRAM control is {value:#x}, the chip needs 0x40e"


def layer_advice(
    storage: Storage, network: NetworkRegisters, layer: LayerRegisters
) -> Iterator[str]:
    """Yield one line for every register of a layer that the chip expects otherwise."""
    f = Fields(storage, network, layer.index)
    expected = {
        Register.WPTR_TOFFS: _time_offset(layer),
        Register.WPTR_MOFFS: f.word(Register.WPTR_MOFFS) if layer.passthrough else 0x2000,
    }
    for register, value in expected.items():
        if f.word(register) != value:
            found = f.word(register)
            yield f"layer {layer.index}: {register.name} is {found:#x}, expected {value:#x}"
    if f.word(Register.LCTL) & 0x820 != 0x820:
        yield f"layer {layer.index}: LCTL {f.word(Register.LCTL):#x} lacks bit 5 or 11"
    if layer.time_slots != (slots := _time_slots(layer)):
        yield f"layer {layer.index}: ONED[3:0] is {layer.time_slots - 1}, expected {slots - 1}"
    if (sources := f.field(Register.LCTL, 15, 12)) != (needed := _sources(network, layer)):
        yield f"layer {layer.index}: LCTL sources are {sources:#x}, expected {needed:#x}"
    if not layer.streaming and (last := _last_word(layer)) >= SRAM_WORDS:
        yield f"layer {layer.index}: reads up to word {last:#x} of an instance of 0x2000 words"


def _time_offset(layer: LayerRegisters) -> int:
    if layer.passthrough:
        several = layer.operands > 1 and layer.passes > 1
        return 0x2000 if len(layer.processors) > 4 or several else 0x800
    return int(not layer.one_dimensional and (layer.kernel_rows, layer.kernel_columns) == (1, 1))


def _time_slots(layer: LayerRegisters) -> int:
    if not layer.passthrough:
        return 1
    quadrants = [processor // 16 for processor in layer.processors]
    words = (quadrants.count(q) * (4 if layer.wide else 1) for q in set(quadrants))
    return (max(words) - 1) // 4 + 1


def _sources(network: NetworkRegisters, layer: LayerRegisters) -> int:
    if layer.passthrough:
        return 0
    quadrants = {processor // 16 for processor in layer.processors}
    if layer.bias is not None:
        quadrants.add(layer.bias[0])
    return sum(1 << q for q in quadrants - {network.master})


def _last_word(layer: LayerRegisters) -> int:
    words = layer.rows * layer.columns * layer.passes * layer.operands
    return layer.read_base + (-(-words // 4) if layer.big_data else words) - 1
