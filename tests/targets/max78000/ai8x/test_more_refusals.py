"""Descriptions and files with values of another kind, and layers that leave rows out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_project import Small

from edgebed import events
from edgebed.errors import EdgebedError
from edgebed.program.run import run
from edgebed.targets.max78000.ai8x import parse_flags, read_project
from edgebed.targets.max78000.ai8x.settings import sample_shape
from edgebed.targets.max78000.ai8x.yaml_reader import read_network

HEAD = "arch: test\ndataset: mine\nlayers:\n"
FIRST = "  - processors: 0x7\n    out_offset: 0x2000\n    op: conv2d\n    pad: 1\n"
SECOND = "  - processors: 0xf\n    out_offset: 0x1000\n    op: conv2d\n    pad: 1\n"
LAYER = "- {processors: 0x3, op: conv2d, activate: ReLU}\n"
WEIGHTS = {0: (4, 3, 3, 3), 1: (2, 4, 3, 3)}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("    name: [a]", "`name`: .* is not a word"),
        ("    in_sequences: []", "`in_sequences`: .* is not a layer or a list of layers"),
        ("    in_dim: 5000", "`in_dim`: 5000 is out of range.*1 to 1023"),
    ],
)
def test_values_of_another_kind_are_refused(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(HEAD + FIRST + line + "\n")
    with pytest.raises(EdgebedError, match=message):
        read_network(path)


def test_rows_are_left_out_of_an_inner_map(tmp_path: Path) -> None:
    cropped = SECOND + "    in_crop: [2, 1]\n"
    project, x = Small(FIRST + cropped, (3, 8, 8), WEIGHTS).read(tmp_path)
    (whole,) = (tensor for tensor in project.program.inputs)
    assert project.program.types[project.program.outputs[0]].shape == (2, 5, 8)
    first = project.program.ops[0].output
    alone = project.program.with_(outputs=(first, *project.program.outputs))
    assert run(alone, {whole: x})[first].shape == (4, 8, 8)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (FIRST + SECOND + "    in_crop: [5, 3]\n", "`in_crop` leaves none of 8 rows"),
        (FIRST + "    in_crop: [1, 1]\n" + SECOND, "`in_crop` of the network's input"),
    ],
)
def test_crops_that_leave_nothing_or_cut_the_input_are_refused(
    tmp_path: Path, layers: str, message: str
) -> None:
    with pytest.raises(EdgebedError, match=message):
        Small(layers, (3, 8, 8), WEIGHTS).read(tmp_path)


def test_a_build_can_stop_after_a_layer(tmp_path: Path) -> None:
    project, _ = Small(FIRST + SECOND, (3, 8, 8), WEIGHTS, flags="--stop-after 0").read(tmp_path)
    assert len(project.layers) == 1
    with pytest.raises(EdgebedError, match=r"--stop-after 7: there is no such layer"):
        Small(FIRST + SECOND, (3, 8, 8), WEIGHTS, flags="--stop-after 7").read(tmp_path)


def test_streaming_can_be_ignored(tmp_path: Path) -> None:
    streaming = FIRST + "    streaming: true\n" + SECOND
    kept, _ = Small(streaming, (3, 8, 8), WEIGHTS).read(tmp_path)
    plain, _ = Small(streaming, (3, 8, 8), WEIGHTS, flags="--ignore-streaming").read(tmp_path)
    assert [hint.streaming for hint in kept.layers] == [True, False]
    assert [hint.streaming for hint in plain.layers] == [False, False]


@pytest.mark.parametrize("shape", [(5,), (1, 2, 3, 4)])
def test_a_sample_of_another_number_of_axes_is_refused(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    path = tmp_path / "sample.npy"
    np.save(path, np.zeros(shape, np.int8))
    with pytest.raises(EdgebedError, match=r"sample\.npy: the sample's shape is .*C x H x W"):
        sample_shape(path)


def test_a_switch_that_is_off_says_nothing(tmp_path: Path) -> None:
    description, weights, _ = Small(FIRST, (3, 8, 8), {0: WEIGHTS[0]}).write(tmp_path)
    flags = parse_flags(["--input-shape", "3,8,8"])
    off = read_project(description, weights, {**flags, "fifo": False})
    assert not off.options.fifo


# Options and files that name what does not exist


@pytest.mark.parametrize("words", ["--no-bias 77", "--no-bias 0,1", "--no-bias=0,77"])
def test_leaving_out_the_bias_of_a_layer_that_does_not_exist_is_refused(
    words: str, tmp_path: Path
) -> None:
    number = words[-2:].strip(", ")
    small = Small(LAYER, (2, 4, 5), {0: (3, 2, 3, 3)}, words)
    message = rf"network\.yaml: --no-bias {number}: there is no such layer; try: 0 to 0"
    with pytest.raises(EdgebedError, match=message):
        small.read(tmp_path)


def test_a_missing_sample_is_named_where_the_shape_comes_from_elsewhere(tmp_path: Path) -> None:
    description, weights, _ = Small(LAYER, (2, 4, 5), {0: (3, 2, 3, 3)}).write(tmp_path)
    np.save(tmp_path / "sample_input.npy", np.zeros((2, 7, 7), np.int8))
    heard: list[events.Event] = []
    flags = {"sample-input": "gone.npy"}
    assert read_project(description, weights, flags, heard.append).program.input_type.shape[1] == 7
    texts = [event.text for event in heard if isinstance(event, events.Note)]
    assert any("there is no file gone.npy" in text for text in texts)
    heard.clear()
    read_project(description, weights, {**flags, "input-shape": "2,7,7"}, heard.append)
    assert not any("gone.npy" in str(event) for event in heard)


@pytest.mark.parametrize("name", ["weights.npz", "weights.pth.tar"])
@pytest.mark.parametrize("content", [b"hello\n", b"\x80\x04h\x65.", b"PK\x03\x04cut off", b""])
def test_a_weights_file_of_another_kind_gets_plain_words(
    name: str, content: bytes, tmp_path: Path
) -> None:
    description, _, _ = Small(LAYER, (2, 4, 5), {0: (3, 2, 3, 3)}).write(tmp_path)
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(EdgebedError) as failure:
        read_project(description, path, {"input-shape": "2,4,5"})
    text = str(failure.value)
    assert text.startswith(f"{path}: ")
    for raw in ("allow_pickle", "trust", "Memo", "Error", "zip file", "Errno"):
        assert raw not in text


@pytest.mark.parametrize("name", ["gone.npz", "gone.pth.tar"])
def test_a_missing_weights_file_is_named_once(name: str, tmp_path: Path) -> None:
    description, _, _ = Small(LAYER, (2, 4, 5), {0: (3, 2, 3, 3)}).write(tmp_path)
    with pytest.raises(EdgebedError) as failure:
        read_project(description, tmp_path / name, {"input-shape": "2,4,5"})
    assert str(failure.value).count(name) == 1
    assert "no such" in str(failure.value).lower()


def test_broken_settings_and_samples_get_plain_words(tmp_path: Path) -> None:
    description, weights, _ = Small(LAYER, (2, 4, 5), {0: (3, 2, 3, 3)}).write(tmp_path)
    settings, sample = tmp_path / "settings.json", tmp_path / "sample.npy"
    settings.write_text('{"quantization":\n [8}')
    sample.write_bytes(b"hello")
    flags = {"input-shape": "2,4,5", "layer-settings": str(settings)}
    with pytest.raises(EdgebedError, match=r"settings\.json:2: .*not JSON"):
        read_project(description, weights, flags)
    with pytest.raises(EdgebedError, match=r"sample\.npy: .*no intact \.npy file") as failure:
        read_project(description, weights, {"sample-input": str(sample)})
    assert "pickle" not in str(failure.value)
