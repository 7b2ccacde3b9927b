"""Two traces beside each other, read in step: memory is that of a few frames, whatever their size.

Frames are paired by number. The first ones decide which tensors belong together; every frame adds
to the sums of each pair; of the worst frames only the numbers are kept.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.observe.alignment import Key, by_key
from edgebed.observe.comparability import (
    check_anything_shared,
    check_same_network,
    notes,
    promised,
    unseen,
)
from edgebed.observe.departure import Departure, first_departure
from edgebed.observe.layer_error import LayerError, RunningError
from edgebed.observe.matching import Matching, match
from edgebed.observe.rescaling import scaled_back
from edgebed.observe.trace import Frame
from edgebed.observe.trace_reader import TraceReader
from edgebed.observe.trace_side import Means, Side

LOOKED_AT: Final = 3
"""Frames that decide what belongs together ..."""
LOOKED_AT_BYTES: Final = 50_000_000
"""... unless they are larger than this."""
CANDIDATES: Final = 8
"""So many times the frames asked for are kept until all ranges are known."""

Pairs = Iterator[tuple[Frame, Frame]]


@dataclass(frozen=True)
class TraceComparison:
    """What two traces say about each other.

    Attributes:
        reference: the trace to trust.
        device: the trace to examine.
        frames: compared.
        exact: integers that mean the same have to be equal.
        errors: of each pair of tensors, in the order of execution.
        matching: how they were paired.
        departure: where they part; None where they do not.
        worst: frame numbers and their errors, the worst first.
        agreement: for an output of classes, frames whose largest entry is the same, and all frames.
        notes: what a reader must know before believing the figures.
        only: number of the frame that alone was looked at; None for all.
        options: of the command line that ask for this comparison.
    """

    reference: Side
    device: Side
    frames: int
    exact: bool
    errors: tuple[LayerError, ...]
    matching: Matching
    departure: Departure | None
    worst: tuple[tuple[int, float], ...]
    agreement: tuple[int, int] | None
    notes: tuple[str, ...]
    only: int | None = None
    options: tuple[str, ...] = ()

    def error_of(self, layer: str) -> LayerError | None:
        """Return the error of a tensor by either trace's name."""
        return next((e for e in self.errors if layer in (e.name, e.pair.device[1])), None)


def compare_traces(
    reference: Path,
    device: Path,
    *,
    worst: int = 4,
    only: int | None = None,
    force: bool = False,
    exact: bool | None = None,
) -> TraceComparison:
    """Compare two traces.

    Traces of different networks are refused: where no output belongs to an output, or where fewer
    than a third of the layers of the shorter trace find a partner. Digests alone refuse nothing,
    because the float network and its quantised form have different ones; they are noted.

    Args:
        reference: trace to trust.
        device: trace to examine.
        worst: so many worst frames are named.
        only: look at this frame alone.
        force: compare traces of different networks.
        exact: whether integers of one meaning have to be equal; None decides by the manifests.

    Raises:
        EdgebedError: a file is no trace, they have no frame in common, or are of other networks.
    """
    return _Run(reference, device, worst, only, force, exact).result()


def paired_frames(reference: TraceReader, device: TraceReader, counts: list[int]) -> Pairs:
    """Give the frames that both traces have, by number; both are read to their ends.

    Args:
        reference: read from its first frame.
        device: read from its first frame.
        counts: two numbers, of frames read on either side; counted up.
    """
    left, right = _counted(reference, counts, 0), _counted(device, counts, 1)
    a, b = next(left, None), next(right, None)
    while a is not None and b is not None:
        if a.number == b.number:
            yield a, b
            a = b = None  # or they would stay in memory while the next ones are read
            a, b = next(left, None), next(right, None)
        elif a.number < b.number:
            a = next(left, None)
        else:
            b = next(right, None)
    while a is not None:
        a = next(left, None)
    while b is not None:
        b = next(right, None)


def _counted(reader: TraceReader, counts: list[int], side: int) -> Iterator[Frame]:
    last = -1
    for frame in reader.frames():
        counts[side] += 1
        if frame.number > last:  # a number seen before has no place in the order
            last = frame.number
            yield frame
        del frame  # or it would stay in memory while the next one is read


