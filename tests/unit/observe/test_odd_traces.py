"""Odd traces on either side of a comparison: words and an exit code, never a traceback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from traces import Recorder, integer_network, pictures, renamed

from edgebed.cli import execute
from edgebed.observe.trace import MAGIC, Frame, Tensor
from edgebed.observe.trace_reader import TraceReader
from edgebed.observe.trace_writer import TraceWriter

INTEGER = integer_network()
Change = Callable[[Frame], Frame]


def record(path: Path, **settings: object) -> Path:
    return Recorder(INTEGER, "board", **settings).record(path, pictures(4))  # type: ignore[arg-type]


def changed(path: Path, change: Change) -> Path:
    """Record, and write anew with every frame changed."""
    source = record(path.with_suffix(".first"))
    with TraceReader(source) as reader, TraceWriter(path, reader.manifest) as writer:
        for frame in reader.frames():
            writer.write(change(frame))
    return path


def layers(frame: Frame, change: Callable[[Tensor], Tensor]) -> Frame:
    return replace(frame, tensors=tuple(
        change(one) if one.name == "pool.q" else one for one in frame.tensors
    ))  # fmt: skip


def in_one_frame(change: Callable[[Tensor], Tensor]) -> Change:
    return lambda frame: layers(frame, change) if frame.number == 2 else frame


def reals(one: Tensor, value: float) -> Tensor:
    values = np.array(one.real)
    values[0, 0] = value
    return replace(one, values=values, dtype="float32", scale=None, zero_point=0)


def cropped(one: Tensor) -> Tensor:
    assert one.values is not None
    return replace(one, values=one.values[:, 1:], shape=one.values[:, 1:].shape)


def version(path: Path) -> Path:
    data = bytearray(record(path).read_bytes())
    data[len(MAGIC)] = 99
    path.write_bytes(data)
    return path


def empty(path: Path) -> Path:
    return Recorder(INTEGER, "board").record(path, [])


ODD: dict[str, tuple[Callable[[Path], Path], int, str]] = {
    "no frame": (empty, 1, "no frame"),
    "another version": (version, 1, "format 99"),
    "statistics": (lambda path: record(path, level="statistics"), 0, "statistics"),
    "inputs and outputs": (lambda path: record(path, level="io"), 0, "io"),
    "layers missing": (lambda path: record(path, dropped=("pool.q", "deep.q")), 0, "pool.q"),
    "all renamed": (lambda path: record(path, changed=renamed), 0, "4 frames"),
    "a layer missing in one frame": (
        lambda path: changed(path, lambda frame: replace(frame, tensors=tuple(
            one for one in frame.tensors if frame.number != 2 or one.name != "pool.q"
        ))), 0, "Missing in some frames",
    ),
    "a layer cropped in one frame": (
        lambda path: changed(path, in_one_frame(cropped)), 0, "of another size there: pool.q",
    ),
    "a layer of another size": (
        lambda path: record(path, changed=lambda t: cropped(t) if t.name == "pool.q" else t),
        0, "sizes differ: pool.q",
    ),
    "NaN in one frame": (
        lambda path: changed(path, in_one_frame(lambda one: reals(one, np.nan))), 2, "NaN",
    ),
    "infinity in one frame": (
        lambda path: changed(path, in_one_frame(lambda one: reals(one, np.inf))), 2, "infinit",
    ),
}  # fmt: skip


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("name", ODD)
def test_odd_traces_are_told_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, side: int
) -> None:
    make, code, words = ODD[name]
    paths = [record(tmp_path / "a.trace"), make(tmp_path / "odd.trace")]
    found = execute(["compare", *map(str, paths if side else paths[::-1])])
    said = capsys.readouterr()
    text = " ".join((said.out + said.err).split())
    assert found == (code if side or code != 2 else found) and found < 3
    assert words in text and "Traceback" not in text


@pytest.mark.parametrize("name", ODD)
def test_odd_traces_are_observed_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    found = execute(["observe", str(ODD[name][0](tmp_path / "odd.trace"))])
    said = capsys.readouterr()
    assert found < 3 and (said.out or said.err) and "Traceback" not in said.err
