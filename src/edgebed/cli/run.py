"""`edgebed run`: a whole recipe, or inputs through a compiled folder."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Group, Parameter

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.recipes import RECIPES

RECIPE: Final = Parameter(group=Group("For a recipe", sort_key=1))
FOLDER: Final = Parameter(group=Group("For a compiled folder", sort_key=2))
BOTH: Final = Parameter(group=Group("For both", sort_key=3))
SWITCHES: Final = ("threads", "profile", "watch")
"""What is for libraries only."""


def run(
    what: str,
    /,
    *,
    data: Annotated[str, RECIPE] = "synthetic",
    network: Annotated[str | None, RECIPE] = None,
    epochs: Annotated[int, RECIPE] = 0,
    qat_epochs: Annotated[int, RECIPE] = -1,
    weight_bits: Annotated[str, RECIPE] = "8",
    max_drop: Annotated[str | None, RECIPE] = None,
    seed: Annotated[int, RECIPE] = 0,
    skip_bad: Annotated[bool, RECIPE] = False,
    target: Annotated[str | None, RECIPE] = None,
    resume: Annotated[bool, RECIPE] = False,
    input: Annotated[Path | None, FOLDER] = None,
    uart_port: Annotated[int | None, FOLDER] = None,
    board: Annotated[str | None, FOLDER] = None,
    threads: Annotated[int, FOLDER] = 1,
    profile: Annotated[bool, FOLDER] = False,
    watch: Annotated[bool, FOLDER] = False,
    trace: Annotated[Path | None, FOLDER] = None,
    level: Annotated[str, FOLDER] = "io",
    frames: Annotated[int, BOTH] = 0,
    out: Annotated[Path | None, BOTH] = None,
    json: Annotated[bool, BOTH] = False,
    quiet: Annotated[bool, BOTH] = False,
) -> int:
    """Run a whole recipe, or put inputs through a compiled folder.

    edgebed run bed-fast --data DIR

    edgebed run DIR --input PATH --out OUT.npy

    Args:
        what: a recipe (bed, bed-fast), or a compiled folder, or a run folder; with --trace also a
            network's file, which the reference interpreter computes.
        data: folder of annotated pictures (Pascal VOC or COCO), or `synthetic`.
        network: bed or bed-fast; the recipe's own by default.
        epochs: passes over the training pictures in floating point.
        qat_epochs: further passes in the device's integer arithmetic.
        weight_bits: 8, 4, 2 or 1 for all inner layers, or one number per layer: 8,4,4,8.
        max_drop: leave with exit code 2 when integers cost more AP@0.5 than this: 1% or 0.01.
        seed: of scenes, initial weights, order and augmentation.
        skip_bad: leave out defective annotations and list them, instead of stopping.
        target: the device; see `edgebed targets`.
        resume: continue the run in --out (without --out: the newest), keeping finished stages.
        input: for a board a tensor (.npy, int8, C x H x W), a picture, a folder of pictures, or a
            video; for a library .npy in the imported file's own shape and type, or .npz by name.
        uart_port: offer the board's serial line on this TCP port of 127.0.0.1.
        board: a real board instead of the virtual one: its serial port, or HOST:PORT.
        threads: that share the long layers of a library.
        profile: print the time of each layer of a library.
        watch: print a line for every sample as soon as a virtual device has answered.
        trace: write a frame for each input to this file, for `edgebed compare` and `observe`.
        level: what of each frame is kept: io (inputs, outputs), statistics, or full (every layer).
        frames: how many pictures go through the board; 0 = all.
        out: the run folder; for a compiled folder OUT.npy (further outputs of a library go to
            OUT.1.npy, ...), or a folder when --input is pictures.
        json: print one JSON object on standard output; progress goes to standard error.
        quiet: no progress.
    """
    training: dict[str, Any] = {
        "data": data,
        "network": network,
        "epochs": epochs,
        "qat_epochs": qat_epochs,
        "weight_bits": weight_bits,
        "max_drop": max_drop,
        "seed": seed,
        "skip_bad": skip_bad,
    }
    compiled: dict[str, Any] = {
        "input": input,
        "uart_port": uart_port,
        "board": board,
        "threads": threads,
        "profile": profile,
        "watch": watch,
        "trace": trace,
        "level": level,
    }
    given = _given(compiled)
    if what in RECIPES and not given:
        from edgebed.cli.run_recipe import configured, run_recipe

        config = configured(what, **training, target=target, frames=frames)
        return run_recipe(config, out, resume=resume, json=json, quiet=quiet)
    if what in RECIPES and not Path(what).is_dir():
        words = "" if given[0] in ("profile", "watch") else f" {compiled[given[0]]}"
        option = f"--{given[0].replace('_', '-')}"
        raise EdgebedError(
            f"{option} is for a compiled folder",
            where=f"edgebed run {what}",
            why=f"{what} is a recipe, it takes --data",
            try_=f"edgebed run FOLDER {option}{words}, FOLDER being a finished run",
        )
    if not what or not Path(what).exists():
        raise EdgebedError(
            f"{what!r} is neither a recipe nor a folder", try_=did_you_mean(what, RECIPES)
        )
    _check_no_recipe(what, {**training, "resume": resume})
    if input is None and uart_port is None:
        raise EdgebedError(
            "--input is missing",
            where=f"edgebed run {what}",
            try_="--input PATH: a tensor (.npy); for a board also a picture, folder or video",
        )
    options = {**compiled, "frames": frames, "target": target}
    return _run_compiled(Path(what), options, out, json=json, quiet=quiet)


def _run_compiled(
    what: Path, options: Mapping[str, Any], out: Path | None, *, json: bool, quiet: bool
) -> int:
    """Run a library in this process, or firmware on its virtual board."""
    from edgebed.cli.run_trace import check_level, check_trace, run_reference
    from edgebed.deploy.bundle import find
    from edgebed.targets import library_target

    folder = find(what) or what
    own = library_target(folder)
    file, level = options["trace"], check_level(options["level"], options["trace"])
    if file is not None:
        check_trace(file, options["input"])
        if what.is_file() and options["input"] is not None:
            return run_reference(
                what, options["input"], out, file, level, count=options["frames"], json=json
            )
    if own is None:
        from edgebed.cli.run_folder import run_folder

        _check_fitting(what, options, SWITCHES, "a library", "firmware for a board")
        names = ("target", "frames", "uart_port", "board", "trace")
        kept = {name: options[name] for name in names}
        return run_folder(what, options["input"], out, **kept, level=level, json=json, quiet=quiet)
    from edgebed.cli.run_library import run_library

    _check_fitting(what, options, ("frames", "uart_port", "board"), "a board", "a library")
    if options["target"] not in (None, own):
        raise EdgebedError(f"is compiled for {own}, not for {options['target']}", where=str(what))
    if options["threads"] < 1:
        raise EdgebedError(f"--threads is {options['threads']}", try_="1 or more")
    kept = {name: options[name] for name in (*SWITCHES, "trace")}
    return run_library(folder, options["input"], out, **kept, level=level, json=json)


def _given(options: Mapping[str, Any]) -> list[str]:
    """Return the names of the options that are not at their default."""
    defaults = inspect.signature(run).parameters
    return [name for name, value in options.items() if value != defaults[name].default]


def _check_fitting(
    what: Path, options: Mapping[str, Any], names: tuple[str, ...], owner: str, held: str
) -> None:
    """Refuse an option that means something for another kind of folder only."""
    for name in _given({name: options[name] for name in names}):
        raise EdgebedError(
            f"--{name.replace('_', '-')} is for {owner}",
            where=f"edgebed run {what}",
            why=f"{what} holds {held}",
        )


def _check_no_recipe(what: str, given: Mapping[str, Any]) -> None:
    """Refuse options that would change a program: a compiled folder's is finished."""
    for name in _given(given):
        option, recipe = f"--{name.replace('_', '-')}", next(iter(RECIPES))
        raise EdgebedError(
            f"{option} is for a recipe",
            where=f"edgebed run {what}",
            why=f"{what} is a folder whose program is finished",
            try_=f"leave {option} out, or train anew: edgebed run {recipe} {option} ...",
        )
