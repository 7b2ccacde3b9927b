"""Frames and tensor orders of the serial line, on the host's side."""

from __future__ import annotations

import numpy as np
import pytest
from firmware_projects import detector
from hypothesis import given
from hypothesis import strategies as st

from edgebed.errors import EdgebedError
from edgebed.targets.max78000.compiler import compile_program
from edgebed.targets.max78000.image import TensorLayout
from edgebed.targets.max78000.ports import instance_address, ports, side_by_side
from edgebed.targets.max78000.wire import Frame, decode, encode, read_detections, wire

frames = st.builds(Frame, st.integers(0, 255), st.integers(0, 255), st.binary(max_size=40))
texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@given(st.lists(st.tuples(texts, frames)), texts)
def test_frames_and_text_are_separated(parts: list[tuple[str, Frame]], tail: str) -> None:
    stream = b"".join(text.encode() + encode(frame) for text, frame in parts) + tail.encode()
    received = decode(stream)
    assert received.frames == tuple(frame for _, frame in parts)
    assert received.text == "".join(text for text, _ in parts) + tail
    assert received.rest == b""
    assert received.damaged == 0


@given(frames, st.data())
def test_a_cut_frame_waits_for_its_rest(frame: Frame, data: st.DataObject) -> None:
    whole = encode(frame)
    cut = data.draw(st.integers(1, len(whole) - 1))
    first = decode(whole[:cut])
    assert (first.frames, first.text) == ((), "")
    assert decode(first.rest + whole[cut:]).frames == (frame,)


@given(frames, st.data())
def test_a_damaged_frame_is_never_delivered(frame: Frame, data: st.DataObject) -> None:
    whole = bytearray(encode(frame))
    at = data.draw(st.integers(8, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    assert frame not in decode(bytes(whole)).frames


@pytest.mark.parametrize("size", [0, 15, 17, 39, 41])
def test_detections_of_a_wrong_length_are_refused(size: int) -> None:
    payload = np.array([1, 2, 3, 1], "<u4").tobytes() + bytes(24)
    with pytest.raises(EdgebedError, match=f"{size} bytes"):
        read_detections((payload + bytes(10))[:size])


@st.composite
def layouts(draw: st.DrawFn) -> TensorLayout:
    form = draw(st.sampled_from(["hwc", "chw", "fifo_hwc", "fifo_chw"]))
    wide = form == "hwc" and draw(st.booleans())
    shape = (draw(st.integers(1, 70)), draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    if form == "hwc":
        per_pass = draw(st.integers(1, min(shape[0], 64)))
        first = draw(st.integers(0, 64 - per_pass))
        processors = tuple(range(first, first + per_pass))
        passes = -(-shape[0] // per_pass)
    else:
        most = {"chw": 16, "fifo_hwc": 16, "fifo_chw": 4}[form]
        channels = min(shape[0], most)
        shape, passes = (channels, *shape[1:]), 1
        step = {"chw": 4, "fifo_hwc": 1, "fifo_chw": 16}[form]
        processors = tuple(
            c * step if form != "fifo_hwc" else c % 4 + c // 4 * 16 for c in range(channels)
        )
    step = draw(st.integers(1, 3))
    return TensorLayout("t", shape, 0, form, wide, processors, passes, 5, step)  # type: ignore[arg-type]


@given(layouts(), st.integers(0, 2**32 - 1))
def test_a_tensor_survives_the_wire(layout: TensorLayout, seed: int) -> None:
    kind = np.int32 if layout.wide else np.int8
    limits = np.iinfo(kind)
    rng = np.random.default_rng(seed)
    tensor = rng.integers(limits.min, limits.max, layout.shape, kind, endpoint=True)
    order = ports(layout)
    data = order.to_wire(tensor)
    assert data.size == order.wire_bytes
    np.testing.assert_array_equal(order.from_wire(data), tensor)


@given(layouts().filter(lambda one: one.form in ("hwc", "chw")), st.integers(0, 2**32 - 1))
def test_ports_place_every_element_where_the_layout_says(layout: TensorLayout, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tensor = rng.integers(-128, 128, layout.shape).astype(np.int8)
    order = ports(layout)
    wide = 4 if layout.wide else 1
    table = order.to_wire(tensor).reshape(order.groups, -1, wide)
    for port in order.ports:
        lanes = [lane for lane in range(4) if port.lanes >> lane & 1]
        for group in range(order.groups):
            for element, lane in enumerate(lanes, port.start):
                byte = port.address + group * port.stride + lane * wide
                value = int(table[group, element, 0].view(np.int8))
                assert value == _at(layout, tensor, byte)


def _at(layout: TensorLayout, tensor: np.ndarray, byte: int) -> int:
    """Find the element that the layout's own formula puts at a byte address; 0 for padding."""
    _, height, width = layout.shape
    for c in range(layout.shape[0]):
        number, rank = divmod(c, len(layout.processors))
        p = layout.processors[rank]
        if not 0 <= byte - instance_address(p // 4) < 0x8000:
            continue
        offset = byte - instance_address(p // 4)
        for pixel in range(height * width):
            if layout.form == "chw":
                where = 4 * layout.base + pixel
            elif layout.wide:
                word = (pixel * layout.passes + number) * 4 * layout.step + p % 4
                where = 4 * (layout.base + word)
            else:
                word = (pixel * layout.passes + number) * layout.step
                where = 4 * (layout.base + word) + p % 4
            if where == offset:
                return int(tensor[c].ravel()[pixel])
    assert layout.form == "chw"
    return 0


def test_a_channel_may_go_to_two_places() -> None:
    first = TensorLayout("t", (4, 2, 2), 0, "hwc", False, (0, 1, 2, 3), 1, 0, 1)
    second = TensorLayout("t", (2, 2, 2), 1, "hwc", False, (8, 9), 1, 0, 1)
    order = side_by_side((first, second), 4)
    assert order.wire_bytes == 16
    assert [port.start for port in order.ports] == [0, 1]


def test_inputs_of_two_tensors_are_refused() -> None:
    first = TensorLayout("a", (4, 2, 2), 0, "hwc", False, (0, 1, 2, 3), 1, 0, 1)
    second = TensorLayout("b", (4, 2, 2), 0, "hwc", False, (4, 5, 6, 7), 1, 0, 1)
    with pytest.raises(EdgebedError, match="cannot be loaded together"):
        side_by_side((first, second), 4)


def test_folding_is_part_of_the_wire_order() -> None:
    program = detector()
    order = wire(program, compile_program(program).image)
    x = np.random.default_rng(0).integers(-128, 128, (3, 32, 32)).astype(np.int8)
    data = np.frombuffer(order.pack_input(x), np.int8).reshape(8, 8, 4, 4, 3)
    assert data[2, 3, 1, 0, 2] == x[2, 2 * 4 + 1, 3 * 4]
    np.testing.assert_array_equal(order.unpack_input(order.pack_input(x)), x)
