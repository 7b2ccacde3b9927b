"""What has moved, in words: which tensor, in which way, since which frame, and what to look at."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from edgebed.figures import number
from edgebed.observe.drift_chance import ONE_IN_THOUSAND
from edgebed.observe.drift_features import GRID
from edgebed.observe.drift_profile import Profile
from edgebed.observe.drift_what_if import CHANNELS, LIKE
from edgebed.observe.verdict import Verdict
from edgebed.program.types import Array

WHITE: Final = 0.4
"""Grain from which on a picture is mostly noise; white noise alone has 0.55."""
CLEARER: Final = 0.5
"""A permutation explains a picture when it leaves at most this share of the distance."""
KEPT: Final = ("mean", "deviation", "sharpness", "grain")
"""Features that neither turns nor another order of channels change."""
PLAIN: Final = {
    "brightness_shift": "level_shift", "contrast_shift": "level_shift", "noise": "input_shift",
    "blur": "input_shift", "more_detail": "input_shift", "scene_shift": "input_shift",
    "orientation": "input_shift",
}  # fmt: skip
"""What the causes of pictures are called in other data."""

FIXES: Final[Mapping[str, str]] = {
    "channel_order": "Swap the channels in the preprocessing, or ask the camera for the other"
    " order.",
    "orientation": "Turn the picture back before the network, or mount the camera as it was.",
    "blur": "Clean or focus the lens; check the resize method and the exposure time.",
    "noise": "Look at gain, light and cabling of the sensor; compare its settings with the"
    " reference's.",
    "more_detail": "Look for another resize method, sharpening in the camera, or another scene.",
    "brightness_shift": "Check light, exposure and gain, then the normalisation of the input.",
    "level_shift": "Check gain and placing of the sensor, and the normalisation of the input.",
    "contrast_shift": "Check gain, exposure and the normalisation of the input.",
    "saturation": "Lower exposure or gain; check the scale and zero point of the input.",
    "dead_sensor": "Check lens cap, power and cable of the sensor, and the preprocessing's input.",
    "new_range": "Check the sensor's range and the normalisation; calibrate again if it is meant.",
    "colour_shift": "Check white balance and light; compare the colour space of the pictures.",
    "scene_shift": "Check where the camera looks; record a new reference if the place is new.",
    "input_shift": "Look or listen to some inputs beside the reference's; check sensor and settings"
    " of the preprocessing.",
    "layer_shift": "Compare with the reference by edgebed compare; if that is quiet, the contents"
    " of the inputs are new: collect and label some.",
    "class_prior_shift": "See whether the world changed or the network errs: label some of these"
    " frames.",
}  # fmt: skip


@dataclass(frozen=True)
class Moved:
    """Distances of a window from the profile; beyond `threshold` chance does not explain them.

    Attributes:
        means: of features over the window.
        far: signed distance of each.
        apart: distance of each tensor's counts.
        threshold: for the window's size.
        frames: unrelated frames that the window is worth.
        length: its frames.
    """

    means: Mapping[str, float]
    far: Mapping[str, float]
    apart: Mapping[str, float]
    threshold: float
    frames: float
    length: int

    @property
    def largest(self) -> float:
        """The largest distance."""
        return max(map(abs, (*self.far.values(), *self.apart.values())), default=0.0)

    def of(self, tensor: str) -> dict[str, float]:
        """Return distances of a tensor's features by name."""
        start = f"{tensor}/"
        return {k[len(start) :]: v for k, v in self.far.items() if k.startswith(start)}

    def reaches(self, tensor: str) -> float:
        """Return a tensor's largest distance."""
        return max((*map(abs, self.of(tensor).values()), self.apart.get(tensor, 0.0)), default=0.0)


def named(moved: Moved, profile: Profile, since: int) -> list[Verdict]:
    """Return verdicts on an episode: of the input, or else of the first layer, and the classes.

    Args:
        moved: its clearest window.
        profile: of the program.
        since: the frame at which it began.
    """
    beyond = [name for name in profile.tensors if moved.reaches(name) > moved.threshold]
    inputs = [name for name in beyond if name.startswith("input ")]
    layers = [name for name in beyond if not name.startswith(("input ", "output "))]
    outputs = [name for name in beyond if name.startswith("output ")]
    wins = [text for name in outputs for text in _classes(moved, profile, name)]
    if inputs:
        what, evidence = _input_fault(moved, profile, inputs[0])
        if layers:
            evidence += f" {len(layers)} layers follow, {layers[0]} first."
        return [_verdict(what, inputs[0], moved, since, " ".join([evidence, *wins]))]
    found = []
    if layers:
        evidence = f"{_words(moved, profile, layers[0])} The input has not moved."
        found.append(_verdict("layer_shift", layers[0], moved, since, evidence))
    if outputs:
        evidence = " ".join(wins) or _words(moved, profile, outputs[0])
        found.append(_verdict("class_prior_shift", outputs[0], moved, since, evidence))
    return found


