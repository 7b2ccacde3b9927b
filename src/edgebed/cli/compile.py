"""`edgebed compile`: a model becomes firmware that has run on the virtual board."""

from __future__ import annotations

import json as json_format
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from edgebed.errors import EdgebedError

if TYPE_CHECKING:
    from edgebed.deploy.bundle import Bundle


def compile(
    model: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    /,
    *options: Annotated[str, Parameter(allow_leading_hyphen=True, show=False)],
    target: str | None = None,
    out: Path | None = None,
    weights: Path | None = None,
    replan: bool = False,
    only_generate: bool = False,
    json: bool = False,
    quiet: bool = False,
) -> None:
    """Turn a model into firmware that has run on the virtual board.

    A model is a run folder, an ONNX file that edgebed saved, or a network description (YAML) of
    the ai8x tools. For the last, the options of those tools are accepted under their own names.

    Args:
        model: what to compile.
        options: options of the ai8x tools.
        target: the device; see `edgebed targets`. Needed where there are several.
        out: where to write; its contents from an earlier compile are replaced.
        weights: checkpoint or integer weights of a network description.
        replan: place the network anew instead of as its description says.
        only_generate: stop after writing the sources; nothing is built or run.
        json: print one JSON object on standard output; progress goes to standard error.
        quiet: no progress.
    """
    from edgebed.cli.model import model_first, read_model
    from edgebed.cli.progress import listening
    from edgebed.deploy import bundle
    from edgebed.recipes.folder import RunFolder
    from edgebed.targets import load as load_target

    folder = _folder(out)
    name = target or only_target((str(model), *options))
    model, options = model_first(model, options, name)
    with listening(quiet=quiet, json=json) as listener:
        device = load_target(name)
        found = read_model(
            model, name, weights=weights, replan=replan, options=options, listener=listener
        )
        with RunFolder(folder).locked():
            built = bundle.build(
                found.program,
                device,
                folder,
                listener,
                source=found.source,
                only_generate=only_generate,
            )
    print(json_format.dumps(_plain(built), indent=2) if json else "\n".join(_lines(built)))


def only_target(words: Sequence[str] = ()) -> str:
    """Return the device's name where there is just one.

    Args:
        words: of the command line; a mistyped option among them may be why no device is named.

    Raises:
        EdgebedError: there are several.
    """
    from edgebed.cli.model import check_own_options
    from edgebed.targets import names

    known = list(names())
    if len(known) != 1:
        check_own_options(words)
        raise EdgebedError("--target is missing", try_=f"one of {', '.join(known)}")
    return known[0]


def _folder(out: Path | None) -> Path:
    from edgebed.deploy.bundle import is_ours
    from edgebed.recipes.folder import LOCK

    if out is None:
        raise EdgebedError("--out is missing", where="edgebed compile", try_="--out DIR")
    if out.exists() and not out.is_dir():
        raise EdgebedError("is a file, not a folder", where=str(out), try_="another --out")
    if out.is_dir() and any(one.name != LOCK for one in out.iterdir()) and not is_ours(out):
        raise EdgebedError(
            "is not empty and was not written by edgebed compile",
            where=str(out),
            why="nothing of yours is ever overwritten",
            try_="an empty or new folder for --out",
        )
    return out


def _plain(built: Bundle) -> dict[str, Any]:
    plan = dict(built.plan)
    return {
        "folder": str(built.folder),
        "target": built.target,
        "digest": plan["digest"],
        "sizes": plan["sizes"],
        "figures": plan["cost"]["total"],
    }


def _lines(built: Bundle) -> list[str]:
    from edgebed.deploy.bundle import BUILD, SOURCES

    lines = [f"  {name:<24} {size:>9,} bytes" for name, size in built.sizes.items()]
    lines += [f"  {name:<24} {figure}" for name, figure in built.cost.total.items()]
    lines.append(f"plan {built.plan['digest'][:16]}, sources: {built.folder / SOURCES}")
    if built.sizes:
        lines.append(f"done: {built.folder / BUILD} passed its self-test on the virtual board")
        lines.append(f"next: edgebed run {shlex.quote(str(built.folder))} --input PATH")
    return lines
