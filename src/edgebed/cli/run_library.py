"""Puts tensors through a compiled library on this computer."""

from __future__ import annotations

import json as json_format
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgebed.cli.run_folder import KINDS, check_place, read_tensor, write_tensor
from edgebed.cli.run_trace import traced
from edgebed.cli.text import table
from edgebed.errors import EdgebedError
from edgebed.figures import Figure, number
from edgebed.program.types import Array
from edgebed.targets.contract import Cost

if TYPE_CHECKING:
    from edgebed.observe.trace import Level
    from edgebed.targets.contract import Library, Tensor

TIMED_NS = 200_000_000
"""So long are runs repeated for their median."""
WATCHED: Final = 8
"""Values of a sample that are shown."""


@dataclass(frozen=True)
class Ran:
    """What a run left: paths by output name, the library's figures, profile and trace if asked."""

    outputs: Mapping[str, str]
    samples: int
    isa: str
    threads: int
    figures: Mapping[str, Figure]
    profile: Any = None
    trace: Path | None = None


def run_library(
    folder: Path,
    source: Path,
    out: Path | None,
    *,
    threads: int = 1,
    profile: bool = False,
    watch: bool = False,
    trace: Path | None = None,
    level: Level = "io",
    json: bool = False,
) -> int:
    """Compute `source` and print where the results are; see `edgebed run --help`."""
    from edgebed.targets import open_library

    if not source.exists():
        raise EdgebedError("no such file", where=str(source))
    place = out or source.with_name(f"{source.stem}_output.npy")
    if place.suffix != ".npy":
        raise EdgebedError(f"--out {place} for tensors", try_=f"{place}.npy")
    with closing(open_library(folder, threads=threads)) as library:
        places = _places(place, library.outputs)
        for one in places.values():
            check_place(one, source)
        inputs = read_inputs(source, library.inputs)
        if trace is not None:
            outputs = traced(library, folder, inputs, trace, level)
        elif watch:
            outputs = _watched(library, inputs, source, json=json)
        else:
            outputs = _compute(library, inputs, source)
        for path, values in zip(places.values(), outputs, strict=True):
            write_tensor(path, values)
        done = Ran(
            {name: str(path) for name, path in places.items()},
            samples(library.inputs[0], inputs) if library.inputs else 1,
            library.isa,
            threads,
            _figures(library),
            _profiled(library, inputs, asked=profile),
            trace,
        )
    print(json_format.dumps(_plain(done), indent=2) if json else "\n".join(_lines(done)))
    return 0


def read_inputs(source: Path, tensors: Sequence[Tensor]) -> dict[str, Array]:
    """Read the inputs by name.

    Args:
        source: `.npy` for the only input, or `.npz` of arrays by input name.
        tensors: the inputs of the library.

    Raises:
        EdgebedError: the file is no such, or an input is missing or unknown.
    """
    names = [one.name for one in tensors]
    if source.suffix.lower() == ".npz":
        arrays = read_archive(source)
    elif source.suffix.lower() == ".npy":
        if len(names) != 1:
            raise EdgebedError(
                f"holds one array, the network has {len(names)} inputs",
                where=str(source),
                try_=f"a .npz file with arrays {', '.join(names)}",
            )
        arrays = {names[0]: read_tensor(source)}
    else:
        raise EdgebedError("is not a tensor file", where=str(source), try_="a .npy or .npz file")
    unknown = [name for name in arrays if name not in names]
    missing = [name for name in names if name not in arrays]
    if unknown or missing:
        what = f"holds {unknown[0]!r}" if unknown else f"lacks {missing[0]!r}"
        raise EdgebedError(
            what,
            where=str(source),
            why=f"the network's inputs are {', '.join(map(repr, names))}",
            try_="arrays under exactly these names",
        )
    return arrays


def read_archive(path: Path) -> dict[str, Array]:
    """Read a .npz file.

    Raises:
        EdgebedError: it is none, is cut short, or holds Python objects.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise EdgebedError(
            "is not an archive of arrays (.npz)", where=str(path), why=str(error)[:200] or None
        ) from None


def samples(tensor: Tensor, inputs: Mapping[str, Array]) -> int:
    """Return how many samples an input array holds; one may come without its batch axis."""
    given = inputs[tensor.name]
    single = (tensor.shape, tensor.shape[1:]) if tensor.shape[:1] == (1,) else (tensor.shape,)
    return 1 if given.shape in single else len(given)


def _first(tensors: Sequence[Tensor], inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return the first sample of each input, in the file's own shape."""
    found = {}
    for one in tensors:
        given = inputs[one.name]
        found[one.name] = given if given.shape == one.shape else given[0].reshape(one.shape)
    return found


def _compute(library: Library, inputs: Mapping[str, Array], source: Path) -> tuple[Array, ...]:
    try:
        result = library.run(inputs)
    except EdgebedError as error:
        if error.where:
            raise
        raise EdgebedError(error.what, where=str(source), why=error.why, try_=error.try_) from error
    return result if isinstance(result, tuple) else (result,)


def _watched(
    library: Library, inputs: Mapping[str, Array], source: Path, *, json: bool
) -> tuple[Array, ...]:
    """Compute sample after sample and say of each what came out and what it took."""
    from edgebed.targets.contract import Counted

    if not isinstance(library, Counted):
        raise EdgebedError("--watch is for a virtual device", try_="--profile")
    first = library.inputs[0]
    count = samples(first, inputs)
    if count == 1:
        parts = [dict(inputs)]
    else:
        parts = [{name: values[i : i + 1] for name, values in inputs.items()} for i in range(count)]
    found = []
    for number_, one in enumerate(parts):
        found.append(_compute(library, one, source))
        values = found[-1][0].ravel()
        shown = ", ".join(number(float(v)) for v in values[:WATCHED])
        more = ", ..." if len(values) > WATCHED else ""
        taken = number(library.figures["instructions"].value)
        line = f"sample {number_}: largest at {int(values.argmax())} of {shown}{more}"
        line += f"; {taken} instructions"
        print(line, file=sys.stderr if json else sys.stdout, flush=True)
    return tuple(np.concatenate(one) for one in zip(*found, strict=True))


