"""Einsum of one or two operands, as transposes and one matrix product."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgebed.program.onnx_graph.draft import Draft
from edgebed.program.onnx_graph.elementwise import reshape_of
from edgebed.program.onnx_graph.node import Node
from edgebed.program.ops.batch_matmul import BatchMatmul
from edgebed.program.ops.reduce import Reduce
from edgebed.program.ops.transpose import Transpose


@dataclass(frozen=True)
class Term:
    """A tensor with every axis of the file, and the letter of each.

    Attributes:
        tensor: in the program.
        letters: one an axis, each once.
    """

    tensor: str
    letters: str


def einsum(net: Draft, node: Node) -> None:
    """Sum products over the letters that the result does not name."""
    inputs, output = _equation(node)
    values = [net.value(node, index) for index in range(len(node.inputs))]
    if len(inputs) != len(values) or len(values) not in (1, 2):
        raise node.fail(
            f"equation {node.word('equation', '')!r} of {len(values)} operands",
            why="one or two are supported",
            try_="MatMul with Transpose and Reshape",
        )
    sizes: dict[str, int] = {}
    terms = []
    for value, letters in zip(values, inputs, strict=True):
        if len(letters) != len(value.shape) or len(set(letters)) != len(letters):
            raise node.fail(f"letters {letters!r} for shape {value.shape}", why="each axis once")
        for letter, size in zip(letters, value.shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise node.fail(f"letter {letter!r} stands for {sizes[letter]} and {size}")
        terms.append(Term(reshape_of(net, node, net.real(value), value.shape), letters))
    if not set(output) <= set(sizes):
        raise node.fail(f"result {output!r} names what no operand has")
    others = [output, output] if len(terms) == 1 else [output + inputs[1], output + inputs[0]]
    terms = [_summed(net, node, term, keep) for term, keep in zip(terms, others, strict=False)]
    term = terms[0] if len(terms) == 1 else _product(net, node, terms, output, sizes)
    shape = tuple(sizes[letter] for letter in output)
    net.define(node, _ordered(net, node, term, output), shape)


def _equation(node: Node) -> tuple[list[str], str]:
    text = node.word("equation", "").replace(" ", "")
    left, arrow, right = text.partition("->")
    inputs = left.split(",")
    if "." in text or not all(one.isalpha() or not one for one in (*inputs, right)):
        raise node.fail(f"equation {text!r}", try_="MatMul with Transpose and Reshape")
    if not arrow:
        every = "".join(inputs)
        right = "".join(sorted(letter for letter in set(every) if every.count(letter) == 1))
    return inputs, right


def _summed(net: Draft, node: Node, term: Term, keep: str) -> Term:
    """Sum over the letters that nothing else names."""
    axes = tuple(i for i, letter in enumerate(term.letters) if letter not in keep)
    if not axes:
        return term
    total = net.emit(node, Reduce, [term.tensor], function="sum", axes=axes, keep=False)
    return Term(total, "".join(letter for letter in term.letters if letter in keep))


def _product(
    net: Draft, node: Node, terms: Sequence[Term], output: str, sizes: dict[str, int]
) -> Term:
    a, b = terms
    shared = [letter for letter in a.letters if letter in b.letters]
    batch = "".join(letter for letter in shared if letter in output)
    inner = "".join(letter for letter in shared if letter not in output)
    rows = "".join(letter for letter in a.letters if letter not in shared)
    columns = "".join(letter for letter in b.letters if letter not in shared)

    def matrix(term: Term, first: str, second: str) -> str:
        tensor = _ordered(net, node, term, batch + first + second)
        shape = [math.prod(sizes[letter] for letter in part) for part in (batch, first, second)]
        return reshape_of(net, node, tensor, tuple(shape))

    operands = [matrix(a, rows, inner), matrix(b, inner, columns)]
    tensor = net.emit(node, BatchMatmul, operands)
    letters = batch + rows + columns
    shape = tuple(sizes[letter] for letter in letters)
    return Term(reshape_of(net, node, tensor, shape), letters)


def _ordered(net: Draft, node: Node, term: Term, letters: str) -> str:
    perm = tuple(term.letters.index(letter) for letter in letters)
    if perm == tuple(range(len(perm))):
        return term.tensor
    return net.emit(node, Transpose, [term.tensor], perm=perm)


OPERATORS: dict[str, Callable[[Draft, Node], None]] = {"Einsum": einsum}
