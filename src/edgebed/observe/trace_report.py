"""The report on two traces: one offline page, the verdict in words first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Final

from edgebed.figures import number
from edgebed.observe.departure import CLEAN, LIMIT
from edgebed.observe.departure_verdict import command
from edgebed.observe.error_chart import error_chart
from edgebed.observe.layer_error import LayerError
from edgebed.observe.names import short_names, shortened
from edgebed.observe.page import Section, Tile, page
from edgebed.observe.svg import facts, table
from edgebed.observe.trace_comparison import TraceComparison
from edgebed.observe.trace_inputs import layer_in_frame, worst_inputs
from edgebed.observe.trace_times import time_tile, times
from edgebed.observe.verdict import Verdict

LONGEST: Final = 18
"""Letters that a tile has room for."""
IN_TABLES: Final = 40
"""Letters that a cell or a bar has room for."""
STYLE: Final = """
.verdict{background:var(--card);border:1px solid var(--line);border-left:4px solid var(--c7);
border-radius:10px;padding:18px 22px 16px;margin:0 0 16px}
.verdict.sound{border-left-color:var(--c5)}
.verdict h3{margin:0 0 6px;font-size:19px;letter-spacing:-.012em;display:flex;gap:12px;
align-items:baseline;justify-content:space-between}
.verdict h3 span{font-size:12.5px;font-weight:500;color:var(--soft);white-space:nowrap}
.verdict p{margin:0 0 10px;max-width:88ch}
.verdict p b{font-weight:620}
.verdict pre{padding:9px 12px;font-size:12.5px;background:var(--paper)}
.verdict h3,.verdict p{overflow-wrap:anywhere}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,156px),1fr));gap:14px}
.panels img{image-rendering:pixelated;border:1px solid var(--line);width:100%;border-radius:6px}
.panels figcaption{flex-wrap:wrap;gap:0 8px}
.frames{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr));
gap:8px 28px}
.frames .wide{grid-column:1/-1}
.frames h3{margin-top:14px}
.notes{margin:16px 0 0;padding-left:18px;color:var(--soft);font-size:14px;max-width:88ch}
"""


def trace_report(comparison: TraceComparison, verdicts: Sequence[Verdict]) -> str:
    """Return the whole page as HTML, without a script and without a request to anywhere.

    The worst frames are read again from the traces.

    Args:
        comparison: of the traces.
        verdicts: the surest first.

    Raises:
        EdgebedError: a trace cannot be read any more.
    """
    sections = [
        _said(comparison, verdicts), _errors(comparison), *_layer(comparison),
        *_inputs(comparison), times(comparison), _tensors(comparison), _about(comparison),
    ]  # fmt: skip
    headline = _headline(comparison, verdicts)
    return page(_title(comparison), headline, _tiles(comparison), sections, style=STYLE)


def _title(comparison: TraceComparison) -> str:
    """Name the network and both sides: by where they ran, or else by their files."""
    device, reference = comparison.device, comparison.reference
    sides = [device.manifest.source, reference.manifest.source]
    if sides[0] == sides[1]:
        sides = [f"{device.path.name} ({sides[0]})", reference.path.name]
    network = device.manifest.network or reference.manifest.network
    return f"{network}: {' beside '.join(sides)}" if network else " beside ".join(sides)


def _headline(comparison: TraceComparison, verdicts: Sequence[Verdict]) -> str:
    frames = f"{comparison.frames:,} frame{'' if comparison.frames == 1 else 's'}"
    if verdicts:
        title = shortened(_capital(verdicts[0].title), _short(comparison))
        return f"{title}, {verdicts[0].confidence:.0%} sure, in {frames}."
    if all(one.equal for one in comparison.errors):
        return f"Every value of {len(comparison.errors)} tensors is equal in {frames}."
    return f"No layer departs in {frames}: the differences are what the arithmetic explains."


def _tiles(comparison: TraceComparison) -> list[Tile]:
    where = comparison.departure
    found = [
        Tile(
            "first departing tensor", _tail(where.layer) if where else "none",
            f"{where.pattern}, nRMSE {where.error:.3g}" if where else "",
        )
    ]  # fmt: skip
    outputs = [one for one in comparison.errors if one.pair.role == "output" and one.frames]
    if outputs:
        worst = max(outputs, key=lambda one: one.nrmse)
        found.append(Tile("error of the output", f"{worst.nrmse:.3g}", f"nRMSE of {worst.name}"))
    if comparison.agreement is not None:
        same, of = comparison.agreement
        found.append(Tile("the same class", f"{same / of:.1%}", f"{same:,} of {of:,} frames"))
    equal = sum(one.equal for one in comparison.errors)
    found.append(Tile("equal tensors", f"{equal}", f"of {len(comparison.errors)} compared"))
    return [*found, *time_tile(comparison)]


def _said(comparison: TraceComparison, verdicts: Sequence[Verdict]) -> Section:
    short = _short(comparison)
    cards = "".join(_card(one, short) for one in verdicts)
    if not verdicts:
        cards = (
            '<div class="verdict sound"><h3>Nothing is wrong</h3>'
            f"<p>{escape(_headline(comparison, verdicts))}</p>"
            f"<pre>{escape(command(comparison))}</pre></div>"
        )
    notes = "".join(f"<li>{escape(text)}</li>" for text in comparison.notes)
    told = f'<ul class="notes">{notes}</ul>' if notes else ""
    return Section("What is wrong" if verdicts else "Verdict", cards + told)


def _card(one: Verdict, short: Mapping[str, str]) -> str:
    title, evidence, fix = (
        escape(shortened(text, short)) for text in (_capital(one.title), one.evidence, one.fix)
    )
    shown = f"<pre>{escape(one.command)}</pre>" if one.command else ""
    return (
        f'<div class="verdict"><h3>{title}<span>{one.confidence:.0%} sure</span></h3>'
        f"<p>{evidence}</p><p><b>Do this.</b> {fix}</p>{shown}</div>"
    )


def _errors(comparison: TraceComparison) -> Section:
    where = comparison.departure
    lead = (
        "How far each tensor is from the reference's, in the order of execution: root mean square "
        "difference over its range (nRMSE), on a logarithmic scale."
    )
    steps = not comparison.exact or not any(one.same_steps for one in comparison.errors[1:])
    if steps:
        drawn = error_chart(comparison.errors, where, CLEAN, LIMIT)
    else:
        lead += " Both sides run one program, so every integer has to be equal."
        drawn = error_chart(comparison.errors, where)
    if where is not None and where.previous:
        short = _short(comparison)
        names = [short.get(name, name) for name in (where.layer, where.previous)]
        lead += f" {names[0]} is the first that departs; {names[1]} is the last before it."
    return Section("Error per layer", drawn, lead)


def _layer(comparison: TraceComparison) -> list[Section]:
    where = comparison.departure
    if where is None or comparison.errors[where.index].pair.role in ("raw", "input"):
        return []  # the worst inputs show it
    found = layer_in_frame(comparison, comparison.errors[where.index])
    if found is None:
        return []
    body, frame, text = found
    run = f"<pre>{escape(command(comparison, where.layer, frame))}</pre>"
    title = _short(comparison).get(where.layer, where.layer)
    return [Section(f"{title} in frame {frame}", body + "<br>" + run, text)]


def _inputs(comparison: TraceComparison) -> list[Section]:
    body = worst_inputs(comparison)
    if not body:
        return []
    lead = (
        "The frames with the largest error of the output, the worst first: what came in, what each "
        "side's network saw and, where a layer departs, what it made of it."
    )
    return [Section("Worst inputs", body, lead)]


def _tensors(comparison: TraceComparison) -> Section:
    errors, matching = comparison.errors, comparison.matching
    renamed = any(one.name != one.pair.device[1] for one in errors)
    head = ("tensor", *(("on the device",) if renamed else ()), "op", "matched by", "nRMSE",
            "largest", "differing", "worst frame", "reference range", "device range")  # fmt: skip
    short = _short(comparison)
    whole = {shown: name for name, shown in short.items()}
    body = table(head, [_tensor_row(one, short, renamed=renamed) for one in errors], whole=whole)
    missing = {
        "only in the reference": ", ".join(short[k[1]] for k in matching.only_reference),
        "only on the device": ", ".join(short[k[1]] for k in matching.only_device),
        "of other sizes": "; ".join(matching.unlike),
    }
    shown = {key: text for key, text in missing.items() if text}
    return Section("Every tensor", body + ("<h3>Not compared</h3>" + facts(shown) if shown else ""))


def _short(comparison: TraceComparison) -> dict[str, str]:
    """Return the short form of every tensor's name."""
    names = [name for one in comparison.errors for name in (one.name, one.pair.device[1])]
    lone = (*comparison.matching.only_reference, *comparison.matching.only_device)
    return short_names([*names, *(name for _, name in lone)], IN_TABLES)