@dataclass
class _Run:
    """The sums of one comparison while it runs."""

    reference: Path
    device: Path
    most: int
    only: int | None
    force: bool
    exact: bool | None
    running: list[RunningError] = field(default_factory=list)
    heap: list[tuple[float, int, tuple[tuple[Key, float], ...]]] = field(default_factory=list)
    agreed: int = 0
    classified: int = 0
    frames: int = 0

    def result(self) -> TraceComparison:
        counts, means = [0, 0], (Means(), Means())
        with ExitStack() as stack:
            readers = [stack.enter_context(TraceReader(p)) for p in (self.reference, self.device)]
            pairs = self._chosen(paired_frames(readers[0], readers[1], counts))
            manifests = readers[0].manifest, readers[1].manifest
            first = _first(pairs)
            if not first:
                raise self._nothing_shared(readers, counts)
            matching = match(first, (manifests[0].layers, manifests[1].layers))
            if not self.force:
                check_same_network(matching, self.reference, self.device, manifests)
            check_anything_shared(matching, self.reference, self.device)
            self.running = [RunningError(pair) for pair in matching.pairs]
            while first:
                self._add(first.pop(0), means)
            for pair in pairs:
                self._add(pair, means)
                del pair
        sides = [
            Side(reader.path, reader.manifest, count, reader.cut, mean.of(""), mean.layers())
            for reader, count, mean in zip(readers, counts, means, strict=True)
        ]
        return self._done(sides[0], sides[1], matching)

    def _chosen(self, pairs: Pairs) -> Pairs:
        for a, b in pairs:
            if self.only is None or a.number == self.only:
                yield a, b
            del a, b

    def _add(self, pair: tuple[Frame, Frame], means: tuple[Means, Means]) -> None:
        a, b = pair
        left, right = by_key(a), by_key(b)
        errors = {
            run.pair.reference: run.add(
                a.number, left.get(run.pair.reference), right.get(run.pair.device)
            )
            for run in self.running
        }
        if self._has_outputs:
            errors = {key: error for key, error in errors.items() if key[0] == "output"}
        self._rank(a.number, tuple(errors.items()))
        self._classes(left, right)
        means[0].add(a)
        means[1].add(b)
        self.frames += 1

    @property
    def _has_outputs(self) -> bool:
        return any(run.pair.role == "output" for run in self.running)

    def _rank(self, number: int, errors: tuple[tuple[Key, float], ...]) -> None:
        """Keep a frame among the candidates: their order is final once all ranges are known."""
        heapq.heappush(self.heap, (self._largest(errors), -number, errors))
        if len(self.heap) > CANDIDATES * self.most:
            heapq.heappop(self.heap)

    def _largest(self, errors: tuple[tuple[Key, float], ...]) -> float:
        units = {run.pair.reference: run.unit for run in self.running}
        return max((error / units[key] for key, error in errors), default=0.0)

    def _classes(self, left: Mapping[Key, object], right: Mapping[Key, object]) -> None:
        """Count the frame where the only output is a vector of classes."""
        outputs = [run.pair for run in self.running if run.pair.role == "output"]
        if len(outputs) != 1 or len(outputs[0].order.shape) != 1 or outputs[0].order.shape[0] < 2:
            return
        a, b = left.get(outputs[0].reference), right.get(outputs[0].device)
        values = [getattr(one, "values", None) for one in (a, b)]
        if values[0] is None or values[1] is None or values[0].size != values[1].size:
            return
        self.classified += 1
        self.agreed += int(np.argmax(values[0]) == np.argmax(values[1]))

    def _done(self, reference: Side, device: Side, matching: Matching) -> TraceComparison:
        errors = scaled_back([run.result() for run in self.running])
        exact = promised(reference.manifest, device.manifest) if self.exact is None else self.exact
        departure = first_departure(errors, exact)
        if departure is not None:
            departure = replace(departure, unseen=unseen(departure, matching, reference.manifest))
        ranked = sorted((-self._largest(errors), -number) for _, number, errors in self.heap)
        return TraceComparison(
            reference, device, self.frames, exact, errors, matching, departure,
            tuple((number, -error) for error, number in ranked[: self.most] if error),
            (self.agreed, self.classified) if self.classified else None,
            tuple(notes(reference, device, self.frames, matching, errors, self.only)),
            self.only, tuple(self._options()),
        )  # fmt: skip

    def _options(self) -> Iterator[str]:
        if self.force:
            yield "--force"
        if self.exact is not None:
            yield "--exact" if self.exact else "--not-exact"

    def _nothing_shared(self, readers: list[TraceReader], counts: list[int]) -> EdgebedError:
        if self.only is not None:
            return EdgebedError(
                f"frame {self.only} is not in both traces",
                where=f"{self.reference.name}, {self.device.name}",
                try_="a number that both have; edgebed compare names the worst frames",
            )
        cut = "; ".join(f"{r.path.name}: {r.cut}" for r in readers if r.cut)
        return EdgebedError(
            "the traces have no frame in common",
            where=f"{self.reference}, {self.device}",
            why=cut or f"frames are paired by number; they hold {counts[0]} and {counts[1]} frames",
            try_="record both from the same inputs, in the same order",
        )


def _first(pairs: Pairs) -> list[tuple[Frame, Frame]]:
    found: list[tuple[Frame, Frame]] = []
    held = 0
    for pair in pairs:
        found.append(pair)
        held += sum(t.values.nbytes for one in pair for t in one.tensors if t.values is not None)
        if len(found) == LOOKED_AT or held * (len(found) + 1) / len(found) > LOOKED_AT_BYTES:
            break
    return found
