"""Assertions that name what is wrong with a deployment.

Each is a plain function `name(reference, device) -> list[Verdict]` and may be called alone. The
faults of a network's input are judged together (`explanation`), so that one input has one cause.
`examine` runs all of them and keeps one verdict a fault: a wrong input explains whatever the layers
behind it do, and the first layer at fault explains the later ones.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from edgebed.observe.assertions.user import load_user
from edgebed.observe.observed import Observed
from edgebed.observe.verdict import Verdict, ranked

Assertion = Callable[[Observed, Observed], list[Verdict]]

_HOMES: Final[Mapping[str, str]] = {
    "channel_order": "channels", "normalisation": "normalisation",
    "double_normalisation": "normalisation", "resize_method": "placing", "aspect": "placing",
    "crop": "placing", "crop_offset": "geometry.shifted", "orientation": "geometry",
    "stale_frame": "geometry", "colour_space": "colour", "colour_range": "colour",
    "colour_depth": "colour", "layout": "layout", "wrong_type": "integers",
    "zero_point": "integers", "sample_rate": "audio", "feature_settings": "audio",
    "sound_samples": "waveform",
    "unexplained": "unexplained", "range_too_narrow": "quantisation",
    "range_too_wide": "quantisation", "saturated_channels": "quantisation",
    "dead_channels": "quantisation", "kernel": "kernels", "class_names": "classes",
    "slow_layer": "latency", "decode": "decode", "weights": "weights",
}  # fmt: skip
"""Module of each assertion, and its function where that has another name."""

INPUT: Final = frozenset({
    "channel_order", "normalisation", "double_normalisation", "resize_method", "aspect", "crop",
    "crop_offset", "rotation", "mirror", "transposed", "stale_frame", "colour_space", "grey",
    "inverted", "colour_range", "colour_depth", "layout", "dtype", "zero_point",
    "audio_sample_rate", "audio_features", "audio_samples",
    "input_unexplained",
})  # fmt: skip
"""Causes that lie in front of the network."""
WEIGHTS: Final = ("missing_biases", "stale_weights")
"""Causes that are proven by computing layers again, and explain whatever else layers do."""
LAYERS: Final = (
    *WEIGHTS, "range_too_narrow", "range_too_wide", "saturated_channels", "dead_channels",
    "class_names", "operator_definition", "kernel",
)  # fmt: skip
"""Causes inside the network, the most specific first."""


class _Registry(Mapping[str, Assertion]):
    """Assertions by name; a module is imported when one of its functions is asked for."""

    def __getitem__(self, name: str) -> Assertion:
        module, _, function = _HOMES[name].partition(".")
        found = importlib.import_module(f"edgebed.observe.assertions.{module}")
        assertion: Assertion = getattr(found, function or name)
        return assertion

    def __iter__(self) -> Iterator[str]:
        return iter(_HOMES)

    def __len__(self) -> int:
        return len(_HOMES)


ASSERTIONS: Final[Mapping[str, Assertion]] = _Registry()


def examine(
    reference: Observed,
    device: Observed,
    more: Iterable[Assertion] = (),
    third: Observed | None = None,
) -> list[Verdict]:
    """Run every assertion on a pair of samples and return one verdict a fault, the surest first.

    Args:
        reference: sample of the trace to trust.
        device: sample of the trace to examine, the same frames.
        more: a user's assertions; what they find is added as it is.
        third: the device's quantised network in reference kernels, the same frames; tells a
            defective kernel from a defective quantisation.
    """
    if not len(reference) or not len(device):
        return []
    found = [verdict for name in ASSERTIONS for verdict in ASSERTIONS[name](reference, device)]
    if third is not None:
        from edgebed.observe.assertions.kernels import kernel_against_third

        found = [one for one in found if one.cause != "kernel"]
        found += kernel_against_third(reference, device, third)
    kept = _one_a_fault(found, reference, device)
    own = [verdict for assertion in more for verdict in assertion(reference, device)]
    return [*ranked(kept), *own]


def _one_a_fault(found: list[Verdict], reference: Observed, device: Observed) -> list[Verdict]:
    wrong_input = [one for one in found if one.cause in INPUT]
    free = [one for one in found if one.cause not in INPUT and not _inside(one)]
    if wrong_input:
        return wrong_input + free
    inside = [one for one in found if _inside(one)]
    if not inside:
        return free
    from edgebed.observe.assertions.stages import stages_of

    places = {one.name: at for at, one in enumerate(stages_of(reference, device))}
    first = min(
        inside,
        key=lambda one: (
            one.cause not in WEIGHTS, places.get(one.layer, 0), LAYERS.index(one.cause)
        ),
    )  # fmt: skip
    return [first, *free]


def _inside(one: Verdict) -> bool:
    """Say whether a verdict blames a layer; class names in a list blame none."""
    return one.cause in LAYERS and bool(one.layer)


__all__ = ["ASSERTIONS", "INPUT", "LAYERS", "WEIGHTS", "Assertion", "examine", "load_user"]
