"""The host's end of the serial line: against a board of our own that answers as it likes."""

from __future__ import annotations

import itertools
import socket
import struct
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from firmware_projects import detector
from hypothesis import given
from hypothesis import strategies as st

from edgebed.errors import EdgebedError
from edgebed.program.to_onnx import save
from edgebed.targets.max78000 import link as link_module
from edgebed.targets.max78000.compiler import compile_program
from edgebed.targets.max78000.link import Link, SerialStream, TcpStream, read_information
from edgebed.targets.max78000.machine import RealBoard
from edgebed.targets.max78000.wire import ERROR, REPLY, Frame, Wire, decode, encode, wire

PROGRAM = detector()
WIRE: Wire = wire(PROGRAM, compile_program(PROGRAM).image)
LINES = (
    "name small-detector\nplan 0123456789abcdef\ninput 3 32 32\nfold 4\n"
    f"group {WIRE.inputs.group}\noutput result int32 8 8 8\n"
    + "".join(f"part result {p.channel} {p.shape[0]}\n" for p in WIRE.outputs)
    + "class cell\n"
)
INFORMATION = struct.pack("<I", 1234) + LINES.encode()
Answer = Callable[[Frame], bytes]


class Scripted:
    """A stream whose board answers each command with what `answer` says."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.waiting, self.sent = answer, b"", b""
        self.commands: list[Frame] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        received = decode(self.sent + data)
        self.sent = received.rest
        for frame in received.frames:
            self.commands.append(frame)
            self.waiting += self.answer(frame)

    def read(self, seconds: float) -> bytes:
        data, self.waiting = self.waiting[:7], self.waiting[7:]
        return data

    def close(self) -> None:
        self.closed = True


def reply(frame: Frame, payload: bytes = b"") -> bytes:
    return encode(Frame(frame.type | REPLY, frame.sequence, payload))


def link(answer: Answer) -> Link:
    return Link(Scripted(answer), timeout_s=2.5)


def test_text_between_frames_is_kept_and_taken_once() -> None:
    board = link(lambda frame: b"frame 1\n" + reply(frame, b"data") + b"frame 2\n")
    assert board.request("M") == b"data"
    assert board.request("M") == b"data"
    text = board.take_text()
    assert text.startswith("frame 1\nframe 2\nframe 1\n")
    assert board.take_text() == ""


def test_an_answer_to_an_earlier_command_is_passed_over() -> None:
    def answer(frame: Frame) -> bytes:
        late = Frame(frame.type | REPLY, frame.sequence - 1 & 255, b"late")
        return encode(late) + reply(frame, b"mine")

    assert link(answer).request("M") == b"mine"


def test_sequence_numbers_go_round() -> None:
    board = link(lambda frame: reply(frame, bytes([frame.sequence])))
    seen = [board.request("M")[0] for _ in range(300)]
    assert all((b - a) % 256 == 1 for a, b in itertools.pairwise(seen))


def test_silence_names_the_command_the_time_and_the_last_words() -> None:
    board = link(lambda frame: b"hard fault at 0x1234\n")
    with pytest.raises(
        EdgebedError,
        match=r"does not send the answer to command I .*2\.5 s.*hard fault at 0x1234.*921600 baud",
    ):
        board.information()


def test_a_board_that_never_gets_ready_is_named() -> None:
    with pytest.raises(EdgebedError, match="does not send its start-up text"):
        link(lambda frame: b"").wait_ready()


def test_the_start_up_text_ends_with_a_word() -> None:
    stream = Scripted(lambda frame: b"")
    stream.waiting = b"already running\nselftest 2/2 ok\nready\nmore"
    board = Link(stream)
    board.wait_ready()
    assert "ready" in board.take_text().split()


def test_a_refusal_quotes_the_firmware() -> None:
    board = link(lambda frame: encode(Frame(ERROR, frame.sequence, b"\x03unknown command")))
    with pytest.raises(EdgebedError, match=r"refuses command M: unknown command \(error code 3\)"):
        board.request("M")
    empty = link(lambda frame: encode(Frame(ERROR, frame.sequence, b"")))
    with pytest.raises(EdgebedError, match="error code 0"):
        empty.request("M")


def damaged(frame: Frame) -> bytes:
    whole = bytearray(reply(frame, b"some bytes"))
    whole[9] ^= 1
    return bytes(whole)


def test_a_damaged_answer_ends_the_wait_although_text_goes_on() -> None:
    """A detector prints a line for every frame, so silence alone would never end the wait."""

    class Chatty(Scripted):
        def read(self, seconds: float) -> bytes:
            return super().read(seconds) or b"frame 7 cnn_ms 2\n"

    with pytest.raises(EdgebedError, match=r"damaged during command M \(its check sum is wrong\)"):
        Link(Chatty(damaged)).request("M")


@given(st.binary(max_size=40), st.integers(0, 40))
def test_a_cut_answer_is_never_taken_for_a_whole_one(payload: bytes, cut: int) -> None:
    def answer(frame: Frame) -> bytes:
        whole = reply(frame, payload)
        return whole[: max(len(whole) - 1 - cut, 0)]

    with pytest.raises(EdgebedError, match="does not send the answer"):
        link(answer).request("M")


def test_damage_of_the_past_does_not_spoil_the_next_command() -> None:
    answers = iter([damaged, lambda frame: reply(frame, b"fine")])
    board = link(lambda frame: next(answers)(frame))
    with pytest.raises(EdgebedError, match="damaged"):
        board.request("M")
    assert board.request("M") == b"fine"


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_self_test_of_another_length_is_refused(size: int) -> None:
    board = link(lambda frame: reply(frame, bytes(size)))
    with pytest.raises(EdgebedError, match=rf"command T has {size} bytes \(16 are expected\)"):
        board.self_test()


@pytest.mark.parametrize("size", [0, 3, 4, 4 + WIRE.output_bytes - 1, 4 + WIRE.output_bytes + 1])
def test_outputs_of_another_length_are_refused(size: int) -> None:
    board = link(lambda frame: reply(frame, bytes(size)))
    with pytest.raises(EdgebedError, match=rf"command R has {size} bytes"):
        board.run(WIRE, np.zeros((3, 32, 32), np.int8))


def test_a_tensor_of_another_shape_is_not_sent() -> None:
    stream = Scripted(reply)
    with pytest.raises(EdgebedError, match=r"input of shape \(3, 32, 31\) .*\(3, 32, 32\)"):
        Link(stream).run(WIRE, np.zeros((3, 32, 31), np.int8))
    assert not stream.commands


def test_memory_is_asked_for_by_address_and_count() -> None:
    stream = Scripted(lambda frame: reply(frame, b"\1\2\3\4"))
    assert Link(stream).read_memory(0x20000000, 4) == b"\1\2\3\4"
    assert stream.commands[0].payload == struct.pack("<2I", 0x20000000, 4)


def test_information_is_read() -> None:
    found = read_information(INFORMATION)
    assert (found.name, found.plan) == ("small-detector", "0123456789abcdef")
    assert (found.stack_bytes, found.classes) == (1234, ("cell",))
    assert found.wire.input_shape == (3, 32, 32)
    assert found.wire.output_bytes == WIRE.output_bytes


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("input 3 32 32\n", ""),
        ("input 3 32 32", "input 3 32"),
        ("fold 4", "fold four"),
        ("fold 4", "fold 0"),
        ("fold 4", "fold"),
        ("plan ", "plans "),
        ("part result 0", "part other 0"),
        ("part result 0", "part result"),
    ],
)
def test_information_of_another_firmware_is_refused(old: str, new: str) -> None:
    assert old in LINES
    payload = struct.pack("<I", 0) + LINES.replace(old, new, 1).encode()
    with pytest.raises(EdgebedError, match=r"information cannot be read.*this version of edgebed"):
        read_information(payload)


@given(st.binary(max_size=80))
def test_any_bytes_are_no_information(payload: bytes) -> None:
    with pytest.raises(EdgebedError, match="cannot be read"):
        read_information(payload)


def conversation(frame: Frame) -> bytes:
    """Answer like firmware: information, a run whose outputs count up, a self-test."""
    if chr(frame.type) == "I":
        return reply(frame, INFORMATION)
    if chr(frame.type) == "T":
        return reply(frame, struct.pack("<4I", 2, 2, 0, 999))
    if chr(frame.type) == "R":
        tensor = {"y": np.arange(512, dtype=np.int32).reshape(8, 8, 8)}
        return b"ok\r\n" + reply(frame, struct.pack("<I", 321) + WIRE.pack_outputs(tensor))
    return reply(frame)


def folder(path: Path, name: str = "small-detector") -> Path:
    save(PROGRAM.with_(name=name), path / "program.onnx")
    return path


def test_a_real_board_is_a_machine(tmp_path: Path) -> None:
    stream = Scripted(conversation)
    board = RealBoard(stream)
    board.load(folder(tmp_path))
    board.self_test()
    trace = board.run(np.zeros((3, 32, 32), np.int8))
    assert trace.outputs["y"].tolist() == np.arange(512).reshape(8, 8, 8).tolist()
    assert trace.figures["cnn_cycles"].value == 321
    assert trace.figures["cnn_cycles"].kind == "measured"
    assert trace.events == ("ok",)
    assert [chr(frame.type) for frame in stream.commands] == ["X", "I", "T", "R"]
    board.close()
    assert stream.closed


def test_a_real_board_can_be_asked_without_a_folder() -> None:
    outputs = RealBoard(Scripted(conversation)).run(np.zeros((3, 32, 32), np.int8)).outputs
    assert list(outputs) == ["result"]  # the firmware's own name


def test_another_program_on_the_board_is_named(tmp_path: Path) -> None:
    board = RealBoard(Scripted(conversation))
    with pytest.raises(
        EdgebedError,
        match=r"the board runs 'small-detector' .*holds 'other'\); try: flash .*firmware\.elf",
    ):
        board.load(folder(tmp_path, "other"))


def test_a_real_camera_takes_no_picture() -> None:
    with pytest.raises(EdgebedError, match=r"real camera; try: run\(tensor\)"):
        RealBoard(Scripted(conversation)).show(np.zeros((2, 2, 3), np.uint8))


@pytest.mark.parametrize(("passed", "timeouts"), [(1, 0), (2, 1)])
def test_a_failed_self_test_is_an_error(passed: int, timeouts: int) -> None:
    payload = struct.pack("<4I", 2, passed, timeouts, 0)
    board = RealBoard(Scripted(lambda frame: reply(frame, payload)))
    with pytest.raises(EdgebedError, match=rf"self-test passed {passed} of 2"):
        board.self_test()


@pytest.fixture
def server() -> Iterator[tuple[int, list[Answer]]]:
    """A board behind TCP on a port; the list holds what it answers with."""
    answers: list[Answer] = [conversation]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)

        def serve() -> None:
            connection, _ = listening.accept()
            rest = b""
            with connection:
                connection.settimeout(10)
                while data := connection.recv(4096):
                    received = decode(rest + data)
                    rest = received.rest
                    for frame in received.frames:
                        out = answers[0](frame)
                        if not out:
                            return
                        connection.sendall(out)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1], answers
        thread.join(10)
        assert not thread.is_alive()


def test_a_real_board_answers_over_tcp(server: tuple[int, list[Answer]], tmp_path: Path) -> None:
    board = RealBoard(TcpStream("127.0.0.1", server[0]))
    board.load(folder(tmp_path))
    x = np.zeros((3, 32, 32), np.int8)
    assert board.run(x).outputs["y"].max() == 511
    board.close()


def test_a_connection_that_ends_is_named(server: tuple[int, list[Answer]]) -> None:
    server[1][0] = lambda frame: b""
    stream = TcpStream("127.0.0.1", server[0])
    with pytest.raises(EdgebedError, match="connection to the board is lost"):
        Link(stream).information()
    stream.close()
    with pytest.raises(EdgebedError, match="connection to the board is lost"):
        stream.write(b"x")


def test_a_silent_board_behind_tcp_takes_the_time_it_was_given() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stream = TcpStream("127.0.0.1", listening.getsockname()[1])
        with pytest.raises(EdgebedError, match=r"nothing came for 0\.05 s"):
            Link(stream, timeout_s=0.05).wait_ready()
        stream.close()


def test_nobody_behind_a_tcp_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(EdgebedError, match=rf"cannot connect to 127\.0\.0\.1:{port}.*start the"):
        TcpStream("127.0.0.1", port)


def test_pyserial_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(EdgebedError, match=r"pyserial; try: pip install 'edgebed\[serial\]'"):
        SerialStream("/dev/ttyACM0")


class Port:
    """What pyserial's `Serial` does, on a loop of bytes that can be unplugged."""

    def __init__(self, name: str, baud: int) -> None:
        if name == "absent":
            raise OSError("no such device")
        self.name, self.baud, self.held, self.open = name, baud, b"", True
        self.timeout: float | None = None

    @property
    def in_waiting(self) -> int:
        self.check()
        return len(self.held)

    def check(self) -> None:
        if not self.open:
            raise OSError("device disconnected")

    def write(self, data: bytes) -> None:
        self.check()
        self.held += data

    def read(self, count: int) -> bytes:
        data, self.held = self.held[:count], self.held[count:]
        return data

    def close(self) -> None:
        self.open = False


def test_a_serial_port_carries_bytes_and_its_loss_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = types.ModuleType("serial")
    module.Serial = Port  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "serial", module)
    with pytest.raises(EdgebedError, match=r"absent: cannot open the serial port \(no such dev"):
        link_module.SerialStream("absent")
    stream = SerialStream("/dev/ttyACM0")
    stream.write(b"hello")
    assert stream.read(0.1) == b"hello"
    assert stream.read(0.1) == b""
    stream.close()
    for use in (lambda: stream.write(b"x"), lambda: stream.read(0.1)):
        with pytest.raises(EdgebedError, match=r"is lost \(device disconnected\)"):
            use()
