"""Puts tensors, pictures or video through a compiled folder on its virtual device."""

from __future__ import annotations

import json as json_format
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgebed import files
from edgebed.cli.progress import listening
from edgebed.cli.run_trace import BoardTrace, board_trace
from edgebed.deploy.bundle import Bundle, load
from edgebed.errors import EdgebedError
from edgebed.events import Finished, Listener, Note, Progress, Started
from edgebed.figures import Figure, number
from edgebed.program.types import Array

if TYPE_CHECKING:
    from edgebed.observe.trace import Level
    from edgebed.targets.contract import Frame, Machine

LISTED: Final = 6
KINDS: Final = ("measured", "emulated", "estimated")


@dataclass(frozen=True)
class Done:
    """What a run left: paths by name, figures of the last input, lines of the device.

    `left_out` says of each picture that could not be read what is wrong with it.
    """

    outputs: dict[str, str]
    figures: Mapping[str, Figure]
    events: list[Any]
    left_out: tuple[str, ...] = ()
    trace: Path | None = None


def run_folder(
    folder: Path,
    source: Path | None,
    out: Path | None,
    *,
    target: str | None = None,
    frames: int = 0,
    uart_port: int | None = None,
    board: str | None = None,
    trace: Path | None = None,
    level: Level = "io",
    json: bool = False,
    quiet: bool = False,
) -> int:
    """Run `source` and print where the results are; see `edgebed run --help`."""
    bundle = load(folder)
    _check(bundle, source, target)
    _check_board(board, uart_port, level)
    with listening(quiet=quiet, json=json) as listener, _booted(bundle, board) as machine:
        listener(Started("run", f"{source or 'nothing'} on {bundle.target}, {bundle.program.name}"))
        if board is None:
            _say_slow(listener)
        if defect := bundle.plan.get("defect"):
            listener(Note("run", f"this firmware has the defect {defect!r}, built in on purpose"))
        if uart_port is not None:
            _offer_serial(machine, uart_port, listener)
        with board_trace(machine, bundle, trace, level) as recorder:
            done = _through(machine, bundle, source, out, frames, listener, recorder)
        done = replace(done, trace=trace)
        listener(Finished("run", f"{len(done.outputs)} files written"))
        if uart_port is not None:
            _wait_for_end(machine)
    print(json_format.dumps(_plain(done), indent=2) if json else "\n".join(_lines(done)))
    return 0


def _check(bundle: Bundle, source: Path | None, target: str | None) -> None:
    if target not in (None, bundle.target):
        raise EdgebedError(
            f"is compiled for {bundle.target}, not for {target}",
            where=str(bundle.folder),
            try_=f"edgebed compile {shlex.quote(str(bundle.folder))} --target {target} --out DIR",
        )
    if not bundle.sizes:
        raise EdgebedError(
            "holds sources but no build",
            where=str(bundle.folder),
            try_="edgebed compile without --only-generate",
        )
    if source is not None and not source.exists():
        raise EdgebedError("no such file or folder", where=str(source))


def _check_board(board: str | None, uart_port: int | None, level: Level) -> None:
    if board is None:
        return
    if uart_port is not None:
        raise EdgebedError("--uart-port is for a virtual board", where=f"--board {board}")
    if level in ("statistics", "full"):
        raise EdgebedError(
            f"--level {level} needs a board that shows its layers",
            where=f"--board {board}",
            why="its protocol carries inputs, outputs and cycles only",
            try_="--level io; without --board the virtual one shows every layer",
        )


def _say_slow(listener: Listener) -> None:
    from edgebed.targets._shared.toolchain import host_compilers

    if not host_compilers():
        slow = "no C compiler is installed, so the virtual device takes its slow path"
        listener(Note("run", f"{slow}; pip install 'edgebed[cc]' for the fast one"))


@contextmanager
def _booted(bundle: Bundle, board: str | None) -> Iterator[Machine]:
    from edgebed.targets import load as load_target
    from edgebed.targets.contract import HasBoards

    target = load_target(bundle.target)
    if board is None:
        machine = target.machine()
    elif isinstance(target, HasBoards):
        machine = target.board(board)
    else:
        raise EdgebedError(f"knows no real boards of {bundle.target}", where="--board")
    try:
        machine.load(bundle.folder)
        yield machine
    finally:
        machine.close()


