"""`edgebed compare REF.trace DEV.trace`: two traces beside each other, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgebed.cli.text import json_text, say
from edgebed.errors import EdgebedError, did_you_mean

if TYPE_CHECKING:
    from edgebed.observe.layer_values import LayerValues
    from edgebed.observe.trace_comparison import TraceComparison
    from edgebed.observe.trace_side import Side
    from edgebed.observe.verdict import Verdict
    from edgebed.program.types import Program

DIFFERS: Final = 2
FORMAT: Final = 1
"""Of the JSON: keys are added within it, none is renamed or dropped."""
PAGE: Final = b"<!doctype html"
SAME_FILE: Final = "Both paths are one file, so nothing can differ."
LISTED: Final = 5


def are_traces(reference: Path, device: Path) -> bool:
    """Say whether both files are traces, by their content or, while absent, by their names.

    Raises:
        EdgebedError: one is and the other is not.
    """
    from edgebed.observe.trace import MAGIC, SUFFIX

    found = []
    for path in (reference, device):
        try:
            with path.open("rb") as file:
                found.append(file.read(len(MAGIC)) == MAGIC or path.suffix == SUFFIX)
        except OSError:
            found.append(path.suffix == SUFFIX)
    if any(found) and not all(found):
        other = (reference, device)[found.index(False)]
        raise EdgebedError("is no trace", where=str(other), try_="two .trace files")
    return all(found)


def compare_traces(
    reference: Path,
    device: Path,
    *,
    html: Path | None,
    assertions: tuple[str, ...],
    layer: str,
    frame: int | None,
    force: bool,
    exact: bool | None,
    program: Path | None = None,
    json: bool,
) -> int:
    """Compare two traces and print, or write, what was found.

    Args:
        reference: the trace to trust.
        device: the trace to examine.
        html: the report's file.
        assertions: of the user, each FILE.py:function.
        layer: show this layer's values in one frame instead; a part of its name will do.
        frame: look at this frame alone; None for all.
        force: compare traces of different networks.
        exact: whether integers of one meaning have to be equal; None decides by the manifests.
        program: that the device runs, a compiled folder or a network's file; None looks for it.
        json: print one JSON object.

    Returns:
        0 where nothing is wrong, 2 where something is.

    Raises:
        EdgebedError: a file is no trace, they do not belong together, an assertion fails, or
            the report cannot be written; what was found is printed before that.
    """
    from edgebed.observe.assertions import load_user
    from edgebed.observe.examine import examined
    from edgebed.observe.trace_comparison import compare_traces as compared

    if frame is not None and frame < 0:
        raise EdgebedError(f"--frame is {frame}", try_="0 or more; leave it out for all frames")
    if html is not None:
        check_page(html, (reference, device))
        if layer:
            raise EdgebedError("--layer writes no page", try_="leave out --html or --layer")
    more = [load_user(text) for text in assertions]
    done = compared(reference, device, only=frame, force=force, exact=exact)
    if device.samefile(reference):
        done = replace(done, notes=(SAME_FILE, *done.notes))
    if layer:
        return _show_layer(done, layer, frame, json=json)
    asked = [("--assert", text) for text in assertions]
    asked += [] if program is None else [("--program", str(program))]
    done = replace(done, options=(*done.options, *(word for pair in asked for word in pair)))
    found = examined(done, more, None if program is None else _program(program))
    _show(replace(done, notes=found.notes), found.verdicts, html, json=json)
    return DIFFERS if found.verdicts else 0


def _program(path: Path) -> Program:
    from edgebed.cli.model import read_model
    from edgebed.deploy.bundle import find

    return read_model(find(path) or path, None).program


def check_page(html: Path, traces: Sequence[Path]) -> None:
    """Refuse to write a report over anything but an older report.

    Raises:
        EdgebedError: that, or a folder, is there.
    """
    if html.is_dir():
        raise EdgebedError("is a folder", where=f"--html {html}", try_=str(html / "report.html"))
    if not html.is_file():
        return
    try:
        with html.open("rb") as file:
            start = file.read(len(PAGE))
    except OSError:
        return  # writing will say why
    if any(html.samefile(one) for one in traces if one.exists()) or (
        start and start.lower() != PAGE
    ):
        raise EdgebedError(
            "exists and is no report", where=f"--html {html}",
            why="nothing of yours is ever overwritten", try_="another --html",
        )  # fmt: skip


def _show(
    done: TraceComparison, verdicts: tuple[Verdict, ...], html: Path | None, *, json: bool
) -> None:
    """Print what was found and write the page: a full disk costs the page alone."""
    from edgebed.cli.compare_text import comparison_lines

    if json:
        say(json_text(_plain(done, verdicts, html)))
    else:
        say("\n".join(comparison_lines(done, verdicts)))
    if html is None:
        return
    from edgebed.files import write_text
    from edgebed.observe.trace_report import trace_report

    write_text(html, trace_report(done, verdicts))
    if not json:
        say(f"report: {html}")


def _show_layer(done: TraceComparison, layer: str, frame: int | None, *, json: bool) -> int:
    from edgebed.cli.compare_text import layer_lines
    from edgebed.observe.layer_values import layer_values

    found = layer_values(done, _named(done, layer), -1 if frame is None else frame)
    say(json_text(_plain_layer(found)) if json else "\n".join(layer_lines(found)))
    return DIFFERS if found.signature is not None else 0


def _named(done: TraceComparison, layer: str) -> str:
    """Return the name of the only layer that a name, or a part of one, may mean.

    Raises:
        EdgebedError: it means none, or several.
    """
    from edgebed.observe.names import FUSED, found_names

    names = [name for one in done.errors for name in (one.name, one.pair.device[1])]
    found = found_names(layer, names)
    if len({id(done.error_of(name)) for name in found}) == 1:
        return found[0]
    if not found:
        known = {part for name in names for part in name.split(FUSED)}
        raise EdgebedError(
            f"no layer {layer!r} was compared", where="--layer", try_=did_you_mean(layer, known)
        )
    shown = ", ".join(one.split(FUSED)[0] for one in found[:LISTED])
    raise EdgebedError(
        f"{len(found)} layers have {layer!r} in their names", where="--layer",
        try_=f"one of {shown}{', ...' if len(found) > LISTED else ''}",
    )  # fmt: skip


def _plain(
    done: TraceComparison, verdicts: tuple[Verdict, ...], html: Path | None
) -> dict[str, Any]:
    where = done.departure
    return {
        "format": FORMAT,
        "equal": all(one.equal for one in done.errors),
        "reference": _plain_side(done.reference),
        "device": _plain_side(done.device),
        "frames": done.frames,
        "exact": done.exact,
        "verdicts": [one.to_json() for one in verdicts],
        "departure": where.to_json() if where else None,
        "tensors": [one.to_json() for one in done.errors],
        "only_reference": [key[1] for key in done.matching.only_reference],
        "only_device": [key[1] for key in done.matching.only_device],
        "worst_frames": [{"frame": n, "nrmse": error} for n, error in done.worst],
        "same_class": list(done.agreement) if done.agreement else None,
        "notes": list(done.notes),
        "report": None if html is None else str(html),
    }


def _plain_side(side: Side) -> dict[str, Any]:
    return {
        "path": str(side.path),
        "source": side.manifest.source,
        "network": side.manifest.network,
        "digest": side.manifest.digest,
        "level": side.manifest.level,
        "frames": side.frames,
        "cut": side.cut,
        "figures": {key: one.to_json() for key, one in side.figures.items()},
        "layers": {
            layer: {key: one.to_json() for key, one in figures.items()}
            for layer, figures in side.layers.items()
        },
    }


def _plain_layer(found: LayerValues) -> dict[str, Any]:
    seen = found.signature
    return {
        "format": FORMAT,
        **found.error.to_json(),
        "frame": found.frame,
        "equal": seen is None,
        "defect": seen.defect if seen else None,
        "text": seen.text if seen else None,
        "values": [
            {"at": list(at), "reference": float(found.reference[at]),
             "device": float(found.device[at])}
            for at in found.most_different()
        ],
    }  # fmt: skip
