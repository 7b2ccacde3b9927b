"""The serial line: cut, damaged and disordered packets, and loss of power between two of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import stub_network as stub
from hypothesis import given
from hypothesis import strategies as st

from edgebed.errors import EdgebedError
from edgebed.targets._shared.arm_cores import find_core
from edgebed.targets.cortex_m.board.board import Board
from edgebed.targets.cortex_m.build import build
from edgebed.targets.cortex_m.link import PAYLOAD_BYTES, Link, Packet, RefusedError, parse
from edgebed.targets.cortex_m.machine import VirtualMicrocontroller

X = np.arange(stub.BYTES).astype(np.int8)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = stub.write(tmp_path_factory.mktemp("link") / "net", "m4")
    build(folder, find_core("m4"))
    return folder


@pytest.fixture
def machine(built: Path) -> Iterator[VirtualMicrocontroller]:
    machine = VirtualMicrocontroller()
    machine.load(built)
    yield machine
    machine.close()


def reason(board: Board, data: bytes) -> int:
    """Send bytes; return the reason of the refusal that comes back."""
    board.write(data)
    found = parse(board.read())
    assert found is not None and found[0].type == "N"
    return int(struct.unpack("<I", found[0].payload)[0])


def part(offset: int, count: int, number: int = 7, index: int = 0) -> Packet:
    payload = struct.pack("<2I", index, offset) + X.tobytes()[offset : offset + count]
    return Packet("I", number, payload)


def works(machine: VirtualMicrocontroller) -> bool:
    answer = machine.run(X).outputs["back"]
    return np.array_equal(answer, X[None, ::-1])


@pytest.mark.parametrize("kept", [1, 2, 5, 6, 300, -4, -1])
def test_a_cut_packet_is_refused_and_forgotten(machine: VirtualMicrocontroller, kept: int) -> None:
    assert reason(machine.board, part(0, 512).to_bytes()[:kept]) == 2
    assert works(machine)


@pytest.mark.parametrize("at", [2, 3, 6, 20, -1])
def test_a_damaged_packet_is_refused(machine: VirtualMicrocontroller, at: int) -> None:
    data = bytearray(part(0, 512).to_bytes())
    data[at] ^= 0x10
    assert reason(machine.board, bytes(data)) == 3
    assert works(machine)


@pytest.mark.parametrize("noise", [b"\x00", b"\xeb\xeb", b"hello, is anybody there?" * 30])
def test_noise_is_no_packet(machine: VirtualMicrocontroller, noise: bytes) -> None:
    # A whole packet inside of the noise is not taken either.
    assert reason(machine.board, noise + part(0, 512).to_bytes()) == 1
    assert works(machine)


def test_wrong_lengths_types_and_places_are_refused(machine: VirtualMicrocontroller) -> None:
    board = machine.board
    assert reason(board, Packet("I", 1, bytes(PAYLOAD_BYTES + 1)).to_bytes()) == 4
    assert reason(board, Packet("?", 1).to_bytes()) == 5
    assert reason(board, Packet("D", 1, bytes(4)).to_bytes()) == 5
    assert reason(board, Packet("I", 1, bytes(7)).to_bytes()) == 8
    assert reason(board, part(0, 4, index=1).to_bytes()) == 8
    assert reason(board, part(512, 512).to_bytes()) == 6
    assert works(machine)


def test_more_than_the_input_is_refused(machine: VirtualMicrocontroller) -> None:
    with pytest.raises(RefusedError, match="not so long"):
        machine.link.send_input(0, bytes(stub.BYTES + 1))
    assert works(machine)


def test_nothing_runs_on_half_an_input(machine: VirtualMicrocontroller) -> None:
    machine.link.send_input(0, X.tobytes()[:600])
    with pytest.raises(RefusedError, match="not all inputs are there"):
        machine.link.run()
    with pytest.raises(RefusedError, match="nothing was computed"):
        machine.link.output(0, 4)
    assert works(machine)
    # The run used the input up.
    with pytest.raises(RefusedError, match="not all inputs are there"):
        machine.link.run()
    with pytest.raises(RefusedError, match="not so long"):
        machine.run(X)
        machine.link.output(0, stub.BYTES + 1)


def test_power_lost_between_two_packets_is_noticed(machine: VirtualMicrocontroller) -> None:
    machine.link.send_input(0, X.tobytes()[:512])
    machine.board.reset()
    assert reason(machine.board, part(512, 512).to_bytes()) == 6
    with pytest.raises(RefusedError, match="not all inputs are there"):
        machine.link.run()
    assert works(machine)


def test_power_lost_within_a_packet_is_noticed(machine: VirtualMicrocontroller) -> None:
    data = part(0, 512).to_bytes()
    machine.board.write(data[:100])
    machine.board.reset()
    assert reason(machine.board, data[100:]) == 1
    assert works(machine)


def test_a_host_that_begins_anew_finds_nothing_half_done(machine: VirtualMicrocontroller) -> None:
    machine.link.send_input(0, X.tobytes()[:512])
    assert Link(machine.board).hello().digest == stub.DIGEST
    assert reason(machine.board, part(512, 512).to_bytes()) == 6


def test_a_row_that_is_cut_fails_the_run(tmp_path: Path) -> None:
    folder = stub.write(tmp_path / "net", "m4", fetched=True)
    build(folder, find_core("m4"))
    machine = VirtualMicrocontroller()
    machine.load(folder)
    rows = X.reshape(2, -1)
    with pytest.raises(RefusedError, match="not now"):
        machine.link.run(lambda _input, row: rows[row].tobytes()[: 600 - 100 * row])
    with pytest.raises(RefusedError, match="nothing was computed"):
        machine.link.output(0, 4)
    with pytest.raises(RefusedError, match="not now"):
        machine.link.send_input(0, X.tobytes())
    assert works(machine)
    machine.close()


def test_silence_from_the_board_is_told() -> None:
    class Silent:
        def write(self, data: bytes) -> None: ...

        def read(self) -> bytes:
            return b""

    with pytest.raises(EdgebedError, match="serial line: the firmware does not answer"):
        Link(Silent()).hello()


@given(st.characters(max_codepoint=255), st.integers(0, 255), st.binary(max_size=PAYLOAD_BYTES))
def test_packets_survive_the_way(kind: str, number: int, payload: bytes) -> None:
    packet = Packet(kind, number, payload)
    data = packet.to_bytes()
    assert parse(data + b"more") == (packet, len(data))
    assert all(parse(data[:count]) is None for count in range(0, len(data), 7))


@given(st.binary(max_size=40), st.data())
def test_no_changed_byte_goes_unnoticed(payload: bytes, data: st.DataObject) -> None:
    packet = bytearray(Packet("O", 3, payload).to_bytes())
    at = data.draw(st.integers(0, len(packet) - 1))
    packet[at] ^= data.draw(st.integers(1, 255))
    try:
        found = parse(bytes(packet))
    except EdgebedError:
        return
    assert found is None  # a length that says there is more to come
