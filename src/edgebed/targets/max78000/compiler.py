"""From a program, or a project with its own placement, to the device image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from edgebed.errors import EdgebedError
from edgebed.program.types import Program
from edgebed.targets.contract import Problem
from edgebed.targets.max78000.assemble import assemble, used_quadrants
from edgebed.targets.max78000.biases import allocate_biases, bias_length
from edgebed.targets.max78000.hints import LayerHint, Options, Project
from edgebed.targets.max78000.image import DeviceImage
from edgebed.targets.max78000.kernels import allocate_kernels, kernel_length
from edgebed.targets.max78000.latency import chain_cycles
from edgebed.targets.max78000.layers import BIAS_BYTES, KERNEL_COLUMNS, Placed, processors_in
from edgebed.targets.max78000.limits import layer_problems, op_problems
from edgebed.targets.max78000.lowering import lower
from edgebed.targets.max78000.planner import candidates
from edgebed.targets.max78000.resolve import Resolved, resolve
from edgebed.targets.max78000.verify import placement_problems


@dataclass(frozen=True)
class Compiled:
    """A placed network.

    Attributes:
        program: what was compiled.
        resolved: layers at their places, inputs, locations of all tensors.
        fifo: the input arrives through the FIFOs.
        image: the words.
        warnings: what a real device may do otherwise, for a placement its author gave.
    """

    program: Program
    resolved: Resolved
    fifo: bool
    image: DeviceImage
    warnings: tuple[Problem, ...] = ()

    @property
    def chain(self) -> tuple[Placed, ...]:
        """Layers at their places, in execution order."""
        return self.resolved.chain


def compile_program(source: Program | Project, *, replan: bool = False) -> Compiled:
    """Return the placed network.

    Args:
        source: a program, which is planned, or a project, whose placement is honoured.
        replan: plan a project anew.

    Raises:
        EdgebedError: it does not fit; the message names layer, number and limit.
    """
    program, hints, options = _opened(source)
    _raise_first(op_problems(program))
    if hints and not replan:
        layers = lower(program, hints)
        _raise_first(layer_problems(layers))
        resolved = with_memories(resolve(program, layers, hints))
        problems = placement_problems(program, resolved, options)
        _raise_first([problem for problem in problems if not problem.warning])
        return replace(_compiled(program, resolved, options), warnings=tuple(problems))
    for resolved, fifo in _planned(program):
        _raise_first(placement_problems(program, resolved, Options(fifo=fifo)))
        return _compiled(program, resolved, Options(fifo=fifo))
    raise AssertionError("planning yields a placement or raises")


def _raise_first(problems: Sequence[Problem]) -> None:
    for first in problems[:1]:
        raise EdgebedError(first.what, where=first.layer, why=first.limit, try_=first.try_)


def _planned(program: Program) -> Iterator[tuple[Resolved, bool]]:
    layers = lower(program)
    _raise_first(layer_problems(layers))
    failure: EdgebedError | None = None
    for decision in candidates(program, layers):
        try:
            placed = resolve(
                program, decision.layers, decision.hints, decision.copies, decision.provided
            )
            yield with_memories(placed), decision.fifo
        except EdgebedError as error:
            failure = failure or error
    assert failure is not None
    raise failure


def with_memories(resolved: Resolved) -> Resolved:
    """Return the layers with their kernel columns and bias addresses.

    Raises:
        EdgebedError: kernels or biases do not fit.
    """
    placed = allocate_kernels(resolved.chain)
    if placed is None:
        raise _kernels_full(resolved.chain)
    biased = allocate_biases(placed, used_quadrants(placed))
    if biased is None:
        raise _biases_full(placed)
    return replace(resolved, chain=tuple(biased))


def _opened(source: Program | Project) -> tuple[Program, tuple[LayerHint, ...], Options]:
    if isinstance(source, Project):
        return source.program, source.layers, source.options
    return source, (), Options()


def _compiled(program: Program, resolved: Resolved, options: Options) -> Compiled:
    cycles = chain_cycles(resolved.chain)
    image = assemble(program, resolved, cycles, fifo=options.fifo)
    return Compiled(program, resolved, options.fifo, image)


def _kernels_full(chain: Sequence[Placed]) -> EdgebedError:
    columns = dict.fromkeys(range(64), 0)
    for placed in chain:
        for processor in processors_in(placed.at.processors):
            columns[processor] += kernel_length(placed)
    worst = max(columns, key=lambda p: columns[p])
    longest = max(chain, key=kernel_length)
    return EdgebedError(
        f"the kernels need {columns[worst]} columns on processor {worst}",
        where=longest.layer.name,
        why=f"kernel memory has {KERNEL_COLUMNS} columns of 72 bits per processor",
        try_=f"fewer weight bits in {longest.layer.ops[-1]}, or fewer channels",
    )


def _biases_full(chain: Sequence[Placed]) -> EdgebedError:
    total = sum(bias_length(chain, index) for index in range(len(chain)))
    return EdgebedError(
        f"the biases need {total} bytes",
        why=f"bias memory has {BIAS_BYTES} bytes in each of {len(used_quadrants(chain))} quadrants",
        try_="no bias where a layer's outputs are normalised later, or more quadrants",
    )
