"""Placements at and beyond what registers, memories and FIFOs hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from combination_projects import RESIDUAL, one
from image_runner import run_image
from small_project import Small, mask

from edgebed.errors import EdgebedError
from edgebed.program.run import run
from edgebed.targets.max78000.ai8x import read_project
from edgebed.targets.max78000.compiler import Compiled, compile_program

SUM_OF_BRANCHES = """
- {processors: 0x7, op: conv2d, out_offset: 0x2000, write_gap: 1, output_processors: 0xff, name: a}
- {processors: 0x7, op: conv2d, in_offset: 0, in_sequences: -1, out_offset: 0x2004, write_gap: 1,
   output_processors: 0xff, name: b}
"""
BRANCHES = {0: (8, 3, 3, 3), 1: (8, 3, 3, 3)}


def stream(count: int, more: str = "", op: str = "conv2d") -> str:
    return "".join(
        f"- {{processors: {mask(8) if layer else 0x7}, op: {op}, streaming: true,"
        f" out_offset: {0x400 * (layer + 1):#x}{more}}}\n"
        for layer in range(count)
    )


def kernels(count: int) -> dict[int, tuple[int, ...]]:
    return {layer: (8, 8 if layer else 3, 3, 3) for layer in range(count)}


LEGAL = {
    **{
        f"operands of {kind} named in another order than they lie": Small(
            SUM_OF_BRANCHES
            + f"- {{processors: 0xff, op: {kind}, in_offset: 0x2000, in_sequences: [b, a],"
            " out_offset: 0x4000}\n",
            (3, 8, 8),
            BRANCHES,
        )
        for kind in ("add", "or", "xor")
    },
    "a residual sum named in another order": Small(
        RESIDUAL.replace("[copy, branch]", "[branch, copy]"),
        (3, 8, 8),
        {0: (20, 3, 3, 3), 2: (20, 20, 3, 3), 3: (7, 20, 3, 3)},
    ),
    "two operands of two passes pooled to one pixel": Small(
        one(f"processors: {mask(64)}, op: add, avg_pool: [4, 5]"), (256, 4, 5), {}
    ),
    "the widest write gap": Small(
        one("processors: 0xf, op: conv2d, write_gap: 4"), (4, 5, 4), {0: (130, 4, 3, 3)}
    ),
    "1023 values of padded conv1d": Small(
        "- {processors: 0x3, op: conv1d, kernel_size: 3, pad: 1, out_offset: 0x2000}\n",
        (2, 1022, 1),
        {0: (3, 2, 3)},
    ),
    "planes in any lane of their instance": Small(
        one("processors: 0x2481, op: conv2d, data_format: CHW"), (4, 9, 9), {0: (6, 4, 3, 3)}
    ),
    "a stream that ends in a transposed convolution": Small(
        stream(2, ", pad: 2", "convtranspose2d"), (3, 5, 6), kernels(2), "--fifo"
    ),
    "conv1d in a stream": Small(
        stream(2, ", kernel_size: 5", "conv1d"), (3, 64, 1), {0: (8, 3, 5), 1: (8, 8, 5)}, "--fifo"
    ),
    "eight streaming layers and one more": Small(
        stream(8) + "- {processors: 0xff, op: conv2d, out_offset: 0x6000}\n",
        (3, 14, 18),
        {**kernels(8), 8: (5, 8, 3, 3)},
        "--fifo",
        biased=(0,),
    ),
    "three FIFOs": Small(
        one("processors: 0x0000000f000f000f, op: conv2d"), (12, 7, 9), {0: (6, 12, 3, 3)}, "--fifo"
    ),
    "a flattened map of 256 pixels": Small(
        one(f"processors: {mask(64)}, op: mlp, flatten: true, quantization: 1, output_width: 32"),
        (64, 16, 16),
        {0: (4, 64 * 256)},
        bits={0: 1},
    ),
    "a pooled transposed convolution of stride 1, as its tools write it": Small(
        one("processors: 0x3, op: convtranspose2d, stride: 1, max_pool: 2, pool_stride: 2"),
        (2, 8, 6),
        {0: (5, 2, 3, 3)},
    ),
    "a flattened difference in 20 passes": Small(
        one("processors: 0xff, op: linear, flatten: true, eltwise: sub, output_width: 32"),
        (16, 5, 4),
        {0: (5, 160)},
        biased=(0,),
    ),
    "a folded sequence of whole rows through a FIFO": Small(
        "- {processors: 0x3, op: conv1d, kernel_size: 3, pad: 0, dilation: 20,"
        " out_offset: 0x2000}\n",
        (2, 100, 1),
        {0: (30, 2, 3)},
        "--fifo",
    ),
    "a kernel size where nothing is convolved": Small(
        one("processors: 0x3, op: none, kernel_size: 3x3"), (2, 8, 6), {}
    ),
    "the last layer followed by nothing": Small(
        one("processors: 0x3, op: conv2d, next_sequence: 1"), (2, 4, 4), {0: (4, 2, 3, 3)}
    ),
}

ILLEGAL = {
    "layer02.*its input lies at offset 0x2004": Small(
        SUM_OF_BRANCHES + "- {processors: 0xff, op: sub, in_offset: 0x2000, in_sequences: [b, a],"
        " out_offset: 0x4000}\n",
        (3, 8, 8),
        BRANCHES,
    ),
    "'input' would have to lie in two ways": Small(
        """
