"""The contract as C equals its reference in every bit: here and on virtual cores."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract_programs import CLASSES, NativeDetector, as_c, detector, rules, sources
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebed.data.fixed_decode import decode_fixed
from edgebed.data.preprocess import to_tensor
from edgebed.errors import EdgebedError
from edgebed.program.contract import Contract, ImageInput, Nms
from edgebed.program.run import run
from edgebed.targets._shared.arm_cores import CORES
from edgebed.targets._shared.bare_metal import run_c
from edgebed.targets._shared.contract import library as contract_c
from edgebed.targets._shared.rows.kernels.portable import PORTABLE
from edgebed.targets._shared.rows.project import make

Make = Callable[..., NativeDetector]
INPUTS = {
    "stretched": ImageInput(24, 16),
    "letterbox": ImageInput(16, 24, "bgr", "letterbox", "bilinear", "rgb888", fill=9),
    "letterbox, bits cut": ImageInput(24, 24, "rgb", "letterbox", "area", fill=77),
    "cropped": ImageInput(24, 16, "bgr", "crop", "area"),
    "nearest": ImageInput(16, 16, "rgb", "crop", "nearest", "rgb888"),
}
CONTRACTS: dict[str, tuple[Contract, bool]] = {
    "softmax": (rules(INPUTS["stretched"]), True),
    "sigmoid": (rules(INPUTS["letterbox"], size="sigmoid", class_score="sigmoid"), True),
    "few candidates": (rules(INPUTS["cropped"], boxes=3, nms=Nms(0.0, 0.45, 5, 7)), True),
    "many boxes": (rules(INPUTS["stretched"], boxes=4, nms=Nms(0.0, 0.9, 200, 4096)), True),
    "bytes": (rules(INPUTS["nearest"], boxes=1, stretch=3.0), False),
}


def compiled(contract: Contract, folder: Path, wide: bool = True) -> NativeDetector:
    return NativeDetector(make(detector(contract, wide=wide), PORTABLE, "balanced"), folder)


@pytest.fixture(scope="module", params=list(INPUTS))
def eye(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NativeDetector:
    return compiled(rules(INPUTS[request.param]), tmp_path_factory.mktemp("eye"))


@pytest.fixture(scope="module", params=list(CONTRACTS))
def decoder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> NativeDetector:
    contract, wide = CONTRACTS[request.param]
    return compiled(contract, tmp_path_factory.mktemp("decoder"), wide)


def picture(width: int, height: int, seed: int, kind: str = "noise") -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "extremes":
        return rng.choice(np.array([0, 255], np.uint8), (height, width, 3))
    if kind == "flat":
        return np.full((height, width, 3), rng.integers(256), np.uint8)
    return rng.integers(0, 256, (height, width, 3), np.uint8)


@settings(max_examples=80)
@given(
    width=st.integers(1, 90), height=st.integers(1, 90), seed=st.integers(0, 99),
    kind=st.sampled_from(["noise", "extremes", "flat"]),
)  # fmt: skip
def test_pictures_of_any_size(
    eye: NativeDetector, width: int, height: int, seed: int, kind: str
) -> None:
    frame = picture(width, height, seed, kind)
    wanted = to_tensor(frame, eye.project.program.contract.input)  # type: ignore[union-attr]
    found = eye.prepare(frame)
    assert found is not None
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("size", [(640, 480), (1, 4096), (4096, 1), (4096, 16), (331, 1999)])
def test_large_pictures(eye: NativeDetector, size: tuple[int, int]) -> None:
    frame = picture(*size, 3, "extremes")
    wanted = to_tensor(frame, eye.project.program.contract.input)  # type: ignore[union-attr]
    np.testing.assert_array_equal(eye.prepare(frame), wanted)


def test_sums_of_the_largest_picture_fit(eye: NativeDetector) -> None:
    frame = np.full((4096, 4096, 3), 255, np.uint8)
    wanted = to_tensor(frame, eye.project.program.contract.input)  # type: ignore[union-attr]
    np.testing.assert_array_equal(eye.prepare(frame), wanted)


def test_pictures_of_the_networks_size(eye: NativeDetector) -> None:
    shape = eye.project.program.contract.input  # type: ignore[union-attr]
    for seed in range(5):
        frame = picture(shape.width, shape.height, seed)
        found = eye.prepare_same(frame)
        np.testing.assert_array_equal(found, to_tensor(frame, shape))
        np.testing.assert_array_equal(found, eye.prepare(frame))


def test_empty_and_huge_pictures_are_refused(eye: NativeDetector) -> None:
    for size in ((0, 5), (5, 0), (4097, 1), (1, 4097)):
        assert eye.prepare(np.zeros((size[1], size[0], 3), np.uint8)) is None


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), spread=st.sampled_from([0, 1, 9, 127, 5000, 2**24]))
def test_boxes_of_random_maps(decoder: NativeDetector, seed: int, spread: int) -> None:
    program = decoder.project.program
    kind = program.types["y"]
    most = min(spread, np.iinfo(kind.dtype).max)
    rng = np.random.default_rng(seed)
    output = rng.integers(-most, most + 1, kind.shape).astype(kind.dtype)
    assert program.contract is not None
    assert decoder.detect(output) == as_c(decode_fixed(output, kind.scale, program.contract))


def test_many_maps_have_boxes(decoder: NativeDetector) -> None:
    kind = decoder.project.program.types["y"]
    bright = np.full(kind.shape, 100, kind.dtype)
    assert len(decoder.detect(bright)) >= 20


_MAIN = """#include "eye.h"
#include "eye_contract.h"
uint8_t frame[{bytes}] = {{1}};
uint8_t arena[EYE_ARENA_BYTES] __attribute__((aligned(16)));
uint8_t input[EYE_INPUT_0_BYTES];
struct eye_detection found[EYE_DETECTIONS];
uint32_t count;
void bench(void)
{{
    eye_prepare_scaled(frame, {width}, {height}, input);
    for (uint32_t i = 0; i < sizeof input; i++) ((uint8_t *)eye_input(arena, 0))[i] = input[i];
    eye_run(arena);
    count = eye_detect(arena, found);
}}
"""


def _cores() -> list[Any]:
    missing = shutil.which("qemu-system-arm") is None
    skip = pytest.mark.skipif(missing, reason="qemu-system-arm is not installed")
    return [name if CORES[name].unicorn else pytest.param(name, marks=skip) for name in CORES]


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("core", _cores())
def test_a_frame_through_a_virtual_core(core: str, wide: bool) -> None:
    program = detector(rules(INPUTS["letterbox, bits cut"], nms=Nms(0.02)), wide=wide)
    project = make(program, PORTABLE, "balanced")
    frame = picture(50, 31, 1)
    texts = {
        path.removeprefix("edgebed/"): data.decode().replace('"edgebed/', '"')
        for path, data in sources(project).items()
    }
    main = _MAIN.format(bytes=frame.size, width=50, height=31)
    ran = run_c(
        core,
        {"main.c": main} | {name: text for name, text in texts.items() if name.endswith(".c")},
        headers={name: text for name, text in texts.items() if name.endswith(".h")},
        inputs={"frame": frame.tobytes()},
        outputs=["input", "found", "count"],
    )
    assert program.contract is not None
    tensor = to_tensor(frame, program.contract.input)
    assert ran.outputs["input"] == tensor.tobytes()
    output = run(program, tensor)["y"]
    wanted = as_c(decode_fixed(output, program.types["y"].scale, program.contract))
    count = int.from_bytes(ran.outputs["count"], "little")
    assert count > 1
    assert ran.outputs["found"][: 20 * count] == wanted


def test_names_of_classes_are_plain_text() -> None:
    contract = rules(INPUTS["stretched"])
    text = contract_c.files(detector(contract), "eye")["eye_contract.c"].decode()
    assert '"a \\"quoted\\" name"' in text and '"une tres longue classe"' in text
    assert len(CLASSES) == 3


def test_a_network_without_a_contract_has_no_such_files() -> None:
    program = replace(detector(rules(INPUTS["stretched"])), contract=None)
    assert contract_c.files(program, "eye") == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"input": replace(INPUTS["stretched"], width=32)},
            r"contract delivers int8 \(3, 16, 32\)",
        ),
        ({"input": replace(INPUTS["stretched"], offset=0)}, "become int8 by subtracting 128"),
        ({"classes": ("a", "b")}, "a map of 12x2x3 integers with zero point 0 is needed"),
    ],
)
def test_a_contract_of_another_network_is_refused(changes: dict[str, Any], said: str) -> None:
    contract = rules(INPUTS["stretched"])
    program = replace(detector(contract), contract=replace(contract, **changes))
    with pytest.raises(EdgebedError, match=said):
        contract_c.files(program, "eye")
