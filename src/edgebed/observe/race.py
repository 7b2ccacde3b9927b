"""A race of runtimes: each in a process of its own, their rounds interleaved.

Each contender computes in short rounds, one contender after the other, so that a slow minute of
the computer hits all of them. What counts is the median over all runs; the spread is the middle
half of the rounds' medians.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.events import Listener, Progress, ignore
from edgebed.observe.compare import difference

WORKER: Final = "edgebed.observe.race_worker"
ROUND_MS: Final = 40.0


@dataclass(frozen=True)
class Contender:
    """A runtime with a model.

    Attributes:
        name: a key of `edgebed.observe.peers.MODULES`.
        path: the model file, or the compiled folder for edgebed.
        threads: how many it may use.
    """

    name: str
    path: Path
    threads: int = 1


@dataclass(frozen=True)
class Result:
    """What one contender measured.

    Attributes:
        name: of the runtime.
        version: of the runtime.
        threads: it used.
        median_us: median time of a run, in microseconds.
        spread_us: quartiles of the rounds' medians.
        runs: number of timed runs.
        difference: largest difference of an output from the first contender's, in the output's
            own units; None for the first, or where shapes differ.
        refused: why it did not run, or None.
    """

    name: str
    version: str
    threads: int
    median_us: float = 0.0
    spread_us: tuple[float, float] = (0.0, 0.0)
    runs: int = 0
    difference: float | None = None
    refused: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


class _Runner:
    """A contender's process."""

    def __init__(self, contender: Contender, seed: int) -> None:
        self.contender = contender
        command = [sys.executable, "-m", WORKER, contender.name, str(contender.path)]
        command += [str(contender.threads), str(seed)]
        # thread pools of the maths libraries would disturb the others
        environment = {**os.environ, "OMP_NUM_THREADS": str(contender.threads)}
        # A file: a pipe that nobody reads would stop a talkative runtime.
        self.complaints = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed with the process
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
            stderr=self.complaints,
        )  # fmt: skip
        self.times: list[float] = []
        self.rounds: list[float] = []
        self.count = 1
        hello = self._answer()
        self.refused: str | None = hello.get("refused")
        self.version = str(hello.get("version", "?"))
        self.outputs = [np.asarray(one, dtype=np.float64) for one in hello.get("outputs", [])]
        if self.refused is None:
            first = float(np.median(self._ask(3)))
            self.count = max(1, min(20_000, int(ROUND_MS * 1000 / max(first, 0.5))))

    def round(self) -> None:
        """Compute for about `ROUND_MS`; the first runs of a round warm caches and do not count."""
        times = self._ask(self.count)
        kept = times[len(times) // 10 :]
        self.times += kept
        self.rounds.append(float(np.median(kept)))

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()
        self.complaints.close()

    def _ask(self, runs: int) -> list[float]:
        stdin = self.process.stdin
        assert stdin is not None
        print(json.dumps({"runs": runs}), file=stdin, flush=True)
        return [float(one) for one in self._answer()["us"]]

    def _answer(self) -> dict[str, Any]:
        stdout: IO[str] | None = self.process.stdout
        assert stdout is not None
        for line in stdout:
            if line.startswith("{"):  # runtimes print greetings of their own
                found: dict[str, Any] = json.loads(line)
                return found
        self.process.communicate()
        self.complaints.seek(0)
        last = (self.complaints.read().strip().splitlines() or ["no message"])[-1]
        self.complaints.close()
        raise EdgebedError(f"{self.contender.name} died", why=last[:200])


def race(
    contenders: Sequence[Contender],
    *,
    rounds: int = 20,
    seed: int = 0,
    listener: Listener = ignore,
) -> list[Result]:
    """Measure contenders on the same random inputs; the first is the one others are held to.

    Args:
        contenders: who takes part.
        rounds: of about 40 ms for each of them.
        seed: of the inputs.
        listener: hears the progress.

    Raises:
        EdgebedError: a contender's process died.
    """
    runners: list[_Runner] = []
    try:
        runners += [_Runner(one, seed) for one in contenders]
        for index in range(rounds):
            for runner in runners:
                if runner.refused is None:
                    runner.round()
            listener(Progress("bench", index + 1, rounds, "rounds"))
        return [_result(runner, runners[0]) for runner in runners]
    finally:
        for runner in runners:
            runner.close()


def _result(runner: _Runner, first: _Runner) -> Result:
    contender = runner.contender
    if runner.refused is not None:
        return Result(contender.name, runner.version, contender.threads, refused=runner.refused)
    low, high = np.percentile(runner.rounds, [25, 75])
    return Result(
        contender.name,
        runner.version,
        contender.threads,
        float(np.median(runner.times)),
        (float(low), float(high)),
        len(runner.times),
        None if runner is first else _difference(runner, first),
    )


def _difference(one: _Runner, other: _Runner) -> float | None:
    if [x.size for x in one.outputs] != [x.size for x in other.outputs]:
        return None
    pairs = zip(one.outputs, other.outputs, strict=True)
    found = [difference(other.version, b.reshape(-1), a.reshape(-1)) for a, b in pairs]
    return max((each.largest for each in found), default=0.0)