def _verdict(cause: str, tensor: str, moved: Moved, since: int, evidence: str) -> Verdict:
    ratio = moved.reaches(tensor) / moved.threshold
    odds = f" {ratio:.1f} times as far as chance explains, over {moved.length} frames."
    sure = min(0.99, 0.85 + 0.1 * (ratio - 1))
    return Verdict(cause, tensor, sure, f"Since frame {since}: {evidence}{odds}", FIXES[cause])


def _words(moved: Moved, profile: Profile, tensor: str) -> str:
    """Say what the features of a tensor that moved most were and are."""
    parts = moved.of(tensor)
    shown = []
    for name in sorted(parts, key=lambda one: -abs(parts[one]))[:3]:
        if abs(parts[name]) > moved.threshold:
            key = f"{tensor}/{name}"
            was, now = profile.features[key].mean, moved.means[key]
            shown.append(f"{name.replace('_', ' ')} {number(now)} instead of {number(was)}")
    return (", ".join(shown) or "its values are distributed differently") + "."


def _classes(moved: Moved, profile: Profile, tensor: str) -> Iterator[str]:
    wins = {n: v for n, v in moved.of(tensor).items() if n.endswith(" wins")}
    best = max(wins, key=lambda name: abs(wins[name]), default="")
    if best and abs(wins[best]) > moved.threshold:
        key = f"{tensor}/{best}"
        was, now = profile.features[key].mean, moved.means[key]
        yield f"{best.removesuffix(' wins')} wins in {now:.0%} of the frames instead of {was:.0%}."


def _input_fault(moved: Moved, profile: Profile, tensor: str) -> tuple[str, str]:
    words = _words(moved, profile, tensor)
    for explain in (_channel_order, _orientation, _what_if):
        if (evidence := explain(moved, profile, tensor)) and _is_picture(moved, tensor):
            return evidence[0], f"{evidence[1]} ({words[:-1]})."
    cause = _by_strongest(moved, profile, tensor)
    return (cause if _is_picture(moved, tensor) else PLAIN.get(cause, cause)), words


def _is_picture(moved: Moved, tensor: str) -> bool:
    """Whether a tensor has colours or an up and down; sounds in coefficients have neither."""
    return any(name.startswith(("channel ", LIKE)) for name in moved.of(tensor))


def _by_strongest(moved: Moved, profile: Profile, tensor: str) -> str:
    far = moved.of(tensor)
    groups = {
        "detail": ("sharpness", "grain"),
        "tone": ("mean", "deviation", "low", "high", "least", "most", "zeros", "at_low",
                 "at_high", *(n for n in far if n.endswith((" mean", " deviation")))),
        "colour": tuple(n for n in far if n.endswith(" contrast")),
        "place": ("leaning", *(n for n in far if n.startswith(("cell", LIKE)))),
    }  # fmt: skip
    sizes = {g: max((abs(far.get(n, 0.0)) for n in names), default=0.0)
             for g, names in groups.items()}  # fmt: skip
    sizes["tone"] = max(sizes["tone"], moved.apart.get(tensor, 0.0))
    if sizes["detail"] > moved.threshold:
        sizes["place"] = 0.0  # turning keeps detail, while noise and blur change the leaning too
    group = max(sizes, key=lambda name: sizes[name])
    if group == "detail":
        if far["sharpness"] < 0:
            return "blur"
        grain = moved.means[f"{tensor}/grain"]
        return "noise" if far["grain"] > 0 or grain > WHITE else "more_detail"
    if group == "tone":
        return _tone(moved, profile, tensor)
    return {"colour": "colour_shift", "place": "scene_shift"}[group]


def _tone(moved: Moved, profile: Profile, tensor: str) -> str:
    far = moved.of(tensor)
    for end in ("at_low", "at_high"):
        key = f"{tensor}/{end}"
        if end in far and far[end] > moved.threshold:
            was, now = profile.features[key].mean, moved.means[key]
            if now > 0.05 + 2 * was:
                return "saturation"
    for end, beyond in (("low", -1), ("high", 1), ("least", -1), ("most", 1)):
        known = profile.features.get(f"{tensor}/{end}")
        if known is not None and abs(far.get(end, 0.0)) > moved.threshold:
            now = moved.means[f"{tensor}/{end}"]
            if (now < known.least and beyond < 0) or (now > known.most and beyond > 0):
                return "new_range"
    mean, deviation = abs(far.get("mean", 0.0)), abs(far.get("deviation", 0.0))
    if max(mean, deviation) < 0.5 * moved.threshold:
        return "input_shift"
    return "brightness_shift" if mean > min(moved.threshold, deviation) else "contrast_shift"


