"""Faults in the way from a picture to the network's input are named; clean pairs are not."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from observations import SIZE, Array, pair, picture, scaled, to_int8, usual
from PIL import Image

from edgebed.observe.assertions import ASSERTIONS, INPUT, examine
from edgebed.observe.assertions.colour import LUMA, to_rgb, to_ycc

WAYS = Image.Resampling
SEEDS = (1, 2, 3)


def causes(*arguments: object, **keywords: object) -> list[str]:
    return [one.cause for one in examine(*pair(*arguments, **keywords))]  # type: ignore[arg-type]


def after(change: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """A fault of the right input."""
    return lambda raw: change(usual(raw))


def of_bytes(change: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """A fault of pixels 0..255, rows x columns x channels."""
    return lambda raw: np.moveaxis(change(np.moveaxis(scaled(raw), 0, -1)), -1, 0) / 255


def as_pillow(mode: str) -> Callable[[Array], Array]:
    def change(pixels: Array) -> Array:
        found = Image.fromarray(np.rint(pixels).astype(np.uint8)).convert(mode)
        return np.asarray(found if mode == "YCbCr" else found.convert("RGB"), np.float32)

    return change


def letterboxed(raw: Array) -> Array:
    high = round(SIZE * raw.shape[0] / raw.shape[1])
    result = Image.new("RGB", (SIZE, SIZE), (114, 114, 114))
    result.paste(Image.fromarray(raw).resize((SIZE, high), WAYS.BILINEAR), (0, (SIZE - high) // 2))
    return np.moveaxis(np.asarray(result, np.float32), -1, 0) / 255


def cropped(raw: Array) -> Array:
    side = raw.shape[0]
    left = (raw.shape[1] - side) / 2
    box = (left, 0, left + side, side)
    found = Image.fromarray(raw).resize((SIZE, SIZE), WAYS.BILINEAR, box)
    return np.moveaxis(np.asarray(found, np.float32), -1, 0) / 255


def moved(x: Array) -> Array:
    return np.pad(x, ((0, 0), (5, 0), (0, 4)), mode="edge")[:, :SIZE, 4:]


FAULTS: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "nearest": ("resize_method", lambda raw: scaled(raw, WAYS.NEAREST) / 255),
    "bicubic": ("resize_method", lambda raw: scaled(raw, WAYS.BICUBIC) / 255),
    "box": ("resize_method", lambda raw: scaled(raw, WAYS.BOX) / 255),
    "letterbox": ("aspect", letterboxed),
    "crop": ("crop", cropped),
    "shift": ("crop_offset", after(moved)),
    "quarter": ("rotation", after(lambda x: np.rot90(x, 1, (1, 2)))),
    "half": ("rotation", after(lambda x: np.rot90(x, 2, (1, 2)))),
    "three quarters": ("rotation", after(lambda x: np.rot90(x, 3, (1, 2)))),
    "mirror": ("mirror", after(lambda x: x[:, :, ::-1])),
    "flip": ("mirror", after(lambda x: x[:, ::-1])),
    "transposed": ("transposed", after(lambda x: np.swapaxes(x, 1, 2))),
    "[-1, 1]": ("normalisation", after(lambda x: 2 * x - 1)),
    "0..255": ("normalisation", after(lambda x: 255 * x)),
    "twice": ("double_normalisation", after(lambda x: x / 255)),
    "negative": ("inverted", after(lambda x: 1 - x)),
    "YCbCr": ("colour_space", of_bytes(as_pillow("YCbCr"))),
    "grey": ("grey", of_bytes(as_pillow("L"))),
    "limited": ("colour_range", of_bytes(lambda x: 16 + x * 219 / 255)),
    "expanded": ("colour_range", of_bytes(lambda x: np.clip((x - 16) * 255 / 219, 0, 255))),
    "layout": ("layout", after(lambda x: np.moveaxis(x, 0, -1).copy().reshape(x.shape))),
    "layout back": (
        "layout",
        after(lambda x: np.moveaxis(x.reshape(SIZE, SIZE, 3), -1, 0)),
    ),
}


@pytest.mark.parametrize(("seed", "quantised"), [(1, True), (2, True), (3, False)])
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_its_name_and_no_other(name: str, seed: int, quantised: bool) -> None:
    cause, change = FAULTS[name]
    found = examine(*pair(seed, change, quantised=quantised))
    assert [one.cause for one in found] == [cause]
    assert found[0].evidence and found[0].fix


@pytest.mark.parametrize("name", sorted(set(FAULTS) - {"twice"}))
def test_a_fault_keeps_its_name_under_another_decoder(name: str) -> None:
    cause, change = FAULTS[name]
    assert causes(4, change, noise=1.0) == [cause]


@pytest.mark.parametrize("order", [p for p in itertools.permutations(range(3)) if p != (0, 1, 2)])
def test_every_permutation_of_channels_is_named_with_its_order(order: tuple[int, ...]) -> None:
    found = examine(*pair(1, after(lambda x: x[list(order)])))
    assert [one.cause for one in found] == ["channel_order"]
    assert "".join("RGB"[at] for at in order) in found[0].evidence


def test_two_faults_at_once_are_both_named() -> None:
    found = causes(1, after(lambda x: 2 * x[::-1] - 1), quantised=False)
    assert sorted(found) == ["channel_order", "normalisation"]


def test_imagenet_normalisation_is_called_by_its_name() -> None:
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    change = after(lambda x: (x - mean[:, None, None]) / deviation[:, None, None])
    (found,) = examine(*pair(2, change, quantised=False))
    assert found.cause == "normalisation"
    assert "ImageNet" in found.evidence and "[0, 1]" in found.fix


@pytest.mark.parametrize("seed", SEEDS)
def test_unsigned_bytes_read_as_signed(seed: int) -> None:
    def reinterpreted(raw: Array) -> Array:
        return (to_int8(usual(raw)).view(np.uint8) ^ 128).view(np.int8)

    assert causes(seed, integers=reinterpreted) == ["dtype"]


@pytest.mark.parametrize("step", [-17, -4, 5, 21])
def test_a_zero_point_off_is_named_with_its_steps(step: int) -> None:
    def shifted(raw: Array) -> Array:
        return np.clip(to_int8(usual(raw)).astype(int) + step, -128, 127).astype(np.int8)

    (found,) = examine(*pair(1, integers=shifted))
    assert found.cause == "zero_point" and f"{step:+d} steps" in found.evidence


def test_values_cast_without_a_scale() -> None:
    assert causes(1, integers=lambda raw: usual(raw).astype(np.int8)) == ["dtype"]


def test_the_frame_before_is_no_other_fault() -> None:
    raws = [picture(at) for at in range(8)]
    late = iter([raws[-1], *raws])
    assert causes(1, lambda raw: usual(next(late)), raws=raws, frames=8) == ["stale_frame"]


def test_resize_needs_no_raw_picture_of_the_device() -> None:
    (found,) = examine(*pair(1, lambda raw: scaled(raw, WAYS.NEAREST) / 255))
    assert "resizes by nearest where the reference resizes by smoothed bilinear" in found.evidence


@pytest.mark.parametrize("matrix", [("BT.601", "BT.709"), ("BT.709", "BT.601")])
def test_chroma_of_another_matrix(matrix: tuple[str, str]) -> None:
    def change(x: Array) -> Array:
        planes = to_rgb(to_ycc(np.moveaxis(x, -1, 0)[None], matrix[0]), matrix[1])[0]
        return np.clip(np.moveaxis(planes, 0, -1), 0, 255)

    (found,) = examine(*pair(1, of_bytes(change)))
    assert found.cause == "colour_space" and f"decodes {matrix[0]}" in found.evidence


@given(st.lists(st.floats(0, 255), min_size=3, max_size=3), st.sampled_from(sorted(LUMA)))
def test_luma_and_chroma_lead_back_to_rgb(rgb: list[float], matrix: str) -> None:
    pixel = np.array(rgb).reshape(1, 3, 1)
    assert to_rgb(to_ycc(pixel, matrix), matrix) == pytest.approx(pixel, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("noise", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("quantised", [True, False], ids=["int8", "float"])
def test_clean_pairs_are_silent(seed: int, noise: float, quantised: bool) -> None:
    assert causes(seed, usual, noise=noise, quantised=quantised) == []


def test_clean_pairs_in_two_layouts_are_silent() -> None:
    reference, device = pair(1)
    for name, signal in device.inputs.items():
        turned = tuple(np.moveaxis(one, 0, -1) for one in signal.stored)
        object.__setattr__(signal, "stored", turned)
        object.__setattr__(signal, "layout", "HWC")
        assert name == "x"
    assert examine(reference, device) == []


@pytest.mark.parametrize("value", [0, 128, 255])
def test_pictures_of_one_colour_accuse_nobody(value: int) -> None:
    raws = [np.full((66, 88, 3), value, np.uint8)] * 4
    assert causes(1, usual, raws=raws, frames=4) == []


def test_pictures_that_have_nothing_in_common_are_called_unexplained() -> None:
    rng = np.random.default_rng(0)
    found = causes(1, lambda raw: rng.random((3, SIZE, SIZE)), raw_of_reference=False)
    assert found == ["input_unexplained"]


def test_nan_in_an_input_is_no_crash() -> None:
    found = causes(1, after(lambda x: np.where(x > 0.5, np.nan, x)), quantised=False)
    assert set(found) <= INPUT


def test_assertions_run_alone_say_the_same() -> None:
    reference, device = pair(1, after(lambda x: x[::-1]))
    said = {name: ASSERTIONS[name](reference, device) for name in ASSERTIONS}
    assert [name for name, found in said.items() if found] == ["channel_order"]
