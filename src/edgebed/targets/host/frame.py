"""The lowering's scratch pad: views of tensors, stores, and the steps written so far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from edgebed.program.types import Array, Op, Program, TensorType
from edgebed.targets.host.kernels.conv import Tile
from edgebed.targets.host.layout import (
    Margins,
    Stored,
    View,
    no_margins,
    ordered_strides,
    row_major,
    stored_bias,
    stored_type,
    stored_zero,
)
from edgebed.targets.host.loops import nest
from edgebed.targets.host.steps import (
    SLACK,
    Blocked,
    Call,
    Constants,
    Layer,
    Lowered,
    Operand,
    Packed,
    Shown,
    Step,
    Store,
    TileKey,
)
from edgebed.targets.host.wishes import (
    CHANNELS_LAST,
    SPATIAL,
    Place,
    Wish,
    joined_wishes,
    places,
    wishes,
)

_NUMPY: dict[Stored, str] = {
    "u8": "uint8", "i16": "int16", "i32": "int32", "i64": "int64", "f32": "float32",
}  # fmt: skip


@dataclass
class Frame:
    """A program on its way to steps.

    Attributes:
        program: what is lowered.
        views: where the tensors lie that are in memory already.
        lazy: reshapes that would need a copy, by output: they are made when somebody reads them.
        detections: results of which several ops take a part each.
        tuned: tiles that were measured; the others follow the model.
        blocked: layers whose tile can be tuned.
        shown: results that are complete in memory, by name.
    """

    program: Program
    views: dict[str, View] = field(default_factory=dict)
    lazy: dict[str, str] = field(default_factory=dict)
    detections: list[object] = field(default_factory=list)
    tuned: Mapping[TileKey, Tile] = field(default_factory=dict)
    blocked: list[Blocked] = field(default_factory=list)
    stores: list[Store] = field(default_factory=list)
    constants: Constants = field(default_factory=Constants)
    layers: list[Layer] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    shown: dict[str, Shown] = field(default_factory=dict)
    _fills: list[Call] = field(default_factory=list)
    _placed: dict[str, Place] = field(default_factory=dict)
    _wishes: dict[str, Wish] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._placed = places(self.program)
        self._wishes = joined_wishes(self.program, wishes(self.program), self._placed)

    def kind(self, tensor: str) -> TensorType:
        """Return a tensor's type."""
        return self.program.types[tensor]

    def values(self, constant: str) -> Array:
        """Return a constant's values."""
        return self.program.constants[constant].values

    def wish(self, tensor: str) -> Wish:
        """Return what a tensor's readers wish for."""
        return self._wishes[tensor]

    def is_placed(self, tensor: str) -> bool:
        """Return whether a tensor lies within a concat's result."""
        return tensor in self._placed

    # ---- reading -----------------------------------------------------------------------------

    def view(self, tensor: str) -> View:
        """Return where a tensor lies, after making it if it waits for a reader."""
        if tensor in self.lazy:
            source = self.view(self.lazy.pop(tensor))
            self.views[tensor] = self.packed_rows(source, self.kind(tensor).shape)
            self.show(tensor)
        return self.views[tensor]

    def packed_rows(self, source: View, shape: tuple[int, ...]) -> View:
        """Return a row-major copy of a view in another shape."""
        copy = self.scratch(source.stored, source.shape)
        self.copy(source, copy)
        reshaped = copy.reshaped(shape)
        assert reshaped is not None
        return reshaped

    def flat(self, tensor: str) -> View:
        """Return a row-major view of a tensor."""
        view = self.view(tensor)
        return view if view.is_row_major else self.packed_rows(view, view.shape)

    def map(self, tensor: str, margins: Margins | None = None) -> View:
        """Return a channels-last view of a map with at least these margins of zero points."""
        view = self.view(tensor)
        wanted = margins or no_margins(3)
        enough = all(
            has[0] >= need[0] and has[1] >= need[1]
            for has, need in zip(view.margins, wanted, strict=True)
        )
        if enough and is_map(view):
            return view
        copy = self.scratch(
            view.stored, view.shape, CHANNELS_LAST, wanted, stored_zero(self.kind(tensor))
        )
        self.copy(view, copy)
        return copy

    # ---- writing -----------------------------------------------------------------------------

    def output(self, op: Op) -> View:
        """Return where an op's output goes; the op writes all of it."""
        view = self.place(op.output, op.kind in SPATIAL, self._like(op))
        self.views[op.output] = view
        return view

    def _like(self, op: Op) -> View | None:
        shape = self.kind(op.output).shape
        known = [self.views.get(name) for name in op.inputs]
        return next((view for view in known if view is not None and view.shape == shape), None)

    def place(self, tensor: str, spatial: bool = False, like: View | None = None) -> View:
        """Return where a tensor will lie: within a concat's result, or in a store of its own."""
        if tensor in self.views:
            return self.views[tensor]
        if tensor in self._placed:
            return self._within(self._placed[tensor])
        kind, wish = self.kind(tensor), self._wishes[tensor]
        order = CHANNELS_LAST if spatial else wish.order
        if order is None and like is not None:
            order = like.order
        external = self._external(tensor, order, wish)
        if external is not None:
            return external
        return self.scratch(stored_type(kind), kind.shape, order, wish.margins, stored_zero(kind))

    def _within(self, place: Place) -> View:
        parent = self.place(place.parent)
        self.views[place.parent] = parent
        return parent.taken(place.axis, place.indices).permuted(place.perm)

    def _external(self, tensor: str, order: Sequence[int] | None, wish: Wish) -> View | None:
        """Return the caller's own memory for an output that is stored there as it is."""
        kind = self.kind(tensor)
        plain = order is None or ordered_strides(kind.shape, order) == row_major(kind.shape)
        bare = wish.margins == no_margins(len(kind.shape))
        if tensor not in self.program.outputs or stored_bias(kind) or not (plain and bare):
            return None
        number = self.program.outputs.index(tensor)
        return self.external(kind, "output", number)

    def external(self, kind: TensorType, where: str, number: int) -> View:
        """Return a view of a caller's input or output."""
        assert where in ("input", "output")
        self.stores.append(Store(stored_type(kind), kind.size, where, number))  # type: ignore[arg-type]
        return self._whole(kind.shape, stored_type(kind))

    def _whole(self, shape: tuple[int, ...], stored: Stored) -> View:
        rank = len(shape)
        return View(len(self.stores) - 1, stored, shape, row_major(shape), 0, no_margins(rank))

    def scratch(
        self,
        stored: Stored,
        shape: tuple[int, ...],
        order: Sequence[int] | None = None,
        margins: Margins | None = None,
        fill: float = 0,
    ) -> View:
        """Return a new store in the arena, with a border that is filled before the next step.

        Args:
            stored: type of the elements.
            shape: of the tensor.
            order: axes from the sparsest to the densest; row-major if None.
            margins: border along each axis.
            fill: stored value of the border.
        """
        margins = margins or no_margins(len(shape))
        whole = tuple(n + a + b for n, (a, b) in zip(shape, margins, strict=True))
        strides = ordered_strides(whole, order if order is not None else range(len(shape)))
        offset = sum(a * s for (a, _), s in zip(margins, strides, strict=True))
        self.stores.append(Store(stored, math.prod(whole)))
        view = View(len(self.stores) - 1, stored, shape, strides, offset, margins)
        if any(map(any, margins)):
            self._fills.append(border_call(view, margins, fill))
        return view

    def constant(self, values: Array, stored: Stored, order: Sequence[int] | None = None) -> View:
        """Return a view of stored values among the constants, in this order of the axes."""
        order = order if order is not None else range(values.ndim)
        place = self.constants.add(values.astype(_NUMPY[stored]).transpose(order))
        self.stores.append(Store(stored, values.size, "constants", place))
        strides = ordered_strides(values.shape, order)
        return replace(self._whole(values.shape, stored), strides=strides)

    def pack(
        self, name: str, values: Array | bytes, c_type: str, *, streamed: bool = False
    ) -> Packed:
        """Return a pointer to packed constants; `streamed` ones are read from end to end."""
        return Packed(name, c_type, self.constants.add(values), streamed)

    # ---- steps -------------------------------------------------------------------------------

    def layer(self, op: Op, macs: int) -> None:
        """Begin a layer; the steps that follow belong to it."""
        out = self.kind(op.output)
        tensors = [self.kind(name).nbytes for name in op.inputs] + [out.nbytes]
        size = sum(self.values(name).nbytes for name in op.constants)
        self.layers.append(Layer(op.name, op.kind, macs, sum(tensors) + size, out.shape))

    def emit(self, call: Call) -> None:
        """Write a step."""
        self.steps.append(Step(len(self.layers) - 1, call, tuple(self._fills)))
        self._fills.clear()

    def copy(self, source: View, target: View, change: str = "") -> None:
        """Copy values between views of one shape; `change` is put behind the value read."""
        if source == target:
            return
        text = nest(
            target.shape,
            {"out": target.strides, "in": source.strides},
            lambda at: f"{at['out']} = {at['in'] + change};",
        )
        self.emit(Call(text, (Operand("in", source),), (Operand("out", target),)))

    def show(self, tensor: str) -> None:
        """Note that an op's result is complete in memory; a lazy one is not there yet."""
        writer = self.program.writer(tensor)
        if tensor not in self.views or writer is None:
            return
        view = self.views[tensor]
        # Not the last step so far: a view's memory may be another tensor's by then.
        wrote = (n for n in reversed(range(len(self.steps))) if view.store in self._written(n))
        self.shown[tensor] = Shown(tensor, writer.kind, view, next(wrote, -1))

    def _written(self, step: int) -> set[int]:
        return {operand.view.store for operand in self.steps[step].call.writes}

    def done(self) -> Lowered:
        """Return the finished steps."""
        streamed = {p.offset for step in self.steps for p in step.call.packed if p.streamed}
        data, moved = self.constants.arranged(streamed)
        stores = [
            replace(store, place=moved[store.place]) if store.where == "constants" else store
            for store in self.stores
        ]
        steps = [replace(step, call=_with_constants_at(step.call, moved)) for step in self.steps]
        return Lowered(
            tuple(stores), tuple(self.layers), tuple(steps), data + bytes(SLACK),
            tuple(self.blocked), tuple(sorted(self.shown.values(), key=lambda one: one.step)),
        )  # fmt: skip


