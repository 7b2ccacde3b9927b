"""What is wrong in a description is named by file and line, with the nearest right word."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_project import Small

from edgebed.errors import EdgebedError
from edgebed.targets.max78000.ai8x import read_project
from edgebed.targets.max78000.ai8x.yaml_reader import read_network

HEAD = "arch: test\ndataset: mine\nlayers:\n"
GOOD = "  - processors: 0x7\n    out_offset: 0x2000\n    op: conv2d\n"


def refused(folder: Path, text: str) -> str:
    path = folder / "net.yaml"
    path.write_text(text)
    with pytest.raises(EdgebedError) as caught:
        read_network(path)
    return str(caught.value).replace(str(folder), "")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("    actvate: ReLU", "7: unknown key `actvate` in a layer.*'activate'"),
        ("    activate: relo", "7: `activate`: unknown value 'relo'.*'relu'"),
        ("    operation: conv2d", "7: `operation`: it says the same as `op`"),
        ("    op: conv1d", "7: key `op` occurs twice"),
        ("    pool_stride: [2, 1]", "7: `pool_stride`: 2 x 1.*both have to be equal"),
        ("    max_pool: 17", "7: `max_pool`: 17 is out of range.*1 to 16"),
        ("    max_pool: [2, 2, 2]", "7: `max_pool`: .* has 3 values"),
        ("    kernel_size: 5x5", "7: `kernel_size`: 5x5 is not possible for conv2d.*1x1 or 3x3"),
        ("    quantization: 3", "7: `quantization`: unknown value 3.*1, 2, 4, 8"),
        ("    quantization: binary", "7: `quantization`: binary weights"),
        ("    output_shift: low", "7: `output_shift`: 'low' is not a whole number"),
        ("    output_width: 16", "7: `output_width`: unknown value 16"),
        ("    streaming: perhaps", "7: `streaming`: 'perhaps' is neither true nor false"),
        ("    in_sequences: [3]", "7: `in_sequences`: there is no layer 3"),
        ("    in_sequences: 0", "7: `in_sequences`: layer 0 reads layer 0.*only an earlier one"),
        ("    in_sequences: conv9", "7: `in_sequences`: there is no layer 'conv9'"),
        ("    next_sequence: 4", "7: `next_sequence`: layer 0 cannot be followed by 4"),
        ("    operands: 3", "7: `operands`: this layer has no element-wise operation"),
        ("    pool_first: false", "7: `pool_first`: false needs both pooling"),
        ("    data_format: WHC", "7: `data_format`: unknown value 'WHC'.*'hwc'"),
        ("    readahead: true", "7: `readahead`: this device cannot do it.*MAX78002"),
        ("    pool_dilation: 2", "7: `pool_dilation`: this device cannot do it"),
        ("    output_processors: 0x1ffffffffffffffff", "7: .*is not a processor map"),
        ("    output_processors: 0x00zz", "7: .*'0x00zz' is not a processor map"),
        ("    out_channels: 0", "7: `out_channels`: 0 is out of range"),
        ("    in_dim: [4, 4, 4]", "7: `in_dim`: .* has 3 values"),
        ("    output_width: 32\n    activate: ReLU", "8: `activate`: a 32-bit result"),
        ("    name: input", "7: `name`: the name 'input' is taken"),
        ("    pad: 3", "7: `pad`: 3 rows and columns around a kernel of 3"),
        ("    kernel_size: 1x1", "4: 1 rows and columns around a kernel of 1.*try: pad: 0"),
        ("    stride: [1, 2]", "7: `stride`: .*differs between rows and columns"),
        ("  - op: conv2d", "7: layer 1 has no `processors`"),
        ("  - processors: 0x1\n    data_format: CHW", "8: `data_format`: CHW is for the first"),
        ("  - processors: 0x1\n    sequence: 0", "8: `sequence`: two layers have sequence 0"),
        ("  - 5", "7: this layer is not a mapping"),
        ("    eltwise: add\n    operands: 17", "8: `operands`: 17 is out of range"),
        ("    weights: 1: 2", "7: this is not YAML"),
        ("    dilation: true", "7: `dilation`: True is not a whole number"),
    ],
)
def test_the_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    import re

    text = refused(tmp_path, HEAD + GOOD + line + "\n")
    assert re.search(r"^/net\.yaml:" + message, text), text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "this is not a network description"),
        ("[1, 2]", "this is not a network description"),
        ("arch: a\ndataset: b\n", "the key `layers` is missing"),
        ("archh: a\n", "unknown key `archh`; try: did you mean 'arch'"),
        (HEAD + "  []\n", "it is not a list of layers"),
        (HEAD + GOOD + "data_buffer:\n  - name: b\n", "rolling data buffers are not supported"),
        (HEAD + GOOD * 33, "33 layers"),
        ("arch: a\nlayers: &x [*x]\n", "is missing|not a mapping|cannot be read"),
        ("[" * 5000, "this is not YAML|nested too deeply"),
        (
            HEAD + "  - processors: 0x7\n    op: none\n    activate: ReLU\n",
            "no convolution",
        ),
        (HEAD + "  - processors: 0x7\n    op: none\n    dilation: 2\n", "no convolution"),
        (HEAD + "  - processors: 0x7\n    op: add\n    eltwise: sub\n", "another element-wise"),
        (HEAD + "  - processors: 0x7\n    op: mlp\n    kernel_size: 3x3\n", "not possible for lin"),
        (HEAD + "  - processors: 0x7\n    max_pool: 2\n    avg_pool: 2\n", "`max_pool` too"),
    ],
)
def test_a_broken_description_is_refused(text: str, message: str, tmp_path: Path) -> None:
    import re

    assert re.search(message, refused(tmp_path, text))


def test_a_missing_file_and_one_that_is_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgebedError, match=r"nothing\.yaml: cannot read"):
        read_network(tmp_path / "nothing.yaml")
    (tmp_path / "net.yaml").write_bytes(b"\xff\xfe\x00layers")
    with pytest.raises(EdgebedError, match="cannot read"):
        read_network(tmp_path / "net.yaml")


def test_aliases_defaults_and_forms_of_values(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(
        """
