"""The report of a detector's run: one offline HTML file, pictures first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Final

from edgebed.figures import Figure, number
from edgebed.observe.page import Section, Tile, page
from edgebed.observe.pictures import Shot, framed, side_by_side
from edgebed.observe.svg import (
    COLOURS,
    Axes,
    Bar,
    Block,
    Series,
    bars,
    blocks,
    facts,
    layer_colour,
    legend,
    lines,
    table,
)
from edgebed.targets.contract import Cost, LayerCost
from edgebed.targets.layout import MemoryMap

TIME_UNITS: Final = ("us", "ms", "s")
ENERGY_UNITS: Final = ("pJ", "nJ", "uJ", "mJ", "J")


@dataclass(frozen=True)
class Screen:
    """A display's content after one camera frame, as PNG bytes."""

    name: str
    note: str
    png: bytes


@dataclass(frozen=True)
class DetectionReport:
    """Everything the report shows.

    Attributes:
        title: name of the run.
        subtitle: data and device in one sentence.
        classes: class names.
        tiles: headline numbers.
        shots: test pictures with ground truth and detections.
        screens: displays.
        accuracy: plain metrics (with curves) by form of the network.
        agreement: how the board's integers compare with the interpreter's.
        history: losses and figures of each training epoch.
        cost: time and energy per layer.
        maps: memories.
        figures: further numbers by name.
        functions: emulated instructions by function.
        about: names and values for the last section.
        command: repeats the run.
    """

    title: str
    subtitle: str
    classes: tuple[str, ...]
    tiles: tuple[Tile, ...]
    shots: tuple[Shot, ...]
    screens: tuple[Screen, ...]
    accuracy: Mapping[str, Mapping[str, Any]]
    agreement: str
    history: Sequence[Mapping[str, float]]
    cost: Cost
    maps: tuple[MemoryMap, ...]
    figures: Mapping[str, Figure]
    functions: Mapping[str, Figure] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)
    command: str = ""


def html(report: DetectionReport) -> str:
    """Return the whole page."""
    sections = (
        _screens(report),
        _shots(report),
        _accuracy(report),
        _layers(report),
        _memory(report),
        _functions(report),
        _training(report),
        _figures(report),
        _about(report),
    )
    shown = [section for section in sections if section is not None]
    return page(report.title, report.subtitle, report.tiles, shown)


def _screens(report: DetectionReport) -> Section | None:
    if not report.screens:
        return None
    shown = "".join(framed(one.name, one.note, one.png) for one in report.screens)
    return Section(
        "On the display",
        f'<div class="lcds">{shown}</div>',
        "Test pictures were put before the camera of the virtual board. The firmware captured "
        "them, ran the network, decoded the boxes and drew these frames.",
    )


def _shots(report: DetectionReport) -> Section | None:
    if not report.shots:
        return None
    shown = "".join(side_by_side(shot, report.classes) for shot in report.shots)
    return Section(
        "Annotated and found",
        f'<div class="shots">{shown}</div>'
        + legend((name, f"var(--p{i % COLOURS})") for i, name in enumerate(report.classes)),
        "Left the annotation, right what the integer network found, with its score. Pictures "
        "are the first of the test split, not chosen.",
    )


def _accuracy(report: DetectionReport) -> Section | None:
    if not report.accuracy:
        return None
    curves = "".join(
        f"<div><h3>{escape(form)}</h3>{_curves(metrics, report.classes)}</div>"
        for form, metrics in report.accuracy.items()
        if metrics.get("curves")
    )
    body = (
        _scores(report.accuracy) + f'<h3>Precision and recall</h3><div class="three">{curves}</div>'
    )
    return Section("Accuracy", body, report.agreement)


