"""From stores to offsets in the arena: lifetimes, in-place results, the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgebed.compile.memory_plan import Block, MemoryPlan, place
from edgebed.targets.host.steps import ALIGNMENT, SLACK, Call, Lowered, Operand, Shown, Step


@dataclass(frozen=True)
class Arena:
    """Where the stores of the arena lie.

    Attributes:
        offsets: bytes by number of the store.
        plan: peak and lower bound.
    """

    offsets: Mapping[int, int]
    plan: MemoryPlan

    @property
    def nbytes(self) -> int:
        """Bytes that the caller must give, readable slack included."""
        return self.plan.peak + SLACK


def arrange(lowered: Lowered) -> Arena:
    """Return offsets for the stores in the arena."""
    lives = lifetimes(lowered.steps)
    numbers = [n for n, store in enumerate(lowered.stores) if store.where == "arena" and n in lives]
    blocks = [Block(lowered.stores[n].nbytes, *lives[n]) for n in numbers]
    plan = place(blocks, ALIGNMENT)
    return Arena(dict(zip(numbers, plan.offsets, strict=True)), plan)


def lifetimes(steps: Sequence[Step]) -> dict[int, tuple[int, int]]:
    """Return the first and the last step that touches each store."""
    lives: dict[int, tuple[int, int]] = {}
    for number, step in enumerate(steps):
        for call in (step.call, *step.fills):
            for operand in (*call.reads, *call.writes):
                first, _ = lives.get(operand.view.store, (number, number))
                lives[operand.view.store] = (first, number)
    return lives


def in_place(lowered: Lowered) -> Lowered:
    """Let element-wise results take the memory of an operand that nobody reads later."""
    steps, shown = list(lowered.steps), list(lowered.shown)
    number = 0
    while number < len(steps):
        lives = lifetimes(steps)
        pair = _shareable(lowered, steps[number], number, lives)
        if pair is not None:
            steps = [_renamed(step, *pair) for step in steps]
            shown = [_moved(one, *pair) for one in shown]
        number += 1
    return replace(lowered, steps=tuple(steps), shown=tuple(shown))


def _shareable(
    lowered: Lowered, step: Step, number: int, lives: Mapping[int, tuple[int, int]]
) -> tuple[int, int] | None:
    """Return (store of the result, store of the operand) that may become one."""
    if not step.call.in_place or step.fills:
        return None
    (out,) = step.call.writes
    target = lowered.stores[out.view.store]
    if target.where != "arena" or lives[out.view.store][0] != number:
        return None
    for operand in step.call.reads:
        source = lowered.stores[operand.view.store]
        same = (operand.view.shape, operand.view.strides, operand.view.offset) == (
            out.view.shape, out.view.strides, out.view.offset,
        )  # fmt: skip
        dies = lives[operand.view.store][1] == number
        if source == target and same and dies and operand.view.store != out.view.store:
            return out.view.store, operand.view.store
    return None


def _renamed(step: Step, old: int, new: int) -> Step:
    return replace(
        step, call=_call(step.call, old, new), fills=tuple(_call(c, old, new) for c in step.fills)
    )


def _call(call: Call, old: int, new: int) -> Call:
    return replace(
        call,
        reads=tuple(_operand(o, old, new) for o in call.reads),
        writes=tuple(_operand(o, old, new) for o in call.writes),
    )


def _moved(shown: Shown, old: int, new: int) -> Shown:
    if shown.view.store != old:
        return shown
    return replace(shown, view=replace(shown.view, store=new))


def _operand(operand: Operand, old: int, new: int) -> Operand:
    if operand.view.store != old:
        return operand
    return replace(operand, view=replace(operand.view, store=new))