def _figures(library: Library) -> Mapping[str, Figure]:
    from edgebed.targets.contract import Counted

    return library.figures if isinstance(library, Counted) else {"time": _timed(library)}


def _profiled(library: Library, inputs: Mapping[str, Array], *, asked: bool) -> Any:
    """Return the library's profile; what a virtual device counted comes layer by layer too."""
    from edgebed.targets.contract import Counted

    if isinstance(library, Counted):
        return library.cost
    return library.profile(_first(library.inputs, inputs)) if asked else None


def _timed(library: Library) -> Figure:
    """Return the median time of one sample: the last one computed, over and over."""
    once = max(int(library.time_runs(1)[0]), 1)
    count = max(1, min(1000, TIMED_NS // once))
    median = float(np.median(library.time_runs(count))) / 1000
    return Figure(median, "us", "measured", f"median of {count} runs of one sample, here")


def _places(path: Path, outputs: Sequence[Tensor]) -> dict[str, Path]:
    """Return where each output goes: Y.npy, Y.1.npy, Y.2.npy, ..."""
    return {
        one.name: path if index == 0 else path.with_name(f"{path.stem}.{index}.npy")
        for index, one in enumerate(outputs)
    }


def _plain(done: Ran) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "outputs": dict(done.outputs),
        **({"trace": str(done.trace)} if done.trace is not None else {}),
        "samples": done.samples,
        "isa": done.isa,
        "threads": done.threads,
        "figures": {
            kind: {k: f.to_json() for k, f in done.figures.items() if f.kind == kind}
            for kind in KINDS
            if any(f.kind == kind for f in done.figures.values())
        },
    }
    if isinstance(done.profile, Cost):
        plain["layers"] = _plain_layers(done.profile)
    elif done.profile is not None:
        plain["profile"] = _plain_profile(done.profile)
    return plain


def _plain_layers(cost: Cost) -> list[dict[str, Any]]:
    return [
        {
            "name": one.name,
            "macs": one.macs,
            "figures": {name: figure.to_json() for name, figure in one.figures.items()},
        }
        for one in cost.layers
    ]


def _plain_profile(profile: Any) -> dict[str, Any]:
    return {
        "kind": "measured",
        "nanoseconds": profile.nanoseconds,
        "int8_peak_macs_per_second": profile.peak,
        "peak_share": profile.peak_share,
        "layers": [
            {
                "name": one.layer.name,
                "kind": one.layer.kind,
                "macs": one.layer.macs,
                "nanoseconds": one.nanoseconds,
                "peak_share": one.peak_share,
            }
            for one in profile.layers
        ],
    }


def _lines(done: Ran) -> Iterator[str]:
    threads = f"{done.threads} thread{'s' if done.threads > 1 else ''}"
    for kind in KINDS:
        found = {name: f for name, f in done.figures.items() if f.kind == kind}
        if found:
            yield f"{kind}, on {done.isa}" + (f", {threads}:" if kind == "measured" else ":")
        for name, one in found.items():
            yield f"  {name:<28} {number(one.value)} {one.unit}{one.band}, {one.source}"
    if isinstance(done.profile, Cost):
        yield from _layer_lines(done.profile)
    elif done.profile is not None:
        yield from _profile_lines(done.profile)
    if done.trace is not None:
        yield f"{done.trace}: {done.samples} frame{'s' if done.samples > 1 else ''}"
    if len(done.outputs) == 1:
        yield from done.outputs.values()
        return
    yield from table([{"file": path, "output": name} for name, path in done.outputs.items()])


def _layer_lines(cost: Cost) -> Iterator[str]:
    """Give a row a layer; every layer has the same figures."""
    first = next((one for one in cost.layers if one.figures), None)
    if first is None:
        return
    (name, figure), *_ = first.figures.items()
    total = sum(one.figures[name].value for one in cost.layers) or 1.0
    yield f"layers, {figure.kind} {name}:"
    yield from table(
        [
            {
                "layer": one.name,
                name: number(one.figures[name].value),
                "share": f"{100 * one.figures[name].value / total:.1f} %",
                "MACs": f"{one.macs:,}",
                "per MAC": f"{one.figures[name].value / one.macs:.2f}" if one.macs else "-",
            }
            for one in cost.layers
        ]
    )


def _profile_lines(profile: Any) -> Iterator[str]:
    yield (
        "layers, measured; share of the int8 peak of one core, "
        f"{profile.peak / 1e9:.0f} G multiply-accumulates a second:"
    )
    whole = sum(one.nanoseconds for one in profile.layers) or 1.0
    rows = [
        {
            "layer": one.layer.name,
            "kind": one.layer.kind,
            "ns": f"{one.nanoseconds:,.0f}",
            "of the time": f"{100 * one.nanoseconds / whole:.1f} %",
            "MACs": f"{one.layer.macs:,}",
            "of the peak": _percent(one.peak_share) if one.layer.macs else "-",
        }
        for one in profile.layers
    ]
    yield from table(rows)
    macs = sum(one.layer.macs for one in profile.layers)
    yield (
        f"  whole run {profile.nanoseconds:,.0f} ns, {macs:,} multiply-accumulates, "
        f"{_percent(profile.peak_share)} of the peak"
    )


def _percent(share: float | None) -> str:
    """Return a share of the int8 peak; layers of float32 have none."""
    return "-" if share is None else f"{100 * share:.1f} %"
