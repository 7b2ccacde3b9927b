"""Every lowered op computes what the interpreter does: on this machine, and on virtual cores."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from row_programs import ONE, TWO, byte, check, check_on, one_op, real, several

from edgebed.errors import EdgebedError
from edgebed.program.arithmetic import Affine, multiplier_table
from edgebed.program.ops.add import Add
from edgebed.program.ops.argmax import Argmax
from edgebed.program.ops.avg_pool import AvgPool
from edgebed.program.ops.batch_matmul import BatchMatmul
from edgebed.program.ops.cast import Cast
from edgebed.program.ops.concat import Concat
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.ops.crop import Crop
from edgebed.program.ops.depth_to_space import DepthToSpace
from edgebed.program.ops.dequantize import Dequantize
from edgebed.program.ops.divide import Divide
from edgebed.program.ops.gather import Gather
from edgebed.program.ops.l2_normalize import L2Normalize
from edgebed.program.ops.lookup import Lookup
from edgebed.program.ops.max_pool import MaxPool
from edgebed.program.ops.maximum import Maximum
from edgebed.program.ops.minimum import Minimum
from edgebed.program.ops.multiply import Multiply
from edgebed.program.ops.pad import Pad
from edgebed.program.ops.prelu import Prelu
from edgebed.program.ops.quantize import Quantize
from edgebed.program.ops.reduce import Reduce
from edgebed.program.ops.requantize import Requantize
from edgebed.program.ops.reshape import Reshape
from edgebed.program.ops.resize import Resize
from edgebed.program.ops.slice import Slice
from edgebed.program.ops.softmax import Softmax
from edgebed.program.ops.space_to_depth import SpaceToDepth
from edgebed.program.ops.strided_slice import StridedSlice
from edgebed.program.ops.subtract import Subtract
from edgebed.program.ops.transpose import Transpose
from edgebed.program.ops.unary import Unary
from edgebed.program.types import Constant, Program, TensorType
from edgebed.targets._shared.rows.lower import real_values

BOTH = ("int8", "uint8")
WINDOWS = (
    ((2, 2), (2, 2), (0, 0, 0, 0)), ((3, 3), (1, 1), (1, 1, 1, 1)),
    ((3, 3), (2, 2), (1, 0, 1, 1)), ((2, 3), (1, 2), (1, 0, 0, 2)), ((9, 6), (1, 1), (0, 0, 0, 0)),
)  # fmt: skip
PADDED = {"include_padding": True}
SHARES = Affine(2.0**-8, -128)


def windows(op, **more):
    return [op(**ONE, kernel=k, stride=s, padding=p, **more) for k, s, p in WINDOWS]


@pytest.mark.parametrize("dtype", BOTH)
def test_pools(dtype):
    kind = byte((7, 9, 6), 0.1, 3, dtype)
    check(several(windows(MaxPool), [kind]))
    for rounding in ("truncate", "half_away", "half_up"):
        check(several(windows(AvgPool, rounding=rounding), [kind]))
    check(several(windows(AvgPool, rounding="half_away", include_padding=True), [kind]))
    check(several(windows(AvgPool, requantize=Affine(0.07, 3, "float")), [kind]))


def test_means_added_in_float32():
    early = Affine(0.07, 3, "float", zero_first="uint8")
    ops = windows(AvgPool, include_padding=True, requantize=early)
    check(several([*ops, *windows(AvgPool, requantize=early)], [byte((7, 9, 6))]))


@pytest.mark.parametrize("shape", [(7, 9, 6), (3, 4, 2, 5)])
@pytest.mark.parametrize("function", ["mean", "sum", "max", "min"])
def test_reductions(shape, function):
    kinds = itertools.product((True, False), ("fixed_point", "float"))
    for keep, rounding in kinds:
        rule = Affine(0.07, 3, rounding)
        ops = [
            Reduce(**ONE, axes=axes, keep=keep, function=function, requantize=rule)
            for axes in ((1, 2), (0,), (1,), (2,), (0, 2), (0, 1, 2))
        ]
        check(several(ops, [byte(shape)]), samples=1)


def test_the_mean_of_a_map_needs_no_map():
    """A whole map is summed row by row: two stages."""
    pool = AvgPool(**ONE, kernel=(9, 6), stride=(1, 1), rounding="half_away")
    project = check(one_op(pool, [byte((7, 9, 6))]))
    assert [s.accumulates for s in project.network.stages if s.kind == "avg_pool"] == [True, False]


def test_tables():
    rng = np.random.default_rng(0)
    held, ops = {}, []
    for axis, rows in ((None, ()), (0, (8,)), (1, (5,)), (2, (6,))):
        held[f"t{axis}"] = Constant(rng.integers(-128, 128, (*rows, 256)).astype(np.int8), 8)
        ops.append(Lookup(**ONE, table=f"t{axis}", scale=0.1, axis=axis))
    ops.append(Requantize(**ONE, requantize=Affine(0.03, 5)))
    ops.append(Requantize(**ONE, requantize=Affine(0.03, 100, low=0, high=255, dtype="uint8")))
    check(several(ops, [byte((8, 5, 6))], held))


def test_a_change_of_sign_only_moves_nothing():
    rule = Affine(0.05, 131, low=0, high=255, dtype="uint8")
    project = check(one_op(Requantize(**ONE, requantize=rule), [byte((12,))]))
    assert "eb_lookup" not in {stage.function for stage in project.network.stages}


def channels_last(perm, back):
    """Return a network whose file has pictures in another order than C x H x W."""
    rng = np.random.default_rng(3)
    table = {"t": Constant(rng.integers(-128, 128, (3, 256)).astype(np.int8), 8)}

    def at(inputs, output):
        return {"name": output, "inputs": (inputs,), "output": output}

    ops = (
        Quantize(**at("a", "q"), scale=0.02, zero_point=1, dtype="int8"),
        Lookup(**at("q", "l"), table="t", scale=0.1, axis=perm[0]),
        Requantize(**at("l", "r"), requantize=Affine(0.03, 5)),
        Transpose(**at("r", "map"), perm=perm),
        MaxPool(**at("map", "p"), kernel=(3, 3), stride=(1, 1), padding=(1, 1, 1, 1)),
        Transpose(**at("p", "given"), perm=back),
        Dequantize(**at("given", "d")),
        Unary(**at("d", "o"), function="abs"),
    )
    shape = [3, 6, 5]
    kind = real([shape[perm.index(axis)] for axis in range(3)])
    return Program("last", {"a": kind}, ops, ("o",), table)


@pytest.mark.parametrize("goal", ["balanced", "ram"])
def test_a_picture_channels_last_is_read_as_it_lies(goal):
    project = check(channels_last((2, 0, 1), (1, 2, 0)), goal=goal)
    assert "eb_move" not in {stage.function for stage in project.network.stages}


@pytest.mark.parametrize("goal", ["balanced", "ram"])
@pytest.mark.parametrize("perm", [(1, 0, 2), (0, 1, 2), (2, 1, 0)])
def test_values_one_by_one_in_any_order(goal, perm):
    check(channels_last(perm, (2, 1, 0)), goal=goal)


@pytest.mark.parametrize("size", ["int8", "float32"])
def test_copies_into_another_order(size):
    """Contiguous runs, few channels last and first, and all axes reversed."""
    kind = byte((3, 9, 11)) if size == "int8" else real((3, 9, 11))
    for perm in ((1, 2, 0), (2, 0, 1), (2, 1, 0), (1, 0, 2)):
        ops = (
            Transpose(name="t", inputs=("a",), output="t", perm=perm),
            Reshape(name="r", inputs=("t",), output="o", shape=(297,)),
        )
        check(Program("moved", {"a": kind}, ops, ("o",), {}))


@pytest.mark.parametrize("scale", [0.01, 0.1, 0.5, 2.0])
def test_softmax(scale):
    ops = [Softmax(**ONE, axis=0, requantize=SHARES), Softmax(**ONE, axis=0, requantize=SHARES)]
    check(several(ops[:1], [byte((1001,), scale)]), samples=4)
    check(several(ops, [byte((12,), scale)]), samples=8)


def test_softmax_of_equal_values():
    """So many equal shares are 0: their scale is too coarse for them."""
    kind = TensorType((1001,), "int8", 1e-6, 0)
    check(one_op(Softmax(**ONE, axis=0, requantize=SHARES), [kind]))


def test_softmax_along_any_axis():
    ops = [Softmax(**ONE, axis=axis, requantize=SHARES) for axis in range(3)]
    check(several(ops, [byte((5, 6, 7), 0.1)]))
    ops = [Softmax(**ONE, axis=axis) for axis in range(3)]
    check(several(ops, [real((5, 6, 7))]), close=True)
    rule = Affine(1 / 256, 0, "float", 0, 255, "uint8")
    ops = [Softmax(**ONE, axis=axis, requantize=rule) for axis in range(3)]
    check(several(ops, [byte((5, 6, 7), 0.1, 100, "uint8")]))
    check(one_op(Softmax(**ONE, axis=0, requantize=Affine(0.004, -128, "float")), [byte((9,))]))


def test_lengths():
    rule = Affine(1 / 128, 0)
    ops = [L2Normalize(**ONE, axis=axis, requantize=rule) for axis in range(3)]
    check(several(ops, [byte((5, 6, 7), 0.1, -20)]))
    for size in (1, 2, 900):
        op = L2Normalize(**ONE, axis=0, requantize=rule)
        check(one_op(op, [byte((size,), 0.1, -128)]), samples=6)


@pytest.mark.parametrize("shape", [(4, 5, 6), (2, 4, 5, 6)])
@pytest.mark.parametrize("dtype", [*BOTH, "float32"])
def test_concat(shape, dtype):
    kind = real(shape) if dtype == "float32" else byte(shape, 0.1, 3, dtype)
    for axis in range(3):
        other = kind.with_shape(tuple(3 if a == axis else n for a, n in enumerate(shape)))
        check(one_op(Concat(**TWO, axis=axis), [kind, other]), samples=1)


def parts():
    """Return ops on a tensor of 4 x 5 x 6."""
    cuts = (
        ((1, 1, 0), (4, 5, 6), (1, 2, 2)), ((3, 4, 5), (None, None, 0), (-1, -2, -1)),
        ((0, 1, 0), (4, None, 6), (1, 1, 3)), ((0, 4, 5), (4, None, 6), (2, -1, 1)),
        ((0, 2, 1), (4, 3, 6), (2, 1, 1)), ((1, 0, 0), (3, 5, 6), (1, 1, 1)),
    )  # fmt: skip
    found = [StridedSlice(**ONE, begin=b, end=e, step=s) for b, e, s in cuts]
    found += [Slice(**ONE, start=1, stop=3), Crop(**ONE, start=1, stop=3)]
    for mode in ("constant", "reflect", "symmetric", "edge"):
        found.append(Pad(**ONE, before=(0, 1, 2), after=(0, 2, 1), mode=mode))
        found.append(Pad(**ONE, before=(1, 1, 0), after=(2, 2, 1), mode=mode))
    found += [DepthToSpace(**ONE, block=2, order=order) for order in ("dcr", "crd")]
    found += [Gather(**ONE, axis=axis, indices="i") for axis in range(3)]
    return found


@pytest.mark.parametrize("dtype", [*BOTH, "float32"])
def test_parts(dtype):
    held = {"i": Constant(np.array([2, 0, 1, 1], np.int32), 32)}
    shape = (4, 5, 6)
    kind = real(shape) if dtype == "float32" else byte(shape, 0.1, 3, dtype)
    check(several(parts(), [kind], held), samples=1)
    flat = [
        Pad(**ONE, before=(0, 3), after=(0, 1), value=7),
        Pad(**ONE, before=(2, 0), after=(1, 0), value=7),
        StridedSlice(**ONE, begin=(1, 4), end=(4, None), step=(2, -1)),
    ]
    check(several(flat, [kind.with_shape((4, 5))]), samples=1)
    folded = one_op(SpaceToDepth(**ONE, block=2), [kind.with_shape((3, 4, 6))])
    check(folded, samples=1)


@pytest.mark.parametrize("dtype", BOTH)
@pytest.mark.parametrize("size", [(10, 12), (3, 4), (7, 6)])
def test_resize(dtype, size):
    low, high = (0, 255) if dtype == "uint8" else (-128, 127)
    fixed = Affine(0.1, 3, "fixed_point", low, high, dtype)
    other = Affine(0.09, 3, "float", low, high, dtype)
    ops = [
        Resize(**ONE, mode=mode, size=size, coordinates=place, requantize=rule)
        for place in ("half_pixel", "asymmetric", "align_corners")
        for mode, rule in (("nearest", None), ("bilinear", fixed), ("bilinear", other))
    ]
    check(several(ops, [byte((3, 5, 6), 0.1, 3, dtype)]))


def test_resize_of_real_numbers():
    ops = [
        Resize(**ONE, mode="bilinear", size=size, coordinates=place)
        for place in ("half_pixel", "align_corners")
        for size in ((10, 12), (3, 4))
    ]
    check(several(ops, [real((3, 5, 6))]))


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_argmax(dtype):
    ops = [
        Argmax(**ONE, axis=axis, keep=keep, last=last, least=last, dtype=wide)
        for axis in range(3)
        for keep in (False, True)
        for last, wide in ((False, "int32"), (True, "int64"))
    ]
    kind = byte((3, 5, 6)) if dtype == "int8" else real((3, 5, 6))
    check(several(ops, [kind]))


def test_real_numbers_on_one_side():
    ops = [
        Quantize(**ONE, scale=0.0125, zero_point=zero, dtype=dtype, rounding=rounding)
        for dtype, zero in (("int8", 4), ("uint8", 128))
        for rounding in ("half_away", "half_even")
    ]
    check(several(ops, [real((7, 9, 6))]))
    for dtype in BOTH:
        kind = byte((7, 9, 6), 0.1, 4, dtype)
        check(several([Dequantize(**ONE), Cast(**ONE, dtype="float32")], [kind]))


@pytest.mark.parametrize("outer", [(), (3,), (2, 3)])
def test_matrix_products(outer):
    for first, second in itertools.product((False, True), repeat=2):
        a = (*outer, *((5, 4) if first else (4, 5)))
        b = (*outer, *((7, 5) if second else (5, 7)))
        ops = [
            BatchMatmul(**TWO, transpose_a=first, transpose_b=second, requantize=rule)
            for rule in (Affine(0.3, 5), Affine(0.3, 5, "float"))
        ]
        check(several(ops, [byte(a), byte(b, 0.02, -9)]), samples=1)


@pytest.mark.parametrize("core", ["m0plus", "m4"])
def test_integer_ops_on_a_core(core):
    """Nothing here needs a library: no division, no 64-bit product, no memcpy."""
    held = {"t": Constant(np.random.default_rng(0).integers(-128, 128, 256).astype(np.int8), 8)}
    ops = [
        Lookup(**ONE, table="t", scale=0.1),
        *windows(MaxPool),
        *windows(AvgPool, rounding="half_away"),
        Softmax(**ONE, axis=0, requantize=SHARES),
        Reduce(**ONE, axes=(1, 2), keep=True, function="mean", requantize=Affine(0.06, 3)),
        Concat(name="l", inputs=("a", "a"), output="o", axis=0),
        Pad(**ONE, before=(0, 1, 2), after=(0, 2, 1)),
        Resize(**ONE, mode="nearest", size=(18, 12), coordinates="asymmetric"),
        Argmax(**ONE, axis=0),
    ]
    check_on(core, several(ops, [byte((7, 9, 6))], held))


@pytest.mark.parametrize(
    ("op", "kinds"),
    [
        (Softmax(**ONE, axis=0, log=True), [real((4,))]),
        (Reduce(**ONE, axes=(0,), function="prod"), [real((4, 3))]),
        (Cast(**ONE, dtype="int32"), [byte((4,))]),
        (Requantize(**ONE, requantize=Affine(1.0, 0, dtype="int16")), [byte((4,))]),
    ],
)
def test_what_has_no_kernel_is_named(op, kinds):
    with pytest.raises(EdgebedError, match="layer l"):
        check(one_op(op, kinds))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "extra"),
    [
        ((3, 3), (2, 2), (1, 1), (1, 1)), ((2, 4), (2, 1), (0, 2), (0, 0)),
        ((2, 2), (3, 3), (0, 0), (0, 1)),
    ],
)  # fmt: skip
def test_transposed_convolutions(kernel, stride, padding, extra):
    rng = np.random.default_rng(3)
    weight = rng.integers(-127, 128, (5, 4, *kernel)).astype(np.int8)
    held = {
        "w": Constant(weight, 8, 0.01, 6 if kernel == (2, 4) else 0),
        "b": Constant(rng.integers(-900, 900, 4).astype(np.int32), 32),
        "m": Constant(multiplier_table([0.004, 0.003, 0.005, 0.0007]), 32),
    }
    op = ConvTranspose2d(
        **ONE, weight="w", bias="b", multiplier="m", stride=stride, padding=padding,
        output_padding=extra, requantize=Affine(0.1, -7),
    )  # fmt: skip
    check(one_op(op, [byte((5, 4, 3))], held))


@pytest.mark.parametrize("function", real_values.FUNCTIONS)
def test_functions_of_real_numbers(function):
    op = Unary(**ONE, function=function, alpha=0.3, beta=0.4, low=-0.2, high=0.7)
    check(several([op, Unary(**ONE, function="relu6")], [real((3, 5, 6))]), close=True)


def test_pairs_and_windows_of_real_numbers():
    rng = np.random.default_rng(2)
    held = {
        "k": Constant(rng.normal(size=(3, 1, 1)).astype(np.float32), 32),
        "s": Constant(rng.normal(size=(3, 1, 1)).astype(np.float32), 32),
    }
    kind = real((3, 5, 6))
    ops = [op(**TWO) for op in (Add, Subtract, Multiply, Divide, Maximum, Minimum)]
    check(several(ops, [kind, kind]), close=True)
    check(several(ops, [kind, kind.with_shape((3, 1, 1))]), close=True)
    check(several(ops, [kind.with_shape((4, 7)), kind.with_shape((7,))]), close=True)
    check(one_op(Prelu(**ONE, slope="s"), [kind], held), close=True)
    pools = [
        op(**ONE, kernel=(2, 3), stride=(1, 2), padding=(1, 0, 0, 2)) for op in (MaxPool, AvgPool)
    ]
    more = [AvgPool(**ONE, kernel=(5, 6), stride=(1, 1)), AvgPool(**vars(pools[1]) | PADDED)]
    means = [
        Reduce(**ONE, function=function, axes=(1, 2), keep=keep)
        for function, keep in (("mean", True), ("sum", False), ("max", True))
    ]
    check(several([*pools, *more, *means], [kind]), close=True)


def test_quotients_of_bytes():
    op = Divide(**TWO, requantize=Affine(0.04, 5))
    check(one_op(op, [byte((3, 4, 5)), byte((3, 4, 5), 0.02, -128)]))
