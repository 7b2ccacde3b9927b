"""What a project says about its own placement; the planner honours it or plans anew."""

from __future__ import annotations

from dataclasses import dataclass

from edgebed.program.types import Program


@dataclass(frozen=True)
class LayerHint:
    """One device layer as the project lays it out.

    Attributes:
        name: `layer00`, `layer01`, ... in execution order.
        ops: names of the program's ops that this device layer computes, in program order; the
            last one writes the layer's result.
        processors: bit p set = processor p reads this layer's input.
        output_processors: bit mask of the result's processors; None = the planner derives it
            (next layer's input map, or packed from processor 0 for an output layer).
        in_offset: byte offset of the input in every data memory instance; None = derived from the
            producer (0 for the first layer).
        out_offset: byte offset of the result.
        write_gap: words left free after each written word (interleaved operands).
        streaming: the layer runs in the streaming chain.
        big_data: the (first) layer reads CHW data instead of HWC.
    """

    name: str
    ops: tuple[str, ...]
    processors: int
    output_processors: int | None = None
    in_offset: int | None = None
    out_offset: int = 0
    write_gap: int = 0
    streaming: bool = False
    big_data: bool = False


@dataclass(frozen=True)
class Options:
    """Switches of a build that change results, timing or what is refused.

    Attributes:
        fifo: the input arrives through the FIFOs.
        avg_pool_rounding: averages are rounded instead of truncated.
        overlap_data: a layer's result may overlap its input in an instance.
    """

    fifo: bool = False
    avg_pool_rounding: bool = False
    overlap_data: bool = False


@dataclass(frozen=True)
class Project:
    """A program with the layout its author gave it."""

    program: Program
    layers: tuple[LayerHint, ...]
    options: Options = Options()
