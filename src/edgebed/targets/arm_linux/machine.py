"""The virtual board: runs the static program of a compiled folder, and counts instructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edgebed.errors import EdgebedError
from edgebed.figures import Figure
from edgebed.targets._shared.rows import manifest as manifests
from edgebed.targets._shared.rows.manifest import Manifest
from edgebed.targets._shared.rows.network import StageCount, array_of, bytes_of, count_stages
from edgebed.targets.arm_linux.build import MANIFEST
from edgebed.targets.arm_linux.cores import Core, core
from edgebed.targets.arm_linux.emulation import Emulator, Ran, run
from edgebed.targets.arm_linux.program import REASONS
from edgebed.targets.contract import Frame, Trace

Array = npt.NDArray[Any]
_STEP, _RAN = "eb_step", "eb_ran"
_TOGETHER: Final = 16
"""Samples that one start of the program computes."""


class VirtualBoard:
    """A `Machine` that emulates an Arm core under Linux, on which the program runs.

    Args:
        emulator: which; None for qemu where it is installed, else unicorn.
    """

    def __init__(self, emulator: Emulator | None = None) -> None:
        self._emulator = emulator
        self._folder: Path | None = None
        self._stages: tuple[StageCount, ...] = ()

    def load(self, folder: Path) -> None:
        """Take the program in `folder`.

        Raises:
            EdgebedError: there is no build, or one from another plan than the folder's.
        """
        self._folder = None
        self._manifest: Manifest = manifests.read(folder / MANIFEST)
        self._core: Core = core(self._manifest.cpu)
        self._program = self._binary(folder)
        if not self._program.is_file():
            raise EdgebedError(
                f"no program {self._manifest.name} here",
                where=str(folder),
                try_="build the folder first",
            )
        built = self._run(("--digest",), b"").output.decode(errors="replace")
        if built != self._manifest.digest:
            raise EdgebedError(
                f"the program was built from plan {built[:12]}",
                where=str(self._program),
                why=f"this folder's plan is {self._manifest.digest[:12]}",
                try_="build the folder again",
            )
        self._folder = folder

    def _binary(self, folder: Path) -> Path:
        return folder / self._manifest.name

    def self_test(self) -> None:
        """Let the program compute its known answers.

        Raises:
            EdgebedError: one came out otherwise.
        """
        self._loaded()
        self._run(("--self-test",), b"")

    def run(self, tensor: Array) -> Trace:
        """Compute one sample of a network with one input.

        Args:
            tensor: of the shape and dtype in the imported file; a batch axis of 1 may be absent.

        Raises:
            EdgebedError: another shape or dtype, or several inputs.
        """
        self._loaded()
        (first, *others) = self._manifest.inputs
        if others:
            raise EdgebedError(
                f"the network has {1 + len(others)} inputs", try_="run_named([{name: array}])"
            )
        return self.run_named([{first.name: tensor}])[0]

    def show(self, picture: npt.NDArray[np.uint8]) -> Frame:
        """Refuse: this board has no camera and no display.

        Raises:
            EdgebedError: always.
        """
        raise EdgebedError("this board has no camera", try_="edgebed run DIR --input X.npy")

    def close(self) -> None:
        """Release the program."""
        self._folder = None

    # ---- more than a Machine ----

    def run_named(self, samples: Sequence[Mapping[str, Array]]) -> list[Trace]:
        """Compute samples from all inputs by name; see `run`."""
        self._loaded()
        facts = self._manifest.inputs
        packed = [b"".join(bytes_of(one.get(f.name), f) for f in facts) for one in samples]
        traces = []
        for start in range(0, len(packed), _TOGETHER):
            traces += self._together(packed[start : start + _TOGETHER])
        return traces

    @property
    def stages(self) -> tuple[StageCount, ...]:
        """What each stage took in the last sample, in the network's order."""
        return self._stages

    def _loaded(self) -> Path:
        if self._folder is None:
            raise EdgebedError("no program is loaded", try_="load(folder) first")
        return self._folder

    def _run(
        self, arguments: tuple[str, ...], data: bytes, *watched: str, logs: bool = False
    ) -> Ran:
        ran = run(
            self._core,
            self._program,
            arguments=arguments,
            data=data,
            watched=watched,
            emulator=self._emulator,
            logs=logs,
        )
        if ran.status:
            raise EdgebedError(
                f"the program ended with status {ran.status}",
                where=str(self._program),
                why=REASONS.get(ran.status),
            )
        return ran

    def _together(self, packed: Sequence[bytes]) -> list[Trace]:
        ran = self._run((), b"".join(packed), self._entry, _STEP, _RAN)
        size = sum(one.nbytes for one in self._manifest.outputs)
        if len(ran.output) != size * len(packed):
            raise EdgebedError("outputs are missing", where=str(self._program))
        traces, entries = [], list(ran.entries)
        for number in range(len(packed)):
            length = len(self._manifest.runs) + 2
            mine = entries[number * length : (number + 1) * length]
            traces.append(self._trace(ran, ran.output[number * size :], mine))
        return traces

    @property
    def _entry(self) -> str:
        return f"{self._manifest.name}_run"

    def _trace(self, ran: Ran, output: bytes, entries: list[tuple[str, int]]) -> Trace:
        names = [self._entry, *[_STEP] * len(self._manifest.runs), _RAN]
        if [name for name, _ in entries] != names:
            raise EdgebedError("the program ran another schedule", where=str(self._program))
        counts = [count for _, count in entries]
        self._stages = count_stages(self._manifest, np.diff([counts[0], *counts[2:]]))
        outputs, at = {}, 0
        for one in self._manifest.outputs:
            outputs[one.name] = array_of(output[at : at + one.nbytes], one)
            at += one.nbytes
        source = f"counted on a virtual {self._core.cpu} ({ran.emulator}, user mode)"
        return Trace(
            outputs,
            {
                "instructions": Figure(counts[-1] - counts[0], "instructions", "emulated", source),
                "arena_bytes": Figure(
                    self._manifest.arena_bytes, "bytes", "measured", "the plan; inputs included"
                ),
            },
        )
