"""NEON kernels on emulated cores against numpy: shapes, rules, borders, in place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from neon_layers import draw, meaning, run

from edgebed.targets._shared.rows.kernels.neon import NEON, NEON_DOT
from edgebed.targets._shared.rows.kernels.sets import WindowShape
from edgebed.targets.arm_linux.cores import CORES
from edgebed.targets.arm_linux.emulation import find_qemu

CORE_NAMES = ("a53", "a76", "armv7")


def _same(rng, height, width, channels, outputs, kernel, stride=1, dilation=1, **more):
    reach = (kernel - 1) * dilation + 1
    pad = reach // 2
    return WindowShape(
        height, width, channels,
        (height + 2 * pad - reach) // stride + 1, (width + 2 * pad - reach) // stride + 1, outputs,
        (kernel, kernel), (stride, stride), (pad, pad), (dilation, dilation), **more,
    )  # fmt: skip


def _input(rng, shape):
    size = (shape.in_height, shape.in_width, shape.in_channels)
    return rng.integers(-128, 128, size)


def _emulated(core_name, layer, packed, x, folder, **more):
    core = CORES[core_name]
    if find_qemu(core) is None:
        pytest.importorskip("unicorn", reason="neither qemu-user nor unicorn is installed")
    return run(core, layer, packed, x, folder, **more)


def _check_conv(core_name, layer, rng, folder, **more):
    kernels = CORES[core_name].kernels
    packed = kernels.conv(layer.shape, layer.weights, "balanced", linear=layer.rule == 0)
    x = _input(rng, layer.shape)
    y, count = _emulated(core_name, layer, packed, x, folder, **more)
    np.testing.assert_array_equal(y, meaning(layer, x, depthwise=False))
    return packed, count


# height, width, channels, outputs, kernel, stride, dilation
CONVOLUTIONS = (
    (3, 9, 16, 16, 3, 1, 1),
    (4, 7, 5, 11, 3, 2, 1),
    (5, 6, 20, 3, 3, 1, 2),
    (2, 13, 33, 8, 1, 1, 1),
    (6, 8, 3, 8, 3, 2, 1),
    (5, 5, 1, 9, 5, 1, 1),
    (7, 4, 8, 24, 2, 3, 1),
    (1, 1, 64, 10, 1, 1, 1),
    (9, 3, 16, 4, 7, 1, 1),
)


@pytest.mark.parametrize("core_name", CORE_NAMES)
@pytest.mark.parametrize("numbers", CONVOLUTIONS)
def test_convolutions_equal_their_definition(core_name, numbers, tmp_path):
    rng = np.random.default_rng(sum(numbers))
    layer = draw(rng, _same(rng, *numbers), low=-100, high=90)
    packed, _ = _check_conv(core_name, layer, rng, tmp_path)
    assert packed.function == "eb_conv_neon"


@pytest.mark.parametrize("core_name", CORE_NAMES)
def test_drawn_convolutions_equal_their_definition(core_name, tmp_path):
    rng = np.random.default_rng(5)
    for _ in range(6):
        height, width, channels, outputs = rng.integers(1, 12, 4) * (1, 1, 3, 2)
        kernel, stride, dilation = (
            int(rng.choice(n)) for n in ((1, 2, 3, 4), (1, 2, 3), (1, 1, 2))
        )
        shape = _same(rng, *map(int, (height, width, channels, outputs)), kernel, stride, dilation)
        _check_conv(core_name, draw(rng, shape), rng, tmp_path)


@pytest.mark.parametrize("core_name", CORE_NAMES)
@pytest.mark.parametrize("rule", [1, 2, 3, 4])
def test_every_rule_of_requantisation_is_computed(core_name, rule, tmp_path):
    rng = np.random.default_rng(rule)
    layer = draw(rng, _same(rng, 3, 11, 16, 13, 3), rule=rule)
    _check_conv(core_name, layer, rng, tmp_path)
    deep = draw(rng, _same(rng, 3, 6, 19, 19, 3), rule=rule, depthwise=True)
    _check_depthwise(core_name, deep, rng, tmp_path)


@pytest.mark.parametrize("core_name", CORE_NAMES)
@pytest.mark.parametrize("limit", [128, 255])
def test_weights_beyond_the_fast_range_give_the_same(core_name, limit, tmp_path):
    rng = np.random.default_rng(limit)
    layer = draw(rng, _same(rng, 3, 6, 18, 9, 3), limit=limit)
    extreme = rng.choice([-limit, limit - 1], layer.weights.shape)
    layer = replace(layer, weights=extreme)
    _check_conv(core_name, layer, rng, tmp_path)
    deep = draw(rng, _same(rng, 3, 6, 18, 18, 3), limit=limit, depthwise=True)
    _check_depthwise(core_name, deep, rng, tmp_path)


@pytest.mark.parametrize("core_name", CORE_NAMES)
@pytest.mark.parametrize("depthwise", [False, True])
def test_the_full_range_of_a_byte_costs_nothing(core_name, depthwise, tmp_path):
    """-128 times -128 fits beside any other product; only two of them do not."""
    rng = np.random.default_rng(4)
    layer = draw(rng, _same(rng, 3, 7, 16, 16, 3), depthwise=depthwise)
    weights = np.full(layer.weights.shape, -127)
    if depthwise:
        weights.reshape(16, 9)[:, ::2] = -128
    else:
        weights[..., :8] = -128
    full, plain = replace(layer, weights=weights), replace(layer, weights=np.sign(weights))
    image = np.full((3, 7, 16), -128)
    kernels, counts = CORES[core_name].kernels, []
    for one in (full, plain):
        pack = kernels.depthwise if depthwise else kernels.conv
        packed = pack(one.shape, one.weights, "balanced", linear=one.rule == 0)
        y, count = _emulated(core_name, one, packed, image, tmp_path)
        np.testing.assert_array_equal(y, meaning(one, image, depthwise=depthwise))
        counts.append(count)
    assert counts[0] == counts[1]


@pytest.mark.parametrize("core_name", CORE_NAMES)
def test_extreme_inputs_and_weights_do_not_overflow(core_name, tmp_path):
    rng = np.random.default_rng(9)
    layer = draw(rng, _same(rng, 2, 8, 64, 8, 1))
    layer = replace(layer, weights=np.full_like(layer.weights, -127))
    kernels = CORES[core_name].kernels
    packed = kernels.conv(layer.shape, layer.weights, "time", linear=True)
    x = np.full((2, 8, 64), -128)
    y, _ = _emulated(core_name, layer, packed, x, tmp_path)
    np.testing.assert_array_equal(y, meaning(layer, x, depthwise=False))


@pytest.mark.parametrize("core_name", CORE_NAMES)
@pytest.mark.parametrize(("channels", "outputs", "lag"), [(24, 24, 0), (40, 17, 3), (16, 8, 64)])
def test_a_pointwise_layer_may_write_over_its_input(core_name, channels, outputs, lag, tmp_path):
    rng = np.random.default_rng(channels)
    shape = _same(rng, 3, 10, channels, outputs, 1, in_place=True)
    _check_conv(core_name, draw(rng, shape), rng, tmp_path, lag=lag)


def _check_depthwise(core_name, layer, rng, folder, **more):
    kernels = CORES[core_name].kernels
    packed = kernels.depthwise(layer.shape, layer.weights, "balanced", linear=layer.rule == 0)
    x = _input(rng, layer.shape)
    y, _ = _emulated(core_name, layer, packed, x, folder, **more)
    np.testing.assert_array_equal(y, meaning(layer, x, depthwise=True))
    return packed


@pytest.mark.parametrize("core_name", CORE_NAMES)
@pytest.mark.parametrize(
    ("height", "width", "channels", "kernel", "stride", "dilation"),
    [(4, 9, 16, 3, 1, 1), (5, 6, 19, 3, 2, 1), (4, 11, 8, 5, 1, 1), (6, 7, 64, 2, 2, 1),
     (7, 5, 3, 3, 1, 2), (3, 1, 40, 3, 1, 1)],
)  # fmt: skip
def test_depthwise_layers_equal_their_definition(
    core_name, height, width, channels, kernel, stride, dilation, tmp_path
):
    rng = np.random.default_rng(channels + kernel)
    shape = _same(rng, height, width, channels, channels, kernel, stride, dilation)
    packed = _check_depthwise(core_name, draw(rng, shape, depthwise=True), rng, tmp_path)
    assert packed.function == "eb_depthwise_neon"


@pytest.mark.parametrize("core_name", CORE_NAMES)
def test_a_dense_layer_equals_its_definition(core_name, tmp_path):
    rng = np.random.default_rng(3)
    for depth, rows, outputs in ((640, 1, 21), (37, 3, 8)):
        layer = draw(rng, WindowShape(1, rows, depth, 1, rows, outputs))
        kernels = CORES[core_name].kernels
        flat = layer.weights.reshape(outputs, depth)
        packed = kernels.dense(depth, rows, flat, "time", linear=True)
        x = _input(rng, layer.shape)
        y, _ = _emulated(core_name, layer, packed, x, tmp_path)
        np.testing.assert_array_equal(y, meaning(layer, x, depthwise=False))


@pytest.mark.parametrize(("core_name", "most"), [("a53", 0.28), ("a76", 0.10), ("armv7", 0.36)])
def test_a_3x3_convolution_stays_within_its_instructions(core_name, most, tmp_path):
    rng = np.random.default_rng(1)
    layer = draw(rng, _same(rng, 16, 32, 16, 16, 3))
    _, count = _check_conv(core_name, layer, rng, tmp_path)
    assert count <= most * layer.macs


def test_unicorn_and_qemu_agree_on_answer_and_count(tmp_path):
    pytest.importorskip("unicorn")
    rng = np.random.default_rng(2)
    for core_name in CORE_NAMES:
        core = CORES[core_name]
        if find_qemu(core) is None:
            pytest.skip("qemu-user is not installed")
        layer = draw(rng, _same(rng, 4, 9, 8, 12, 3))
        packed = core.kernels.conv(layer.shape, layer.weights, "time", linear=True)
        x = _input(rng, layer.shape)
        first, count = run(core, layer, packed, x, tmp_path, emulator="qemu")
        second, other = run(core, layer, packed, x, tmp_path, emulator="unicorn")
        np.testing.assert_array_equal(first, second)
        assert count == other


def test_what_bytes_cannot_hold_goes_to_the_portable_kernels():
    wide = np.full((4, 1, 1, 8), 300)
    shape = WindowShape(2, 2, 8, 2, 2, 4)
    for kernels in (NEON, NEON_DOT):
        doubled = kernels.depthwise(
            WindowShape(2, 2, 4, 2, 2, 8), np.ones((8, 1, 1), int), "ram", linear=True
        )
        assert doubled.function.startswith("eb_depthwise_portable")
        assert kernels.conv(shape, wide // 2, "ram", linear=True).function == "eb_conv_neon"
