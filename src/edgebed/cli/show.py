"""`edgebed show`: a program as text, its device layers, memory maps and cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from edgebed.figures import number

if TYPE_CHECKING:
    from edgebed.figures import Figure
    from edgebed.targets.contract import Cost
    from edgebed.targets.layout import Layout, MemoryMap

BARS = " ▁▂▃▄▅▆▇█"


def show(
    model: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    /,
    *options: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    target: str | None = None,
    weights: Path | None = None,
    replan: bool = False,
) -> None:
    """Print a program, its device layers, memory map and cost.

    Args:
        model: a compiled folder, a run folder, an ONNX file, or a network description.
        options: options of the ai8x tools.
        target: the device whose layers are shown; see `edgebed targets`.
        weights: weights of a network description.
        replan: place the network anew instead of as its description says.
    """
    from edgebed.cli.compile import only_target
    from edgebed.cli.model import model_first, read_model
    from edgebed.deploy.bundle import find, fitting
    from edgebed.deploy.bundle import load as load_bundle
    from edgebed.program.text import to_text
    from edgebed.targets import load as load_target

    model, options = model_first(model, options, target)
    folder = find(model)
    bundle = load_bundle(folder) if folder else None
    name = target or (bundle.target if bundle else only_target())
    found = read_model(folder or model, name, weights=weights, replan=replan, options=options)
    print(to_text(found.program, values=False))
    if bundle and bundle.target == name:  # as it was built, with its author's placement
        print("\n".join(_device(bundle.layout, bundle.cost)))
        return
    device = load_target(name)
    for warning in fitting(found.program, device, found.source):
        print(f"warning: {warning}")
    print("\n".join(_device(device.layout(found.source), device.cost(found.source))))


def _device(layout: Layout, cost: Cost) -> Iterator[str]:
    yield "device layers"
    yield from _table(layout.layers)
    for one in layout.maps:
        yield ""
        yield from _map(one)
    yield ""
    kinds = {f.kind for layer in cost.layers for f in layer.figures.values()}
    yield f"cost per layer, {' and '.join(sorted(kinds))}"
    yield from _costs(cost)


def _table(rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    if not rows:
        return
    names = list(rows[0])
    widths = [max(len(name), *(len(row[name]) for row in rows)) for name in names]
    yield "  " + "  ".join(name.ljust(w) for name, w in zip(names, widths, strict=True)).rstrip()
    for row in rows:
        cells = (row[name].ljust(w) for name, w in zip(names, widths, strict=True))
        yield "  " + "  ".join(cells).rstrip()


def _map(one: MemoryMap) -> Iterator[str]:
    yield f"{one.title}: {100 * one.used:.0f} % in use"
    columns = min(int(one.x[1] - one.x[0]), 64)
    step = (one.x[1] - one.x[0]) / columns
    heights = [_share(one, one.x[0] + i * step, one.x[0] + (i + 1) * step) for i in range(columns)]
    yield "  " + "".join(BARS[min(round(h * 8 + 0.49), 8)] for h in heights)
    yield f"  {one.x_label} {one.x[0]:g} to {one.x[1] - 1:g}, full height {one.y[1]:,.0f} bytes"


def _share(one: MemoryMap, left: float, right: float) -> float:
    """Return how much of the height between two places is in use."""
    used = sum(
        (r.y[1] - r.y[0]) * max(0.0, min(r.x[1], right) - max(r.x[0], left)) for r in one.regions
    )
    return used / ((right - left) * (one.y[1] - one.y[0]))


def _costs(cost: Cost) -> Iterator[str]:
    rows = [
        {"layer": layer.name, "MAC": f"{layer.macs:,}", **_cells(layer.figures)}
        for layer in cost.layers
    ]
    yield from _table([row for row in rows if row.keys() == rows[0].keys()])
    for name, figure in cost.total.items():
        yield f"  {name}: {figure}; {figure.source}"


def _cells(figures: Mapping[str, Figure]) -> dict[str, str]:
    return {name: f"{number(one.value)} {one.unit}" for name, one in figures.items()}
