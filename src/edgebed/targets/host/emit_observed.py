"""What an observed build shows: every tensor that memory ever holds, and where it lies then."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from edgebed.program.axes import own_layout
from edgebed.program.costs import costs_of
from edgebed.program.text import digest
from edgebed.program.types import Program, TensorType
from edgebed.targets.host.arena import Arena
from edgebed.targets.host.layout import BYTES, View, no_margins, row_major, stored_bias, stored_type
from edgebed.targets.host.steps import Lowered, Shown, Store

Role = Literal["input", "layer", "output"]
SOURCE: Final = "host"
MEANINGLESS: Final = frozenset({"bool", "int64"})
"""Types whose values are no steps of a real number."""
LINE: Final = 1000
"""Characters of a line of generated text."""
MOST_AXES: Final = 8
"""Of runs that do not lie one behind the other; observe.h has room for so many."""


@dataclass(frozen=True)
class Observed:
    """A tensor as it lies in memory when the step that completes it is done.

    Attributes:
        name: in the program.
        role: what it is to the program.
        kind: of the op that wrote it; empty for an input.
        type: dtype, scale and zero point; its shape is the program's.
        axes: of the program's tensor, from the sparsest to the densest.
        view: where it lies; of inputs and outputs, the caller's memory.
        store: that memory.
        offset: bytes of the first value from the start of the arena, of the constants, or of the
            caller's tensor.
        step: after which all of it is there; -1 before the first.
        names: of the program's axes; empty where they have none.
    """

    name: str
    role: Role
    kind: str
    type: TensorType
    axes: tuple[int, ...]
    view: View
    store: Store
    offset: int
    step: int
    names: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of its `axes`."""
        return tuple(self.view.shape[axis] for axis in self.axes)

    @property
    def head(self) -> str:
        """What a trace says of the tensor, JSON; see `edgebed.observe.trace`."""
        kind = self.type
        steps = not kind.is_float and kind.dtype not in MEANINGLESS
        facts = {
            "name": self.name, "role": self.role, "shape": self.shape, "dtype": kind.dtype,
            "scale": float(kind.scale) if steps else None,
            "zero_point": kind.zero_point if steps else 0,
            "layout": "".join(self.names[axis] for axis in self.axes) if self.names else "",
            "kind": self.kind,
        }  # fmt: skip
        return json.dumps(facts, separators=(",", ":"))

    @property
    def flipped(self) -> bool:
        """Whether its bytes are value + 128: everything of the steps, but nothing of the caller's.

        A layer may lie in the caller's input: bytes from 0 to 255 that it reads as -128 to 127.
        """
        return self.role == "layer" and bool(stored_bias(self.type))


def observed(program: Program, lowered: Lowered, arena: Arena) -> tuple[Observed, ...]:
    """Return inputs, then what the steps leave in memory, outputs among it, in their order.

    An output is shown as the caller gets it. What no memory ever holds is left out.
    """
    inputs = (_own(program, name, "input", n, -1) for n, name in enumerate(program.inputs))
    held = (
        _inner(program, lowered, arena, one)
        for one in lowered.shown
        if one.tensor not in program.outputs and _is_held(lowered, arena, one.view)
    )
    inner = (one for one in held if len(runs(one).axes) <= MOST_AXES)
    outputs = (
        _own(program, name, "output", n, _given_by(lowered, n))
        for n, name in enumerate(program.outputs)
    )
    return (*inputs, *sorted((*inner, *outputs), key=lambda one: one.step))


def _given_by(lowered: Lowered, output: int) -> int:
    """Return the last step that writes to an output of the caller's."""
    for number, step in reversed(list(enumerate(lowered.steps))):
        stores = [lowered.stores[operand.view.store] for operand in step.call.writes]
        if any(store.where == "output" and store.place == output for store in stores):
            return number
    return len(lowered.steps) - 1


def _is_held(lowered: Lowered, arena: Arena, view: View) -> bool:
    return lowered.stores[view.store].where != "arena" or view.store in arena.offsets


def _own(program: Program, name: str, role: Role, number: int, step: int) -> Observed:
    kind = program.types[name]
    where: Literal["input", "output"] = "input" if role == "input" else "output"
    store = Store(stored_type(kind), kind.size, where, number)
    rank = len(kind.shape)
    view = View(-1, store.stored, kind.shape, row_major(kind.shape), 0, no_margins(rank))
    writer = program.writer(name)
    written = writer.kind if writer is not None else ""
    axes, names = tuple(range(rank)), own_layout(program, name)
    return Observed(name, role, written, kind, axes, view, store, 0, step, names)


