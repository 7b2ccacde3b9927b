"""Two traces beside each other as text: the verdicts first, then a row for each tensor."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from edgebed.cli.text import table
from edgebed.figures import number
from edgebed.observe.names import short_names, shortened

if TYPE_CHECKING:
    from edgebed.observe.layer_error import LayerError
    from edgebed.observe.layer_values import LayerValues
    from edgebed.observe.trace_comparison import TraceComparison
    from edgebed.observe.verdict import Verdict

WIDTH: Final = 96
LONGEST: Final = 44
"""Letters of a tensor's name that a row has room for."""
MOST_ROWS: Final = 40
"""Tensors that are all listed; of more, the telling ones."""
NEAR: Final = 3
"""Rows in front of the departing tensor and behind it."""
WORST: Final = 12
MOST_NAMES: Final = 6


def comparison_lines(done: TraceComparison, verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Give the lines that say what was compared, what is wrong, and the error of each tensor."""
    keys = (*done.matching.only_reference, *done.matching.only_device)
    known = [name for one in done.errors for name in (one.name, one.pair.device[1])]
    short = short_names([*known, *(name for _, name in keys)], LONGEST)
    frames = f"{done.frames:,} frame{'' if done.frames == 1 else 's'}"
    names = [f"{one.path.name} ({one.manifest.source})" for one in (done.device, done.reference)]
    yield f"{names[0]} beside {names[1]}, {frames}:"
    yield from _verdict_lines(done, verdicts, short)
    yield ""
    shown = telling(done)
    yield from table([_row(done.errors[place], done, short) for place in shown])
    if len(shown) < len(done.errors):
        left = len(done.errors) - len(shown)
        yield f"  and {left:,} tensors with smaller errors; --html and --json have all"
    if done.agreement is not None:
        yield f"the same class in {done.agreement[0]:,} of {done.agreement[1]:,} frames"
    for where, lone in (("reference", done.matching.only_reference),
                        ("device", done.matching.only_device)):  # fmt: skip
        if lone:
            yield f"only in the {where}: {_listed([short[name] for _, name in lone])}"
    yield from (f"note: {text}" for text in done.notes)


def telling(done: TraceComparison) -> list[int]:
    """Return the places of the tensors to list, in the order of execution.

    All of few; of many the inputs and outputs, the departing one with its neighbours, and those
    with the largest errors.
    """
    places = range(len(done.errors))
    if len(places) <= MOST_ROWS:
        return list(places)
    found = {place for place in places if done.errors[place].pair.role != "layer"}
    if done.departure is not None:
        at = done.departure.index
        found.update(range(max(at - NEAR, 0), min(at + NEAR + 1, len(places))))
    found.update(sorted(places, key=lambda place: -done.errors[place].nrmse)[:WORST])
    return sorted(found)


def layer_lines(found: LayerValues) -> Iterator[str]:
    """Give the lines that show one layer in one frame: ranges, differences, the largest ones."""
    pair = found.error.pair
    shape = "x".join(map(str, found.reference.shape))
    yield f"{pair.name} ({pair.kind or pair.role}), {shape}, frame {found.frame}:"
    for name, values in (("reference", found.reference), ("device", found.device)):
        if values.size:
            ends = f"{number(float(values.min()))} to {number(float(values.max()))}"
            yield f"  {name}: {ends}, mean {number(float(values.mean()))}"
    if found.signature is None:
        yield "  equal"
        return
    if found.rows is not None:
        first, behind = found.rows
        yield f"  too large to be shown whole: of {first} to {behind - 1} of its first axis,"
        yield "  where it differs most; the first of them is called 0 here"
    yield f"  {found.signature.text}; the largest differences:"
    yield from table([_value_row(found, at) for at in found.most_different()])


def _verdict_lines(
    done: TraceComparison, verdicts: Sequence[Verdict], short: Mapping[str, str]
) -> Iterator[str]:
    if not verdicts:
        whole = not (done.matching.unlike or done.matching.only_reference)
        words = "equal" if whole else "equal as far as tensors have a partner"
        equal = all(one.equal for one in done.errors)
        yield words if equal else "nothing departs: differences are what its arithmetic explains"
    for one in verdicts:
        cause = one.cause.replace("_", " ").upper()
        layer = f" at {short.get(one.layer, one.layer)}" if one.layer else ""
        yield f"{cause}{layer} ({one.confidence:.0%} sure)"
        yield from _wrapped(shortened(one.evidence, short))
        yield from _wrapped(f"Fix: {shortened(one.fix, short)}")
        if one.command:
            yield f"  Shown by: {one.command}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


def _listed(names: Sequence[str]) -> str:
    left = len(names) - MOST_NAMES
    shown = ", ".join(names[:MOST_NAMES])
    return f"{shown} and {left} more (--json lists them)" if left > 0 else shown


def _row(one: LayerError, done: TraceComparison, short: Mapping[str, str]) -> dict[str, str]:
    where = done.departure
    departs = where is not None and done.errors[where.index] is one
    theirs, bound = one.pair.device[1], ">= " if one.by_statistics and one.nrmse else ""
    return {
        "tensor": short[one.name] + (f" = {short[theirs]}" if theirs != one.name else ""),
        "op": one.pair.kind or one.pair.role,
        "": "<- departs" if departs else "equal" if one.equal else "",
        "nRMSE": "NaN" if one.device_bad else f"{bound}{one.nrmse:.2g}",
        "differing": f"{one.differing:,}" if one.same_steps and not one.by_statistics else "-",
        "worst frame": str(one.worst_frame) if one.worst_frame >= 0 else "-",
        "at worst": f"{one.worst:.2g}" if one.worst_frame >= 0 else "-",
    }


def _value_row(found: LayerValues, at: tuple[int, ...]) -> dict[str, str]:
    row = {"at": ", ".join(map(str, at))}
    for index, (name, values) in enumerate(
        (("reference", found.reference), ("device", found.device))
    ):
        if found.stored is not None:
            row[f"{name}, steps"] = str(int(found.stored[index][at]))
        row[f"{name}, real"] = f"{float(values[at]):.6g}"
    return row
