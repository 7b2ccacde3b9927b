"""A target whose library is the interpreter itself: what the command line does around a build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from edgebed.compile.plan import BuildPlan
from edgebed.errors import EdgebedError
from edgebed.program import from_onnx
from edgebed.program.run import run
from edgebed.program.types import Program
from edgebed.targets.contract import Cost, Problem
from edgebed.targets.layout import Layout


@dataclass(frozen=True)
class Facts:
    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass
class NullLibrary:
    program: Program
    isa: str = "good"
    wrong: int = 0
    variants: tuple[str, ...] = ("plain", "good")

    @property
    def inputs(self) -> list[Facts]:
        return [self._facts(name) for name in self.program.inputs]

    @property
    def outputs(self) -> list[Facts]:
        return [self._facts(name) for name in self.program.outputs]

    def _facts(self, name: str) -> Facts:
        return Facts(name, self.program.file_shape(name), self.program.types[name].dtype)

    def run(self, x: Mapping[str, Any]) -> Any:
        inputs = {}
        for one in self.inputs:
            given = x[one.name]
            if given.dtype != one.dtype:
                raise EdgebedError(f"input {one.name!r} holds {given.dtype}")
            inputs[one.name] = given.reshape(-1, *self.program.types[one.name].shape)
        found = run(self.program, inputs)
        outputs = []
        for one in self.outputs:
            values = found[one.name].copy()
            values.flat[0] += np.asarray(self.wrong, values.dtype)
            own = one.shape[1:] if one.shape[:1] == (1,) else one.shape
            outputs.append(values.reshape(len(values), *own))
        return tuple(outputs) if len(outputs) > 1 else outputs[0]

    def time_runs(self, count: int) -> Any:
        return np.full(count, 1000)

    def profile(self, x: Mapping[str, Any], repeats: int = 200) -> Any:
        layers = [
            SimpleNamespace(
                layer=SimpleNamespace(name=op.name, kind=op.kind, macs=macs),
                nanoseconds=100.0,
                peak_share=0.5,
            )
            for op, macs in zip(self.program.ops, self.program.macs().values(), strict=True)
        ]
        return SimpleNamespace(layers=layers, nanoseconds=150.0, peak=1e9, peak_share=0.25)

    def close(self) -> None:
        pass


@dataclass
class NullLibraryTarget:
    """`fail` is raised by the build; `wrong` is added to an output of the variant of that name."""

    fail: BaseException | None = None
    wrong: Mapping[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    name: str = "null"
    arithmetic: Any = None
    planned: list[Program] = field(default_factory=list)

    def check(self, program: Program) -> list[Problem]:
        return self.problems

    def plan(self, program: Program) -> BuildPlan:
        self.planned.append(program)
        return BuildPlan(self.name, {"manifest.json": b"{}", "net/net.c": b"int x;"})

    def cost(self, program: Program) -> Cost:
        return Cost((), {})

    def layout(self, program: Program) -> Layout:
        return Layout((), ())

    def build(self, folder: Path) -> Mapping[str, int]:
        if self.fail is not None:
            raise self.fail
        (folder / "net.so").write_bytes(b"net")
        return {"library": 3}

    def machine(self) -> Any:
        raise AssertionError("a library needs no machine")

    def open(self, folder: Path, *, threads: int = 1, isa: str | None = None) -> NullLibrary:
        assert (folder / "net.so").read_bytes() == b"net"
        program = from_onnx.load(folder / "program.onnx")
        return NullLibrary(program, isa or "good", self.wrong.get(isa or "good", 0))