arch: Test
dataset: MNIST
bias: some
weights: some
layers:
  - &first
    processors: 0x0000.0000.0000.0111
    convolution: Conv2D
    activation: relu
    data_format: big
    avg_pool: [2, 3]
    pool_stride: 2
  - <<: *first
    processors: "0000_0000_0000_0007"
    data_format: little
    op: Conv1d
    convolution: conv1d
"""
    )
    with pytest.raises(EdgebedError, match="it says the same"):
        read_network(path)
    path.write_text(path.read_text().replace("    convolution: conv1d\n", "").replace(
        "    op: Conv1d\n", "    convolution: Conv1d\n"))  # fmt: skip
    first, second = read_network(path).layers
    assert (first.processors, first.op, first.kernel, first.pad) == (0x111, "conv2d", (3, 3), 1)
    assert (first.pool, first.pool_average, first.pool_stride) == ((2, 3), True, (2, 2))
    assert (first.activation, first.big_data, first.inputs) == ("relu", True, (-1,))
    assert (second.processors, second.op, second.kernel) == (7, "conv1d", (9, 1))
    assert (second.pool, second.pool_stride, second.inputs) == ((2, 1), (2, 1), (0,))
    assert (second.big_data, second.wide, second.bits, second.shift) == (False, False, None, None)


def test_layers_can_be_left_out_at_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(HEAD + GOOD + GOOD.replace("op:", "name: b\n    op:") + GOOD
                    + "    in_sequences: [1]\n")  # fmt: skip
    assert [layer.inputs for layer in read_network(path, 1).layers] == [(-1,), (0,)]
    with pytest.raises(EdgebedError, match="3 of 3 layers"):
        read_network(path, 3)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_text_causes_anything_but_a_clear_error(data: st.DataObject, tmp_path: Path) -> None:
    junk = data.draw(st.text(st.sampled_from("- []{}:,&*!|>'\"#%@\n\tab01x.~<=?"), max_size=60))
    at = data.draw(st.integers(0, 200))
    good = HEAD + GOOD + GOOD
    path = tmp_path / "net.yaml"
    path.write_text(good[:at] + junk + good[at:])
    try:
        read_network(path)
    except EdgebedError as error:
        assert "net.yaml" in str(error)


@pytest.mark.parametrize(
    ("small", "message"),
    [
        (
            Small("- {processors: 0x3, op: conv2d}\n", (2, 4, 4), {0: (1, 3, 3, 3)}),
            "3 kernels for layer 0 with 2 input channels",
        ),
        (
            Small("- {processors: 0x3, op: conv2d, kernel_size: 1x1, pad: 0}\n", (2, 4, 4),
                  {0: (3, 2, 3, 3)}),
            "kernels of layer 0 are 3x3",
        ),
        (
            Small("- {processors: 0x3, op: conv2d, quantization: 4}\n", (2, 4, 4),
                  {0: (3, 2, 3, 3)}),
            r"weights of layer 0 hold .*4 bits hold -8\.\.7",
        ),
        (
            Small("- {processors: 0x3, op: conv1d, kernel_size: 3}\n", (2, 4, 4), {0: (3, 2, 3)}),
            r"\(conv1d\) gets maps of 4 columns",
        ),
        (
            Small("- {processors: 0x3, op: conv2d, in_dim: [3, 3]}\n", (2, 4, 4),
                  {0: (3, 2, 3, 3)}),
            "`in_dim` says 3 x 3",
        ),
        (
            Small("- {processors: 0x3, op: conv2d, in_channels: 3}\n", (2, 4, 4),
                  {0: (3, 2, 3, 3)}),
            "`in_channels` says 3",
        ),
        (
            Small("- {processors: 0x3, op: none, pool_stride: [2, 1]}\n", (2, 4, 4), {}),
            "pools every 2 rows and 1 columns",
        ),
        (
            Small("- {processors: 0x3, op: add, operands: 3}\n", (4, 4, 4), {}),
            "3 operands in 4 channels",
        ),
        (
            Small("- {processors: 0x3, op: conv2d}\n", (2, 4, 4), {}),
            r"layer 0 \(conv2d\) has no weights",
        ),
        (
            Small("- {processors: 0x3, op: none, output_width: 32}\n", (2, 4, 4), {}),
            "no convolution and a 32-bit result",
        ),
        (
            Small("- {processors: 0x3, op: none}\n", (2, 4, 4), {0: (3, 2, 3, 3)}),
            r"layer 0 \(none\) cannot have weights",
        ),
        (
            Small(
                "- {processors: 0x3, op: conv2d, output_width: 32, output_processors: 0x7}\n"
                "- {processors: 0x7, op: none}\n", (2, 4, 4), {0: (3, 2, 3, 3)}),
            "reads the 32-bit result of layer00",
        ),
        (
            Small(
                "- {processors: 0x3, op: conv2d, pad: 0, output_processors: 0x3}\n"
                "- {processors: 0xf, op: conv2d, in_sequences: [-1, 0]}\n",
                (2, 4, 4), {0: (2, 2, 3, 3), 1: (2, 4, 3, 3)}),
            "maps of different sizes",
        ),
        (
            Small("- {processors: 0x3, op: conv2d, pad: 0}\n", (2, 2, 2), {0: (3, 2, 3, 3)}),
            "its output would be",
        ),
    ],
)  # fmt: skip
def test_parts_that_do_not_fit_are_refused(small: Small, message: str, tmp_path: Path) -> None:
    with pytest.raises(EdgebedError, match=message):
        small.read(tmp_path)


def test_channels_are_dropped_only_on_request(tmp_path: Path) -> None:
    layers = "- {processors: 0x3, op: none, in_channels: 2, in_channel_skip: 1}\n"
    with pytest.raises(EdgebedError, match="--reshape-inputs"):
        Small(layers, (4, 3, 3), {}).read(tmp_path)
    project, _ = Small(layers, (4, 3, 3), {}, "--reshape-inputs").read(tmp_path)
    first = project.program.ops[0]
    assert (first.kind, first.start, first.stop) == ("slice", 1, 3)  # type: ignore[attr-defined]


def test_a_project_without_weights_needs_no_weights_file(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(HEAD + "  - {processors: 0x3, op: add}\n")
    project = read_project(path, None, {"input-shape": "4,5,6"})
    assert project.program.types["layer00"].shape == (2, 5, 6)
