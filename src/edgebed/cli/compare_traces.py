"""`edgebed compare REF.trace DEV.trace`: two traces beside each other, and what is wrong."""

from __future__ import annotations

import json as json_format
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgebed.cli.text import table
from edgebed.errors import EdgebedError
from edgebed.figures import number

if TYPE_CHECKING:
    from edgebed.observe.layer_error import LayerError
    from edgebed.observe.layer_values import LayerValues
    from edgebed.observe.trace_comparison import TraceComparison
    from edgebed.observe.verdict import Verdict

DIFFERS: Final = 2
WIDTH: Final = 96


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
    frame: int,
    force: bool,
    exact: bool | None,
    json: bool,
) -> int:
    """Compare two traces and print, or write, what was found.

    Args:
        reference: the trace to trust.
        device: the trace to examine.
        html: the report's file.
        assertions: of the user, each FILE.py:function.
        layer: show this layer's values in one frame instead.
        frame: look at this frame alone; -1 for all.
        force: compare traces of different networks.
        exact: whether integers of one meaning have to be equal; None decides by the manifests.
        json: print one JSON object.

    Returns:
        0 where nothing is wrong, 2 where something is.

    Raises:
        EdgebedError: a file is no trace, they do not belong together, or an assertion fails.
    """
    from edgebed.observe.assertions import load_user
    from edgebed.observe.examine import verdicts_on
    from edgebed.observe.trace_comparison import compare_traces as compared

    more = [load_user(text) for text in assertions]
    only = frame if frame >= 0 else None
    done = compared(reference, device, only=only, force=force, exact=exact)
    if layer:
        return _show_layer(done, layer, frame, json=json)
    verdicts = verdicts_on(done, more)
    if html is not None:
        from edgebed.files import write_text
        from edgebed.observe.trace_report import trace_report

        write_text(html, trace_report(done, verdicts))
    if json:
        print(json_format.dumps(_plain(done, verdicts), indent=2))
    else:
        print("\n".join(_lines(done, verdicts)))
        if html is not None:
            print(f"report: {html}")
    return DIFFERS if verdicts else 0


def _lines(done: TraceComparison, verdicts: tuple[Verdict, ...]) -> Iterator[str]:
    frames = f"{done.frames:,} frame{'' if done.frames == 1 else 's'}"
    names = [f"{one.path.name} ({one.manifest.source})" for one in (done.device, done.reference)]
    yield f"{names[0]} beside {names[1]}, {frames}:"
    yield from _verdict_lines(done, verdicts)
    yield ""
    yield from table([_row(one, done) for one in done.errors])
    if done.agreement is not None:
        yield f"the same class in {done.agreement[0]:,} of {done.agreement[1]:,} frames"
    for where, keys in (("reference", done.matching.only_reference),
                        ("device", done.matching.only_device)):  # fmt: skip
        if keys:
            yield f"only in the {where}: {', '.join(key[1] for key in keys)}"
    yield from (f"note: {text}" for text in done.notes)


def _verdict_lines(done: TraceComparison, verdicts: tuple[Verdict, ...]) -> Iterator[str]:
    if not verdicts:
        whole = not (done.matching.unlike or done.matching.only_reference)
        words = "equal" if whole else "equal as far as tensors have a partner"
        equal = all(one.equal for one in done.errors)
        yield words if equal else "nothing departs: differences are what its arithmetic explains"
    for one in verdicts:
        yield f"{one.title.upper()} ({one.confidence:.0%} sure)"
        yield from _wrapped(one.evidence)
        yield from _wrapped(f"Fix: {one.fix}")
        if one.command:
            yield f"  Shown by: {one.command}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


def _row(one: LayerError, done: TraceComparison) -> dict[str, str]:
    where = done.departure
    departs = where is not None and done.errors[where.index] is one
    return {
        "tensor": one.name + (f" = {one.pair.device[1]}" if one.pair.device[1] != one.name else ""),
        "op": one.pair.kind or one.pair.role,
        "": "<- departs" if departs else "equal" if one.equal else "",
        "nRMSE": (">= " if one.by_statistics and one.nrmse else "") + f"{one.nrmse:.2g}",
        "differing": f"{one.differing:,}" if one.same_steps and not one.by_statistics else "-",
        "worst frame": str(one.worst_frame) if one.worst_frame >= 0 else "-",
        "at worst": f"{one.worst:.2g}" if one.worst_frame >= 0 else "-",
    }


def _show_layer(done: TraceComparison, layer: str, frame: int, *, json: bool) -> int:
    from edgebed.observe.layer_values import layer_values

    found = layer_values(done, layer, frame)
    print(json_format.dumps(_plain_layer(found), indent=2) if json else _layer_text(found))
    return DIFFERS if found.signature is not None else 0


def _layer_text(found: LayerValues) -> str:
    pair = found.error.pair
    shape = "x".join(map(str, found.reference.shape))
    lines = [f"{pair.name} ({pair.kind or pair.role}), {shape}, frame {found.frame}:"]
    if pair.order.moves:
        lines.append(f"  the device holds {pair.order}")
    for name, values in (("reference", found.reference), ("device", found.device)):
        low, high = number(float(values.min())), number(float(values.max()))
        lines.append(f"  {name}: {low} to {high}, mean {number(float(values.mean()))}")
    if found.signature is None:
        return "\n".join([*lines, "  equal"])
    lines.append(f"  {found.signature.text}; the largest differences:")
    return "\n".join([*lines, *table([_value_row(found, at) for at in found.most_different()])])


def _value_row(found: LayerValues, at: tuple[int, ...]) -> dict[str, str]:
    row = {"at": ", ".join(map(str, at))}
    for index, (name, values) in enumerate(
        (("reference", found.reference), ("device", found.device))
    ):
        if found.stored is not None:
            row[f"{name}, steps"] = str(int(found.stored[index][at]))
        row[f"{name}, real"] = f"{float(values[at]):.6g}"
    return row


def _plain(done: TraceComparison, verdicts: tuple[Verdict, ...]) -> dict[str, Any]:
    where = done.departure
    return {
        "equal": all(one.equal for one in done.errors),
        "reference": _plain_side(done, "reference"),
        "device": _plain_side(done, "device"),
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
    }


def _plain_side(done: TraceComparison, name: str) -> dict[str, Any]:
    side = done.reference if name == "reference" else done.device
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
        **found.error.to_json(),
        "frame": found.frame,
        "equal": seen is None,
        "defect": seen.defect if seen else None,
        "text": seen.text if seen else None,
        "values": [
            {"at": list(at), "reference": _finite(found.reference[at]),
             "device": _finite(found.device[at])}
            for at in found.most_different()
        ],
    }  # fmt: skip


def _finite(value: Any) -> float | str:
    real = float(value)
    return real if real - real == 0 else str(real)
