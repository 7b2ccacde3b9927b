"""Options of a target that has several cores or goals: `--cpu m4 --ram --max-ram 64KB`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from cyclopts import Group, Parameter

from edgebed.errors import EdgebedError

if TYPE_CHECKING:
    from edgebed.targets.contract import Target

DEVICE: Final = Parameter(group=Group("For a processor", sort_key=2))


def chosen_goal(*, balanced: bool, time: bool, ram: bool) -> str | None:
    """Return the goal that was asked for, or None.

    Raises:
        EdgebedError: there were several.
    """
    given = {"balanced": balanced, "time": time, "ram": ram}
    asked = [name for name, on in given.items() if on]
    if len(asked) > 1:
        options = " and ".join(f"--{name}" for name in asked)
        raise EdgebedError(f"{options} exclude each other", try_=f"--{asked[0]} alone")
    return asked[0] if asked else None


def configured(device: Target, name: str, settings: Mapping[str, Any]) -> Target:
    """Return a target with the settings that were given.

    Raises:
        EdgebedError: the target does not have one of them, or its value makes no sense.
    """
    from edgebed.targets import describe, names

    given = {key: value for key, value in settings.items() if value is not None}
    if not given:
        return device
    known = describe(name).get("options", ())
    for key in given:
        if key not in known:
            option = f"--{given[key]}" if key == "goal" else f"--{key.replace('_', '-')}"
            owners = [one for one in names() if key in describe(one).get("options", ())]
            raise EdgebedError(
                f"{option} means nothing to {name}",
                try_=f"leave it out; it is for {' and '.join(owners)}",
            )
    changed: Target = device.with_options(given)  # type: ignore[attr-defined]
    return changed
