"""What a compiled folder says about its network: `network.json`."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from edgebed.errors import EdgebedError
from edgebed.targets._shared.rows.emit import Project
from edgebed.targets._shared.rows.frame import usual_order

VERSION: Final = 2
_CHECK: Final = "crc32"


@dataclass(frozen=True)
class TensorFacts:
    """An input or output as the imported file has it.

    Attributes:
        name: in the file.
        shape: in the file, batch axis included.
        dtype: numpy's name.
        scale: real value of one step; 1.0 for real numbers.
        zero_point: the integer that means 0.0.
        offset: bytes from the arena's start; -1 for an input that comes row by row.
        nbytes: of the tensor.
        rows: how many rows an input that comes row by row has, else 1.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int
    offset: int
    nbytes: int
    rows: int = 1

    def is_one(self, shape: tuple[int, ...]) -> bool:
        """Return whether an array of this shape is one sample; a batch axis of 1 may be absent."""
        return shape == self.shape or (self.shape[:1] == (1,) and shape == self.shape[1:])


@dataclass(frozen=True)
class StageFacts:
    """A stage: its layer's name and kind, the C function, multiply-accumulates."""

    name: str
    kind: str
    function: str
    macs: int


@dataclass(frozen=True)
class InnerFacts:
    """A tensor of the network as it lies in memory once its stage is done.

    Attributes:
        name: in the program.
        stage: number of the stage that writes it.
        kind: of the op.
        shape: as it lies, without batch axis.
        axes: of the program's tensor, from the sparsest to the densest: (1, 2, 0) for a map with
            channels last.
        dtype: numpy's name.
        scale: real value of one step; 1.0 for real numbers.
        zero_point: the integer that means 0.0.
        row_bytes: of what one step writes.
        rows: steps that write a row each; 1 where every step has all of it.
        flipped: bytes without sign, stored less 128.
    """

    name: str
    stage: int
    kind: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int
    row_bytes: int
    rows: int
    flipped: bool = False


@dataclass(frozen=True)
class Manifest:
    """A compiled network.

    Attributes:
        name: C identifier of the network.
        title: the network's own name.
        digest: of the generated code.
        cpu: the core.
        goal: time, balanced or ram.
        inputs: in order.
        outputs: in order.
        stages: in order.
        runs: the stage of each entry of the schedule.
        arena_bytes: of memory for one run.
        arena_lower_bound: no placement under this schedule needs less.
        peak_layer: at which most memory is in use.
        weight_bytes: of trained constants.
        max_ram: bytes that must suffice, 0 for no limit.
        max_flash: likewise.
        inner: tensors that can be seen while the network runs, in the order of the stages.
    """

    name: str
    title: str
    digest: str
    cpu: str
    goal: str
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    stages: tuple[StageFacts, ...]
    runs: tuple[int, ...]
    arena_bytes: int
    arena_lower_bound: int
    peak_layer: str
    weight_bytes: int
    max_ram: int = 0
    max_flash: int = 0
    inner: tuple[InnerFacts, ...] = ()

    @property
    def fetched(self) -> bool:
        """True where an input comes row by row."""
        return any(one.offset < 0 for one in self.inputs)

    def to_json(self) -> str:
        """Return the text of the file; its last field is a checksum over the others."""
        content = {"version": VERSION, **asdict(self)}
        return json.dumps({**content, _CHECK: _checksum(content)}, indent=1) + "\n"


def describe(
    project: Project, cpu: str, goal: str, *, max_ram: int = 0, max_flash: int = 0
) -> Manifest:
    """Return the manifest of a project."""
    from edgebed.targets._shared.rows.emit import weight_bytes

    placement, network = project.placement, project.network
    program = project.program
    inputs = zip(program.inputs, network.inputs, strict=True)
    outputs = zip(program.outputs, network.outputs, strict=True)
    return Manifest(
        name=project.name,
        title=program.name,
        digest=project.digest,
        cpu=cpu,
        goal=goal,
        inputs=tuple(_tensor(project, name, memory) for name, memory in inputs),
        outputs=tuple(_tensor(project, name, memory) for name, memory in outputs),
        stages=tuple(StageFacts(s.name, s.kind, s.function, s.macs) for s in network.stages),
        runs=tuple(run.stage for run in placement.runs),
        arena_bytes=placement.peak,
        arena_lower_bound=placement.lower_bound,
        peak_layer=network.stages[placement.peak_stage].name,
        weight_bytes=weight_bytes(network),
        max_ram=max_ram,
        max_flash=max_flash,
        inner=tuple(inner(project)),
    )


def inner(project: Project) -> Iterator[InnerFacts]:
    """Give the tensors that lie in memory of their own; copies in another order are left out."""
    network, program = project.network, project.program
    for number, stage in enumerate(network.stages):
        name, memory = stage.output, network.tensors[stage.output]
        kind = program.types.get(name)
        if kind is None or name in program.inputs or memory.nbytes != kind.nbytes:
            continue
        order = network.orders.get(name, usual_order(kind))
        at_once = stage.accumulates or stage.steps == 1
        yield InnerFacts(
            name, number, stage.kind, tuple(kind.shape[axis] for axis in order), order, kind.dtype,
            kind.scale, kind.zero_point,
            memory.nbytes if at_once else memory.row_bytes, 1 if at_once else memory.rows,
            kind.dtype == "uint8",
        )  # fmt: skip


def _tensor(project: Project, name: str, memory: str) -> TensorFacts:
    kind = project.program.types[name]
    tensor = project.network.tensors[memory]
    fetched = tensor.role == "inner"
    return TensorFacts(
        name,
        project.program.file_shape(name),
        kind.dtype,
        kind.scale,
        kind.zero_point,
        -1 if fetched else project.offset(memory),
        kind.nbytes,
        tensor.rows if fetched else 1,
    )


def read(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        EdgebedError: it is missing, damaged, changed by hand, or of another version.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise EdgebedError(
            "cannot be read", where=str(path), why=why, try_="compile the network again"
        ) from error
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise EdgebedError(
            "was written by another version of edgebed",
            where=str(path),
            try_="compile the network again",
        )
    if data.pop(_CHECK, None) != _checksum(data):
        raise EdgebedError(
            "was changed since it was written", where=str(path), try_="compile the network again"
        )
    try:
        return _parsed(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EdgebedError(
            "is damaged",
            where=str(path),
            why=f"{type(error).__name__}: {error}",
            try_="compile the network again",
        ) from error


def _checksum(content: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(content, sort_keys=True).encode()):08x}"


def _parsed(data: Mapping[str, Any]) -> Manifest:
    fields = {key: value for key, value in data.items() if key != "version"}
    for side in ("inputs", "outputs"):
        fields[side] = tuple(
            TensorFacts(**{**one, "shape": tuple(one["shape"])}) for one in data[side]
        )
    fields["stages"] = tuple(StageFacts(**one) for one in data["stages"])
    fields["inner"] = tuple(
        InnerFacts(**{**one, "shape": tuple(one["shape"]), "axes": tuple(one["axes"])})
        for one in data.get("inner", ())
    )
    fields["runs"] = tuple(int(n) for n in data["runs"])
    return Manifest(**fields)
