"""The report on two traces: one offline page, the verdict in words first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from edgebed.figures import Figure, number
from edgebed.observe.departure import CLEAN, LIMIT
from edgebed.observe.departure_verdict import command
from edgebed.observe.error_chart import error_chart
from edgebed.observe.layer_error import LayerError
from edgebed.observe.page import Section, Tile, page
from edgebed.observe.svg import Bar, bars, facts, legend, table
from edgebed.observe.trace_comparison import TraceComparison
from edgebed.observe.trace_inputs import layer_in_frame, worst_inputs
from edgebed.observe.trace_side import Side
from edgebed.observe.verdict import Verdict

TIME_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
LONGEST: Final = 18
"""Letters that a tile has room for."""
MOST_TIMED: Final = 40
"""So many layers have their time drawn."""
STYLE: Final = """<style>
.verdict{background:var(--card);border:1px solid var(--line);border-left:4px solid var(--c7);
border-radius:10px;padding:18px 22px 16px;margin:0 0 16px}
.verdict.sound{border-left-color:var(--c5)}
.verdict h3{margin:0 0 6px;font-size:19px;letter-spacing:-.012em;display:flex;gap:12px;
align-items:baseline;justify-content:space-between}
.verdict h3 span{font-size:12.5px;font-weight:500;color:var(--soft);white-space:nowrap}
.verdict p{margin:0 0 10px;max-width:88ch}
.verdict p b{font-weight:620}
.verdict pre{padding:9px 12px;font-size:12.5px;background:var(--paper)}
.panels{display:grid;grid-template-columns:repeat(auto-fill,minmax(168px,1fr));gap:14px}
.panels img{image-rendering:pixelated;border:1px solid var(--line);width:100%;border-radius:6px}
.panels figcaption{flex-wrap:wrap;gap:0 8px}
.frames{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr));
gap:8px 28px}
.frames .wide{grid-column:1/-1}
.frames h3{margin-top:14px}
.notes{margin:16px 0 0;padding-left:18px;color:var(--soft);font-size:14px;max-width:88ch}
</style>"""


def trace_report(comparison: TraceComparison, verdicts: Sequence[Verdict]) -> str:
    """Return the whole page as HTML, without a script and without a request to anywhere.

    The worst frames are read again from the traces.

    Args:
        comparison: of the traces.
        verdicts: the surest first.

    Raises:
        EdgebedError: a trace cannot be read any more.
    """
    names = comparison.device.manifest, comparison.reference.manifest
    network = names[0].network or names[1].network or "a network"
    sections = [
        _said(comparison, verdicts), _errors(comparison), *_layer(comparison),
        *_inputs(comparison), *_times(comparison), _tensors(comparison), _about(comparison),
    ]  # fmt: skip
    return page(
        f"{network}: {names[0].source} beside {names[1].source}",
        _headline(comparison, verdicts),
        _tiles(comparison),
        sections,
    )


def _headline(comparison: TraceComparison, verdicts: Sequence[Verdict]) -> str:
    frames = f"{comparison.frames:,} frame{'' if comparison.frames == 1 else 's'}"
    if verdicts:
        return f"{_capital(verdicts[0].title)}, {verdicts[0].confidence:.0%} sure, in {frames}."
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
    times = [_total(side) for side in (comparison.reference, comparison.device)]
    if times[1] is not None:
        beside = f"reference: {_short(times[0])}" if times[0] is not None else ""
        found.append(Tile("time of a frame", _short(times[1]), beside))
    return found


def _said(comparison: TraceComparison, verdicts: Sequence[Verdict]) -> Section:
    cards = "".join(_card(one) for one in verdicts)
    if not verdicts:
        cards = (
            '<div class="verdict sound"><h3>Nothing is wrong</h3>'
            f"<p>{escape(_headline(comparison, verdicts))}</p>"
            f"<pre>{escape(command(comparison))}</pre></div>"
        )
    notes = "".join(f"<li>{escape(text)}</li>" for text in comparison.notes)
    told = f'<ul class="notes">{notes}</ul>' if notes else ""
    return Section("What is wrong" if verdicts else "Verdict", STYLE + cards + told)


def _card(one: Verdict) -> str:
    shown = f"<pre>{escape(one.command)}</pre>" if one.command else ""
    return (
        f'<div class="verdict"><h3>{escape(_capital(one.title))}'
        f"<span>{one.confidence:.0%} sure</span></h3><p>{escape(one.evidence)}</p>"
        f"<p><b>Do this.</b> {escape(one.fix)}</p>{shown}</div>"
    )


def _errors(comparison: TraceComparison) -> Section:
    where = comparison.departure
    lead = (
        "Error of each tensor in the order of execution, root mean square over its range, on a "
        "logarithmic scale. "
    )
    steps = not comparison.exact or not any(one.same_steps for one in comparison.errors[1:])
    if steps:
        lead += f"Clean 8-bit networks stay inside the shaded band (below {CLEAN:g})."
        drawn = error_chart(comparison.errors, where, CLEAN, LIMIT)
    else:
        lead += "Both sides run one program, so every integer has to be equal."
        drawn = error_chart(comparison.errors, where)
    if where is not None and where.previous:
        lead += f" {where.layer} is the first that departs; {where.previous} is the last before it."
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
    return [Section(f"{where.layer} in frame {frame}", body + "<br>" + run, text)]


def _times(comparison: TraceComparison) -> list[Section]:
    sides = [(comparison.reference, "reference", 2), (comparison.device, "device", 1)]
    known = [(name, ink, times) for side, name, ink in sides if (times := _layer_times(side))]
    if not known:
        return []
    units = {figure.unit in TIME_UNITS for _, _, times in known for figure in times.values()}
    shares = len(units) > 1
    renamed = {e.pair.device[1]: e.name for e in comparison.errors if e.pair.role != "raw"}
    rows: dict[str, list[Bar]] = {}
    for name, ink, times in known:
        total = sum(_seconds(one) for one in times.values()) or 1.0
        for layer, figure in times.items():
            value = _seconds(figure) / (total if shares else 1)
            text = f"{value:.1%}" if shares else _short(figure)
            label = renamed.get(layer, layer) if name == "device" else layer
            rows.setdefault(label, []).append(Bar(label, value, text, colour=ink))
    shown = _slowest(rows)
    drawn = [one if n == 0 else Bar("", one.value, one.text, colour=one.colour)
             for bars_ in shown for n, one in enumerate(bars_)]  # fmt: skip
    keys = legend([(f"{name}, {_kind(times)}", f"var(--c{ink})") for name, ink, times in known])
    lead = "Mean over the frames compared"
    lead += ", as a share of each side's total." if shares else "."
    if len(shown) < len(rows):
        lead += f" The {len(shown)} slowest of {len(rows)} layers, in the order of execution."
    return [Section("Time per layer", bars(drawn, width=900) + keys, lead)]


def _slowest(rows: Mapping[str, list[Bar]]) -> list[list[Bar]]:
    """Return the bars of the slowest layers, in the order of execution."""
    length = {name: max(bar.value for bar in found) for name, found in rows.items()}
    slowest = sorted(rows, key=lambda name: -length[name])[:MOST_TIMED]
    return [found for name, found in rows.items() if name in slowest]


def _layer_times(side: Side) -> dict[str, Figure]:
    found = {}
    for layer, figures in side.layers.items():
        figure = _time_of(list(figures.values()))
        if figure is not None:
            found[layer] = figure
    return found


def _time_of(figures: Sequence[Figure]) -> Figure | None:
    timed = [one for one in figures if one.unit in TIME_UNITS]
    counted = [one for one in figures if one.unit == "cycles"]
    return next(iter(timed or counted), None)


def _total(side: Side) -> Figure | None:
    return _time_of(list(side.figures.values()))


def _seconds(figure: Figure) -> float:
    return figure.value * TIME_UNITS.get(figure.unit, 1.0)


def _short(figure: Figure) -> str:
    """Return a figure in the unit that leaves it between 1 and 1,000, where it is a time."""
    if figure.unit not in TIME_UNITS:
        return f"{number(figure.value)} {figure.unit}"
    seconds = _seconds(figure)
    unit = next((u for u in ("s", "ms", "us") if abs(seconds) >= TIME_UNITS[u]), "ns")
    return f"{number(seconds / TIME_UNITS[unit])} {unit}"


def _kind(times: dict[str, Figure]) -> str:
    return " and ".join(sorted({figure.kind for figure in times.values()}))


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
    head = ("tensor", "on the device", "op", "matched by", "nRMSE", "largest", "differing",
            "worst frame", "reference range", "device range")  # fmt: skip
    body = table(head, [_tensor_row(one) for one in comparison.errors])
    missing = {
        "only in the reference": ", ".join(k[1] for k in comparison.matching.only_reference),
        "only on the device": ", ".join(k[1] for k in comparison.matching.only_device),
        "of other sizes": "; ".join(comparison.matching.unlike),
    }
    shown = {key: text for key, text in missing.items() if text}
    return Section("Every tensor", body + ("<h3>Not compared</h3>" + facts(shown) if shown else ""))


def _tensor_row(one: LayerError) -> tuple[str, ...]:
    bound = "at least " if one.by_statistics else ""
    matched = one.pair.how + (", other layout" if one.pair.order.moves else "")
    counted = one.same_steps and not one.by_statistics
    return (
        one.name, one.pair.device[1], one.pair.kind or one.pair.role, matched,
        f"{bound}{one.nrmse:.3g}", number(one.largest),
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
    again = f"<h3>This comparison again</h3><pre>{escape(command(comparison))}</pre>"
    return Section("About these traces", facts(rows) + again)


def _tail(name: str) -> str:
    """Return the end of a long name: converters write the whole path in front."""
    return name if len(name) <= LONGEST else "…" + name[1 - LONGEST :]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