def _inner(program: Program, lowered: Lowered, arena: Arena, one: Shown) -> Observed:
    store, view = lowered.stores[one.view.store], one.view
    start = {"arena": arena.offsets.get(view.store, 0), "constants": store.place}
    offset = start.get(store.where, 0) + view.offset * BYTES[view.stored]
    kind = program.types[one.tensor]
    return Observed(
        one.tensor, "layer", one.kind, kind, view.order, view, store, offset, one.step,
        own_layout(program, one.tensor),
    )  # fmt: skip


@dataclass(frozen=True)
class Runs:
    """Neighbouring values and where such runs lie: bytes, and (count, stride in bytes) an axis."""

    nbytes: int
    axes: tuple[tuple[int, int], ...]


def runs(one: Observed) -> Runs:
    """Return a tensor's values as the longest runs of neighbours, in the order of its axes."""
    width = BYTES[one.view.stored]
    axes: list[tuple[int, int]] = []
    for axis in one.axes:
        count, stride = one.view.shape[axis], one.view.strides[axis] * width
        if count != 1 and axes and axes[-1][1] == count * stride:
            axes[-1] = (axes[-1][0] * count, stride)
        elif count != 1:
            axes.append((count, stride))
    if axes and axes[-1][1] == width:
        return Runs(axes[-1][0] * width, tuple(axes[:-1]))
    return Runs(width, tuple(axes))


def observed_file(name: str, program: Program, tensors: Sequence[Observed]) -> str:
    """Return the table of the tensors, which an observed build includes."""
    rows = "\n".join(line for one in tensors for line in _row(one))
    before, behind = manifest(program)
    return f"""/* The tensors of {name} where they lie. Generated by edgebed; included where
 * EB_OBSERVE is defined. */
#include "edgebed/observe.h"

#define EB_TENSORS {len(tensors)}
#define EB_CONSTANTS {name}_constants
extern const uint8_t {name}_constants[] EB_HIDDEN;

/* What traces say of the network, before and behind the level's name. */
static const char eb_manifest_0[] = {c_string(before)};
static const char eb_manifest_1[] =
{c_lines(behind)};

static const eb_tensor eb_tensors[{len(tensors)}] = {{
{rows}
}};
"""


_MEMORY: Final = {
    "arena": "EB_IN_ARENA", "constants": "EB_IN_CONSTANTS", "input": "EB_IN_INPUT",
    "output": "EB_IN_OUTPUT",
}  # fmt: skip


def _row(one: Observed) -> Iterator[str]:
    """Return a row of the table, fields in the order of the structure."""
    found = runs(one)
    place = one.store.place if one.store.where in ("input", "output") else 0
    counts = ", ".join(str(count) for count, _ in found.axes) or "0"
    strides = ", ".join(str(stride) for _, stride in found.axes) or "0"
    width = BYTES[one.view.stored]
    yield f"  {{{c_string(one.name)}, {c_string(one.type.dtype)},"
    yield f"   {c_string(json.dumps(one.name))},"
    yield f"   {c_string(one.head)},"
    yield f"   {float(one.type.scale)!r},"
    yield f"   {one.view.size * width}, {one.offset}, {found.nbytes}, {{{strides}}}, {{{counts}}},"
    yield f"   {len(found.axes)}, {place}, {one.step}, {one.type.zero_point}, {width},"
    yield f"   {int(one.flipped)}, EB_{one.role.upper()}, {_MEMORY[one.store.where]}}},"


def manifest(program: Program) -> tuple[str, str]:
    """Return what a trace's manifest says, before the name of its level and from there to notes.

    The notes' last ones follow, and the end of both objects.
    """
    facts = {
        "network": program.name,
        "digest": digest(program),
        "contract": program.contract.to_json() if program.contract is not None else None,
        "layers": [op.output for op in program.ops],
        "notes": {**costs_of(program), "recorder": "native"},
    }
    rest = json.dumps(facts, separators=(",", ":"))
    return f'{{"source":"{SOURCE}","level":"', f'",{rest[1:-2]}'


def c_lines(text: str) -> str:
    """Return a long text as C string literals, one behind the other."""
    return "\n".join(c_string(text[i : i + LINE]) for i in range(0, len(text), LINE)) or '""'


def c_string(text: str) -> str:
    """Return a C string literal of a text in UTF-8."""
    plain = (chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
             for byte in text.encode())  # fmt: skip
    return f'"{"".join(plain)}"'
