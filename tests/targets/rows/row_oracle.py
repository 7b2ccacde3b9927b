"""Executes a placement byte by byte: every byte of the arena knows what was written there last."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgebed.targets._shared.rows.stage import Network, Placement, Stage

GARBAGE = -1


class Arena:
    """An arena whose bytes name their tensor, row and place.

    `pixels` gives the pixels of a row by tensor, for stages that work in place.
    """

    def __init__(self, network: Network, placed: Placement, pixels: Mapping[str, int]) -> None:
        self.network, self.placed, self.pixels = network, placed, pixels
        self.bytes = np.full(placed.peak, GARBAGE, np.int64)
        self.number = {name: i + 1 for i, name in enumerate(network.tensors)}

    def span(self, name: str, row: int) -> slice:
        size = self.network.tensors[name].row_bytes
        start = self.placed.offsets[name] + row % self.placed.rings[name] * size
        assert start >= 0 and start + size <= self.placed.peak, f"{name} lies outside"
        return slice(start, start + size)

    def tags(self, name: str, row: int) -> np.ndarray:
        size = self.network.tensors[name].row_bytes
        return (self.number[name] << 40) + (row << 20) + np.arange(size)

    def write(self, name: str, row: int, first: int = 0, past: int | None = None) -> None:
        self.bytes[self.span(name, row)][first:past] = self.tags(name, row)[first:past]

    def check(self, name: str, row: int, why: str, first: int = 0) -> None:
        found = self.bytes[self.span(name, row)][first:]
        assert np.array_equal(found, self.tags(name, row)[first:]), f"{name} row {row}: {why}"

    def run(self) -> None:
        for name in self.network.inputs:
            for row in range(self.network.tensors[name].rows):
                self.write(name, row)
        done: set[tuple[int, int]] = set()
        for run in self.placed.runs:
            for step in range(run.first, run.first + run.count):
                assert (run.stage, step) not in done
                done.add((run.stage, step))
                self.step(run.stage, step, sum(s == run.stage for s, _ in done) == 1)
        assert len(done) == sum(stage.steps for stage in self.network.stages)
        for name in self.network.outputs:
            for row in range(self.network.tensors[name].rows):
                self.check(name, row, "output at the end")

    def step(self, number: int, step: int, is_first: bool) -> None:
        stage = self.network.stages[number]
        rows = self.network.tensors[stage.output].rows
        out = list(range(rows)) if stage.steps == 1 or stage.accumulates else [step]
        kept, aside = self.operands(stage, step, out)
        for name, row in [*kept, *aside]:
            self.check(name, row, f"read by {stage.name} step {step}")
        if stage.accumulates and not is_first:
            for row in out:
                self.check(stage.output, row, f"accumulator of {stage.name} before step {step}")
        self.spoil(number)
        for row in out:
            self.write_row(stage, row, [name for name, r in aside if r == row])
        self.spoil(number)
        for name, row in kept:
            self.check(name, row, f"overwritten within {stage.name} step {step}")
        for row in out:
            self.check(stage.output, row, f"just written by {stage.name}")

    def operands(self, stage: Stage, step: int, out: list[int]) -> tuple[list, list]:
        """Return rows that must survive the step, and those that are read ahead of the writing."""
        kept, aside = [], []
        for position, window in enumerate(stage.inputs):
            tensor = self.network.tensors[window.tensor]
            top = step * window.stride - window.pad
            rows = {top + window.dilation * i for i in range(window.rows)}
            for row in range(tensor.rows):
                if window.whole or row in rows:
                    ahead = position in stage.in_place and row in out
                    (aside if ahead else kept).append((window.tensor, row))
        return kept, [pair for pair in aside if pair not in kept]

    def write_row(self, stage: Stage, row: int, ahead: list[str]) -> None:
        if not ahead:
            self.write(stage.output, row)
            return
        width = self.pixels[stage.output]
        size = self.network.tensors[stage.output].row_bytes // width
        for pixel in range(width):
            for name in ahead:
                first = pixel * (self.network.tensors[name].row_bytes // width)
                self.check(name, row, f"pixel {pixel} read by {stage.name} in place", first)
            self.write(stage.output, row, pixel * size, (pixel + 1) * size)

    def spoil(self, number: int) -> None:
        nbytes = self.network.stages[number].scratch_bytes
        if nbytes:
            start = self.placed.scratch[number]
            assert start >= 0 and start + nbytes <= self.placed.peak
            self.bytes[start : start + nbytes] = GARBAGE


def execute(network: Network, placed: Placement, pixels: Mapping[str, int]) -> None:
    """Fail if a step of the placement overwrites what is needed later."""
    Arena(network, placed, pixels).run()
