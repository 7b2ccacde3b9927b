"""One file for what a network did, wherever it ran: frames of tensors, statistics and figures.

A trace is a stream of records behind eight bytes `EBTRACE` and the format's version. A record is
its length (uint32), the CRC-32 of its body (uint32), and the body: one byte that says what it is,
the length of a JSON head (uint32), the head, and raw values. All numbers are little-endian.

    M  manifest     once, first: where the trace was made, level, network, contract
    F  frame        begins one: number, time, sensor readings
    T  tensor       of the frame: name, role, type, shape, scale, zero point; then the values
    S  statistics   of a tensor that is not kept whole: head as T's, then count and bad (uint64),
                    mean, deviation, low, high, shares of zeros and of both ends (float64), of how
                    many values the histogram counts one, number of bins (uint32), counts (uint32),
                    and mean, deviation, low, high of each channel (float64). Format 1 had them in
                    the head, as JSON.
    G  figure       of the frame or of a layer: latency, cycles, memory, energy
    E  end          of the frame
    Z  end          of the trace

A frame counts once its end was written, so a device that loses power or a full disk costs the frame
in the making and no other. Readers stream: memory is that of one frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.figures import Figure
from edgebed.observe.statistics import Statistics
from edgebed.program.types import Array

MAGIC: Final = b"EBTRACE"
VERSION: Final = 2
READABLE: Final = (1, 2)
SUFFIX: Final = ".trace"
MOST_BYTES: Final = 1 << 30
"""Of one record; more is damage."""

Level = Literal["off", "io", "statistics", "full"]
LEVELS: Final[tuple[Level, ...]] = get_args(Level)
Role = Literal["raw", "input", "layer", "output", "answer"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)


@dataclass(frozen=True)
class Manifest:
    """Where a trace comes from.

    Attributes:
        source: what computed: reference, onnxruntime, litert, host, or a device's name.
        level: what is kept.
        network: its name.
        digest: of the program or file; empty where there is none.
        contract: pre- and post-processing in force, as plain data; None where unknown.
        layers: names of the layers in the order of execution, where they are known.
        notes: anything else: versions, processor, command.
    """

    source: str
    level: Level = "io"
    network: str = ""
    digest: str = ""
    contract: Mapping[str, Any] | None = None
    layers: tuple[str, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of a frame: its values, or their statistics.

    Attributes:
        name: in the network or the pipeline.
        role: `raw` before preprocessing, `input` of the network, `layer`, `output`, or `answer`:
            what was made of the outputs. Detections are rows of class, score (0 to 1), x1, y1, x2,
            y2 in pixels of the network's input, as many as were found, float64.
        shape: as recorded.
        dtype: numpy's name.
        scale: real value of one step; None for real numbers.
        zero_point: the integer that means 0.0.
        layout: names of the axes where they are known, e.g. `HWC`.
        kind: of the op that made it; empty where unknown.
        values: None where only statistics were kept.
        statistics: of the real values.
    """

    name: str
    role: Role
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int = 0
    layout: str = ""
    kind: str = ""
    values: Array | None = None
    statistics: Statistics | None = None

    @property
    def real(self) -> Array:
        """The values as float32 real numbers.

        Raises:
            EdgebedError: only statistics were kept.
        """
        if self.values is None:
            raise EdgebedError(
                f"tensor {self.name!r} holds statistics only", try_="record with level full"
            )
        values = self.values.astype(np.float32)
        if self.scale is None:
            return values
        result: Array = (values - np.float32(self.zero_point)) * np.float32(self.scale)
        return result


@dataclass(frozen=True, eq=False)
class Frame:
    """What happened with one input.

    Attributes:
        number: from 0.
        tensors: in the order of recording.
        figures: of the frame by name: latency, cycles, memory, energy.
        layer_figures: of layers, by layer and name.
        sensors: readings of the device, e.g. orientation or light.
        time_ns: when it began; 0 where nobody knows.
    """

    number: int
    tensors: tuple[Tensor, ...] = ()
    figures: Mapping[str, Figure] = field(default_factory=dict)
    layer_figures: Mapping[str, Mapping[str, Figure]] = field(default_factory=dict)
    sensors: Mapping[str, Any] = field(default_factory=dict)
    time_ns: int = 0

    def of(self, role: Role) -> tuple[Tensor, ...]:
        """Return the tensors of a role."""
        return tuple(one for one in self.tensors if one.role == role)

    def named(self, name: str) -> Tensor | None:
        """Return a tensor by name, or None."""
        return next((one for one in self.tensors if one.name == name), None)
