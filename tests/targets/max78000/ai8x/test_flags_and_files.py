"""Options of the ai8x tools, weights files, and where the input's shape comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_project import Small

from edgebed import events
from edgebed.errors import EdgebedError
from edgebed.program.ops.conv2d import Conv2d
from edgebed.targets.max78000.ai8x import FLAGS, first_free, parse_flags, read_project
from edgebed.targets.max78000.hints import Options

LAYER = "- {processors: 0x3, op: conv2d, activate: ReLU}\n"
SMALL = Small(LAYER, (2, 4, 5), {0: (3, 2, 3, 3)}, biased=(0,))


def options(words: str, tmp_path: Path) -> Options:
    project, _ = Small(LAYER, (2, 4, 5), {0: (3, 2, 3, 3)}, words).read(tmp_path)
    return project.options


def test_words_become_options() -> None:
    words = ["--fifo", "--input-offset", "0x100", "--stop-after=3", "--no-bias", "-v"]
    assert parse_flags(words) == {
        "fifo": True,
        "input-offset": "0x100",
        "stop-after": "3",
        "no-bias": True,
        "verbose": True,
    }
    assert parse_flags(["--no-bias", "1,2", "--fifo"]) == {"no-bias": "1,2", "fifo": True}


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("net.yaml --fifo", 0),
        ("--fifo net.yaml", 1),
        ("--no-bias net.yaml", 1),
        ("--no-bias 1,2 net.yaml", 2),
        ("--input-offset 0x100 --stop-after=3 net.yaml", 3),
        ("--sample-input a.npy", None),
    ],
)
def test_the_model_may_stand_behind_options(words: str, place: int | None) -> None:
    assert first_free(words.split()) == place


def test_a_negative_offset_and_missing_weights_say_what_to_change(tmp_path: Path) -> None:
    with pytest.raises(EdgebedError, match="--input-offset -4"):
        options("--input-offset=-4", tmp_path)
    SMALL.read(tmp_path)
    with pytest.raises(EdgebedError, match="--weights FILE"):
        read_project(next(tmp_path.glob("*.yaml")), None, {"input-shape": "2,4,5"})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--fifoo"], "unknown option --fifoo.*'--fifo'"),
        (["fifo"], "'fifo' belongs to no option"),
        (["--input-offset"], "--input-offset needs a value"),
        (["--input-offset", "--fifo"], "--input-offset needs a value"),
    ],
)
def test_wrong_words_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(EdgebedError, match=message):
        parse_flags(words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--simple1b", "--simple1b is not possible"),
        ("--stop-after 4", "there is no such layer"),
        ("--streaming-layers 2", "there is no such layer"),
        ("--output-width 16", "--output-width 16"),
        ("--input-offset far", "'far' is not a whole number"),
        ("--input-shape 5", "is not C,H,W"),
        ("--start-layer 1", "--start-layer is not possible.*--skip-yaml-layers"),
        ("--device MAX78002", "another device"),
        ("--layer-settings nowhere.json", "cannot read the layer settings"),
    ],
)
def test_wrong_values_are_refused(words: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(EdgebedError, match=message):
        options(words, tmp_path)


def test_options_reach_the_project(tmp_path: Path) -> None:
    assert options("", tmp_path) == Options()
    assert options("--fifo --overlap-data", tmp_path) == Options(fifo=True, overlap_data=True)
    assert options("--fast-fifo --avg-pool-rounding", tmp_path) == Options(
        fifo=True, avg_pool_rounding=True
    )


def test_options_that_change_layers(tmp_path: Path) -> None:
    project, _ = Small(
        LAYER, (2, 4, 5), {0: (3, 2, 3, 3)}, "--ignore-activation --output-width 32 "
        "--input-offset 0x100 --streaming-layers 0",
    ).read(tmp_path)  # fmt: skip
    (op,) = project.program.ops
    assert isinstance(op, Conv2d)
    assert (op.activation, op.requantize) == ("none", None)
    assert (project.layers[0].in_offset, project.layers[0].streaming) == (0x100, True)


def test_idle_options_are_noted(tmp_path: Path) -> None:
    description, weights, _ = SMALL.write(tmp_path)
    heard: list[events.Event] = []
    flags = {"input-shape": "2,4,5", **parse_flags(["--softmax", "--board-name", "FTHR"])}
    read_project(description, weights, flags, heard.append)
    texts = [event.text for event in heard if isinstance(event, events.Note)]
    assert texts == ["--softmax has no effect here", "--board-name has no effect here"]


@pytest.mark.parametrize(
    "words",
    ["--no-mexpress", "--no-compact-data", "--rtl-preload-weights", "--apb", "--clock-divider 4"],
)
def test_options_about_loading_and_clocks_have_no_effect(words: str, tmp_path: Path) -> None:
    description, weights, _ = SMALL.write(tmp_path)
    plain = read_project(description, weights, {"input-shape": "2,4,5"})
    flags = {"input-shape": "2,4,5", **parse_flags(words.split())}
    assert read_project(description, weights, flags).program == plain.program


def test_every_option_says_what_it_does() -> None:
    assert {flag.effect for flag in FLAGS.values()} == {
        "result", "timing", "layout", "input", "check", "none", "refused",
    }  # fmt: skip
    assert all(flag.help for flag in FLAGS.values())


# The input's shape


def shape(folder: Path, flags: dict[str, Any], head: str = "dataset: mine") -> tuple[int, ...]:
    description, weights, _ = SMALL.write(folder)
    description.write_text(description.read_text().replace("dataset: mine", head))
    return read_project(description, weights, flags).program.input_type.shape


def test_the_shape_comes_from_the_first_that_says_it(tmp_path: Path) -> None:
    with pytest.raises(EdgebedError, match=r"yaml:5: the input's shape is not known.*C,H,W"):
        shape(tmp_path, {})
    with pytest.raises(EdgebedError, match=r"there is no file gone\.npy"):
        shape(tmp_path, {"sample-input": "gone.npy"})
    settings = {"config": {"input_channels": [2], "input_dim": [[5, 5]], "operands": [1]}}
    (tmp_path / "meta.json").write_text(json.dumps(settings))
    assert shape(tmp_path, {}) == (2, 5, 5)
    np.save(tmp_path / "sample_input.npy", np.zeros((2, 7, 7), np.int8))
    assert shape(tmp_path, {}) == (2, 7, 7)
    assert shape(tmp_path, {"sample-input": "gone.npy"}) == (2, 7, 7)
    (tmp_path / "tests").mkdir()
    np.save(tmp_path / "tests" / "sample_mine.npy", np.zeros((2, 6, 6), np.int8))
    assert shape(tmp_path, {}) == (2, 6, 6)
    np.save(tmp_path / "mine.npy", np.zeros((2, 9), np.int8))
    assert shape(tmp_path, {"sample-input": str(tmp_path / "mine.npy")}) == (2, 9, 1)
    assert shape(tmp_path, {"input-shape": "2,3,4"}) == (2, 3, 4)


def test_the_description_can_say_the_shape(tmp_path: Path) -> None:
    small = Small("- {processors: 0x3, op: add, in_channels: 2, in_dim: [3, 7]}\n", (4, 3, 7), {})
    description, _, _ = small.write(tmp_path)
    assert read_project(description).program.input_type.shape == (4, 3, 7)


def test_known_data_sets_have_a_shape(tmp_path: Path) -> None:
    small = Small("- {processors: 0x7, op: none}\n", (3, 32, 32), {})
    description, _, _ = small.write(tmp_path)
    description.write_text(description.read_text().replace("dataset: mine", "dataset: CIFAR-10"))
    assert read_project(description).program.input_type.shape == (3, 32, 32)


def test_a_damaged_sample_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sample_input.npy").write_bytes(b"\x93NUMPY broken")
    with pytest.raises(EdgebedError, match=r"sample_input.npy: cannot read the sample"):
        shape(tmp_path, {})


# Shifts and bits that plain weights do not hold


def layer_settings(tmp_path: Path, text: str, content: dict[str, Any]) -> Conv2d:
    description, weights, _ = Small(text, (2, 4, 5), {0: (3, 2, 3, 3)}, bits={0: 2}).write(tmp_path)
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(content))
    flags = {"input-shape": "2,4,5", "layer-settings": str(file)}
    op = read_project(description, weights, flags).program.ops[-1]
    assert isinstance(op, Conv2d)
    return op


def test_settings_give_the_effective_shift(tmp_path: Path) -> None:
    content = {"quantization": [4], "output_shift": [5]}
    op = layer_settings(tmp_path, LAYER, content)
    assert op.requantize is not None
    assert op.requantize.right_shift == 7 - 5
    explicit = LAYER.replace("op:", "output_shift: -1, quantization: 2, op:")
    op = layer_settings(tmp_path, explicit, content)
    assert op.requantize is not None
    assert op.requantize.right_shift == 7 - (-1 + 8 - 2)  # the description decides


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"quantization": []}, "has 0 values.*1 layers"),
        ({"output_shift": "5"}, "no list of whole numbers"),
        ([], "these are no layer settings"),
        ({"quantization": [3]}, "weights of 3 bits"),
    ],
)
def test_wrong_settings_are_refused(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(EdgebedError, match=message):
        layer_settings(tmp_path, LAYER, content)


def test_assumed_shifts_are_noted(tmp_path: Path) -> None:
    description, weights, _ = SMALL.write(tmp_path)
    description.write_text(description.read_text().replace("arch: test", "arch: mine"))
    heard: list[events.Event] = []
    read_project(description, weights, {"input-shape": "2,4,5"}, heard.append)
    (note,) = heard
    assert isinstance(note, events.Note)
    assert "0 is assumed for layers 0" in note.text


# Weights files


def broken(tmp_path: Path, content: bytes | dict[str, Any]) -> None:
    description, weights, _ = SMALL.write(tmp_path)
    if isinstance(content, bytes):
        weights.write_bytes(content)
    else:
        np.savez(weights, **content)
    read_project(description, weights, {"input-shape": "2,4,5"})


GOOD = np.zeros((6, 3, 3), np.int8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot read the weights"),
        (b"PK\x03\x04 cut off", "cannot read the weights"),
        ({"weight0x": GOOD}, "unknown array 'weight0x'"),
        ({"weight00": GOOD.astype(np.float32)}, "weight00: it holds float32"),
        ({"weight00": GOOD[:0]}, "weight00: it is empty"),
        ({"bias00": GOOD[:, 0, 0]}, "bias00 has no weight00"),
        ({"weight00": GOOD.astype(np.int16) + 200}, r"hold 200\.\.200.*8 bits hold -128\.\.127"),
        ({"weight00": GOOD, "bias00": np.zeros(5, np.int16)}, "3 output channels and 5 biases"),
        ({"weight00": GOOD, "bias00": np.full(3, 300)}, r"biases of layer 0 hold 300"),
        ({"weight00": np.array([{}], object)}, "cannot read the weights.*pickle"),
    ],
)
def test_wrong_weights_are_refused(
    content: bytes | dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(EdgebedError, match=message):
        broken(tmp_path, content)


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    _, weights, _ = SMALL.write(tmp_path)
    whole = weights.read_bytes()
    for length in range(0, len(whole), 37):
        with pytest.raises(EdgebedError, match="cannot read the weights"):
            broken(tmp_path, whole[:length])


def test_one_array_is_not_a_weights_file(tmp_path: Path) -> None:
    description, _, _ = SMALL.write(tmp_path)
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, GOOD)
    with pytest.raises(EdgebedError, match="this is one array"):
        read_project(description, tmp_path / "one.npz", {"input-shape": "2,4,5"})


def test_weights_in_every_documented_form(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    matrix = rng.integers(-128, 128, (4, 12)).astype(np.int8)
    layers = "- {processors: 0x3, op: linear, flatten: true, output_width: 32}\n"
    found = []
    for form in (matrix[None], matrix.reshape(-1, 1, 1)):
        description, weights, _ = Small(layers, (2, 3, 2), {}).write(tmp_path)
        np.savez(weights, weight00=form)
        project = read_project(description, weights, {"input-shape": "2,3,2"})
        found.append(project.program.constants["layer00.weight"].values)
    np.testing.assert_array_equal(found[0], matrix)
    np.testing.assert_array_equal(found[1], matrix)


def test_a_widened_1x1_kernel_is_recognised(tmp_path: Path) -> None:
    layers = "- {processors: 0x3, op: conv2d, kernel_size: 1x1, pad: 0}\n"
    description, weights, _ = Small(layers, (2, 3, 2), {}).write(tmp_path)
    wide = np.zeros((6, 3, 3), np.int8)
    wide[:, 1, 1] = range(1, 7)
    np.savez(weights, weight00=wide)
    project = read_project(description, weights, {"input-shape": "2,3,2"})
    kernel = project.program.constants["layer00.weight"].values
    assert kernel.reshape(-1).tolist() == [1, 2, 3, 4, 5, 6]
    wide[0, 0, 0] = 1
    np.savez(weights, weight00=wide)
    with pytest.raises(EdgebedError, match="kernels of layer 0 are 3x3"):
        read_project(description, weights, {"input-shape": "2,3,2"})


@pytest.mark.parametrize(("taps", "step"), [(3, 5), (2, 9), (3, 4), (1, 12), (2, 4)])
def test_dilated_kernels_come_back_from_their_device_form(
    taps: int, step: int, tmp_path: Path
) -> None:
    kernel = np.random.default_rng(taps).integers(-128, 128, (6, taps)).astype(np.int8)
    length = (taps - 1) * step + 1
    if length <= 9:
        stored = np.zeros((6, length), np.int8)
        stored[:, ::step] = kernel
    else:
        stored = np.zeros((6, 3, 3), np.int8)
        stored[:, 3 - taps :, 1] = kernel
    layers = f"- {{processors: 0x3, op: conv1d, kernel_size: {taps}, dilation: {step}, pad: 0}}\n"
    description, weights, _ = Small(layers, (2, 40, 1), {}).write(tmp_path)
    np.savez(weights, weight00=stored)
    project = read_project(description, weights, {"input-shape": "2,40,1"})
    values = project.program.constants["layer00.weight"].values
    np.testing.assert_array_equal(values.reshape(6, taps), kernel)
