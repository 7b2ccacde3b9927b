"""`edgebed bench`: a compiled network against other runtimes, in one sitting."""

from __future__ import annotations

import json as json_format
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgebed.cli.text import table
from edgebed.errors import EdgebedError

if TYPE_CHECKING:
    from edgebed.events import Listener
    from edgebed.observe.race import Contender, Result

OURS: Final = "edgebed"
AGAINST: Final = "onnxruntime,litert,openvino"
OWN_FORM: Final = "program.onnx"
"""The network as edgebed writes it into a compiled folder."""


def bench(
    model: Path,
    /,
    *,
    against: str = AGAINST,
    threads: str = "1",
    compiled: Path | None = None,
    peer_model: str = "",
    rounds: int = 20,
    out: Path | None = None,
    json: bool = False,
    quiet: bool = False,
) -> None:
    """Race a network compiled for this computer against other runtimes.

    Every runtime runs in a process of its own, rounds of about 40 ms take turns, and the inputs
    are the same random ones. The median over all runs counts.

    What a runtime must have installed is in the extra bench; one that is not installed, or that
    refuses the model, is listed as such.

    Args:
        model: .tflite or .onnx.
        against: runtimes, separated by commas: onnxruntime, litert, openvino (default: all three).
        threads: how many, separated by commas; each count is a race of its own. Default 1.
        compiled: folder that was compiled before; without it the model is compiled first. It may
            hold a compressed form of the model, which is then raced against the original.
        peer_model: other files of the same network, for runtimes that do not read this one:
            onnxruntime=FILE.onnx, separated by commas. ONNX Runtime otherwise gets edgebed's own
            ONNX form of a .tflite model.
        rounds: of each runtime; default 20.
        out: folder for bench.json and bench.svg.
        json: print one JSON object on standard output; progress goes to standard error.
        quiet: no progress.
    """
    from edgebed import files
    from edgebed.cli.progress import listening

    if not model.is_file():
        raise _no_file(model)
    if compiled is not None and not compiled.is_dir():
        raise EdgebedError(
            "no such folder", where=str(compiled), try_="a folder of edgebed compile"
        )
    names = _names(against)
    counts = _counts(threads)
    others = _peer_models(peer_model, names)
    if rounds < 1:
        raise EdgebedError(f"--rounds {rounds}", try_="1 or more")
    with (
        listening(quiet=quiet, json=json) as listener,
        tempfile.TemporaryDirectory(prefix="edgebed-bench-") as scratch,
    ):
        folder = compiled or _compiled(model, Path(scratch) / "library", listener)
        files_of = {name: _file(name, model, folder, others) for name in names}
        results = []
        for count in counts:
            results += _race(folder, files_of, count, rounds, listener)
    own = [name for name, path in files_of.items() if path == folder / OWN_FORM]
    report = {**_report(model, results), "own_onnx_form": own}
    if out is not None:
        files.write_text(out / "bench.json", json_format.dumps(report, indent=2) + "\n")
        files.write_text(out / "bench.svg", _picture(model, results))
    print(json_format.dumps(report, indent=2) if json else "\n".join(_lines(report, out)))


def _no_file(model: Path) -> EdgebedError:
    if model.is_dir():
        return EdgebedError(
            "is a folder",
            where=str(model),
            why="the other runtimes read the network's own file",
            try_=f"edgebed bench MODEL.onnx --compiled {model}",
        )
    return EdgebedError("no such file", where=str(model))


def _names(against: str) -> list[str]:
    from edgebed.observe.peers import check_name

    names = [check_name(name.strip()) for name in against.split(",") if name.strip()]
    if not names:
        raise EdgebedError("--against names no runtime", try_=AGAINST)
    return list(dict.fromkeys(names))


