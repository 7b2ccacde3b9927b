"""Small projects, each a combination of features that the description language allows."""

from __future__ import annotations

from small_project import Small, mask

RESIDUAL = f"""
- {{processors: {mask(3)}, op: conv2d, pad: 1, activate: ReLU, out_offset: 0x4000}}
- {{processors: {mask(20)}, output_processors: {mask(20)}, op: passthrough, write_gap: 1,
   out_offset: 0x2000, name: copy}}
- {{processors: {mask(20)}, in_offset: 0x4000, out_offset: 0x2004, op: conv2d, pad: 1,
   activate: ReLU, write_gap: 1, name: branch}}
- {{processors: {mask(20)}, in_sequences: [copy, branch], in_offset: 0x2000, out_offset: 0,
   eltwise: add, op: conv2d, activate: Abs}}
"""
FIRE = """
- {avg_pool: 2, pool_stride: 2, pad: 0, in_offset: 0x1000, processors: 0x7, out_offset: 0,
   operation: conv2d, kernel_size: 1x1, activate: ReLU}
- {in_offset: 0, out_offset: 0x1000, processors: 0x30, output_processors: 0xf00,
   operation: conv2d, kernel_size: 1x1, pad: 0, activate: ReLU, name: narrow}
- {in_offset: 0, out_offset: 0x1000, processors: 0x30, output_processors: 0xf000,
   operation: conv2d, kernel_size: 3x3, activate: ReLU, in_sequences: 0, name: broad}
- {max_pool: 2, pool_stride: 2, in_offset: 0x1000, out_offset: 0, processors: 0xff00,
   operation: none, in_sequences: [narrow, broad]}
- {max_pool: 2, pool_stride: 2, out_offset: 0x1000, processors: 0xff00, operation: none}
- {flatten: true, out_offset: 0, op: mlp, processors: 0xff00, output_width: 32}
"""
FIRE_WEIGHTS = {0: (2, 3, 1, 1), 1: (4, 2, 1, 1), 2: (4, 2, 3, 3), 5: (10, 32)}
STREAM = f"""
- {{processors: 0x7, op: conv2d, streaming: true, out_offset: 0x2000}}
- {{processors: {mask(16)}, op: conv2d, kernel_size: 1x1, pad: 0, streaming: true,
   out_offset: 0x4000}}
- {{processors: {mask(8)}, op: conv2d, streaming: true, max_pool: 2, pool_stride: 2,
   out_offset: 0x5000}}
- {{processors: {mask(8)}, op: conv2d, kernel_size: 1x1, pad: 0, out_offset: 0}}
"""


def one(line: str) -> str:
    return f"- {{out_offset: 0x4000, {line}}}\n"