def _through(
    machine: Machine,
    bundle: Bundle,
    source: Path | None,
    out: Path | None,
    frames: int,
    listener: Listener,
    recorder: BoardTrace,
) -> Done:
    if source is None:
        return Done({}, {}, [])
    if source.suffix == ".npy" and _is_tensor(source, bundle):
        return _tensor(machine, bundle, source, out, recorder)
    if bundle.program.contract is None:
        raise EdgebedError(
            "takes tensors only",
            where=str(bundle.folder),
            why="its program has no contract that says how a picture becomes a tensor",
            try_=f"--input TENSOR.npy of {bundle.program.input_type}",
        )
    return _pictures(machine, bundle, source, out or Path("frames"), frames, listener, recorder)


def _offer_serial(machine: Machine, port: int, listener: Listener) -> None:
    serve = getattr(machine, "serve_uart", None)
    if serve is None:
        raise EdgebedError("this device has no serial line to offer", where="--uart-port")
    listener(Note("run", f"serial line on 127.0.0.1:{serve(port)}; Ctrl-C ends"))


def _wait_for_end(machine: Any) -> None:
    """Let the device run for whoever is at the other end of the line, until Ctrl-C."""
    with suppress(KeyboardInterrupt):
        while True:
            machine.idle(0.1)
            time.sleep(0.01)


def _is_tensor(path: Path, bundle: Bundle) -> bool:
    """Tell a tensor from a picture: only H x W x 3 for a program that takes pictures is one."""
    shape = tuple(read_tensor(path).shape)
    if bundle.program.contract is None or shape == bundle.program.input_type.shape:
        return True
    return shape[-1:] != (3,)


def _tensor(
    machine: Machine, bundle: Bundle, source: Path, out: Path | None, recorder: BoardTrace
) -> Done:
    tensor = read_tensor(source)
    _check_tensor(tensor, bundle, source)
    path = out or source.with_name(f"{source.stem}_output.npy")
    if path.suffix != ".npy":
        raise EdgebedError(f"--out {path} for a tensor", try_=f"{path}.npy")
    check_place(path, source)
    started = time.monotonic()
    trace = machine.run(tensor)
    recorder.take(trace, tensor=tensor)
    pace = _pace([time.monotonic() - started])
    outputs = {}
    for index, (name, values) in enumerate(trace.outputs.items()):
        place = path if index == 0 else path.with_name(f"{path.stem}_{name}.npy")
        write_tensor(place, values)
        outputs[name] = str(place)
    return Done(outputs, {**trace.figures, **pace}, list(trace.events))


def _pictures(
    machine: Machine,
    bundle: Bundle,
    source: Path,
    out: Path,
    count: int,
    listener: Listener,
    recorder: BoardTrace,
) -> Done:
    from edgebed.data.readers.pictures import frames as pictures
    from edgebed.observe.pictures import write_png

    folder = out.with_suffix("") if out.suffix == ".npy" else out
    check_place(folder, source)
    if folder.exists() and not folder.is_dir():
        raise EdgebedError("is a file, not a folder", where=str(folder), try_="another --out")
    outputs: dict[str, str] = {}
    found: list[Any] = []
    seconds: list[float] = []
    figures: Mapping[str, Figure] = {}
    left_out: list[str] = []
    total = count or _count(source)

    def skip(error: EdgebedError) -> None:
        left_out.append(str(error))
        listener(Note("run", f"left out: {error}"))

    for index, (name, picture) in enumerate(pictures(source, skip)):
        if count and index == count:
            break
        started = time.monotonic()
        frame = machine.show(picture)
        seconds.append(time.monotonic() - started)
        recorder.take(frame.trace, picture=picture, answer=frame.detections)
        place = folder / f"{index:04d}_{name}.png"
        write_png(place, frame.lcd)
        outputs[place.stem] = str(place)
        found.append({"name": name, "screen": str(place), "found": _found(frame, bundle)})
        figures = frame.trace.figures
        listener(Progress("run", index + 1, total, "frames"))
    if not outputs:
        what = "none of its pictures can be read" if left_out else "holds no picture"
        first = f"the first: {left_out[0]}" if left_out else None
        raise EdgebedError(what, where=str(source), why=first, try_="PNG, JPEG or a video")
    files.write_text(folder / "detections.json", json_format.dumps(found, indent=2) + "\n")
    outputs["detections"] = str(folder / "detections.json")
    return Done(outputs, {**figures, **_pace(seconds)}, found, tuple(left_out))


