"""What may come of a damaged file: a program, or one sentence that names the file."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgebed.compile.passes.pipeline import optimise
from edgebed.errors import EdgebedError
from edgebed.program.ops._pool import Pool
from edgebed.program.read import read_model
from edgebed.program.run import run
from edgebed.program.types import Program

SECONDS = 10
LONGEST_SENTENCE = 400
_MOST_MACS = 2_000_000
_MOST_VALUES = 1 << 18
_MOST_OPS = 500


class TooSlowError(BaseException):
    """The time is over; no handler of ordinary errors may keep this one."""


@dataclass(frozen=True)
class Outcome:
    """What one file gave.

    Attributes:
        kind: "program", "sentence", or what is wrong.
        where: the place in the code that a defect comes from.
        detail: the sentence, or the last lines of the traceback.
        seconds: of reading alone.
        peak: largest resident memory while reading and running, bytes.
    """

    kind: str
    where: str = ""
    detail: str = ""
    seconds: float = 0.0
    peak: int = 0

    @property
    def good(self) -> bool:
        """True where nothing is wrong."""
        return self.kind in ("program", "sentence")


def judge(path: Path) -> Outcome:
    """Read a file, and run and optimise a small program; never raises."""
    _reset_peak()
    start = time.perf_counter()
    stage = "read"
    try:
        with _limited(SECONDS):
            try:
                program = read_model(path)
            except EdgebedError as error:
                return _sentence(str(error), path, time.perf_counter() - start)
            seconds = time.perf_counter() - start
            for stage in _follow(program):  # noqa: B007 - read below, where one fails
                pass
    except (Exception, TooSlowError) as error:
        kind = f"{stage}: {type(error).__name__}"
        return Outcome(kind, _place(error), _last(error), time.perf_counter() - start, _peak())
    return Outcome("program", seconds=seconds, peak=_peak())


def _sentence(text: str, path: Path, seconds: float) -> Outcome:
    faults = {
        "two lines": len(text.splitlines()) > 1,
        "control characters": not text.isprintable(),
        "long": len(text.replace(str(path), "")) > LONGEST_SENTENCE,
        "no file": path.name not in text,
        "surrogates": any(0xD800 <= ord(c) < 0xE000 for c in text),
    }
    found = [name for name, is_so in faults.items() if is_so]
    shape = "".join(c for c in text[:60] if c.isalpha() or c == " ")
    return Outcome(f"sentence: {found[0]}" if found else "sentence", shape if found else "", text,
                   seconds, _peak())  # fmt: skip


def _follow(program: Program) -> Iterator[str]:
    """Run and optimise a program if it is small; yield the name of each step before it."""
    yield "size"
    if not _small(program):
        return
    yield "run"
    first = _outputs(program)
    yield "optimise"
    better = optimise(program)[0]
    yield "run optimised"
    second = _outputs(better)
    yield "compare"
    if isinstance(first, dict) and isinstance(second, dict):
        for name, values in first.items():
            assert values.dtype.kind == "f" or (values == second[name]).all(), name
    elif type(first) is not type(second):
        raise AssertionError(f"{first!r:.200} but optimised {second!r:.200}")


def _small(program: Program) -> bool:
    sizes = [kind.size for kind in program.types.values()]
    sizes += [constant.values.size for constant in program.constants.values()]
    return (
        len(program.ops) <= _MOST_OPS
        and sum(sizes) <= _MOST_VALUES
        and sum(program.macs().values()) + sum(_taps(program)) <= _MOST_MACS
    )


def _taps(program: Program) -> Iterator[int]:
    """Yield how many values each pool looks at."""
    for op in program.ops:
        if isinstance(op, Pool):
            yield program.types[op.output].size * op.kernel[0] * op.kernel[1]


def _outputs(program: Program) -> dict[str, Any] | str:
    draw = np.random.default_rng(1)
    given = {}
    for name, kind in program.inputs.items():
        if kind.is_float:
            given[name] = draw.normal(size=(1, *kind.shape)).astype(np.float32)
        elif kind.dtype == "bool":
            given[name] = draw.integers(0, 2, (1, *kind.shape)).astype(bool)
        else:
            info = np.iinfo(kind.dtype)
            drawn = draw.integers(info.min, info.max, (1, *kind.shape), endpoint=True)
            given[name] = drawn.astype(kind.dtype)
    try:
        return run(program, given)
    except EdgebedError as error:
        return str(error)


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def over(*_: object) -> None:
        raise TooSlowError(f"more than {seconds} s")

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/src/edgebed/" in frame.filename] or list(frames)
    last = ours[-1]
    return f"{last.filename.rpartition('/src/edgebed/')[2]}:{last.lineno} {type(error).__name__}"


def _last(error: BaseException) -> str:
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return "".join(lines)[-1500:]


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return  # the peak is then that of the whole process


def _peak() -> int:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
