"""From the bytes of a .tflite file to records, each field checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.program.tflite.file import (
    ITEM_BITS,
    File,
    Operator,
    Option,
    Quantisation,
    Tensor,
)
from edgebed.program.tflite.flatbuffer import Reader

MAX_FILE_BYTES: Final = 1 << 29
MAX_RANK: Final = 8
MAX_VALUES: Final = 1 << 28
"""So many values one tensor may have: 1 GB of float32."""

_CONTROL_FLOW: Final = (
    "IF",
    "WHILE",
    "CALL",
    "CALL_ONCE",
    "STABLEHLO_WHILE",
    "STABLEHLO_COMPOSITE",
)
Bytes = npt.NDArray[np.uint8]


def read_file(path: Path) -> File:
    """Read the main subgraph of a .tflite file.

    Raises:
        EdgebedError: the file is absent, no TensorFlow Lite file, or damaged; the schema package
            is not installed.
    """
    content = _content(path)
    schema = _schema(path)
    reader = Reader(path.name, len(content))
    with reader.reading("its root"):
        model = schema.Model.GetRootAs(content)
        version, graphs = model.Version(), model.SubgraphsLength()
    if version != 3:
        raise EdgebedError(f"schema version {version}", where=path.name, why="3 is known")
    if graphs < 1:
        raise reader.damaged("it has no subgraph", "one is needed")
    return _Model(schema, reader, content, model).main(path)


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise EdgebedError(
                f"the file has {size} bytes", where=path.name, why=f"{MAX_FILE_BYTES} are the limit"
            )
        content = path.read_bytes()
    except OSError as error:
        raise EdgebedError(f"cannot read: {error.strerror}", where=str(path)) from error
    if len(content) < 8 or content[4:8] != b"TFL3":
        raise EdgebedError(
            "not a TensorFlow Lite file",
            where=path.name,
            why="bytes 4 to 8 are not TFL3" if len(content) >= 8 else f"{len(content)} bytes",
            try_="the .tflite file that the converter wrote",
        )
    return content


def _schema(path: Path) -> ModuleType:
    try:
        import tflite
    except ImportError as error:
        raise EdgebedError(
            "reading .tflite files needs the package tflite",
            where=path.name,
            try_="pip install 'edgebed[tflite]'",
        ) from error
    module: ModuleType = tflite
    return module


def _names(schema: ModuleType, enumeration: str) -> Mapping[int, str]:
    members = vars(getattr(schema, enumeration))
    return {code: name for name, code in members.items() if isinstance(code, int)}


class _Model:
    """The tables of one file and the names of the schema."""

    def __init__(self, schema: ModuleType, reader: Reader, content: bytes, model: Any) -> None:
        self.schema, self.reader, self.content, self.model = schema, reader, content, model
        self.kinds = _names(schema, "BuiltinOperator")
        self.types = _names(schema, "TensorType")
        self.option_types = _names(schema, "BuiltinOptions")

    def main(self, path: Path) -> File:
        graph = next(self.reader.entries(self.model, "Subgraphs"))
        codes = [self.code(code) for code in self.reader.entries(self.model, "OperatorCodes")]
        buffers = list(self.reader.entries(self.model, "Buffers"))
        tensors = tuple(
            self.tensor(index, table, buffers)
            for index, table in enumerate(self.reader.entries(graph, "Tensors"))
        )
        operators = tuple(
            self.operator(index, table, codes, len(tensors))
            for index, table in enumerate(self.reader.entries(graph, "Operators"))
        )
        return File(
            path=path,
            description=self.reader.text(self.model, "Description", "the model"),
            tensors=tensors,
            operators=operators,
            inputs=self.indices(graph, "Inputs", "the network", len(tensors), least=0),
            outputs=self.indices(graph, "Outputs", "the network", len(tensors), least=0),
        )

    def code(self, table: Any) -> tuple[str, bool]:
        """Return an operator's name and whether it is a custom one."""
        with self.reader.reading("an operator code"):
            # Files from before 2020 have only the deprecated field; newer ones fill both.
            number = max(table.DeprecatedBuiltinCode(), table.BuiltinCode())
        kind = self.kinds.get(number, f"operator {number}")
        if kind == "CUSTOM":
            name = self.reader.text(table, "CustomCode", "an operator code")[:80]
            return "".join(c for c in name if c.isprintable()) or "CUSTOM", True
        return kind, False

    def indices(
        self, table: Any, field: str, owner: str, count: int, least: int
    ) -> tuple[int, ...]:
        found = tuple(int(index) for index in self.reader.numbers(table, field, owner))
        for index in found:
            if not least <= index < count:
                raise self.reader.damaged(
                    f"{field.lower()} of {owner} name tensor {index}", f"there are {count}"
                )
        return found

    def tensor(self, index: int, table: Any, buffers: Sequence[Any]) -> Tensor:
        name = self.reader.text(table, "Name", f"tensor {index}")
        label = f"tensor {index} {name[:80]!r}"
        with self.reader.reading(label):
            type_code, buffer, variable = table.Type(), table.Buffer(), table.IsVariable()
            sparse = table.Sparsity() is not None
            quantisation = table.Quantization()
        dtype = self.types.get(type_code, f"type {type_code}")
        where = f"{self.reader.where}: {label}"
        if variable:
            raise EdgebedError(
                "it keeps its value between runs (a variable)", where=where,
                try_="give the state as an input and an output of the network",
            )  # fmt: skip
        if sparse:
            raise EdgebedError(
                "sparse storage is not supported", where=where, try_="export it without sparsity"
            )
        shape, dynamic = self.shape(table, label)
        return Tensor(
            index=index,
            name=name,
            shape=shape,
            dynamic=dynamic,
            dtype=dtype,
            data=self.data(buffer, buffers, label, shape, dtype),
            quantisation=self.quantisation(quantisation, label),
        )

    def shape(self, table: Any, label: str) -> tuple[tuple[int, ...], frozenset[int]]:
        raw = tuple(int(size) for size in self.reader.numbers(table, "Shape", label))
        signature = tuple(int(size) for size in self.reader.numbers(table, "ShapeSignature", label))
        # Some exporters write the open batch axis into the shape itself.
        sizes = (1, *raw[1:]) if raw and raw[0] == -1 else raw
        if len(sizes) > MAX_RANK or any(size < 0 for size in sizes):
            raise self.reader.damaged(f"{label} has shape {list(raw)[:12]}", "no such shape exists")
        if math.prod(sizes) > MAX_VALUES:
            raise EdgebedError(
                f"it has shape {list(sizes)}", where=f"{self.reader.where}: {label}",
                why=f"{MAX_VALUES} values are the limit", try_="a smaller input size",
            )  # fmt: skip
        given = signature if len(signature) == len(raw) else raw
        return sizes, frozenset(axis for axis, size in enumerate(given) if size < 0)

    def data(
        self, index: int, buffers: Sequence[Any], label: str, shape: tuple[int, ...], dtype: str
    ) -> Bytes | None:
        """Return the bytes of a tensor's buffer, None if it is empty, after comparing its size."""
        if index >= len(buffers):
            raise self.reader.damaged(
                f"{label} names buffer {index}", f"there are {len(buffers)} buffers"
            )
        found = self.buffer(buffers[index], f"buffer {index} of {label}")
        if dtype not in ITEM_BITS:
            return None
        if not len(found):
            return found if shape == (0,) and dtype.startswith("INT") else None
        needed = (math.prod(shape) * ITEM_BITS[dtype] + 7) // 8
        if len(found) != needed:
            raise self.reader.damaged(
                f"{label} has {len(found)} bytes", f"{dtype} {list(shape)} needs {needed}"
            )
        return found

    def buffer(self, table: Any, label: str) -> Bytes:
        with self.reader.reading(label):
            offset, size = table.Offset(), table.Size()
        if offset <= 1:  # 0 and 1 mean: inside the flatbuffer
            return self.reader.vector(table, "Data", label)
        if offset + size > len(self.content):
            raise self.reader.damaged(
                f"{label} lies at byte {offset} with {size} bytes",
                f"the file has {len(self.content)} bytes",
            )
        return np.frombuffer(self.content, np.uint8, count=size, offset=offset)

    def quantisation(self, table: Any, label: str) -> Quantisation | None:
        if table is None:
            return None
        with self.reader.reading(f"the quantisation of {label}"):
            details, axis = table.DetailsType(), int(table.QuantizedDimension())
        scales = tuple(float(scale) for scale in self.reader.numbers(table, "Scale", label))
        zeros = tuple(int(zero) for zero in self.reader.numbers(table, "ZeroPoint", label))
        if details:
            raise EdgebedError(
                "custom quantisation is not supported", where=f"{self.reader.where}: {label}"
            )
        return Quantisation(scales, zeros or (0,) * len(scales), axis) if scales else None

    def operator(
        self, index: int, table: Any, codes: Sequence[tuple[str, bool]], tensors: int
    ) -> Operator:
        label = f"operator {index}"
        with self.reader.reading(label):
            code, options_type = table.OpcodeIndex(), table.BuiltinOptionsType()
        if code >= len(codes):
            raise self.reader.damaged(
                f"{label} names operator code {code}", f"there are {len(codes)}"
            )
        kind, is_custom = codes[code]
        label = f"{label} ({kind})"
        if kind in _CONTROL_FLOW:
            raise EdgebedError(
                f"control flow ({kind}) is not supported", where=f"{self.reader.where}: {label}",
                try_="export a network without loops and branches",
            )  # fmt: skip
        custom = self.reader.numbers(table, "CustomOptions", label) if is_custom else []
        return Operator(
            index=index,
            kind=kind,
            inputs=self.indices(table, "Inputs", label, tensors, least=-1),
            outputs=self.indices(table, "Outputs", label, tensors, least=0),
            options=self.options(table, options_type, label),
            custom=bytes(custom),
            is_custom=is_custom,
        )

    def options(self, table: Any, code: int, label: str) -> Mapping[str, Option] | None:
        """Return the fields of the options that numbers can hold, by their names."""
        name = self.option_types.get(code, "NONE")
        cls = getattr(self.schema, name, None)
        with self.reader.reading(f"the options of {label}"):
            union = table.BuiltinOptions()
            if cls is None or union is None:
                return None
            options = cls()
            options.Init(union.Bytes, union.Pos)
            return self.fields(cls, options, label)

    def fields(self, cls: type, options: Any, label: str) -> dict[str, Option]:
        members = {
            name for name in vars(cls) if name[0].isupper() and not name.startswith("GetRoot")
        }
        vectors = {name.removesuffix("AsNumpy") for name in members if name.endswith("AsNumpy")}
        values: dict[str, Option] = {
            name: tuple(int(value) for value in self.reader.numbers(options, name, label))
            for name in vectors
        }
        derived = {f"{v}{end}" for v in vectors for end in ("", "AsNumpy", "Length", "IsNone")}
        for name in members - derived - {"Init"}:
            if name.endswith("BufferHasIdentifier"):
                continue
            value = getattr(options, name)()
            if isinstance(value, (bool, int, float)):
                values[name] = value
        return values
