"""LSTM, GRU and RNN, unrolled: one step of products and gates for each step of the sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from edgebed.program.onnx_graph.draft import Draft
from edgebed.program.onnx_graph.elementwise import reshape_of
from edgebed.program.onnx_graph.node import Node
from edgebed.program.onnx_graph.weighted import real_layer
from edgebed.program.ops.add import Add
from edgebed.program.ops.concat import Concat
from edgebed.program.ops.dense import Dense
from edgebed.program.ops.multiply import Multiply
from edgebed.program.ops.strided_slice import StridedSlice
from edgebed.program.ops.subtract import Subtract
from edgebed.program.ops.unary import Unary
from edgebed.program.types import Array

LONGEST_SEQUENCE: Final = 256
_DEFAULTS: Final = {
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
    "GRU": ("Sigmoid", "Tanh"),
    "RNN": ("Tanh",),
}
_GATES: Final = {"LSTM": 4, "GRU": 3, "RNN": 1}


@dataclass
class Direction:
    """One direction of a layer while it is unrolled.

    Attributes:
        net: so far.
        node: the layer.
        recurrent: weights of the state, gates * H x H.
        bias: of the recurrent product, gates * H.
        hidden: H.
        h: tensor of the state.
        c: tensor of the cell state, of LSTM.
        states: the state after each step.
    """

    net: Draft
    node: Node
    recurrent: Array
    bias: Array
    hidden: int
    h: str
    c: str
    states: list[str] = field(default_factory=list)
    _names: dict[tuple[int, int], dict[str, str]] = field(default_factory=dict)

    def product(self, x: str, first: int, last: int) -> str:
        """Return the recurrent product of some gates; their weights are stored once."""
        rows = slice(first * self.hidden, last * self.hidden)
        key = (first, last)
        if key not in self._names:
            result = real_layer(
                self.net, self.node, Dense, x, self.recurrent[rows], self.bias[rows], last_axis=True
            )
            op = self.net.writer(result)
            assert isinstance(op, Dense) and op.bias is not None
            self._names[key] = {"weight": op.weight, "bias": op.bias}
            return result
        return self.net.emit(self.node, Dense, [x], last_axis=True, **self._names[key])

    def gate(self, x: str, index: int, count: int = 1) -> str:
        """Return the values of gates index to index + count of a row of gates."""
        return self.net.emit(
            self.node,
            StridedSlice,
            [x],
            begin=(index * self.hidden,),
            end=((index + count) * self.hidden,),
            step=(1,),
        )

    def unary(self, x: str, function: str) -> str:
        """Return a function of a tensor."""
        return self.net.emit(self.node, Unary, [x], function=function)

    def combine(self, kind: type[Add | Multiply | Subtract], a: str, b: str) -> str:
        """Return two tensors combined."""
        return self.net.emit(self.node, kind, [a, b])


def _lstm(way: Direction, x: str) -> None:
    total = way.combine(Add, x, way.product(way.h, 0, 4))
    gates = way.unary(way.gate(total, 0, 3), "sigmoid")
    entering, leaving, forgetting = (way.gate(gates, index) for index in range(3))
    fresh = way.combine(Multiply, entering, way.unary(way.gate(total, 3), "tanh"))
    way.c = way.combine(Add, way.combine(Multiply, forgetting, way.c), fresh)
    way.h = way.combine(Multiply, leaving, way.unary(way.c, "tanh"))


def _gru(way: Direction, x: str) -> None:
    own = way.combine(Add, way.gate(x, 0, 2), way.product(way.h, 0, 2))
    gates = way.unary(own, "sigmoid")
    update, reset = way.gate(gates, 0), way.gate(gates, 1)
    if way.node.integer("linear_before_reset", 0):
        inner = way.combine(Multiply, reset, way.product(way.h, 2, 3))
    else:
        inner = way.product(way.combine(Multiply, reset, way.h), 2, 3)
    fresh = way.unary(way.combine(Add, way.gate(x, 2), inner), "tanh")
    change = way.combine(Multiply, update, way.combine(Subtract, way.h, fresh))
    way.h = way.combine(Add, fresh, change)


def _rnn(way: Direction, x: str) -> None:
    way.h = way.unary(way.combine(Add, x, way.product(way.h, 0, 1)), "tanh")


_STEPS: dict[str, Callable[[Direction, str], None]] = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}


def recurrent(net: Draft, node: Node) -> None:
    """Unroll a recurrent layer of known length, batch 1 and default activations."""
    value = net.value(node, 0)
    ways = {"forward": 1, "reverse": 1, "bidirectional": 2}.get(node.word("direction", "forward"))
    _check(net, node, ways)
    batch_first = bool(node.integer("layout", 0))
    length, batch = value.shape[:2][:: -1 if batch_first else 1]
    if len(value.shape) != 3 or batch != 1 or length > LONGEST_SEQUENCE:
        raise node.fail(
            f"its input has shape {value.shape}",
            why=f"a batch of 1 and up to {LONGEST_SEQUENCE} steps are unrolled",
        )
    rows = reshape_of(net, node, net.real(value), (length, value.shape[2]))
    made = [_direction(net, node, rows, length, index) for index in range(ways or 1)]
    hidden = made[0].hidden
    shape = (length, len(made), 1, hidden)
    if batch_first:
        shape = (1, length, len(made), hidden)
    _results(net, node, made, shape, batch_first)


def _check(net: Draft, node: Node, ways: int | None) -> None:
    defaults = _DEFAULTS[node.kind]
    named = tuple(str(name) for name in node.attributes.get("activations", ()))
    if ways is None or (named and named != defaults * ways):
        raise node.fail(f"activations {named}", why=f"{defaults} are known")
    if "clip" in node.attributes or node.integer("input_forget", 0) or node.has(7):
        raise node.fail("clip, input_forget or peepholes are used", try_="a plain layer")


def _direction(net: Draft, node: Node, rows: str, length: int, index: int) -> Direction:
    """Unroll one direction; its states are in the order of the sequence."""
    weight, state = (net.known(node, i, "weights")[index] for i in (1, 2))
    hidden, gates = state.shape[1], _GATES[node.kind]
    if weight.shape[0] != gates * hidden or state.shape != (gates * hidden, hidden):
        raise node.fail(f"weights of shapes {weight.shape} and {state.shape}")
    bias = np.zeros(2 * gates * hidden, np.float32)
    if node.has(3):
        bias = net.known(node, 3, "bias")[index].reshape(2 * gates * hidden)
    own, other = bias[: gates * hidden], bias[gates * hidden :]
    x = real_layer(net, node, Dense, rows, weight, own, last_axis=True)
    start = [_start(net, node, i, index, hidden) for i in (5, 6)]
    way = Direction(net, node, state, other, hidden, start[0], start[1])
    backwards = node.word("direction", "forward") == "reverse" or index == 1
    for step in reversed(range(length)) if backwards else range(length):
        row = net.emit(
            node,
            StridedSlice,
            [x],
            begin=(step, 0),
            end=(step + 1, gates * hidden),
            step=(1, 1),
        )
        _STEPS[node.kind](way, reshape_of(net, node, row, (gates * hidden,)))
        way.states.append(way.h)
    if backwards:
        way.states.reverse()
    return way


def _start(net: Draft, node: Node, place: int, index: int, hidden: int) -> str:
    """Return the first state of a direction: given, or 0."""
    if not node.has(place) or (place == 6 and node.kind != "LSTM"):
        return net.reals(node, np.zeros(hidden, np.float32))
    value = net.value(node, place)
    ways = int(np.prod(value.shape)) // hidden
    rows = reshape_of(net, node, net.real(value), (ways, hidden))
    part = net.emit(
        node, StridedSlice, [rows], begin=(index, 0), end=(index + 1, hidden), step=(1, 1)
    )
    return reshape_of(net, node, part, (hidden,))


def _results(
    net: Draft, node: Node, made: Sequence[Direction], shape: tuple[int, ...], batch_first: bool
) -> None:
    hidden, ways = made[0].hidden, len(made)
    last = (1, ways, hidden) if batch_first else (ways, 1, hidden)
    wanted = dict(enumerate(node.outputs))
    if wanted.get(0):
        steps = [state for row in zip(*(way.states for way in made), strict=True) for state in row]
        net.define(node, _joined(net, node, steps), shape, output=wanted[0])
    ends = [way.h for way in made]
    if wanted.get(1):
        net.define(node, _joined(net, node, ends), last, output=wanted[1])
    if wanted.get(2):
        net.define(node, _joined(net, node, [way.c for way in made]), last, output=wanted[2])


def _joined(net: Draft, node: Node, tensors: Sequence[str]) -> str:
    if len(tensors) == 1:
        return tensors[0]
    return net.emit(node, Concat, list(tensors), axis=0)


OPERATORS: dict[str, Callable[[Draft, Node], None]] = dict.fromkeys(_GATES, recurrent)
