"""The whole board: a detector's firmware, camera to display, against the interpreter."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from board_firmware import built, detector

from edgebed.data.fixed_decode import decode_fixed
from edgebed.data.preprocess import cut_bits, to_frame, to_tensor
from edgebed.errors import EdgebedError
from edgebed.program import to_onnx
from edgebed.program.run import run
from edgebed.targets._shared.elf import load_firmware
from edgebed.targets.contract import Frame
from edgebed.targets.max78000.board.board import Board
from edgebed.targets.max78000.board.bus_python import PythonBus
from edgebed.targets.max78000.board.state import Shared
from edgebed.targets.max78000.link import Link, TcpStream
from edgebed.targets.max78000.machine import BoardStream, RealBoard, VirtualBoard


@pytest.fixture(scope="module", params=["bed-fast", "bed"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = detector(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    built(folder, program)
    to_onnx.save(program, folder / "program.onnx")
    (folder / "name").write_text(request.param)
    return folder


@pytest.fixture(scope="module")
def board(folder: Path) -> Iterator[VirtualBoard]:
    board = VirtualBoard(keep_layers=True)
    board.load(folder)
    yield board
    board.close()


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    rng = np.random.default_rng(3)
    picture = rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)
    picture = picture.repeat(8, 0).repeat(8, 1)
    picture[:40, :40] = (255, 0, 0)
    return picture


def test_self_test_passes(board: VirtualBoard) -> None:
    board.self_test()


def test_outputs_equal_the_interpreter_in_every_integer(board: VirtualBoard, folder: Path) -> None:
    program = detector((folder / "name").read_text())
    rng = np.random.default_rng(1)
    for _ in range(2):
        tensor = rng.integers(-128, 128, program.input_type.shape).astype(np.int8)
        trace = board.run(tensor)
        for name, expected in run(program, tensor).items():
            assert np.array_equal(trace.outputs[name], expected)
        assert len(trace.layers) > 3
        assert trace.figures["cpu_instructions"].kind == "emulated"
        assert trace.figures["energy"].kind == "estimated"
        parts = [f.value for n, f in trace.figures.items() if n.startswith("cpu_instructions.")]
        assert sum(parts) == pytest.approx(trace.figures["cpu_instructions"].value, rel=0.01)


def _expected(folder: Path, picture: np.ndarray) -> np.ndarray:
    """What the reference finds: class, score, corners in input pixels."""
    program = detector((folder / "name").read_text())
    contract = program.contract
    assert contract is not None
    ((name, output),) = run(program, to_tensor(picture, contract.input)).items()
    found = decode_fixed(output, program.types[name].scale, contract)
    size = np.array([contract.input.width, contract.input.height] * 2)
    corners = found.boxes_q16 * size / 65536
    return np.column_stack([found.labels, found.scores_q15 / 32768, corners])


def test_detections_of_a_camera_picture_equal_the_reference(
    board: VirtualBoard, folder: Path, picture: np.ndarray
) -> None:
    frame = board.show(picture)
    expected = _expected(folder, picture)
    assert len(expected) > 0
    assert np.array_equal(frame.detections, expected)


def test_display_shows_the_camera_picture_under_the_boxes(
    board: VirtualBoard, picture: np.ndarray
) -> None:
    frame = board.show(picture)
    shown = frame.lcd[8:232, :224]
    seen = cut_bits(to_frame(picture, detector("bed").contract.input))  # type: ignore[union-attr]
    same = (shown == seen).all(-1)
    assert same.mean() > 0.5
    drawn = np.zeros_like(same)
    for _, _, x1, y1, x2, y2 in frame.detections:
        drawn[max(round(y1) - 12, 0) : round(y2) + 14, max(round(x1) - 90, 0) : round(x2) + 90] = 1
    assert same[~drawn].all()
    assert not same.all()


def test_frame_takes_at_least_the_accelerator_s_time(
    board: VirtualBoard, picture: np.ndarray
) -> None:
    frame = board.show(picture)
    assert frame.trace.figures["time"].value > frame.trace.figures["cnn_time"].value > 1
    assert frame.trace.figures["time"].value < 400


def test_two_boards_give_equal_frames(folder: Path, picture: np.ndarray) -> None:
    def frames() -> list[Frame]:
        board = VirtualBoard()
        board.load(folder)
        result = [board.show(picture), board.show(picture[::-1])]
        board.close()
        return result

    for one, other in zip(frames(), frames(), strict=True):
        assert np.array_equal(one.lcd, other.lcd)
        assert np.array_equal(one.detections, other.detections)
        assert one.trace.figures == other.trace.figures
        assert one.trace.events == other.trace.events


def test_plain_python_bus_runs_the_firmware_alike(folder: Path) -> None:
    firmware = load_firmware(folder / "firmware.elf")

    def first_frames(board: Board) -> tuple[object, ...]:
        board.run(3.0, lambda: board.chip.camera.frames > 1)
        counted = board.instructions, board.chip.clock.cycles, board.counter.take()
        return board.chip.uart.read(), board.chip.lcd.picture().tobytes(), counted

    shared = Shared()
    plain = first_frames(Board(firmware, shared=shared, bus=PythonBus(shared)))
    assert first_frames(Board(firmware)) == plain
    assert b"selftest 1/1 ok" in plain[0]  # type: ignore[operator]


def test_the_same_protocol_works_over_tcp_as_with_a_real_board(folder: Path) -> None:
    program = detector((folder / "name").read_text())
    virtual = VirtualBoard()
    virtual.load(folder)
    stop = threading.Event()

    def serve() -> None:
        while not stop.wait(0.001):
            virtual.idle(0.5)

    real = RealBoard(TcpStream("127.0.0.1", virtual.serve_uart()))
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        real.load(folder)
        tensor = np.zeros(program.input_type.shape, np.int8)
        trace = real.run(tensor)
        for name, expected in run(program, tensor).items():
            assert np.array_equal(trace.outputs[name], expected)
        real.self_test()
        with pytest.raises(EdgebedError, match="real camera"):
            real.show(np.zeros((8, 8, 3), np.uint8))
    finally:
        stop.set()
        thread.join()
        real.close()
        virtual.close()


def test_memory_is_read_over_the_line_and_refusals_are_quoted(board: VirtualBoard) -> None:
    link = Link(BoardStream(board.board))
    link.take_text()
    assert link.read_memory(0x10000000, 8) == board.board.shared.flash[:8].tobytes()
    with pytest.raises(EdgebedError, match="refuses command M: not readable"):
        link.read_memory(0x40000000, 4)


def test_a_missing_build_and_a_closed_board_say_what_to_do(tmp_path: Path) -> None:
    board = VirtualBoard()
    with pytest.raises(EdgebedError, match="edgebed compile"):
        board.load(tmp_path)
    with pytest.raises(EdgebedError, match="load"):
        board.show(np.zeros((8, 8, 3), np.uint8))


def test_firmware_that_is_no_elf_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("elftools")
    (tmp_path / "firmware.elf").write_bytes(b"not an ELF file at all")
    with pytest.raises(EdgebedError, match="cannot read the firmware"):
        VirtualBoard().load(tmp_path)


def test_a_silent_board_is_reported_with_its_last_words(board: VirtualBoard) -> None:
    class Silent:
        def write(self, data: bytes) -> None: ...
        def read(self, seconds: float) -> bytes:
            return b""

        def close(self) -> None: ...

    with pytest.raises(EdgebedError, match="does not send the answer to command I"):
        Link(Silent()).information()
