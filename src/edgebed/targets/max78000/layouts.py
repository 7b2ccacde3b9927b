"""From locations to the tensor layouts that firmware and tests use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from edgebed.targets.max78000.image import TensorLayout
from edgebed.targets.max78000.layers import Shape
from edgebed.targets.max78000.locations import Location

Form = Literal["hwc", "chw", "fifo_hwc", "fifo_chw"]
Group = tuple[int, int]  # first channel, one past the last: equal word address


def layouts_of(
    name: str, location: Location, shape: Shape, channel: int = 0, *, fifo: bool = False
) -> tuple[TensorLayout, ...]:
    """Return the layouts that together hold a tensor: one, unless its passes lie irregularly."""
    form: Form = "chw" if location.chw else "hwc"
    if fifo:
        form = "fifo_chw" if location.chw else "fifo_hwc"
    unit = 4 if location.wide else 1
    groups = [(0, len(location.words))] if location.chw else list(_groups(location))
    whole = TensorLayout(
        name=name,
        shape=shape,
        channel=channel,
        form=form,
        wide=location.wide,
        processors=location.processors[: groups[0][1]],
        passes=1,
        base=location.words[0],
        step=location.stride // unit,
    )
    regular = _regular(location, groups, unit)
    if regular is not None:
        return (replace(whole, passes=regular[0], step=regular[1]),)
    return tuple(_piece(whole, location, group) for group in groups)


def _groups(location: Location) -> Iterator[Group]:
    start = 0
    for channel in range(1, len(location.words) + 1):
        ended = channel == len(location.words)
        if ended or location.words[channel] != location.words[start]:
            yield start, channel
            start = channel


def _regular(location: Location, groups: list[Group], unit: int) -> tuple[int, int] | None:
    """Return passes and step when one formula covers all channels."""
    if len(groups) == 1:
        return 1, location.stride // unit
    lanes = groups[0][1]
    distance = location.words[lanes] - location.words[0]
    if distance <= 0 or distance % unit or location.stride % distance:
        return None
    for number, (start, stop) in enumerate(groups):
        same = location.processors[start:stop] == location.processors[: stop - start]
        there = location.words[start] == location.words[0] + number * distance
        full = stop - start == lanes or stop == len(location.words)
        if not (same and there and full):
            return None
    return location.stride // distance, distance // unit


def _piece(whole: TensorLayout, location: Location, group: Group) -> TensorLayout:
    start, stop = group
    return replace(
        whole,
        shape=(stop - start, *whole.shape[1:]),
        channel=whole.channel + start,
        processors=location.processors[start:stop],
        base=location.words[start],
    )