def check_place(place: Path, source: Path) -> None:
    """Refuse to write over what is read."""
    if place.exists() and place.samefile(source):
        raise EdgebedError(
            "--out is the input",
            where=str(place),
            why="nothing of yours is ever overwritten",
            try_="another --out",
        )


def _count(source: Path) -> int:
    """Return how many pictures there will be; 0 = not known before the end."""
    from edgebed.data.readers.picture_files import SUFFIXES

    if not source.is_dir():
        return 0
    return sum(one.suffix.lower() in SUFFIXES for one in source.iterdir())


def _found(frame: Frame, bundle: Bundle) -> list[dict[str, Any]]:
    """Return detections by name; boxes in pixels of the network input, x1 y1 x2 y2."""
    contract = bundle.program.contract
    assert contract is not None  # checked before the first picture
    return [
        {
            "class": contract.classes[int(row[0])],
            "score": round(float(row[1]), 4),
            "box": [round(float(value), 2) for value in row[2:]],
        }
        for row in frame.detections
    ]


def _pace(seconds: list[float]) -> dict[str, Figure]:
    """Return how fast the device answered here, the first input's warm-up left to the median."""
    median = 1000 * float(np.median(seconds))
    source = f"median of {len(seconds)} inputs, clock of this computer"
    return {"time_here": Figure(median, "ms", "measured", source)}


def read_tensor(path: Path) -> Array:
    """Read a .npy file.

    Raises:
        EdgebedError: it is none, is cut short, or holds Python objects.
    """
    from edgebed.data.samples import why_unreadable

    try:
        array: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise EdgebedError(
            "is not a tensor file (.npy)", where=str(path), why=why_unreadable(error)
        ) from None
    if not isinstance(array, np.ndarray):  # an archive of arrays under another name
        raise EdgebedError(
            "is not a tensor file (.npy)", where=str(path), why="it is an archive of arrays (.npz)"
        )
    return array


def write_tensor(path: Path, values: Array) -> None:
    """Write a .npy file atomically.

    Raises:
        EdgebedError: the file cannot be written.
    """
    import io

    content = io.BytesIO()
    np.save(content, values)
    files.write_bytes(path, content.getvalue())


def _check_tensor(tensor: Array, bundle: Bundle, source: Path) -> None:
    wanted = bundle.program.input_type
    if tensor.shape != wanted.shape:
        given, needed = ("x".join(map(str, shape)) for shape in (tensor.shape, wanted.shape))
        raise EdgebedError(
            f"has shape {given or 'of one number'}",
            where=str(source),
            why=f"the program takes {needed} (C x H x W, no batch axis)",
        )
    if tensor.dtype != np.int8:
        raise EdgebedError(
            f"holds {tensor.dtype}", where=str(source), why="the program takes int8", try_="int8"
        )


def _plain(done: Done) -> dict[str, Any]:
    figures = {
        kind: {k: f.to_json() for k, f in done.figures.items() if f.kind == kind} for kind in KINDS
    }
    return {
        "outputs": done.outputs,
        **({"trace": str(done.trace)} if done.trace is not None else {}),
        "figures": figures,
        "events": done.events,
        "left_out": list(done.left_out),
    }


def _lines(done: Done) -> Iterator[str]:
    for kind in KINDS:
        of_kind = {name: f for name, f in done.figures.items() if f.kind == kind}
        if of_kind:
            yield f"{kind}:"
            yield from (f"  {name:<28} {number(f.value)} {f.unit}" for name, f in of_kind.items())
    if done.left_out:
        pictures = len(done.outputs) - 1 + len(done.left_out)
        yield f"left out {len(done.left_out)} of {pictures} pictures:"
        yield from (f"  {text}" for text in done.left_out)
    if done.trace is not None:
        yield f"trace: {done.trace}"
    shown = list(done.outputs.values())
    if len(shown) > LISTED:
        yield f"{len(shown) - LISTED} files before these:"
    yield from shown[-LISTED:]
