"""Faults inside the network, of speed and of names are named; clean pairs are silent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from observations import Array, frame, layered

from edgebed.figures import Figure
from edgebed.observe.assertions import examine
from edgebed.observe.assertions.classes import permutation
from edgebed.observe.assertions.stages import Stage, systematic
from edgebed.observe.observed import Observed, Signal
from edgebed.observe.trace import Frame, Manifest, Tensor

SEEDS = range(4)
STEP = (0.02, -128)


def maps(seed: int, count: int = 4) -> list[Array]:
    """Layers of 4 frames x 16 channels x 6 x 6, each made from the one before."""
    rng = np.random.default_rng(seed)
    found = [np.maximum(rng.normal(0, 1, (4, 16, 6, 6)), 0)]
    for _ in range(count - 1):
        mix = rng.normal(0, 0.5, (16, 16))
        found.append(np.maximum(np.einsum("oi,nihw->nohw", mix, found[-1]), 0))
        found[-1] /= found[-1].std()
    return found


def named(
    expected: list[Array], given: list[Array], scales: object = None
) -> list[tuple[str, str]]:
    steps = scales or [(float(one.max()) / 250, -128) for one in expected]
    found = examine(*layered(expected, given, steps))  # type: ignore[arg-type]
    return [(one.cause, one.layer) for one in found]


@pytest.mark.parametrize("seed", range(12))
def test_rounding_accuses_no_layer(seed: int) -> None:
    right = maps(seed)
    assert named(right, right) == []


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("at", [0, 2, 3])
def test_a_kernel_is_named_at_the_first_layer_it_spoils(seed: int, at: int) -> None:
    right = maps(seed)
    rng = np.random.default_rng(seed)
    wrong = [one.copy() for one in right]
    wrong[at] = np.roll(wrong[at], 1, 1)
    for later in range(at + 1, len(wrong)):
        wrong[later] = wrong[later] + rng.normal(0, 0.5, wrong[later].shape)
    assert named(right, wrong) == [("kernel", f"layer{at}")]


@pytest.mark.parametrize("seed", SEEDS)
def test_scales_of_the_wrong_channel_are_a_kernels_fault(seed: int) -> None:
    right = maps(seed)
    wrong = [one.copy() for one in right]
    wrong[1] *= np.random.default_rng(seed).uniform(0.7, 1.2, (1, 16, 1, 1))
    assert named(right, wrong) == [("kernel", "layer1")]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_range_that_cuts_is_too_narrow(seed: int) -> None:
    right = maps(seed)
    steps = [(float(one.max()) / 250, -128) for one in right]
    steps[2] = (steps[2][0] / 5, -128)
    assert named(right, right, steps) == [("range_too_narrow", "layer2")]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_range_of_few_steps_is_too_wide(seed: int) -> None:
    right = maps(seed)
    steps = [(float(one.max()) / 250, -128) for one in right]
    steps[1] = (steps[1][0] * 30, -128)
    assert named(right, right, steps) == [("range_too_wide", "layer1")]


def test_the_six_of_relu6_is_a_wanted_end() -> None:
    right = [one * 4 for one in maps(1)]
    cut = [np.minimum(one, 6) for one in right]
    found = named(right, cut, [(6 / 255, -128)] * 4)
    assert all(cause != "range_too_narrow" for cause, _ in found)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("value", "cause"), [(0.0, "dead_channels"), (1e3, "saturated_channels")])
def test_channels_that_never_change(seed: int, value: float, cause: str) -> None:
    right = maps(seed)
    wrong = [one.copy() for one in right]
    wrong[2][:, [3, 7]] = value
    reference, device = layered(right, wrong, [(float(one.max()) / 250, -128) for one in right])
    (found,) = examine(reference, device)
    assert (found.cause, found.layer) == (cause, "layer2")
    assert "Channels 3, 7 of 16" in found.evidence


def test_reference_kernels_tell_a_kernel_from_a_definition() -> None:
    right = maps(1)
    wrong = [one.copy() for one in right]
    wrong[2] = np.roll(wrong[2], 1, 1)
    reference, device = layered(right, wrong)
    _, healthy = layered(right, right)
    assert [one.cause for one in examine(reference, device, third=healthy)] == ["kernel"]
    assert examine(reference, device, third=healthy)[0].confidence > 0.95
    assert [one.cause for one in examine(reference, device, third=device)] == [
        "operator_definition"
    ]


@given(st.integers(0, 1000), st.floats(0.5, 2), st.floats(-1, 1))
def test_a_factor_and_an_offset_explain_themselves(seed: int, a: float, b: float) -> None:
    values = np.random.default_rng(seed).normal(0, 1, (3, 80))
    share, size = systematic(values, a * values + b)
    if abs(a - 1) + abs(b) > 0.01:
        assert share == pytest.approx(1) and size > 0


def timed(slow: dict[str, float], seed: int = 0, noise: float = 0.05) -> tuple[Observed, Observed]:
    """Time ten convolutions and three dense layers over 8 frames."""
    rng = np.random.default_rng(seed)
    kinds = {f"conv{n}": "conv" for n in range(10)} | {f"dense{n}": "dense" for n in range(3)}
    macs = {name: float(rng.uniform(1e4, 1e6)) for name in kinds}
    frames = []
    for at in range(8):
        figures = {}
        for name, kind in kinds.items():
            rate = 0.1 if kind == "conv" else 0.9
            time = rate * macs[name] * slow.get(name, 1) * rng.lognormal(0, noise)
            figures[name] = {"cycles": Figure(time, "cycles", "measured", "a test")}
        frames.append(Frame(at, layer_figures=figures))
    one = Observed.of(Manifest("device", notes={"macs": macs, "kinds": kinds}), frames)
    return Observed.of(Manifest("reference"), [Frame(at) for at in range(8)]), one


@pytest.mark.parametrize("seed", SEEDS)
def test_a_slow_layer_is_named(seed: int) -> None:
    reference, device = timed({"conv4": 40.0}, seed)
    (found,) = examine(reference, device)
    assert (found.cause, found.layer) == ("slow_layer", "conv4")


@pytest.mark.parametrize("seed", range(8))
def test_kinds_of_layers_have_laws_of_their_own(seed: int) -> None:
    assert examine(*timed({}, seed, noise=0.2)) == []


def scored(
    order: list[int], shown: list[str] | None = None, names: tuple[str, ...] = (), seed: int = 0
) -> tuple[Observed, Observed]:
    """Let a device give its scores in another order, or show other names."""
    rng = np.random.default_rng(seed)
    rows: tuple[list[Frame], list[Frame]] = ([], [])
    own = tuple(f"class{n}" for n in range(len(order)))
    for at in range(6):
        scores = rng.dirichlet(np.full(len(order), 0.4)).astype(np.float32)
        for side, values in ((0, scores), (1, scores[order])):
            tensor = Tensor("y", "output", values.shape, "float32", values=values)
            sensors = {"label": shown[int(values.argmax())]} if shown and side else {}
            rows[side].append(Frame(at, (tensor,), sensors=sensors))
    manifests = (Manifest("r", contract={"classes": own}),
                 Manifest("d", contract={"classes": names or own}))  # fmt: skip
    return Observed.of(manifests[0], rows[0]), Observed.of(manifests[1], rows[1])


def test_names_in_another_order() -> None:
    (found,) = examine(*scored([0, 1, 2], names=("class1", "class0", "class2")))
    assert found.cause == "class_names" and "another order" in found.evidence


def test_a_list_with_a_name_too_few() -> None:
    (found,) = examine(*scored([0, 1, 2], names=("class0", "class1")))
    assert found.cause == "class_names" and "2 names where the reference has 3" in found.evidence


def test_names_shown_that_are_not_those_of_the_scores() -> None:
    (found,) = examine(*scored([0, 1, 2], shown=["class1", "class2", "class0"]))
    assert found.cause == "class_names" and "shows another name" in found.evidence


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_in_another_order(seed: int) -> None:
    (found,) = examine(*scored([2, 0, 1, 3], seed=seed))
    assert found.cause == "class_names" and found.layer == "y"


def test_right_names_are_silent() -> None:
    assert examine(*scored([0, 1, 2], shown=["class0", "class1", "class2"])) == []


@given(st.permutations(range(5)))
def test_any_permutation_of_scores_is_found(order: list[int]) -> None:
    scores = np.random.default_rng(1).normal(0, 1, (8, 5)).astype(np.float32)
    signal = Signal("y", tuple(scores), "float32")
    found = permutation(Stage("output", signal, signal, scores, scores[:, order]))
    assert (list(range(5)) if found is None else found.tolist()) == list(order)


def test_a_wrong_input_explains_wrong_layers() -> None:
    rng = np.random.default_rng(0)
    rows: tuple[list[Frame], list[Frame]] = ([], [])
    for at in range(4):
        x = rng.random((3, 24, 24)).astype(np.float32)
        for side, values in ((0, x), (1, x[::-1])):
            y = np.stack([values[0] - values[2]] * 2)
            layer = Tensor("conv", "layer", y.shape, "float32", values=y)
            rows[side].append(Frame(at, (*frame(at, None, values, None).tensors, layer)))
    found = examine(*(Observed.of(Manifest("s"), one) for one in rows))
    assert [one.cause for one in found] == ["channel_order"]


def test_nothing_in_common_says_nothing() -> None:
    empty = Observed.of(Manifest("a"), [Frame(0)])
    assert examine(empty, empty) == []
    assert examine(Observed(Manifest("a")), Observed(Manifest("b"))) == []


def softmaxed(order: list[int], seed: int) -> tuple[Observed, Observed]:
    """Logits and their softmax; the device's scores lie in another order."""
    rng = np.random.default_rng(seed)
    sides = []
    for side in ("reference", "device"):
        rows = []
        for at in range(6):
            logits = np.random.default_rng([seed, at]).normal(0, 2, (1, 8)).astype(np.float32)
            logits[0, at % 3] += 40  # classes 3 to 7 are never seen
            if side == "device":
                logits += rng.normal(0, 1.5, logits.shape).astype(np.float32)
            powers = np.exp(logits - logits.max())
            scores = powers / powers.sum()
            scores = scores[:, order] if side == "device" else scores
            tensors = [Tensor("x", "input", (4,), "float32", values=np.arange(4, dtype=np.float32))]
            for name, role, values in (("logits", "layer", logits), ("scores", "output", scores)):
                tensors.append(Tensor(name, role, values.shape, "float32", values=values))
            rows.append(Frame(at, tuple(tensors)))
        sides.append(Observed.of(Manifest(side, "full"), rows))
    return sides[0], sides[1]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("swap", [(4, 6), (3, 7), (0, 1), (1, 5)])
def test_scores_that_no_frame_shows_still_have_a_place(swap: tuple[int, int], seed: int) -> None:
    order = list(range(8))
    order[swap[0]], order[swap[1]] = order[swap[1]], order[swap[0]]
    (found,) = examine(*softmaxed(order, seed))
    assert found.cause == "class_names" and found.settings == {"order": order}


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_in_order_accuse_nobody_of_their_names(seed: int) -> None:
    found = examine(*softmaxed(list(range(8)), seed))
    assert "class_names" not in {one.cause for one in found}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("kept", "said"), [(0.85, True), (0.999, False)])
def test_a_narrow_range_of_a_sparse_layer(kept: float, said: bool, seed: int) -> None:
    """A few values in a hundred are not zero: what is cut of them is little of all."""
    rng = np.random.default_rng(seed)
    values = np.where(rng.random((4, 16, 12, 12)) < 0.08, rng.uniform(0.3, 1, (4, 16, 12, 12)), 0)
    top = float(np.quantile(values[values > 0], kept))
    found = named([values], [values], [(top / 255, -128)])
    assert found == ([("range_too_narrow", "layer0")] if said else [])