def _counts(text: str) -> list[int]:
    try:
        counts = [int(one) for one in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise EdgebedError(f"--threads {text!r}", try_="1 or 1,2")
    return counts


def _peer_models(text: str, names: Sequence[str]) -> dict[str, Path]:
    found = {}
    for word in (one for one in text.split(",") if one):
        name, _, path = word.partition("=")
        if name not in names or not path:
            raise EdgebedError(f"--peer-model {word!r}", try_=f"{names[0]}=FILE")
        if not Path(path).is_file():
            raise EdgebedError("no such file", where=path)
        found[name] = Path(path)
    return found


def _compiled(model: Path, folder: Path, listener: Listener) -> Path:
    from edgebed.compile.passes.pipeline import optimise
    from edgebed.program import to_onnx
    from edgebed.program.read import read_model
    from edgebed.targets.host.build import compile_program

    program, _ = optimise(read_model(model), listener)
    compile_program(program, folder, listener, passes=False)
    to_onnx.save(program, folder / OWN_FORM)
    return folder


def _file(name: str, model: Path, folder: Path, others: Mapping[str, Path]) -> Path | None:
    """Return the file that a runtime opens, or None where it can read none."""
    from edgebed.observe.peers import READS

    if name in others:
        return others[name]
    if model.suffix in READS[name]:
        return model
    own = folder / OWN_FORM
    return own if ".onnx" in READS[name] and own.is_file() else None


def _race(
    folder: Path,
    files_of: Mapping[str, Path | None],
    threads: int,
    rounds: int,
    listener: Listener,
) -> list[Result]:
    from edgebed.observe.race import Contender, Result, race

    contenders: list[Contender] = [Contender(OURS, folder, threads)]
    contenders += [Contender(name, path, threads) for name, path in files_of.items() if path]
    cannot = [
        Result(name, "", threads, refused="reads no file of this kind")
        for name, path in files_of.items()
        if path is None
    ]
    return [*race(contenders, rounds=rounds, listener=listener), *cannot]


def _report(model: Path, results: Sequence[Result]) -> dict[str, Any]:
    rows = []
    for one in results:
        ours = next(r for r in results if r.name == OURS and r.threads == one.threads)
        if ours.refused is not None:
            raise EdgebedError("edgebed's own library does not run", why=ours.refused)
        ratio = one.median_us / ours.median_us if one.refused is None else None
        rows.append({**one.to_json(), "times_of_edgebed": ratio})
    return {"model": str(model), "kind": "measured", "unit": "us", "results": rows}


def _lines(report: Mapping[str, Any], out: Path | None) -> Iterator[str]:
    yield f"{report['model']}: time of a run, measured"
    ran = [row for row in report["results"] if row["refused"] is None]
    yield from table([_row(row) for row in ran])
    for row in report["results"]:
        if row["refused"] is not None:
            yield f"  {row['name']}, {_threads(row['threads'])}: not raced: {row['refused']}"
    for name in report["own_onnx_form"]:
        yield f"  {name} was given edgebed's own ONNX form of the network; --peer-model {name}=FILE"
        yield "  gives it another one"
    if out is not None:
        yield f"{out / 'bench.json'}, {out / 'bench.svg'}"


def _row(row: Mapping[str, Any]) -> dict[str, str]:
    low, high = row["spread_us"]
    apart = row["difference"]
    return {
        "runtime": f"{row['name']} {row['version']}",
        "threads": str(row["threads"]),
        "median us": f"{row['median_us']:.2f}",
        "middle half": f"{low:.2f} to {high:.2f}",
        "times edgebed": f"{row['times_of_edgebed']:.2f}",
        "output difference": "-" if apart is None else f"{apart:.4g}",
    }


def _picture(model: Path, results: Sequence[Result]) -> str:
    from edgebed.observe.svg import Bar, bars, standalone

    rows = [
        Bar(
            f"{one.name} {one.version}, {_threads(one.threads)}",
            one.median_us,
            f"{one.median_us:.1f} us",
            *one.spread_us,
            colour=0 if one.name == OURS else 6,
        )
        for one in results
        if one.refused is None
    ]
    title = f"{model.name}: median time of a run, measured; shorter is better"
    note = "The line at a bar's end: the middle half of the rounds."
    return standalone(bars(rows, width=640), title, note)


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"