- {processors: 0x7, op: conv2d, in_offset: 0x2000, out_offset: 0x2004, write_gap: 1,
   output_processors: 0x7}
- {processors: 0x7, op: add, in_offset: 0x2000, in_sequences: [input, 0], out_offset: 0x4000}
""",
        (3, 8, 8),
        {0: (3, 3, 3, 3)},
    ),
    "copies processors 0x00000000000f000f to 0x00000000000000ff": Small(
        one("processors: 0xf000f, op: none"), (8, 5, 4), {}
    ),
    "skips 16 words": Small(
        one("processors: 0xf, op: conv2d, write_gap: 16"), (4, 5, 4), {0: (4, 4, 3, 3)}
    ),
    "skips 17 words.*a write gap of at most 4": Small(
        one("processors: 0xf, op: conv2d, write_gap: 5"), (4, 5, 4), {0: (130, 4, 3, 3)}
    ),
    "walks 1025 rows": Small(
        "- {processors: 0x3, op: conv1d, kernel_size: 3, pad: 2, out_offset: 0x2000}\n",
        (2, 1021, 1),
        {0: (3, 2, 3)},
    ),
    "needs the input up to offset 0x8e90": Small(
        "- {processors: 0x3, op: conv2d, in_offset: 0x1000, out_offset: 0, max_pool: 4,"
        " output_processors: 0xf0, pool_stride: 4}\n",
        (2, 90, 90),
        {0: (4, 2, 3, 3)},
    ),
    "layer01.*reads the network's input, which went through a FIFO": Small(
        """
