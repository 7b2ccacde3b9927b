"""The text form of a program: one line a tensor, prints and parses back."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

import numpy as np

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.program.arithmetic import Affine, PowerOfTwo, Requantize
from edgebed.program.contract import Contract
from edgebed.program.ops import by_kind
from edgebed.program.types import Constant, DType, Op, Program, TensorType

FORMAT = 1
FEW_SCALES = 3
"""So many scales of a constant a shortened text shows."""
_SKIPPED = ("inputs", "output")
# What Python raises on values, expressions and encodings that a damaged line may hold.
_DAMAGE = (
    ValueError, SyntaxError, TypeError, LookupError, AttributeError, ArithmeticError,
    RecursionError, MemoryError, zlib.error,
)  # fmt: skip
_DTYPES = "|".join(get_args(DType))
_TYPE = re.compile(rf"({_DTYPES})\[([\d, ]*)\] scale (\S+)(?: zero (-?\d+))?")
_CONSTANT = re.compile(
    rf": ({_DTYPES})\[([\d, ]*)\] bits (\d+) scale (\S+)(?: zero (-?\d+))?"
    r"(?: scales (\S+))? (values|sha256) (\S*)"
)
_ENDLESS = ("inf", "-inf", "nan")
_RULES: dict[str, type[Requantize]] = {"power_of_two": PowerOfTwo, "affine": Affine}


def to_text(program: Program, *, values: bool = True, full: bool = True) -> str:
    """Return the program as text.

    Args:
        program: what to print.
        values: write the constants' values (base64 of their zlib-compressed bytes); otherwise
            only their SHA-256, and `parse` needs the constants from elsewhere.
        full: write every scale of a constant, as `parse` needs them; otherwise the first ones
            and their number.
    """
    lines = [f"program {_quote(program.name)} format {FORMAT}"]
    lines += [f"note {_quote(k)} {_quote(v)}" for k, v in program.notes.items()]
    if program.contract is not None:
        lines.append(f"contract {json.dumps(program.contract.to_json())}")
    lines += [f"input {_quote(name)}: {kind}" for name, kind in program.inputs.items()]
    lines += [_constant_line(n, c, values, full) for n, c in program.constants.items()]
    lines += [_op_line(op, program.types[op.output]) for op in program.ops]
    lines += [f"output {_quote(name)}" for name in program.outputs]
    lines += [
        f"file_shape {_quote(name)} {' '.join(map(str, shape))}"
        for name, shape in program.file_shapes.items()
    ]
    return "\n".join(lines) + "\n"


def digest(program: Program) -> str:
    """Return the SHA-256 of all that decides what a program computes."""
    return hashlib.sha256(to_text(program, values=False).encode()).hexdigest()


def parse(text: str, constants: Mapping[str, Constant] | None = None) -> Program:
    """Read what `to_text` wrote.

    Args:
        text: the program's text.
        constants: values of the constants whose lines hold only a digest.

    Raises:
        EdgebedError: a line is not understood (its number is named), a constant is missing or is
            not the one that was meant, or a type differs from what the ops give.
    """
    reader = _Reader(dict(constants or {}))
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        try:
            reader.line(content)
        except EdgebedError as error:
            where = f"line {number}" + (f", {error.where}" if error.where else "")
            raise EdgebedError(error.what, where=where, why=error.why, try_=error.try_) from error
        except _DAMAGE as error:
            raise EdgebedError(
                f"not understood: {content[:60]}", where=f"line {number}", why=str(error)
            ) from error
    return reader.program()


class _Reader:
    """Collects the parts of a program line by line."""

    def __init__(self, given: dict[str, Constant]) -> None:
        self.given = given
        self.name: str | None = None
        self.notes: dict[str, str] = {}
        self.contract: Contract | None = None
        self.inputs: dict[str, TensorType] = {}
        self.constants: dict[str, Constant] = {}
        self.ops: list[Op] = []
        self.types: dict[str, TensorType] = {}
        self.outputs: list[str] = []
        self.file_shapes: dict[str, tuple[int, ...]] = {}

    def line(self, text: str) -> None:
        """Take in one line."""
        if text.startswith('"'):
            self._op(text)
            return
        word, _, rest = text.partition(" ")
        readers = {
            "program": self._program,
            "note": self._note,
            "contract": self._contract,
            "input": self._input,
            "constant": self._constant,
            "output": self._output,
            "file_shape": self._file_shape,
        }
        if word not in readers:
            raise EdgebedError(f"unknown word {word!r}", try_=f"one of {', '.join(readers)}")
        readers[word](rest)

    def program(self) -> Program:
        """Return the finished program."""
        if self.name is None:
            raise EdgebedError("the text has no 'program' line")
        return Program(
            name=self.name,
            inputs=self.inputs,
            ops=tuple(self.ops),
            outputs=tuple(self.outputs),
            constants=self.constants,
            contract=self.contract,
            notes=self.notes,
            file_shapes=self.file_shapes,
        )

    def _program(self, rest: str) -> None:
        self.name, after = _quoted(rest)
        if after.split() != ["format", str(FORMAT)]:
            raise EdgebedError(f"format {after!r} is not known", try_=f"format {FORMAT}")

    def _note(self, rest: str) -> None:
        key, after = _quoted(rest)
        self.notes[key] = _quoted(after)[0]

    def _contract(self, rest: str) -> None:
        self.contract = Contract.from_json(json.loads(rest))

    def _input(self, rest: str) -> None:
        name, after = _quoted(rest)
        self.inputs[name] = self.types[name] = _parse_type(after.removeprefix(":").strip())

    def _output(self, rest: str) -> None:
        self.outputs.append(_quoted(rest)[0])

    def _file_shape(self, rest: str) -> None:
        name, after = _quoted(rest)
        self.file_shapes[name] = tuple(int(n) for n in after.split())

    def _constant(self, rest: str) -> None:
        name, after = _quoted(rest)
        match = _CONSTANT.fullmatch(after)
        if match is None:
            raise EdgebedError(f"constant {name!r} is not understood")
        dtype, shape, bits, scale, zero, scales, form, payload = match.groups()
        given = tuple(float(one) for one in scales.split(",")) if scales else ()
        meaning = (int(bits), float(scale), int(zero or 0), given)
        if form == "values":
            raw = zlib.decompress(base64.b64decode(payload, validate=True))
            values = np.frombuffer(raw, dtype=np.dtype(dtype).newbyteorder("<"))
            self.constants[name] = Constant(values.reshape(_sizes(shape)).astype(dtype), *meaning)
            return
        if name not in self.given:
            raise EdgebedError(f"the values of constant {name!r} are not here")
        found = self.given[name]
        constant = Constant(found.values, *meaning)
        if constant.digest != payload:
            raise EdgebedError(
                f"constant {name!r} has other values", why=f"digest {constant.digest[:12]}"
            )
        self.constants[name] = constant

    def _op(self, text: str) -> None:
        output, after = _quoted(text)
        call, _, kind = after.removeprefix("=").strip().rpartition(" : ")
        node = ast.parse(call, mode="eval").body
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            raise EdgebedError("an op is needed after '='")
        inputs = tuple(_text(argument) for argument in node.args)
        attributes = {str(word.arg): _attribute(word.value) for word in node.keywords}
        op = by_kind(node.func.id)
        _check_attributes(op, attributes)
        self._append(op(inputs=inputs, output=output, **attributes), _parse_type(kind))

    def _append(self, op: Op, declared: TensorType) -> None:
        """Add an op whose type is the declared one; what it reads is for `Program` to check."""
        self.ops.append(op)
        self.types[op.output] = declared
        if not (set(op.inputs) <= set(self.types) and set(op.constants) <= set(self.constants)):
            return
        found = op.infer([self.types[name] for name in op.inputs], self.constants)
        if found != declared:
            raise EdgebedError(
                f"tensor {op.output!r} is declared as {declared}", why=f"its op gives {found}"
            )


def _check_attributes(op: type[Op], attributes: Mapping[str, Any]) -> None:
    hints = get_type_hints(op)
    known = {field.name for field in fields(op)}
    for key, value in attributes.items():
        if key not in known:
            raise EdgebedError(f"{op.kind} has no attribute {key!r}")
        choices = get_args(hints[key]) if get_origin(hints[key]) is Literal else ()
        if choices and value not in choices:
            raise EdgebedError(
                f"{key} {value!r} of {op.kind}", try_=did_you_mean(str(value), choices)
            )


def _constant_line(name: str, constant: Constant, values: bool, full: bool) -> str:
    array = constant.values
    head = (
        f"constant {_quote(name)}: {array.dtype}[{', '.join(map(str, array.shape))}] "
        f"bits {constant.bits} scale {float(constant.scale)!r}"
    )
    if constant.zero_point:
        head += f" zero {constant.zero_point}"
    if constant.scales:
        head += f" scales {_scales(constant.scales, full)}"
    if not values:
        return f"{head} sha256 {constant.digest}"
    raw = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes()
    return f"{head} values {base64.b64encode(zlib.compress(raw, 9)).decode()}"


def _scales(scales: Sequence[float], full: bool) -> str:
    if full or len(scales) <= FEW_SCALES:
        return ",".join(repr(float(one)) for one in scales)
    first = ",".join(f"{one:.6g}" for one in scales[:FEW_SCALES])
    return f"{first},... ({len(scales)})"


def _op_line(op: Op, kind: TensorType) -> str:
    words = [_quote(name) for name in op.inputs]
    for field in fields(op):
        value = getattr(op, field.name)
        if field.name not in _SKIPPED and value != field.default:
            words.append(f"{field.name}={_attribute_text(value)}")
    return f"{_quote(op.output)} = {op.kind}({', '.join(words)}) : {kind}"


def _attribute_text(value: Any) -> str:
    for word, rule in _RULES.items():
        if isinstance(value, rule):
            words = [
                f"{field.name}={given}" if field.kw_only else given
                for field in fields(rule)
                for given in [_attribute_text(getattr(value, field.name))]
                if not field.kw_only or getattr(value, field.name) != field.default
            ]
            return f"{word}({', '.join(words)})"
    if isinstance(value, np.generic):
        value = value.item()
    return _quote(value) if isinstance(value, str) else repr(value)


def _attribute(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id not in _RULES:
            known = ", ".join(_RULES)
            raise EdgebedError(f"unknown requantisation {node.func.id!r}", try_=f"one of {known}")
        named = {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
        return _RULES[node.func.id](*(ast.literal_eval(one) for one in node.args), **named)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _text(node)
    if isinstance(node, ast.Name | ast.UnaryOp) and ast.unparse(node) in _ENDLESS:
        return float(ast.unparse(node))
    return ast.literal_eval(node)


def _text(node: ast.expr) -> str:
    """Return a string; JSON writes what lies beyond 16 bits as two halves, which Python keeps."""
    return str(ast.literal_eval(node)).encode("utf-16", "surrogatepass").decode("utf-16")


def _parse_type(text: str) -> TensorType:
    match = _TYPE.fullmatch(text.strip())
    if match is None:
        raise EdgebedError(f"{text!r} is not a type", try_="int8[3, 32, 32] scale 0.0078125")
    dtype, shape, scale, zero = match.groups()
    return TensorType(_sizes(shape), cast(DType, dtype), float(scale), int(zero or 0))


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in text.split(",")) if text.strip() else ()


def _quote(text: str) -> str:
    return json.dumps(text)


def _quoted(text: str) -> tuple[str, str]:
    """Split a leading JSON string from what follows it."""
    value, end = json.JSONDecoder().raw_decode(text)
    if not isinstance(value, str):
        raise EdgebedError(f"a name in double quotes is needed at {text[:20]!r}")
    return value, text[end:].lstrip() if text[end : end + 1] != ":" else text[end:]
