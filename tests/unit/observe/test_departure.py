"""The layer at fault is found, in whatever order, layout or name the device recorded it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from traces import Recorder, float_network, inputs, integer_network, pictures, preprocessed, renamed

from edgebed.observe.axes import Rearrangement
from edgebed.observe.departure import first_departure
from edgebed.observe.departure_verdict import departure_verdict
from edgebed.observe.layer_error import LayerError
from edgebed.observe.matching import Pair
from edgebed.observe.trace import Tensor
from edgebed.observe.trace_comparison import TraceComparison, compare_traces
from edgebed.program.types import Array

FLOAT, INTEGER = float_network(), integer_network()
LAYERS = tuple(one.output for one in INTEGER.ops if INTEGER.types[one.output].dtype == "int8")
FRAMES = 4
Plant = Callable[[Array, Array | None, np.random.Generator], Array]


def clipped(values: Array) -> Array:
    return np.clip(values, -128, 127).astype(np.int8)


def scale_of_one_channel(right: Array, _before: Array | None, rng: np.random.Generator) -> Array:
    wrong = right.copy()
    channel = rng.integers(len(right))
    wrong[channel] = clipped(right[channel].astype(int) * 2 + 3)
    return wrong


def border(right: Array, _before: Array | None, _rng: np.random.Generator) -> Array:
    if right.shape[-1] < 4:
        return clipped(right + 1.0)
    wrong = right.copy()
    wrong[:, 0], wrong[:, :, -1] = clipped(right[:, 0] - 9.0), clipped(right[:, :, -1] + 7.0)
    return wrong


def stale_buffer(right: Array, before: Array | None, _rng: np.random.Generator) -> Array:
    return right if before is None else before


def off_by_one(right: Array, _before: Array | None, rng: np.random.Generator) -> Array:
    wrong = right.astype(int)
    place = rng.integers(right.size)  # one value in every frame, and a few more
    wrong.ravel()[place] += 1 if wrong.ravel()[place] < 127 else -1
    return clipped(wrong + (rng.random(right.shape) < 0.02))


def overflow(right: Array, _before: Array | None, _rng: np.random.Generator) -> Array:
    wide = right.astype(int) * 3
    return ((wide + 128) % 256 - 128).astype(np.int8)


DEFECTS: dict[str, Plant] = {
    one.__name__: one for one in (scale_of_one_channel, border, stale_buffer, off_by_one, overflow)
}


def planted(layer: str, defect: str, seed: int = 0, **changes: object) -> Recorder:
    rng = np.random.default_rng(seed)

    def plant(right: Array, before: Array | None) -> Array:
        return DEFECTS[defect](right, before, rng)

    recorder = Recorder(INTEGER, "board", defects={layer: plant})
    return replace(recorder, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clean")
    given = pictures(FRAMES)
    return {
        "integer": Recorder(INTEGER).record(folder / "integer.trace", given),
        "float": Recorder(FLOAT, digest="f").record(folder / "float.trace", given),
        "statistics": Recorder(INTEGER, level="statistics").record(folder / "s.trace", given),
    }


def compared(clean: Path, recorder: Recorder, folder: Path, **options: bool) -> TraceComparison:
    path = recorder.record(folder / "device.trace", pictures(FRAMES))
    return compare_traces(clean, path, **options)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("defect", DEFECTS)
@pytest.mark.parametrize("other_names", [False, True])
def test_layer_of_any_defect_is_named(
    clean: dict[str, Path], tmp_path: Path, layer: str, defect: str, other_names: bool
) -> None:
    changed = renamed if other_names else (lambda one: one)
    for seed in range(2):
        device = planted(layer, defect, seed, changed=changed)
        found = compared(clean["integer"], device, tmp_path)
        assert found.departure is not None
        assert found.departure.layer == layer
        before = found.errors[: found.departure.index]
        assert all(one.equal for one in before)


@pytest.mark.parametrize("layer", [name for name in LAYERS if name not in ("x.q", "scores.q")])
def test_layer_is_named_beside_the_float_network(
    clean: dict[str, Path], tmp_path: Path, layer: str
) -> None:
    found = compared(clean["float"], planted(layer, "overflow", digest="q"), tmp_path)
    assert found.departure is not None
    assert found.departure.device_layer == layer
    assert found.departure.rule == "steps"


@pytest.mark.parametrize("other_names", [False, True])
def test_clean_quantisation_raises_no_alarm(
    clean: dict[str, Path], tmp_path: Path, other_names: bool
) -> None:
    changed = renamed if other_names else (lambda one: one)
    device = Recorder(INTEGER, "board", digest="q", changed=changed)
    found = compared(clean["float"], device, tmp_path)
    assert found.departure is None
    assert max(one.nrmse for one in found.errors) < 0.05
    assert {key[1] for key in found.matching.only_reference} == {"stem", "wide", "sum"}


def test_equal_traces_are_equal(clean: dict[str, Path], tmp_path: Path) -> None:
    found = compared(clean["integer"], Recorder(INTEGER, "board", changed=renamed), tmp_path)
    assert found.departure is None and not found.worst
    assert all(one.equal and one.nrmse == 0 for one in found.errors)
    assert found.agreement == (FRAMES, FRAMES)


DEFECT_WORDS = {
    "scale_of_one_channel": "kernel_channel", "border": "kernel_border",
    "stale_buffer": "stale_buffer", "off_by_one": "kernel_rounding",
}  # fmt: skip


@pytest.mark.parametrize("layer", ["deep.q", "last.q", "point.q"])
@pytest.mark.parametrize("defect", DEFECT_WORDS)
def test_defect_is_recognised(
    clean: dict[str, Path], tmp_path: Path, layer: str, defect: str
) -> None:
    found = departure_verdict(compared(clean["integer"], planted(layer, defect), tmp_path))
    assert found is not None
    assert (found.cause, found.layer) == (DEFECT_WORDS[defect], layer)
    assert found.confidence > 0.9
    assert f"--layer {layer} --frame" in found.command


def test_preprocessing_is_named_before_any_layer(clean: dict[str, Path], tmp_path: Path) -> None:
    wrong = Recorder(INTEGER, "board", preprocess=lambda p: preprocessed(p[..., ::-1]))
    found = compared(clean["integer"], wrong, tmp_path)
    said = departure_verdict(found)
    assert said is not None and (said.cause, said.layer) == ("preprocessing", "x")


def test_transposed_input_is_a_fault_and_no_layout(clean: dict[str, Path], tmp_path: Path) -> None:
    wrong = Recorder(INTEGER, "board", preprocess=lambda p: preprocessed(p.transpose(1, 0, 2)))
    found = compared(clean["integer"], wrong, tmp_path)
    assert found.departure is not None and found.departure.layer == "x"


def test_one_wrong_tensor_spikes_and_a_wrong_kernel_steps(
    clean: dict[str, Path], tmp_path: Path
) -> None:
    def spike(one: Tensor) -> Tensor:
        return replace(one, values=clipped(-one.real * 99)) if one.name == "deep.q" else one

    device = Recorder(INTEGER, "board", digest="q", changed=spike)
    heals = departure_verdict(compared(clean["float"], device, tmp_path))
    assert heals is not None and (heals.cause, heals.layer) == ("op_quantisation", "deep")
    device = planted("wide_relu.q", "overflow", digest="q")
    steps = compared(clean["float"], device, tmp_path)
    assert steps.departure is not None and steps.departure.pattern == "step"
    said = departure_verdict(steps)
    assert said is not None and said.cause == "kernel"


def errors(*values: float) -> list[LayerError]:
    found = []
    for index, value in enumerate(values):
        pair = Pair(
            ("layer", f"l{index}"), ("layer", f"l{index}"), "name", Rearrangement((9,), (0,), (9,))
        )
        found.append(LayerError(
            pair, 1, 9, value, value, 0, 0, value, (0, 1), (0, 1), 0, 0, False, 0, 0, 0.01, True,
            False, 0,
        ))  # fmt: skip
    return found


@pytest.mark.parametrize(
    ("values", "index", "pattern"),
    [
        ((0.01, 0.02, 0.05, 0.09, 0.15, 0.2, 0.3), 5, "grows"),
        ((0.01, 0.02, 0.5, 0.4, 0.3, 0.4), 2, "step"),
        ((0.003, 0.07, 0.06, 0.08), 1, "step"),
        ((0.01, 0.02, 0.5, 0.02, 0.03), 2, "spike"),
        ((0.01, 0.02, 0.45), 2, "step"),
        ((0.003, 0.01, 0.02, 0.05, 0.075, 0.08), None, ""),
        ((0.0, 0.0, 0.03), None, ""),
    ],
)
def test_pattern_of_errors(values: tuple[float, ...], index: int | None, pattern: str) -> None:
    found = first_departure(errors(*values), exact=False)
    assert (found and (found.index, found.pattern)) == (None if index is None else (index, pattern))


def test_nan_and_infinity_are_counted_and_named(clean: dict[str, Path], tmp_path: Path) -> None:
    def broken(one: Tensor) -> Tensor:
        if one.name != "deep.q":
            return one
        values = one.real
        values.ravel()[[3, 5, 8]] = np.nan, np.inf, -np.inf
        return replace(one, values=values, dtype="float32", scale=None)

    found = compared(clean["integer"], Recorder(INTEGER, "board", changed=broken), tmp_path)
    said = departure_verdict(found)
    assert said is not None and (said.cause, said.layer) == ("not_finite", "deep.q")
    assert f"{3 * FRAMES} NaN or infinite" in said.evidence
    assert np.isfinite([one.nrmse for one in found.errors]).all()


def test_statistics_name_the_layer_with_less_certainty(
    clean: dict[str, Path], tmp_path: Path
) -> None:
    for layer in ("wide_relu.q", "last.q", "mean.q"):
        device = planted(layer, "overflow", level="statistics")
        found = compared(clean["statistics"], device, tmp_path)
        said = departure_verdict(found)
        assert said is not None and said.layer == layer and said.confidence <= 0.7
        mixed = compared(clean["integer"], device, tmp_path)  # one side has the values
        assert mixed.departure is not None and mixed.departure.layer == layer
    same = compared(clean["integer"], Recorder(INTEGER, "board", level="statistics"), tmp_path)
    assert same.departure is None


def test_a_tensor_without_a_finite_value_is_named(clean: dict[str, Path], tmp_path: Path) -> None:
    def lost(one: Tensor) -> Tensor:
        values = np.full(one.shape, np.nan, np.float32)
        return one if one.name != "deep.q" else replace(
            one, values=values, dtype="float32", scale=None
        )  # fmt: skip

    said = departure_verdict(compared(clean["integer"], Recorder(INTEGER, changed=lost), tmp_path))
    assert said is not None and (said.cause, said.layer) == ("not_finite", "deep.q")
    assert "infinite" in said.evidence


def test_statistics_bound_the_error_from_below(clean: dict[str, Path], tmp_path: Path) -> None:
    device = planted("wide_relu.q", "overflow")
    full = compared(clean["integer"], device, tmp_path)
    less = compared(clean["statistics"], replace(device, level="statistics"), tmp_path)
    for a, b in zip(full.errors, less.errors, strict=True):
        if b.by_statistics and a.frames == b.frames:
            assert b.nrmse <= a.nrmse * 1.001 + 1e-9
    assert any(one.by_statistics and one.nrmse > 0.05 for one in less.errors)


def test_layers_missing_on_one_side_are_suspects(clean: dict[str, Path], tmp_path: Path) -> None:
    device = planted("deep.q", "overflow", dropped=("wide_relu.q", "deep.q"))
    found = compared(clean["integer"], device, tmp_path)
    assert found.departure is not None
    assert found.departure.layer == "point.q"
    assert found.departure.unseen == ("wide_relu.q", "deep.q")
    assert {key[1] for key in found.matching.only_reference} == {"wide_relu.q", "deep.q"}


def test_runtimes_with_kernels_of_their_own_may_round_otherwise(
    clean: dict[str, Path], tmp_path: Path
) -> None:
    device = planted("deep.q", "off_by_one", source="litert")
    assert compared(clean["integer"], device, tmp_path).departure is None
    strict = compared(clean["integer"], device, tmp_path, exact=True)
    assert strict.departure is not None and strict.departure.layer == "deep.q"
    gross = compared(clean["integer"], planted("deep.q", "overflow", source="litert"), tmp_path)
    assert gross.departure is not None and gross.departure.layer == "deep.q"


def test_constant_tensors_divide_nothing_by_zero(clean: dict[str, Path], tmp_path: Path) -> None:
    def flat(one: Tensor) -> Tensor:
        return one if one.values is None else replace(one, values=np.full_like(one.values, 5))

    found = compared(clean["integer"], Recorder(INTEGER, "board", changed=flat), tmp_path)
    assert np.isfinite([one.nrmse for one in found.errors]).all()
    path = Recorder(INTEGER, changed=flat).record(tmp_path / "flat.trace", pictures(FRAMES))
    same = compared(path, Recorder(INTEGER, "board", changed=flat), tmp_path)
    assert same.departure is None


def test_integers_without_a_scale_are_fitted(clean: dict[str, Path], tmp_path: Path) -> None:
    def bare(one: Tensor) -> Tensor:
        return one if one.role != "layer" else replace(one, scale=None, zero_point=0)

    device = Recorder(INTEGER, "board", digest="q", changed=bare)
    found = compared(clean["float"], device, tmp_path)
    assert found.departure is None
    deep = found.error_of("deep")
    assert deep is not None and deep.pair.step == pytest.approx(
        INTEGER.types["deep.q"].scale, rel=0.02
    )


def test_inputs_are_what_the_tests_believe() -> None:
    assert inputs(1)[0].shape == INTEGER.input_type.shape


def test_a_small_error_of_the_input_is_not_the_layers_that_pass_it_on(
    clean: dict[str, Path], tmp_path: Path
) -> None:
    base = compared(clean["float"], Recorder(FLOAT), tmp_path)
    for own, cause, layer in ((0.007, "preprocessing", "x"), (0.0, "quantisation", "stem")):
        changed = tuple(
            replace(
                one, quantised=False, first_frame=0, worst_frame=0,
                nrmse={"raw": 0.0, "input": own}.get(one.pair.role, 0.012),
            )
            for one in base.errors
        )  # fmt: skip
        where = first_departure(changed, exact=False)
        assert where is not None and where.layer == "stem"
        grown = replace(where, pattern="grows")
        said = departure_verdict(replace(base, errors=changed, departure=grown))
        assert said is not None and (said.cause, said.layer) == (cause, layer)
    blind = [one for one in changed if one.pair.role != "layer"]
    seen = tuple(replace(one, nrmse=0.007) if one.pair.role == "input" else one for one in blind)
    where = first_departure(seen, exact=False)
    assert where is not None and where.layer == "scores"
    said = departure_verdict(replace(base, errors=seen, departure=where))
    assert said is not None and (said.cause, said.layer) == ("preprocessing", "x")


def test_raw_pictures_of_another_library_are_recognised(tmp_path: Path) -> None:
    given = pictures(FRAMES)
    reference = Recorder(FLOAT).record(tmp_path / "a.trace", given)
    for turn, part in (
        (np.s_[..., ::-1], "frame[..., ::-1]"), (np.s_[::-1], "same raw data"),
    ):  # fmt: skip
        seen = [np.ascontiguousarray(one[turn]) for one in given]
        back = Recorder(FLOAT, preprocess=lambda p, turn=turn: preprocessed(p[turn]))
        device = back.record(tmp_path / "b.trace", seen)
        said = departure_verdict(compare_traces(reference, device))
        assert said is not None and said.cause == "different_raw_data"
        assert part in said.fix
