"""Runs a recipe in its run folder and says how it went."""

from __future__ import annotations

import json as json_format
import shlex
import sys
from pathlib import Path
from typing import Any

from edgebed.cli.extras import check_installed
from edgebed.cli.progress import listening
from edgebed.errors import EdgebedError
from edgebed.figures import Figure, parse_share
from edgebed.recipes.bed.config import DEFAULT_TARGET, BedConfig, parse_weight_bits
from edgebed.recipes.folder import RunFolder

ROOT = Path("runs")
STOPPED = 130


def configured(
    recipe: str,
    *,
    network: str | None = None,
    weight_bits: str = "8",
    max_drop: str | None = None,
    target: str | None = None,
    **others: Any,
) -> BedConfig:
    """Return the configuration that the flags describe, every default filled in.

    Raises:
        EdgebedError: a value is not possible.
    """
    return BedConfig(
        recipe=recipe,
        network=network or recipe,
        weight_bits=parse_weight_bits(weight_bits),
        max_drop=None if max_drop is None else parse_share(max_drop),
        target=target or DEFAULT_TARGET,
        **others,
    ).resolved()


def run_recipe(
    config: BedConfig, out: Path | None, *, resume: bool, json: bool, quiet: bool
) -> int:
    """Run, print the result, and return the exit code.

    Ctrl-C and every error after the start name the command that continues the run.
    """
    from edgebed.recipes.bed import recipe

    check_installed(("train", "cc", "emu"))
    recipe.check(config)
    folder = _folder(config, out, resume)
    if not quiet and not json:
        print(f"{config.network} on {config.data} for {config.target}, into {folder.path}")
    again = config.command(str(folder.path), resume=True)
    try:
        with folder.locked(), listening(quiet=quiet, json=json) as listener:
            outcome = recipe.run(config, folder, listener)
    except KeyboardInterrupt:
        print(f"\nstopped; finished epochs and stages are kept\ncontinue: {again}", file=sys.stderr)
        return STOPPED
    except EdgebedError:
        print(f"finished epochs and stages are kept; continue with: {again}", file=sys.stderr)
        raise
    if json:
        print(json_format.dumps(_result(folder), indent=2))
    else:
        print("\n".join(_closing(folder)))
    outcome.check_budget()
    return 0


def _folder(config: BedConfig, out: Path | None, resume: bool) -> RunFolder:
    plain = config.to_json()
    if out is not None:
        return RunFolder.at(out, plain, resume=resume)
    if resume:
        return RunFolder.at(RunFolder.newest(ROOT, config.recipe), plain, resume=True)
    return RunFolder.numbered(ROOT, config.recipe, plain)


def _result(folder: RunFolder) -> dict[str, Any]:
    metrics = json_format.loads((folder.path / "metrics.json").read_text())
    return {"folder": str(folder.path), "report": str(folder.path / "report.html"), **metrics}


def _closing(folder: RunFolder) -> list[str]:
    metrics = _result(folder)
    scores = ", ".join(
        f"{form} {100 * one['ap50']:.1f}" for form, one in metrics["accuracy"].items()
    )
    return [
        "",
        f"AP@0.5 in percent: {scores}",
        metrics["agreement"],
        *(
            f"{name} a picture: {Figure(**metrics['figures'][name])}"
            for name in metrics["headline"]
        ),
        f"report: {folder.path / 'report.html'}",
        f"screens: {folder.path / 'lcd.png'}",
        f"next: edgebed run {shlex.quote(str(folder.path))} --input PICTURE --out frames",
    ]
