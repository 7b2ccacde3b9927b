"""The firmware project: the C sources of this package and the tables of one network."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from importlib import resources

import numpy as np

from edgebed.compile.plan import BuildPlan
from edgebed.data.fixed_decode import decode_fixed
from edgebed.program.run import run
from edgebed.program.types import Program
from edgebed.targets._shared.c_text import ascii_text
from edgebed.targets._shared.contract import decoding
from edgebed.targets.max78000 import defects, tables
from edgebed.targets.max78000.image import DeviceImage
from edgebed.targets.max78000.tables import Network, TestVector
from edgebed.targets.max78000.wire import Wire, detections_bytes, wire

TARGET = "max78000"
COMMANDS = (("make",),)
DEFAULT_COMMAND = "edgebed compile MODEL --target max78000"
_SEED = 0x2545F491
_DIGEST = b"@DIGEST@"
_DETECTOR_FILES = {
    f"{name}.{kind}"
    for name in ("camera", "detector", "font", "lcd", "prepare", "screen")
    for kind in "ch"
}


def emit(
    image: DeviceImage,
    program: Program,
    *,
    command: str = DEFAULT_COMMAND,
    vectors: int = 2,
    defect: str = "",
) -> dict[str, bytes]:
    """Write the complete firmware project of a program.

    Pure: equal arguments give equal bytes. Every file names the plan's digest: that of the files
    themselves with the digest left blank.

    Args:
        image: what has to reach the accelerator.
        program: the program that the image computes; with a contract it becomes a detector with
            camera and display.
        command: how the project was made, for the heads of the files.
        vectors: number of self-test inputs; each costs one run of the interpreter here.
        defect: built in on purpose, one of `defects.DEFECTS`; empty for none.

    Returns:
        contents by relative path.

    Raises:
        EdgebedError: the contract asks for something that the firmware cannot do.
    """
    order = wire(program, image)
    tests = tuple(self_tests(program, image, order, vectors))
    network = Network(program, image, order, tests, defects.check_defect(defect))
    command += f" --defect {defect}" if defect else ""
    texts = {
        **_sources(detector=program.contract is not None),
        "network.h": tables.network_h(network),
        "network.c": tables.network_c(network),
        "kernels.c": tables.kernels_c(image.kernels),
    }
    blank = {path: _with_head(path, text, program.name, command) for path, text in texts.items()}
    digest = BuildPlan(TARGET, blank, COMMANDS).digest[:16].encode()
    return {path: data.replace(_DIGEST, digest) for path, data in blank.items()}


def pseudo_random(seed: int, count: int) -> bytes:
    """Return the bytes that the firmware's generator (xorshift32, high bytes) makes."""
    state, found = seed, bytearray(count)
    for i in range(count):
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        found[i] = state >> 24
    return bytes(found)


def self_tests(
    program: Program, image: DeviceImage, order: Wire, count: int
) -> Iterator[TestVector]:
    """Yield self-tests: what the interpreter computes for pseudo-random inputs."""
    for number in range(count):
        seed = _SEED + number
        tensor = order.unpack_input(pseudo_random(seed, order.input_bytes))
        outputs = run(program, tensor)
        checksum = zlib.crc32(order.pack_outputs(outputs))
        network = Network(program, image, order, ())
        yield TestVector(seed, checksum, _detections_checksum(network, outputs))


def _detections_checksum(network: Network, outputs: Mapping[str, np.ndarray]) -> int:
    contract = network.program.contract
    if contract is None:
        return 0
    number, scale = tables.detector_output(network, contract)
    name = network.wire.outputs[number].name
    return zlib.crc32(detections_bytes(decode_fixed(outputs[name], scale, contract)))


def _sources(*, detector: bool) -> dict[str, str]:
    folder = resources.files(__package__) / "firmware"
    files = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    chosen = [name for name in files if detector or name not in _DETECTOR_FILES]
    found = {name: (folder / name).read_text(encoding="utf-8") for name in chosen}
    return {**found, **decoding.sources()} if detector else found


def _with_head(path: str, text: str, name: str, command: str) -> bytes:
    lines = (f"edgebed firmware for the MAX78000: {name}", "plan @DIGEST@", f"made by: {command}")
    safe = [ascii_text(line) for line in lines]
    if path == "Makefile":
        head = "".join(f"# {line}\n" for line in safe)
    elif path.endswith(".md"):
        text = text.replace("@DEFECTS@", defects.table())
        return text.replace("@HEAD@", "  \n".join(safe)).encode()
    else:
        head = "/* " + "\n * ".join(safe) + "\n */\n"
    return (head + text).encode()
