"""`edgebed demo`: everything once, from nothing, in a few minutes."""

from __future__ import annotations

from pathlib import Path


def demo(*, out: Path | None = None, json: bool = False, quiet: bool = False) -> int:
    """Train bed-fast on drawn scenes, compile it, and run it on the virtual board.

    Nothing is downloaded. The last lines say where the report and the display's pictures are.

    Args:
        out: the run folder; runs/bed-fast/<n> by default.
        json: print one JSON object on standard output; progress goes to standard error.
        quiet: no progress.
    """
    from edgebed.cli.run_recipe import configured, run_recipe

    return run_recipe(configured("bed-fast"), out, resume=False, json=json, quiet=quiet)
