"""`edgebed show`: a program as text, its device layers, memory maps and cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from edgebed.cli.text import table
from edgebed.figures import number
from edgebed.program.text import to_text

if TYPE_CHECKING:
    from edgebed.cli.model import Model
    from edgebed.figures import Figure
    from edgebed.targets.contract import Cost
    from edgebed.targets.layout import Layout, MemoryMap

BARS = " ▁▂▃▄▅▆▇█"


def show(
    model: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    /,
    *options: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    target: str | None = None,
    passes: bool = False,
    full: bool = False,
    input_shape: tuple[str, ...] = (),
    weights: Path | None = None,
    replan: bool = False,
) -> None:
    """Print a program, its device layers, memory map and cost.

    Args:
        model: a compiled folder, a run folder, a network file, or a network description.
        options: options of the ai8x tools.
        target: the device whose layers are shown; see `edgebed targets`. Without one, a network
            file is printed alone.
        passes: print the passes, what each changes, and the program that they leave.
        full: print every scale of every constant, in the form that edgebed reads back; without it
            the first three and their number.
        input_shape: NAME=1,3,224,224 for an input whose size an ONNX file leaves open; C,H,W for a
            network description.
        weights: weights of a network description.
        replan: place the network anew instead of as its description says.
    """
    from edgebed.cli.model import model_first, read_model
    from edgebed.deploy.bundle import find
    from edgebed.deploy.bundle import load as load_bundle

    model, options = model_first(model, options, target)
    folder = find(model)
    bundle = load_bundle(folder) if folder else None
    name = target or (bundle.target if bundle else _implied(model, options))
    found = read_model(
        folder or model,
        name,
        weights=weights,
        replan=replan,
        options=options,
        shapes=input_shape,
    )
    if passes:
        found = _optimised(found)
    print(to_text(found.program, values=False, full=full))
    if bundle and bundle.target == name:  # as it was built, with its author's placement
        print("\n".join([*_device(bundle.layout, bundle.cost), *_sizes(bundle.sizes)]))
    elif name is not None:
        _show_on(name, found, passes)


def _implied(model: Path, options: Sequence[str]) -> str | None:
    """Return the device of a project or of a run, or the only one; None where any could be."""
    from edgebed.cli.model import project_target
    from edgebed.targets import names

    known = names()
    return known[0] if len(known) == 1 else project_target((str(model), *options))


def _optimised(found: Model) -> Model:
    """Print the passes and what each changed; return the model as they leave it."""
    from edgebed.compile.passes import DEFAULT, optimise

    program, changes = optimise(found.program)
    print(f"passes\n{_indented(str(DEFAULT))}")
    print("changes\n" + _indented("\n".join(map(str, changes)) or "none") + "\n")
    return replace(found, program=program, source=program)


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())


def _show_on(name: str, found: Model, optimised: bool) -> None:
    """Print what a compile for the device would make of the model."""
    from edgebed.cli.compile import prepared
    from edgebed.deploy.bundle import fitting
    from edgebed.events import ignore
    from edgebed.targets import load as load_target

    device = load_target(name)
    program, source = prepared(found, device, ignore, passes=not optimised)
    for warning in fitting(program, device, source):
        print(f"warning: {warning}")
    print("\n".join(_device(device.layout(source), device.cost(source))))


def _sizes(sizes: Mapping[str, int]) -> Iterator[str]:
    if sizes:
        yield ""
        yield "sizes"
        yield from (f"  {name:<24} {size:>9,} bytes" for name, size in sizes.items())


def _device(layout: Layout, cost: Cost) -> Iterator[str]:
    yield "device layers"
    yield from table(layout.layers)
    for one in layout.maps:
        yield ""
        yield from _map(one)
    yield ""
    kinds = {f.kind for layer in cost.layers for f in layer.figures.values()}
    yield f"cost per layer, {' and '.join(sorted(kinds))}"
    yield from _costs(cost)


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
    yield from table([row for row in rows if row.keys() == rows[0].keys()])
    for name, figure in cost.total.items():
        yield f"  {name}: {figure}; {figure.source}"


def _cells(figures: Mapping[str, Figure]) -> dict[str, str]:
    return {name: f"{number(one.value)} {one.unit}" for name, one in figures.items()}