def _tensor_row(one: LayerError, short: Mapping[str, str], *, renamed: bool) -> tuple[str, ...]:
    bound = "at least " if one.by_statistics else ""
    matched = one.pair.how + (", other layout" if one.pair.order.moves else "")
    counted = one.same_steps and not one.by_statistics
    return (
        short[one.name], *((short[one.pair.device[1]],) if renamed else ()),
        one.pair.kind or one.pair.role, matched,
        f"{one.device_bad:,} NaN" if one.device_bad else f"{bound}{one.nrmse:.3g}",
        number(one.largest),
        f"{one.differing:,} of {one.values:,}" if counted else "-",
        str(one.worst_frame) if one.worst_frame >= 0 else "-",
        _range(one.reference_range), _range(one.device_range),
    )  # fmt: skip


def _range(ends: tuple[float, float]) -> str:
    return f"{number(ends[0])} to {number(ends[1])}"


def _about(comparison: TraceComparison) -> Section:
    rows = {}
    for name, side in (("reference", comparison.reference), ("device", comparison.device)):
        one = side.manifest
        digest = f", digest {one.digest[:12]}" if one.digest else ""
        rows[name] = (
            f"{side.path}: {one.source}, network {one.network or 'unnamed'}{digest}, level "
            f"{one.level}, {side.frames:,} frames{', cut' if side.cut else ''}"
        )
        for key, figure in side.figures.items():
            rows[f"{name}, {key}"] = f"{figure} ({figure.source})"
    rule = "must be equal" if comparison.exact else "may round otherwise"
    rows["integers of one meaning"] = rule
    if not (comparison.reference.path.is_absolute() and comparison.device.path.is_absolute()):
        rows["folder to run the commands in"] = str(Path.cwd())
    again = f"<h3>This comparison again</h3><pre>{escape(command(comparison))}</pre>"
    return Section("About these traces", facts(rows) + again)


def _tail(name: str) -> str:
    """Return the end of a long name: converters write the whole path in front."""
    return name if len(name) <= LONGEST else "…" + name[1 - LONGEST :]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