def _channel_order(moved: Moved, profile: Profile, tensor: str) -> tuple[str, str] | None:
    """Find the permutation of channels whose reference the window's channels are."""
    names = [n for n in moved.of(tensor) if n.endswith(" contrast")]
    count = len(names)
    if not 2 <= count <= 4:
        return None
    parts = [[f"{tensor}/channel {at} {what}" for at in range(count)]
             for what in ("contrast", "deviation")]  # fmt: skip

    def left(order: tuple[int, ...]) -> float:
        return _left(moved, profile, [(row[at], row[order[at]], 1.0)
                                      for row in parts for at in range(count)])  # fmt: skip

    same = tuple(range(count))
    best = min(itertools.permutations(same), key=left)
    if left(same) <= moved.threshold or left(best) > min(moved.threshold, CLEARER * left(same)):
        return None
    order = ", ".join(map(str, best))
    return "channel_order", f"the channels are those of the reference in the order {order}"


def _orientation(moved: Moved, profile: Profile, tensor: str) -> tuple[str, str] | None:
    """Find the turn or mirroring that makes the reference's cells and leaning the window's."""
    if "leaning" not in moved.of(tensor) or "cell 00" not in moved.of(tensor):
        return None
    grid = np.array([[f"cell {row}{column}" for column in range(GRID)] for row in range(GRID)])
    turns: dict[str, tuple[Array, float]] = {}
    for quarter in range(4):
        turned = np.rot90(grid, quarter)
        words = f"turned by {90 * quarter} degrees to the left" if quarter else ""
        turns[words] = turned, -1.0 if quarter % 2 else 1.0
        turns[f"mirrored{' and ' if words else ''}{words}"] = (
            np.fliplr(turned), -1.0 if quarter % 2 else 1.0,
        )  # fmt: skip

    def left(words: str) -> float:
        turned, sign = turns[words]
        pairs = [(f"{tensor}/{now}", f"{tensor}/{was}", 1.0)
                 for now, was in zip(grid.ravel(), turned.ravel(), strict=True)]  # fmt: skip
        pairs.append((f"{tensor}/leaning", f"{tensor}/leaning", sign))
        return _left(moved, profile, pairs)

    same, best = "", min(turns, key=left)
    if left(same) <= moved.threshold or left(best) > min(moved.threshold, CLEARER * left(same)):
        return None
    return "orientation", f"the pictures are the reference's, {best}"


def _what_if(moved: Moved, profile: Profile, tensor: str) -> tuple[str, str] | None:
    """Find the fault under which the reference's pictures look as the window's do."""
    known, far = profile.what_if.get(tensor), moved.of(tensor)
    if known is None or any(LIKE + fault not in far for fault in known.faults):
        return None
    if max(abs(far.get(name, 0.0)) for name in KEPT) > moved.threshold:
        return None
    names = [f"{tensor}/{LIKE}{fault}" for fault in known.faults]
    units = [profile.at(profile.features[n].reach, moved.frames) / ONE_IN_THOUSAND for n in names]
    now = np.array([moved.means[name] for name in names])

    def left(wanted: Array) -> float:
        return float(np.abs((now - wanted) / units).max())

    same = left(np.array([profile.features[name].mean for name in names]))
    best = min(range(len(names)), key=lambda at: left(np.array(known.expected[at])))
    other = left(np.array(known.expected[best]))
    if same <= moved.threshold or other > min(moved.threshold, CLEARER * same):
        return None
    fault = known.faults[best]
    if fault in CHANNELS:
        order = fault.removeprefix("channels ")
        return "channel_order", f"the channels are those of the reference in the order {order}"
    return "orientation", f"the pictures are the reference's, {fault}"


def _left(moved: Moved, profile: Profile, pairs: list[tuple[str, str, float]]) -> float:
    """Return the largest distance that is left when features are compared with others'."""
    most = 0.0
    for now, was, sign in pairs:
        one, other = profile.features[now], profile.features[was]
        reach = max(profile.at(one.reach, moved.frames), profile.at(other.reach, moved.frames))
        most = max(most, ONE_IN_THOUSAND * abs(moved.means[now] - sign * other.mean) / reach)
    return most