def _scores(accuracy: Mapping[str, Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(n for m in accuracy.values() for n in m["ap50_per_class"]))
    head = ["", "pictures", "AP@0.5", "COCO mAP", "loose AP (IoU > 0.01)", *names]
    rows = [
        [
            form,
            f"{metrics['pictures']}",
            _percent(metrics["ap50"]),
            _percent(metrics["coco_map"]),
            _percent(metrics["loose_ap_iou_0.01"]),
            *(_percent(metrics["ap50_per_class"].get(name)) for name in names),
        ]
        for form, metrics in accuracy.items()
    ]
    return table(
        head,
        rows,
        caption="Percent. AP@0.5 is Pascal VOC's (all-point); class columns are AP@0.5. The loose "
        "figure counts any overlap above 1 % as found: it is here only because the BED paper's "
        "code reports it, and is not comparable with VOC AP.",
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _curves(metrics: Mapping[str, Any], classes: Sequence[str]) -> str:
    axes = Axes((0, 1), (0, 1), "recall", "precision", width=380, height=250)
    series = [
        Series(
            f"{name} {_percent(metrics['ap50_per_class'].get(name))}",
            list(zip(curve["recall"], curve["precision"], strict=True)),
            classes.index(name) if name in classes else 0,
        )
        for name, curve in metrics["curves"].items()
    ]
    return lines(series, axes)


def _layers(report: DetectionReport) -> Section | None:
    layers = report.cost.layers
    charts = [
        f"<div><h3>{title}</h3>{bars(rows, number=number)}</div>"
        for number, (title, units) in enumerate((("Time", TIME_UNITS), ("Energy", ENERGY_UNITS)))
        if (rows := _bars(layers, units))
    ]
    if not charts:
        return None
    sources = {f.source: None for layer in layers for f in layer.figures.values()}
    notes = "".join(f'<p class="note">{escape(source)}</p>' for source in sources)
    return Section(
        "Where time and energy go",
        f'<div class="two">{"".join(charts)}</div>{notes}',
        "Estimated per device layer by a model; a thin line shows the error band where one is "
        "known. Nothing here was measured on silicon.",
    )


def _bars(layers: Sequence[LayerCost], units: Sequence[str]) -> list[Bar]:
    found = [(layer, figure) for layer in layers if (figure := by_unit(layer.figures, units))]
    return [
        Bar(layer.name, one.value, f"{one.value:.3g} {one.unit}", one.low, one.high)
        for layer, one in found
    ]


def by_unit(figures: Mapping[str, Figure], units: Sequence[str]) -> Figure | None:
    """Return the first figure in one of some units; None where there is none."""
    return next((figure for figure in figures.values() if figure.unit in units), None)


def _memory(report: DetectionReport) -> Section | None:
    if not report.maps:
        return None
    drawn = "".join(f"<div><h3>{escape(one.title)}</h3>{_map(one)}</div>" for one in report.maps)
    return Section(
        "Where memory goes",
        f'<div class="two">{drawn}</div>{_layer_legend(report)}',
        "Each colour is a layer; hover over a block for its name and size.",
    )


def _layer_legend(report: DetectionReport) -> str:
    used = {region.layer for one in report.maps for region in one.regions}
    names = [layer.name for layer in report.cost.layers]
    known = [(names[i] if 0 <= i < len(names) else "input", layer_colour(i)) for i in sorted(used)]
    return legend(known)


def _map(one: MemoryMap) -> str:
    parts = [Block(r.name, r.x, r.y, layer_colour(r.layer)) for r in one.regions]
    axes = Axes(one.x, one.y, one.x_label, one.y_label, width=520, height=320)
    return blocks(parts, axes)


def _functions(report: DetectionReport) -> Section | None:
    if not report.functions:
        return None
    ordered = sorted(report.functions.items(), key=lambda item: -item[1].value)
    rows = [Bar(name, one.value, f"{one.value:,.0f}") for name, one in ordered]
    return Section(
        "What the processor does",
        bars(rows, width=760, number=2),
        "Emulated: instructions counted on the virtual board for one camera frame, by function.",
    )


def _training(report: DetectionReport) -> Section | None:
    if len(report.history) < 2:
        return None
    names = list(dict.fromkeys(name for epoch in report.history for name in epoch))
    parts = [name for name in names if name not in ("loss", "val_ap50")]
    charts = [
        _history(title, shown, report.history)
        for title, shown in (("loss", ["loss"]), ("parts", parts), ("AP@0.5, val", ["val_ap50"]))
    ]
    body = f'<div class="three">{"".join(charts)}</div>'
    return Section(
        "Training",
        body,
        "Float epochs first, then quantisation-aware ones, whose loss may have another scale.",
    )


def _history(title: str, names: list[str], history: Sequence[Mapping[str, float]]) -> str:
    series = [
        Series(name, [(i + 1.0, one[name]) for i, one in enumerate(history) if name in one], number)
        for number, name in enumerate(names)
    ]
    shown = [one for one in series if len(one.points) > 1]
    if not shown:
        return ""
    top = max(y for one in shown for _, y in one.points) * 1.05
    axes = Axes((1, len(history)), (0, top), "epoch", title, width=380, height=250)
    return f"<div>{lines(shown, axes)}</div>"


def _figures(report: DetectionReport) -> Section | None:
    if not report.figures:
        return None
    body = "".join(_of_kind(kind, report.figures) for kind in ("measured", "emulated", "estimated"))
    return Section(
        "All figures",
        body,
        "Measured: by a clock or a count on the computer that ran this. Emulated: counted on the "
        "virtual board. Estimated: computed by a model.",
    )


def _of_kind(kind: str, figures: Mapping[str, Figure]) -> str:
    rows = [
        [name, f"{number(one.value)} {one.unit}{one.band}", one.source]
        for name, one in figures.items()
        if one.kind == kind
    ]
    if not rows:
        return ""
    return f'<h3>{kind.capitalize()}</h3><div class="figures">' + (
        table(["figure", "value", "source"], rows) + "</div>"
    )


def _about(report: DetectionReport) -> Section:
    repeat = f"<h3>To repeat it</h3><pre>{escape(report.command)}</pre>" if report.command else ""
    return Section("About this run", facts(report.about) + repeat)