- {processors: 0x7, op: conv2d, out_offset: 0x2000, output_processors: 0xff0}
- {processors: 0x7, op: conv2d, in_offset: 0, in_sequences: input, out_offset: 0x4000}
""",
        (3, 8, 8),
        BRANCHES,
        "--fifo",
    ),
    "processors 0x0000000000000007 read CHW data": Small(
        one("processors: 0x7, op: conv2d, data_format: CHW"), (3, 5, 5), {0: (4, 3, 3, 3)}
    ),
    "reads CHW data in 25 passes": Small(
        one("processors: 0x11, op: mlp, data_format: CHW, flatten: true"), (2, 5, 5), {0: (6, 50)}
    ),
    "waits for 120 values of a sequence of 101": Small(
        "- {processors: 0x3, op: conv1d, kernel_size: 3, pad: 0, dilation: 20,"
        " out_offset: 0x2000}\n",
        (2, 101, 1),
        {0: (30, 2, 3)},
        "--fifo",
    ),
    "pools what it flattens": Small(
        one("processors: 0xff, op: linear, flatten: true, max_pool: 2, pool_stride: 2"),
        (8, 4, 4),
        {0: (5, 32)},
    ),
    "stream start 240256": Small(
        "- {processors: 0x1, op: conv2d, streaming: true, max_pool: 16, pool_stride: 16,"
        " out_offset: 0x1000}\n",
        (1, 1000, 1000),
        {0: (8, 1, 3, 3)},
        "--fifo",
    ),
}


def compiled(small: Small, folder: Path) -> tuple[Compiled, np.ndarray]:
    project, x = small.read(folder)
    return compile_program(project), x


@pytest.mark.parametrize("name", LEGAL)
def test_what_just_fits_is_computed_exactly(name: str, tmp_path: Path) -> None:
    one_, x = compiled(LEGAL[name], tmp_path)
    outputs, _ = run_image(one_.image, x)
    for tensor, values in run(one_.program, x).items():
        np.testing.assert_array_equal(outputs[tensor], values)


@pytest.mark.parametrize("message", ILLEGAL)
def test_what_does_not_fit_is_refused_before_the_device_sees_it(
    message: str, tmp_path: Path
) -> None:
    with pytest.raises(EdgebedError) as caught:
        compiled(ILLEGAL[message], tmp_path)
    caught.match(message)


def test_a_full_row_buffer_is_a_warning(tmp_path: Path) -> None:
    small = Small(stream(5), (3, 4, 1000), kernels(5), "--fifo")
    one_, x = compiled(small, tmp_path)
    assert any("buffer 4000 columns" in warning.what for warning in one_.warnings)
    outputs, _ = run_image(one_.image, x)
    for tensor, values in run(one_.program, x).items():
        np.testing.assert_array_equal(outputs[tensor], values)


def first_shape(folder: Path, small: Small, flags: str = "") -> tuple[int, ...]:
    description, weights, _ = small.write(folder)
    return read_project(description, weights).program.input_type.shape


def test_in_dim_reshapes_the_sample_that_lies_beside(tmp_path: Path) -> None:
    small = Small(
        one("processors: 0x1f, op: conv2d, in_dim: [6, 5], in_channels: 5"), (), {0: (8, 5, 3, 3)}
    )
    assert first_shape(tmp_path, small) == (5, 6, 5)
    np.save(tmp_path / "sample_input.npy", np.zeros((5, 30, 1), np.int8))
    assert first_shape(tmp_path, small) == (5, 30, 1)
    np.save(tmp_path / "sample_input.npy", np.zeros((5, 31, 1), np.int8))  # another network's
    assert first_shape(tmp_path, small) == (5, 6, 5)


def test_channels_of_a_flattened_layer_count_its_values(tmp_path: Path) -> None:
    small = Small(
        one("processors: 0x3f, op: mlp, flatten: true, in_channels: 96, in_dim: [4, 4]"),
        (),
        {0: (9, 96)},
    )
    assert first_shape(tmp_path, small) == (6, 4, 4)


def test_a_sample_may_have_channels_that_the_first_layer_drops(tmp_path: Path) -> None:
    small = Small(
        one("processors: 0x7, op: conv2d, in_channels: 3, in_dim: [6, 6]"), (), {0: (4, 3, 3, 3)}
    )
    np.save(tmp_path / "sample_input.npy", np.zeros((5, 6, 6), np.int8))
    description, weights, _ = small.write(tmp_path)
    program = read_project(description, weights, {"reshape-inputs": True}).program
    assert program.input_type.shape == (5, 6, 6)


def test_a_clash_that_the_author_allows_is_a_warning(tmp_path: Path) -> None:
    layers = """
- {processors: 0x7, op: conv2d, out_offset: 0x2000, output_processors: 0xff, name: a}
- {processors: 0xff, op: conv2d, in_offset: 0x2000, out_offset: 0x2000, name: b}
- {processors: 0xff, op: conv2d, in_offset: 0x2000, in_sequences: a, out_offset: 0x4000}
"""
    sizes = {0: (8, 3, 3, 3), 1: (8, 8, 3, 3), 2: (4, 8, 3, 3)}
    with pytest.raises(EdgebedError, match="writes over 'layer00', which layer 2 still reads"):
        compiled(Small(layers, (3, 6, 6), sizes), tmp_path)
    allowed, _ = compiled(Small(layers, (3, 6, 6), sizes, "--overlap-data"), tmp_path)
    (warning,) = allowed.warnings
    assert "writes over 'layer00', which layer 2 still reads" in warning.what
