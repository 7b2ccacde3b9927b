"""Tables of what `deployment_bugs.py` found, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]
WAYS = {"undone": "inverse", "set": "setting", "replaced": "replaced", "none": "-"}


def markdown(rows: Sequence[Row]) -> str:
    """Return the clean runs in a sentence and one table a network."""
    clean = [one for one in rows if one["kind"] == "clean"]
    names = list(dict.fromkeys(one["network"] for one in rows))
    alarms = sum(len(one["alarms"]) for one in clean)
    shares = ", ".join(
        f"{sum(o['runs'] for o in clean if o['network'] == name)} {name}" for name in names
    )
    runs = sum(one["runs"] for one in clean)
    parts = [f"**Clean runs: {alarms} alarms in {runs:,}** ({shares})."]
    parts += [_table(name, [one for one in rows if one["network"] == name]) for name in names]
    return "\n\n".join(parts)


def _table(name: str, rows: Sequence[Row]) -> str:
    bugs = [one for one in rows if "named" in one]
    healthy = next((one["accuracy"] for one in rows if one["kind"] == "healthy"), None)
    measure = "AP@0.5" if name == "blood cells" else "accuracy"
    known = "" if healthy is None else f" ({measure} without a fault: {healthy:.1f} %)"
    lines = [
        f"{name.capitalize()}{known}:", "",
        f"| planted | named | published rules | {measure} with it, % | after the advice, % |"
        " points recovered | how |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    lines += [_line(one) for one in bugs]
    runs = sum(one["runs"] for one in bugs)
    named, theirs = (sum(one[key] for one in bugs) for key in ("named", "published"))
    if runs:
        low = sum(one["named"] < 0.95 * one["runs"] for one in bugs)
        lines.append(
            f"| **all {len(bugs)} kinds, {low} of them below 95 %** |"
            f" **{named}/{runs} ({100 * named / runs:.1f} %)** |"
            f" **{theirs}/{runs} ({100 * theirs / runs:.1f} %)** | | | | |"
        )
    return "\n".join(lines)


def _line(one: Row) -> str:
    silent = f" ({one['silent']} silent)" if one["silent"] else ""
    gained = one["after"] - one["with_it"]
    return (
        f"| {one['kind']} | {one['named']}/{one['runs']}{silent} | {one['published']}/{one['runs']}"
        f" | {one['with_it']:.1f} | {one['after']:.1f} | {gained:+.1f} | {WAYS[one['way']]} |"
    )
