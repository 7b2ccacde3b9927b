"""Puts tensors, pictures or video through a compiled folder on its virtual device."""

from __future__ import annotations

import json as json_format
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgebed import files
from edgebed.cli.progress import listening
from edgebed.deploy.bundle import Bundle, load
from edgebed.errors import EdgebedError
from edgebed.events import Finished, Listener, Progress, Started
from edgebed.figures import Figure
from edgebed.program.types import Array

if TYPE_CHECKING:
    from edgebed.targets.contract import Machine

KINDS: Final = ("measured", "emulated", "estimated")


@dataclass(frozen=True)
class Done:
    """What a run left: paths by name, figures of the last input, lines of the device."""

    outputs: dict[str, str]
    figures: Mapping[str, Figure]
    events: list[Any]


def run_folder(
    folder: Path,
    source: Path,
    out: Path | None,
    *,
    frames: int = 0,
    uart_port: int | None = None,
    json: bool = False,
    quiet: bool = False,
) -> int:
    """Run `source` and print where the results are; see `edgebed run --help`."""
    bundle = load(folder)
    if not source.exists():
        raise EdgebedError("no such file or folder", where=str(source))
    with listening(quiet=quiet, json=json) as listener:
        listener(Started("run", f"{source} on {bundle.target}, program {bundle.program.name}"))
        with _booted(bundle, uart_port) as machine:
            if source.suffix == ".npy":
                done = _tensor(machine, bundle, source, out)
            else:
                done = _pictures(machine, source, out or Path("frames"), frames, listener)
        listener(Finished("run", ", ".join(done.outputs.values())))
    print(json_format.dumps(_plain(done), indent=2) if json else "\n".join(_lines(done)))
    return 0


@contextmanager
def _booted(bundle: Bundle, uart_port: int | None) -> Iterator[Machine]:
    from edgebed.targets import load as load_target

    machine = load_target(bundle.target).machine()
    try:
        machine.load(bundle.folder)
        if uart_port is None:
            yield machine
            return
        with _serial(machine, uart_port):
            yield machine
    finally:
        machine.close()


@contextmanager
def _serial(machine: Machine, port: int) -> Iterator[None]:
    serve = getattr(machine, "serve_uart", None)
    if serve is None:
        raise EdgebedError("this device has no serial line to offer", where="--uart-port")
    with serve(port):
        yield


def _tensor(machine: Machine, bundle: Bundle, source: Path, out: Path | None) -> Done:
    tensor = read_tensor(source)
    _check_tensor(tensor, bundle, source)
    path = out or source.with_name(f"{source.stem}_output.npy")
    if path.suffix != ".npy":
        raise EdgebedError(f"--out {path} for a tensor", try_=f"{path}.npy")
    trace = machine.run(tensor)
    outputs = {}
    for index, (name, values) in enumerate(trace.outputs.items()):
        place = path if index == 0 else path.with_name(f"{path.stem}_{name}.npy")
        write_tensor(place, values)
        outputs[name] = str(place)
    return Done(outputs, trace.figures, list(trace.events))


def _pictures(machine: Machine, source: Path, out: Path, count: int, listener: Listener) -> Done:
    from edgebed.data.readers.pictures import frames as pictures
    from edgebed.observe.pictures import write_png

    folder = out.with_suffix("") if out.suffix == ".npy" else out
    outputs: dict[str, str] = {}
    found: list[Any] = []
    figures: Mapping[str, Figure] = {}
    for index, (name, picture) in enumerate(pictures(source)):
        if count and index == count:
            break
        frame = machine.show(picture)
        place = folder / f"{index:04d}_{name}.png"
        write_png(place, frame.lcd)
        outputs[name] = str(place)
        found.append({"name": name, "screen": str(place), "detections": frame.detections.tolist()})
        figures = frame.trace.figures
        listener(Progress("run", index + 1, count or index + 1, "frames"))
    if not outputs:
        raise EdgebedError("holds no picture", where=str(source), try_="PNG, JPEG or a video")
    files.write_text(folder / "detections.json", json_format.dumps(found, indent=2) + "\n")
    outputs["detections"] = str(folder / "detections.json")
    return Done(outputs, figures, found)


def read_tensor(path: Path) -> Array:
    """Read a .npy file.

    Raises:
        EdgebedError: it is none, is cut short, or holds Python objects.
    """
    try:
        array: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise EdgebedError("is not a tensor file (.npy)", where=str(path), why=str(error)) from None
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
    return {"outputs": done.outputs, "figures": figures, "events": done.events}


def _lines(done: Done) -> Iterator[str]:
    for kind in KINDS:
        of_kind = {name: f for name, f in done.figures.items() if f.kind == kind}
        if of_kind:
            yield f"{kind}:"
            yield from (f"  {name:<28} {f.value:,.6g} {f.unit}" for name, f in of_kind.items())
    for name, path in done.outputs.items():
        yield f"{name}: {path}"