PROJECTS = {
    "residual network that goes on from the copied map": Small(
        RESIDUAL,
        (3, 8, 8),
        {0: (20, 3, 3, 3), 2: (20, 20, 3, 3), 3: (7, 20, 3, 3)},
        biased=(0, 3),
    ),
    "concatenation, pooled passthrough, flatten": Small(
        FIRE, (3, 16, 16), FIRE_WEIGHTS, "--avg-pool-rounding", biased=(5,)
    ),
    "stop after a concatenation": Small(FIRE, (3, 16, 16), FIRE_WEIGHTS, "--stop-after 3"),
    "two outputs": Small(
        RESIDUAL.replace("name: branch", "name: branch, output: true"),
        (3, 8, 8),
        {0: (20, 3, 3, 3), 2: (20, 20, 3, 3), 3: (7, 20, 3, 3)},
    ),
    "concatenation by write gap beyond 64 channels": Small(
        f"""
- {{processors: 0x7, op: conv2d, out_offset: 0x2000, write_gap: 1, output_processors: {mask(64)},
   name: a}}
- {{processors: 0x7, op: conv2d, in_offset: 0, out_offset: 0x2004, write_gap: 1, name: b,
   output_processors: {mask(64)}, in_sequences: input}}
- {{processors: {mask(64)}, op: conv2d, in_offset: 0x2000, out_offset: 0x4000,
   in_sequences: [a, b]}}
""",
        (3, 6, 6),
        {0: (64, 3, 3, 3), 1: (64, 3, 3, 3), 2: (5, 128, 3, 3)},
    ),
    "concatenation with the input": Small(
        f"""
- {{processors: 0x7, op: conv2d, out_offset: 0, output_processors: {mask(5, 4)}, name: a}}
- {{processors: 0x1f7, op: conv2d, in_offset: 0, out_offset: 0x4000, in_sequences: [input, a]}}
""",
        (3, 6, 6),
        {0: (5, 3, 3, 3), 1: (5, 8, 3, 3)},
    ),
    "one to two dimensions": Small(
        f"""
- {{processors: {mask(5)}, op: conv1d, kernel_size: 3, out_offset: 0x4000, activate: ReLU}}
- {{processors: {mask(8)}, op: conv2d, in_dim: [4, 8], out_offset: 0}}
- {{processors: {mask(6)}, op: linear, flatten: true, out_offset: 0x4000, output_width: 32}}
""",
        (5, 32, 1),
        {0: (8, 5, 3), 1: (6, 8, 3, 3), 2: (4, 6 * 32)},
    ),
    "two to one dimension": Small(
        f"""
- {{processors: {mask(5)}, op: conv2d, max_pool: 2, pool_stride: 2, out_offset: 0x4000}}
- {{processors: {mask(8)}, op: conv1d, kernel_size: 5, in_dim: 24, pad: 2, out_offset: 0}}
""",
        (5, 8, 12),
        {0: (8, 5, 3, 3), 1: (6, 8, 5)},
    ),
    "input read in two dimensions": Small(
        one(f"processors: {mask(5)}, op: conv2d, in_dim: [6, 5]"), (5, 30, 1), {0: (8, 5, 3, 3)}
    ),
    "element-wise with convolution, pooling, two passes": Small(
        one(f"processors: {mask(64)}, eltwise: add, op: conv2d, max_pool: 2, pool_stride: 2"),
        (256, 6, 6),
        {0: (20, 128, 3, 3)},
        biased=(0,),
    ),
    "pooling after combining": Small(
        one(
            f"processors: {mask(8)}, op: conv2d, eltwise: sub, avg_pool: 2, pool_stride: 2,"
            " pool_first: false"
        ),
        (16, 6, 6),
        {0: (12, 8, 3, 3)},
        "--avg-pool-rounding",
    ),
    **{
        f"{word} of {count}": Small(
            one(f"processors: {mask(12)}, op: {word}, operands: {count}"), (12 * count, 5, 7), {}
        )
        for word, count in (("sub", 3), ("BitwiseOr", 4), ("xor", 5), ("add", 16))
    },
    "two passes of two operands": Small(one(f"processors: {mask(64)}, op: sub"), (256, 5, 7), {}),
    "two passes of three operands": Small(
        one(f"processors: {mask(64)}, op: add, operands: 3"), (384, 4, 4), {}
    ),
    "results on other processors": Small(
        f"""
- {{processors: {mask(3)}, op: conv2d, out_offset: 0x4000, output_processors: {mask(10, 6)}}}
- {{processors: {mask(10, 6)}, op: conv2d, out_offset: 0}}
""",
        (3, 7, 5),
        {0: (10, 3, 3, 3), 1: (9, 10, 3, 3)},
        biased=(0, 1),
        top="output_map: 0x7fc00\n",
    ),
    "results with gaps": Small(
        """
- {processors: 0x7, op: conv2d, out_offset: 0x4000, output_processors: 0x0011001100110011}
- {processors: 0x0011.0011.0011.0011, op: conv2d, out_offset: 0}
""",
        (3, 7, 5),
        {0: (8, 3, 3, 3), 1: (9, 8, 3, 3)},
        biased=(1,),
    ),
    "FIFO with 16 channels": Small(
        one("processors: 0x000f000f000f000f, op: conv2d"), (16, 7, 5), {0: (10, 16, 3, 3)}, "--fifo"
    ),
    "FIFO with planes": Small(
        one("processors: 0x0001000100010001, op: conv2d, data_format: CHW"),
        (4, 7, 5),
        {0: (10, 4, 3, 3)},
        "--fast-fifo",
    ),
    "streaming with 1x1 layers in and after the chain": Small(
        STREAM,
        (3, 20, 20),
        {0: (16, 3, 3, 3), 1: (8, 16, 1, 1), 2: (8, 8, 3, 3), 3: (5, 8, 1, 1)},
        "--fifo",
        biased=(0, 2),
    ),
    "the same without streaming": Small(
        STREAM,
        (3, 20, 20),
        {0: (16, 3, 3, 3), 1: (8, 16, 1, 1), 2: (8, 8, 3, 3), 3: (5, 8, 1, 1)},
        "--ignore-streaming --fifo",
    ),
    "streaming in two passes": Small(
        f"""
- {{processors: 0x7, op: conv2d, streaming: true, out_offset: 0x2000, activate: ReLU}}
- {{processors: {mask(52)}, op: conv2d, streaming: true, out_offset: 0x4000}}
- {{processors: {mask(8)}, op: conv2d, out_offset: 0}}
""",
        (3, 12, 20),
        {0: (100, 3, 3, 3), 1: (8, 100, 3, 3), 2: (70, 8, 3, 3)},
        "--fifo",
    ),
    "linear in eight passes": Small(
        one(f"processors: {mask(64)}, op: FC, output_width: 32"),
        (512, 1, 1),
        {0: (10, 512)},
        biased=(0,),
    ),
    "linear over a map": Small(
        one(f"processors: {mask(30)}, op: MLP, activate: ReLU"), (30, 6, 5), {0: (10, 30)}
    ),
    "flatten in two passes, then linear": Small(
        f"""
- {{processors: {mask(64)}, op: linear, flatten: true, out_offset: 0x1000, quantization: 2}}
- {{processors: {mask(52)}, op: linear, out_offset: 0x2000, output_width: 32}}
""",
        (128, 3, 3),
        {0: (100, 128 * 9), 1: (12, 100)},
        bits={0: 2},
        biased=(0, 1),
    ),
    **{
        f"conv1d of {taps} taps": Small(
            one(
                f"processors: {mask(7)}, op: Conv1d, kernel_size: {taps}, pad: {min(taps - 1, 2)},"
                " avg_pool: 3, pool_stride: 2, activate: ReLU, quantization: 4, output_shift: -2"
            ),
            (7, 50, 1),
            {0: (70, 7, taps)},
            "--avg-pool-rounding",
            bits={0: 4},
            biased=(0,),
        )
        for taps in range(1, 10)
    },
    **{
        f"{taps} taps {step} apart": Small(
            one(
                f"processors: {mask(8)}, op: conv1d, kernel_size: {taps}, dilation: {step}, pad: 0,"
                " activate: ReLU"
            ),
            (8, 61, 1),
            {0: (70, 8, taps)},
            biased=(0,),
        )
        for step, taps in ((2, 3), (3, 3), (5, 2), (4, 3), (5, 3), (9, 2), (20, 3), (16, 1))
    },
    "rounded and truncated averages in one network": Small(
        f"""
- {{processors: {mask(4)}, op: conv2d, avg_pool: 2, pool_stride: 2, out_offset: 0x4000}}
- {{processors: {mask(6)}, op: conv1d, in_dim: 30, kernel_size: 3, avg_pool: 2, out_offset: 0}}
""",
        (4, 10, 12),
        {0: (6, 4, 3, 3), 1: (5, 6, 3)},
        "--avg-pool-rounding",
    ),
    "wide results in three passes": Small(
        one(f"processors: {mask(7)}, op: conv2d, output_width: 32"),
        (7, 4, 3),
        {0: (130, 7, 3, 3)},
        biased=(0,),
    ),
    **{
        f"transposed convolution with padding {pad}": Small(
            one(f"processors: {mask(64)}, op: ConvTranspose2d, pad: {pad}, quantization: 4")
            + f"- {{processors: {mask(12)}, op: conv2d, out_offset: 0}}\n",
            (128, 4, 5),
            {0: (12, 128, 3, 3), 1: (3, 12, 3, 3)},
            bits={0: 4},
            biased=(0,),
        )
        for pad in (0, 1, 2)
    },
    "passthrough in two passes": Small(
        one(f"processors: {mask(64)}, op: none, write_gap: 1, name: copy")
        + f"- {{processors: {mask(64)}, op: conv2d, in_offset: 0, out_offset: 0x2000}}\n",
        (128, 4, 5),
        {1: (12, 128, 3, 3)},
    ),
    "shared weights": Small(
        one(f"processors: {mask(8)}, op: conv2d, name: a")
        + f"- {{processors: {mask(8)}, op: conv2d, out_offset: 0, weight_source: a}}\n",
        (8, 6, 6),
        {0: (8, 8, 3, 3)},
        biased=(0,),
    ),
    "subsampling": Small(one(f"processors: {mask(8)}, op: none, pool_stride: 3"), (8, 10, 11), {}),
    "pooling in one dimension without convolution": Small(
        one(f"processors: {mask(8)}, op: none, max_pool: 3, pool_stride: 2")
        + f"- {{processors: {mask(8)}, op: conv1d, kernel_size: 2, avg_pool: 2, pool_stride: 3,"
        " out_offset: 0}\n",
        (8, 31, 1),
        {1: (4, 8, 2)},
    ),
    "biases in two passes from an odd processor on": Small(
        one(f"processors: 0x7, op: conv2d, output_processors: {mask(52, 2)}")
        + f"- {{processors: {mask(52, 2)}, op: conv2d, out_offset: 0}}\n",
        (3, 6, 6),
        {0: (100, 3, 3, 3), 1: (2, 100, 3, 3)},
        biased=(0,),
    ),
    "a result in the words of its input": Small(
        f"- {{processors: {mask(32)}, op: conv2d, kernel_size: 1x1, pad: 0, in_offset: 0x40,"
        f" out_offset: 0x20, output_processors: {mask(32)}}}\n",
        (32, 6, 6),
        {0: (32, 32, 1, 1)},
        "--overlap-data",
    ),
    "three outputs side by side": Small(
        f"""
- {{processors: 0x7, op: conv2d, in_offset: 0x2000, out_offset: 0x2000,
   output_processors: {mask(32, 32)}, activate: ReLU}}
- {{processors: {mask(32, 32)}, op: conv2d, in_offset: 0x2000, out_offset: 0x2000,
   output_processors: {mask(32)}, output: true, name: trunk}}
- {{processors: {mask(32)}, op: conv2d, in_offset: 0x2000, out_offset: 0x3000,
   output_processors: {mask(16)}, in_sequences: trunk, output: true}}
- {{processors: {mask(32)}, op: conv2d, in_offset: 0x2000, out_offset: 0x3000,
   output_processors: {mask(44, 20)}, in_sequences: trunk, output: true}}
""",
        (3, 9, 9),
        {0: (32, 3, 3, 3), 1: (32, 32, 3, 3), 2: (16, 32, 3, 3), 3: (44, 32, 3, 3)},
    ),
    "planes without a FIFO": Small(
        one("processors: 0x1111111111111111, op: conv2d, data_format: CHW, max_pool: 2"),
        (16, 9, 10),
        {0: (32, 16, 3, 3)},
    ),
    "planes of one dimension": Small(
        one("processors: 0x111, op: conv1d, kernel_size: 3, data_format: CHW, max_pool: 2"),
        (3, 45, 1),
        {0: (32, 3, 3)},
    ),
    "passthrough of planes": Small(
        one(
            "processors: 0x111, op: none, data_format: CHW, output_processors: 0x7, max_pool: 2,"
            " pool_stride: 2"
        ),
        (3, 9, 11),
        {},
    ),
    "linear from a FIFO": Small(
        one("processors: 0xf, op: linear, flatten: true"), (4, 5, 5), {0: (9, 100)}, "--fifo"
    ),
    "element-wise before a 1x1 kernel on one column": Small(
        one(f"processors: {mask(8)}, op: conv2d, kernel_size: 1x1, pad: 0, eltwise: sub"),
        (16, 9, 1),
        {0: (12, 8, 1, 1)},
        biased=(0,),
    ),
    "dilated with a wide result, pooled before": Small(
        one(f"processors: {mask(8)}, op: conv1d, kernel_size: 1, pad: 0, max_pool: 2")
        + f"- {{processors: {mask(6)}, op: conv1d, kernel_size: 3, dilation: 5, pad: 0,"
        " out_offset: 0x1000, output_width: 32}\n",
        (8, 40, 1),
        {0: (6, 8, 1), 1: (5, 6, 3)},
    ),
    "layers out of order": Small(
        f"""
- {{processors: {mask(8)}, op: conv2d, out_offset: 0x4000, sequence: 5}}
- {{processors: {mask(3)}, op: conv2d, out_offset: 0x2000, sequence: 2}}
- {{processors: {mask(8)}, op: conv2d, out_offset: 0x2000, sequence: 9, next_sequence: stop}}
""",
        (3, 6, 6),
        {0: (8, 3, 3, 3), 1: (8, 8, 3, 3), 2: (4, 8, 3, 3)},
    ),
}
ONLY_AS_PLACED = {
    "cropped rows": Small(
        f"""
- {{processors: {mask(5)}, op: conv1d, kernel_size: 3, out_offset: 0x4000}}
- {{processors: {mask(8)}, op: conv1d, kernel_size: 3, pad: 0, in_offset: 0x400c,
   in_crop: [3, 3], in_dim: 26, out_offset: 0}}
""",
        (5, 32, 1),
        {0: (8, 5, 3), 1: (6, 8, 3)},
    ),
    "operands from the passes of one layer": Small(
        one(f"processors: {mask(8)}, op: conv2d, output_processors: {mask(64)}")
        + f"- {{processors: {mask(64)}, op: add, out_offset: 0}}\n",
        (8, 6, 6),
        {0: (128, 8, 3, 3)},
    ),
}