def _with_constants_at(call: Call, moved: Mapping[int, int]) -> Call:
    packed = (replace(one, offset=moved[one.offset]) for one in call.packed)
    return replace(call, packed=tuple(packed))


def is_map(view: View) -> bool:
    """Return whether channels are dense and pixels and rows lie apart in rising order."""
    channels, _, width = view.shape
    dense, row, pixel = view.strides
    return (channels == 1 or dense == 1) and (width == 1 or pixel >= channels) and row >= 1


def pitches(view: View) -> tuple[int, int]:
    """Return elements from row to row and from pixel to pixel of a map."""
    _, height, width = view.shape
    _, row, pixel = view.strides
    if width == 1 and not any(view.margins[2]):
        pixel = row if height > 1 else view.shape[0]
    if height == 1 and not any(view.margins[1]):
        row = width * pixel
    return row, pixel


def border_call(view: View, margins: Margins, fill: float) -> Call:
    """Return the call that fills so much around a tensor with a stored value."""
    back = sum(a * s for (a, _), s in zip(margins, view.strides, strict=True))
    texts = [
        _side(view, margins, axis, start, count, fill)
        for axis in view.order
        for start, count in _sides(view, margins, axis)
        if count
    ]
    return Call("\n".join(texts), (), (Operand("out", view, back),))


def _sides(view: View, margins: Margins, axis: int) -> tuple[tuple[int, int], tuple[int, int]]:
    before, after = margins[axis]
    return (0, before), (before + view.shape[axis], after)


def _side(view: View, margins: Margins, axis: int, start: int, count: int, fill: float) -> str:
    """Fill one side of the border: whole planes for sparse axes, what is left for denser ones."""
    base, shape = start * view.strides[axis], []
    for a, (before, after) in enumerate(margins):
        done = view.order.index(a) < view.order.index(axis)
        base += before * view.strides[a] if done else 0
        whole = view.shape[a] if done else view.shape[a] + before + after
        shape.append(count if a == axis else whole)
    value = f"{float(fill)!r}f" if view.stored == "f32" else str(int(fill))
    return nest(
        shape,
        {"out": view.strides},
        lambda at: f"{at['out'].replace('[', f'[{base} + ', 1)} = {value};",
    )
