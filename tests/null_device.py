"""A device without hardware: it answers as the interpreter does. It proves the contract."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgebed.compile.plan import BuildPlan
from edgebed.data.decode import decode
from edgebed.data.preprocess import to_frame, to_tensor
from edgebed.errors import EdgebedError
from edgebed.figures import Figure
from edgebed.program import from_onnx
from edgebed.program.run import run
from edgebed.program.types import Program
from edgebed.targets.contract import Cost, Frame, LayerCost, Problem, Trace
from edgebed.targets.layout import Layout, MemoryMap, Region


@dataclass
class NullMachine:
    """Runs `program.onnx` of the folder; `wrong` flips one output integer."""

    wrong: bool = False
    program: Program | None = None

    def load(self, folder: Path) -> None:
        assert (folder / "firmware.elf").read_bytes() == b"null"
        self.program = from_onnx.load(folder / "program.onnx")

    def self_test(self) -> None:
        assert self.program is not None

    def run(self, tensor: Any) -> Trace:
        assert self.program is not None
        outputs = {name: values.copy() for name, values in run(self.program, tensor).items()}
        if self.wrong:
            next(iter(outputs.values())).flat[0] ^= 1
        figures = {"instructions": Figure(7.0, "instructions", "emulated", "counted")}
        return Trace(outputs, figures, events=("booted",))

    def show(self, picture: Any) -> Frame:
        assert self.program is not None
        contract = self.program.contract
        assert contract is not None
        trace = self.run(to_tensor(picture, contract.input))
        name, values = next(iter(trace.outputs.items()))
        found = decode(values[None] * self.program.types[name].scale, contract)[0]
        rows = np.column_stack([found.labels, found.scores, found.boxes]).astype(np.float64)
        return Frame(to_frame(picture, contract.input), rows, trace)

    def close(self) -> None:
        self.program = None


@dataclass
class NullTarget:
    """Fits every program unless it is given problems."""

    name: str = "null"
    problems: list[Problem] = field(default_factory=list)
    wrong: bool = False

    def check(self, program: Program) -> list[Problem]:
        return self.problems

    def plan(self, program: Program) -> BuildPlan:
        return BuildPlan(self.name, {"main.c": program.name.encode()}, (("true",),))

    def build(self, folder: Path) -> Mapping[str, int]:
        if not (folder / "main.c").is_file():
            raise EdgebedError("no project", where=str(folder))
        (folder / "firmware.elf").write_bytes(b"null")
        return {"flash": 4}

    def cost(self, program: Program) -> Cost:
        time = Figure(2.5, "ms", "estimated", "a guess", 2.0, 3.0)
        energy = Figure(0.25, "mJ", "estimated", "a guess")
        figures = {"time": time, "energy": energy}
        return Cost(tuple(LayerCost(op.name, 1, figures) for op in program.ops), figures)

    def layout(self, program: Program) -> Layout:
        rows = tuple({"layer": op.name, "does": op.kind} for op in program.ops)
        region = Region("all <weights>", 0, (0, 1), (0, 4))
        return Layout(rows, (MemoryMap("Memory", "bank", "bytes", (0, 1), (0, 8), (region,)),))

    def machine(self) -> NullMachine:
        return NullMachine(self.wrong)


def plan_of(folder: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((folder / "plan.json").read_text())
    return data
