"""The firmware on the virtual board: what a host at the serial line and a person at the LCD see."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from board_firmware import detector as random_detector
from firmware_projects import Host, detector, host, write_project

from edgebed.data.fixed_decode import FixedDetections, decode_fixed
from edgebed.data.preprocess import to_tensor
from edgebed.program.run import run
from edgebed.program.types import Program
from edgebed.targets._shared.elf import load_firmware
from edgebed.targets.max78000.board.board import Board
from edgebed.targets.max78000.board.ov7692 import Ov7692
from edgebed.targets.max78000.build import build
from edgebed.targets.max78000.compiler import compile_program
from edgebed.targets.max78000.emit import emit
from edgebed.targets.max78000.wire import (
    ERROR,
    REPLY,
    Detection,
    Frame,
    decode,
    encode,
    read_detections,
    wire,
)

PROGRAM = detector()


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    found = host(PROGRAM, tmp_path_factory.mktemp("firmware"))
    found.boot()
    yield found
    found.board.close()


def picture(seed: int, height: int = 60, width: int = 80) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((height // 6, width // 8, 1), np.uint8))


def expected(program: Program, shown: np.ndarray) -> FixedDetections:
    contract = program.contract
    assert contract is not None
    output = run(program, to_tensor(shown, contract.input))["y"]
    return decode_fixed(output, program.types["y"].scale, contract)


def rows(found: FixedDetections) -> list[Detection]:
    return [
        Detection(int(label), int(score), (int(x1), int(y1), int(x2), int(y2)))
        for label, score, (x1, y1, x2, y2) in zip(
            found.labels, found.scores_q15, found.boxes_q16, strict=True
        )
    ]


def test_start_up_names_the_plan_and_passes_the_self_test(board: Host) -> None:
    lines = board.text.splitlines()
    assert any(line.startswith("edgebed small-detector plan ") for line in lines)
    assert any(line.startswith("selftest 2/2 ok cycles ") for line in lines)
    assert "ready" in lines


def test_a_detector_streams_lines_of_text_by_itself(board: Host) -> None:
    frames = [line for line in board.text.splitlines() if line.startswith("frame ")]
    assert frames
    assert "cnn_ms" in frames[0]


def test_information_names_tensors_and_classes(board: Host) -> None:
    text = board.ask("I").payload[4:].decode()
    assert "input 3 32 32\n" in text
    assert "fold 4\n" in text
    assert "output y int32 8 8 8\n" in text
    assert "class cell\n" in text


@pytest.mark.parametrize("seed", range(3))
def test_a_tensor_gives_the_interpreters_integers(board: Host, seed: int) -> None:
    x = np.random.default_rng(seed).integers(-128, 128, (3, 32, 32)).astype(np.int8)
    reply = board.ask("R", board.wire.pack_input(x))
    assert reply.type == ord("R") | REPLY
    cycles = struct.unpack_from("<I", reply.payload)[0]
    assert cycles > 1000
    outputs = board.wire.unpack_outputs(reply.payload[4:])
    np.testing.assert_array_equal(outputs["y"], run(PROGRAM, x)["y"])


@pytest.mark.parametrize("seed", range(4))
def test_a_camera_picture_gives_the_reference_detections(board: Host, seed: int) -> None:
    shown = picture(seed)
    board.board.chip.camera.put(shown)
    report = read_detections(board.ask("D").payload)
    assert list(report.detections) == rows(expected(PROGRAM, shown))


@pytest.mark.parametrize(
    "options",
    [
        {"channels": "bgr", "fold": 2, "side": 24},
        {"boxes": 2, "class_score": "sigmoid", "side": 48},
        {"fold": 1, "pool": 4, "side": 32},
        {"fold": 1, "early": 8, "side": 96},
        {"fold": 2, "early": 8, "side": 160},
    ],
    ids=["bgr", "two boxes", "not folded", "channel by channel", "full size"],
)
def test_other_contracts_agree_as_well(options: dict[str, object], tmp_path: Path) -> None:
    settings = {"side": 32, **options}
    if "boxes" in settings:
        settings |= {"stretch": 1.0}
    program = detector(**settings)  # type: ignore[arg-type]
    found = host(program, tmp_path)
    assert "selftest 2/2 ok" in found.boot()
    found.board.chip.camera.put(picture(9))
    report = read_detections(found.ask("D").payload)
    assert list(report.detections) == rows(expected(program, picture(9)))
    found.board.close()


def test_the_display_shows_the_picture_enlarged_beside_the_panel(board: Host) -> None:
    shown = np.zeros((32, 32, 3), np.uint8)
    shown[:, :16] = (255, 0, 0)
    shown[:, 16:] = (0, 0, 255)
    board.board.chip.camera.put(shown)
    board.ask("D")
    board.ask("I")
    lcd = np.asarray(board.board.chip.lcd.picture())
    assert lcd.shape == (240, 320, 3)
    left, right = lcd[8:232, :112].reshape(-1, 3), lcd[8:232, 112:224].reshape(-1, 3)
    red, blue = (left == (255, 0, 0)).all(1).mean(), (right == (0, 0, 255)).all(1).mean()
    assert red > 0.05  # boxes and labels cover the rest
    assert blue > 0.05
    assert (left == (0, 0, 255)).all(1).sum() == (right == (255, 0, 0)).all(1).sum() == 0
    panel = lcd[:, 224:].reshape(-1, 3)
    assert len(np.unique(panel, axis=0)) >= 3


def test_memory_can_be_read_back(board: Host) -> None:
    reply = board.ask("M", struct.pack("<II", 0x10000000, 64))
    assert reply.payload == board.board.shared.flash[:64].tobytes()


@pytest.mark.parametrize(
    ("command", "payload", "code"),
    [
        ("Q", b"", 2),
        ("R", b"too short", 3),
        ("I", b"unasked", 3),
        ("M", struct.pack("<II", 0x40000000, 4), 7),
        ("M", struct.pack("<II", 0x10000001, 4), 7),
        ("M", struct.pack("<II", 0x2001FFFC, 8), 7),
    ],
)
def test_wrong_commands_get_an_error(board: Host, command: str, payload: bytes, code: int) -> None:
    reply = board.ask(command, payload)
    assert (reply.type, reply.payload[0]) == (ERROR, code)
    assert board.ask("X").type == ord("X") | REPLY


def test_a_damaged_input_is_refused(board: Host) -> None:
    board.sequence += 1
    x = np.zeros((3, 32, 32), np.int8)
    data = bytearray(encode(Frame(ord("R"), board.sequence, board.wire.pack_input(x))))
    data[100] ^= 1
    reply = board.send(bytes(data))[-1]
    assert (reply.type, reply.payload[0]) == (ERROR, 1)


def test_an_input_that_ends_early_times_out_and_the_next_command_works(board: Host) -> None:
    board.sequence += 1
    x = np.zeros((3, 32, 32), np.int8)
    data = encode(Frame(ord("R"), board.sequence, board.wire.pack_input(x)))
    reply = board.send(data[:1000])[-1]
    assert (reply.type, reply.payload[0]) == (ERROR, 4)
    assert board.ask("I").type == ord("I") | REPLY


def test_noise_on_the_line_is_survived(board: Host) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 200, dtype=np.uint8)
    board.board.chip.uart.feed(noise[noise != 0xEB].tobytes() + b"x")
    board.board.run(seconds=1)
    decode(board.board.chip.uart.read())
    assert board.ask("I").type == ord("I") | REPLY


def test_letters_serve_a_terminal(board: Host) -> None:
    board.board.chip.uart.feed(b"?t")
    board.board.run(seconds=2)
    text = board.board.chip.uart.read().decode()
    assert "t self-test" in text
    assert "selftest 2/2 ok" in text


def test_streaming_sends_frames_until_stopped(board: Host) -> None:
    board.sequence += 1
    board.send(encode(Frame(ord("S"), board.sequence, b"")))
    board.board.run(seconds=0.5)
    stream = decode(board.board.chip.uart.read())
    reports = [read_detections(f.payload) for f in stream.frames if f.type == ord("S") | REPLY]
    assert len(reports) >= 3
    numbers = [report.number for report in reports]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert stream.text.count("frame ") >= len(reports)
    assert board.ask("X").type == ord("X") | REPLY
    board.board.chip.uart.read()
    board.board.run(seconds=0.3)
    assert board.board.chip.uart.read() == b""


def test_the_stack_never_comes_near_its_end(board: Host) -> None:
    used = struct.unpack_from("<I", board.ask("I").payload)[0]
    assert 0 < used < 4096


@pytest.mark.slow
def test_pixels_go_through_the_fifo_at_the_networks_speed(tmp_path: Path) -> None:
    program = random_detector("bed")
    found = host(program, tmp_path)
    assert "selftest 2/2 ok" in found.boot()
    found.board.chip.camera.put(picture(3))
    report = read_detections(found.ask("D").payload)
    contract = program.contract
    assert contract is not None
    (name,) = program.outputs
    output = run(program, to_tensor(picture(3), contract.input))[name]
    wanted = decode_fixed(output, program.types[name].scale, contract)
    assert list(report.detections) == rows(wanted)
    assert not found.board.notes  # no word was lost
    found.board.close()


def test_a_network_that_never_ends_is_reported(tmp_path: Path) -> None:
    image = compile_program(PROGRAM).image
    still = replace(image, start=image.start[:1])
    elf = build(write_project(emit(still, PROGRAM), tmp_path))
    found = Host(Board(load_firmware(elf)), wire(PROGRAM, still))
    text = found.boot()
    assert "FAILED (CNN timeout)" in text
    assert "error: CNN timeout" in text
    x = np.zeros((3, 32, 32), np.int8)
    reply = found.ask("R", found.wire.pack_input(x))
    assert (reply.type, reply.payload[0]) == (ERROR, 5)
    assert found.ask("D").payload[0] == 5


def test_a_missing_camera_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ov7692, "ADDRESS", 0x10)
    found = host(PROGRAM, tmp_path)
    text = found.boot()
    assert "selftest 2/2 ok" in text
    assert "error: the camera does not answer" in text
    reply = found.ask("D")
    assert (reply.type, reply.payload[0]) == (ERROR, 6)
