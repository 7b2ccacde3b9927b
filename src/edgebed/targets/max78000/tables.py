"""The generated part of the firmware: network.h, network.c and the kernels as compact C."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from edgebed.errors import EdgebedError
from edgebed.program.contract import Contract, ImageInput
from edgebed.program.types import Program
from edgebed.targets._shared.c_text import ascii_text, numbers, quoted, text_constant
from edgebed.targets._shared.contract import decoding
from edgebed.targets.max78000 import defects
from edgebed.targets.max78000.image import DeviceImage, Words
from edgebed.targets.max78000.ports import Port
from edgebed.targets.max78000.registers_text import describe
from edgebed.targets.max78000.wire import Wire

CNN_HZ = 50_000_000
_SENSOR = (640, 480)
_LCD = (224, 240)  # the part of the display that the picture may take
_CTL_STREAM = 1 << 14


@dataclass(frozen=True)
class TestVector:
    """Seed of the pseudo-random input; checksums of the outputs and of the detections."""

    seed: int
    output_crc: int
    detections_crc: int


@dataclass(frozen=True)
class Network:
    """What the tables are made from; `defect` is built in on purpose, see `defects`."""

    program: Program
    image: DeviceImage
    wire: Wire
    tests: tuple[TestVector, ...]
    defect: str = ""


def network_h(network: Network) -> str:
    """Return the header: numbers as macros, tables as declarations."""
    defines = _defines(network)
    if network.program.contract:
        defines |= _detector_defines(network, network.program.contract)
    lines = [f"#define {name} {value}" for name, value in defines.items()]
    extra = _DETECTOR_DECLARATIONS if network.program.contract else ()
    return "\n".join(
        [
            "/* The network: sizes and limits. The tables are in network.c. */",
            "#ifndef NETWORK_H",
            "#define NETWORK_H",
            "",
            '#include "tables.h"',
            "",
            *defects.macros(network.defect),
            *lines,
            "",
            *_DECLARATIONS,
            *extra,
            "",
            "#endif",
            "",
        ]
    )


def network_c(network: Network) -> str:
    """Return the tables: register writes by layer, ports, biases, tests, decoder constants."""
    image = network.image
    layers = tuple(image.cycles)
    parts = [
        "/* The network: what is written where. */",
        '#include "network.h"',
        "",
        _writes("network_init", image.init, layers),
        _writes("network_config", image.config, layers),
        _writes("network_start", image.start, layers),
        _biases(image),
        _ports("network_input", network.wire.inputs.ports),
        _outputs(network.wire),
        _tests(network.tests),
        text_constant("network_information", information(network)),
    ]
    if network.program.contract:
        parts += _detector(network, network.program.contract)
    return "\n".join(parts)


def kernels_c(words: Words) -> str:
    """Return the kernels as one array, eight words a line."""
    values = [f"0x{word:x}" for word in words.tolist()]
    lines = [",".join(values[i : i + 12]) for i in range(0, len(values), 12)]
    return "\n".join(
        [
            "/* The weights in the accelerator's load format: address, word count, words ... 0. */",
            '#include "network.h"',
            "",
            "/* clang-format off */",
            'const uint32_t network_kernels[] __attribute__((section(".kernels"))) = {',
            ",\n".join(lines),
            "};",
            "",
        ]
    )


def information(network: Network) -> str:
    """Return the text that the info command answers: one `key value` a line."""
    program, wire = network.program, network.wire
    lines = [
        f"name {ascii_text(program.name)}",
        "plan @DIGEST@",
        f"input {' '.join(map(str, wire.input_shape))}",
        f"fold {wire.fold}",
        f"group {wire.inputs.group}",
        f"input_bytes {wire.input_bytes}",
        f"output_bytes {wire.output_bytes}",
    ]
    for name, shape in wire.output_shapes.items():
        kind = program.types[name].dtype
        lines.append(f"output {ascii_text(name)} {kind} {' '.join(map(str, shape))}")
    lines += [f"part {ascii_text(p.name)} {p.channel} {p.shape[0]}" for p in wire.outputs]
    if program.contract:
        lines += [f"class {ascii_text(name)}" for name in program.contract.classes]
    return "\n".join(lines) + "\n"


def _defines(network: Network) -> dict[str, object]:
    image, wire = network.image, network.wire
    quadrants = sum(1 << q for q in image.quadrants)
    streams = any(
        value & _CTL_STREAM for address, value in image.start.tolist() if _is_ctl(address)
    )
    fifo = image.inputs[0].form.startswith("fifo")
    cycles = sum(image.cycles.values())
    return {
        "NETWORK_NAME": quoted(network.program.name),
        "NETWORK_DIGEST": '"@DIGEST@"',
        "NETWORK_DETECTS": int(network.program.contract is not None),
        "NETWORK_QUADRANTS": f"0x{quadrants:X}U",
        "NETWORK_STREAMS": int(streams),
        "NETWORK_FIFO": f"{int(fifo)} /* starts before its input */",
        "NETWORK_TIMEOUT_MS": f"{1000 + 4 * cycles // (CNN_HZ // 1000)}U",
        "NETWORK_INIT_WRITES": f"{len(image.init)}U",
        "NETWORK_CONFIG_WRITES": f"{len(image.config)}U",
        "NETWORK_START_WRITES": f"{len(image.start)}U",
        "NETWORK_BIAS_BLOCKS": f"{len(_bias_blocks(image))}U",
        "NETWORK_INPUT_PORTS": f"{len(wire.inputs.ports)}U",
        "NETWORK_INPUT_LANES": f"0x{_common_lanes(wire):X}U /* 0: differ */",
        "NETWORK_GROUP_BYTES": f"{wire.inputs.shape[0] * wire.inputs.group}U",
        "NETWORK_INPUT_BYTES": f"{wire.input_bytes}U",
        "NETWORK_OUTPUTS": f"{len(wire.outputs)}U",
        "NETWORK_OUTPUT_BYTES": f"{wire.output_bytes}U",
        "NETWORK_MOST_OUTPUT_CHANNELS": max(part.shape[0] for part in wire.outputs),
        "NETWORK_TESTS": f"{len(network.tests)}U",
    }


def _common_lanes(wire: Wire) -> int:
    """Return the byte lanes that every input word uses; 0 when they differ."""
    lanes = {port.lanes for port in wire.inputs.ports}
    return lanes.pop() if len(lanes) == 1 else 0


def _is_ctl(address: int) -> bool:
    return address & 0xFF3FFFFF == 0x50100000


def _detector_defines(network: Network, contract: Contract) -> dict[str, object]:
    picture = contract.input
    output, scale = detector_output(network, contract)
    seen = _seen(picture)
    return {
        "CAMERA_WIDTH": picture.width,
        "CAMERA_HEIGHT": picture.height,
        "CAMERA_SEEN_WIDTH": seen[0],
        "CAMERA_SEEN_HEIGHT": seen[1],
        "SCREEN_SCALE": max(1, min(_LCD[0] // picture.width, _LCD[1] // picture.height)),
        "PREPARE_FOLD": network.wire.fold,
        "PREPARE_GROUP": network.wire.inputs.group,
        "PREPARE_RED": f"{0 if picture.channels == 'rgb' else 2} /* channel of red */",
        "PREPARE_PATH": _prepare_path(network.wire),
        "DETECT_OUTPUT": output,
        **decoding.numbers(contract, scale),
    }


def _prepare_path(wire: Wire) -> str:
    """Return how prepare.c may hand over pixels: whole words of four, words of one, or bytes."""
    inputs = wire.inputs
    starts = [port.start for port in inputs.ports]
    memory = not any(port.full for port in inputs.ports)
    in_order = inputs.group == 1 and starts == list(range(0, 4 * len(starts), 4))
    one_stride = len({port.stride for port in inputs.ports}) == 1
    if in_order and memory and one_stride and wire.fold % 2 == 0 and _common_lanes(wire) == 0xF:
        return "PREPARE_WORDS"
    if in_order and wire.fold == len(starts) == 1 and _common_lanes(wire) == 7:
        return "PREPARE_PIXELS"
    return "PREPARE_BYTES"


def detector_output(network: Network, contract: Contract) -> tuple[int, float]:
    """Return the number of the output that the contract decodes, and its scale.

    Raises:
        EdgebedError: there is no such output, or the contract asks what the firmware cannot do.
    """
    grid, picture = contract.decode, contract.input
    if picture.camera_bits != "rgb565":
        raise EdgebedError(
            f"the camera cannot deliver {picture.camera_bits}",
            where="contract.input.camera_bits",
            why="224 x 224 pixels of 3 bytes exceed the 128 KB of SRAM",
            try_="camera_bits rgb565",
        )
    decoding.check(contract)
    _check_picture(network.wire, picture)
    wanted = (contract.output_channels, grid.grid_height, grid.grid_width)
    for number, part in enumerate(network.wire.outputs):
        if part.shape == wanted:
            return number, network.program.types[part.name].scale
    raise EdgebedError(
        "no output can be decoded",
        where="contract.decode",
        why=f"a map of {'x'.join(map(str, wanted))} is needed",
    )


def _check_picture(wire: Wire, picture: ImageInput) -> None:
    if wire.input_shape != (3, picture.height, picture.width):
        raise EdgebedError(
            f"the network reads {'x'.join(map(str, wire.input_shape))}",
            where="contract.input",
            why=f"the contract delivers 3x{picture.height}x{picture.width}",
        )
    if picture.offset != -128:
        raise EdgebedError(
            f"offset {picture.offset}",
            where="contract.input.offset",
            why="bytes 0..255 become int8 by subtracting 128",
            try_="offset -128",
        )
    if picture.width > 320 or picture.height > 240 or picture.width % 2:
        raise EdgebedError(
            f"a camera picture of {picture.width} x {picture.height} pixels",
            where="contract.input",
            why="the display shows 320 x 240, in an even number of columns",
        )


def _seen(picture: ImageInput) -> tuple[int, int]:
    """Return the part of the sensor that is scaled: all of it, or the largest of the aspect."""
    width, height = _SENSOR
    if picture.resize == "stretch":
        return width, height
    return (
        min(width, height * picture.width // picture.height),
        min(height, width * picture.height // picture.width),
    )


def _writes(name: str, writes: Words, layers: Sequence[str]) -> str:
    lines = [f"const struct word_write {name}[] = {{"]
    last = ""
    for address, value in writes.tolist():
        where = describe(address, layers)
        if where != last:
            lines.append(f"    /* {ascii_text(where)} */")
            last = where
        lines.append(f"    {{0x{address:08X}, 0x{value:08X}}},")
    return "\n".join([*lines, "};", ""])


def _bias_blocks(image: DeviceImage) -> list[tuple[int, np.ndarray]]:
    return [(q, values) for q, values in sorted(image.biases.items()) if len(values)]


def _biases(image: DeviceImage) -> str:
    lines = []
    for quadrant, values in _bias_blocks(image):
        lines.append(f"static const int8_t biases_{quadrant}[] = {{")
        lines += numbers(values.tolist())
        lines += ["};", ""]
    lines.append("const struct quadrant_biases network_biases[] = {")
    for quadrant, values in _bias_blocks(image):
        lines.append(f"    {{biases_{quadrant}, {len(values)}, {quadrant}}},")
    if not _bias_blocks(image):
        lines.append("    {0, 0, 0},")
    return "\n".join([*lines, "};", ""])


def _ports(name: str, found: Iterable[Port]) -> str:
    lines = [f"const struct port {name}[] = {{"]
    for port in found:
        numbers = f"{port.stride}, {port.start}, 0x{port.lanes:X}, {port.full}"
        lines.append(f"    {{0x{port.address:08X}, {numbers}}},")
    return "\n".join([*lines, "};", ""])


def _outputs(wire: Wire) -> str:
    tables_ = ["static " + _ports(f"output_{i}", part.ports) for i, part in enumerate(wire.outputs)]
    lines = ["const struct output network_outputs[] = {"]
    for i, part in enumerate(wire.outputs):
        pixels = part.shape[1] * part.shape[2]
        fields = (len(part.ports), part.shape[0], pixels, int(part.wide))
        lines.append(f"    {{{quoted(part.name)}, output_{i}, {', '.join(map(str, fields))}}},")
    return "\n".join([*tables_, *lines, "};", ""])


def _tests(tests: Sequence[TestVector]) -> str:
    rows = [
        f"    {{0x{one.seed:08X}, 0x{one.output_crc:08X}, 0x{one.detections_crc:08X}}},"
        for one in tests
    ]
    return "\n".join(["const struct test_vector network_tests[] = {", *rows, "};", ""])


def _detector(network: Network, contract: Contract) -> list[str]:
    _, scale = detector_output(network, contract)
    names = ", ".join(quoted(name) for name in contract.classes)
    colours = ", ".join(f"0x{value:04X}" for value in palette(len(contract.classes)))
    return [
        f"const char *const network_classes[] = {{{names}}};",
        f"const uint16_t screen_colours[] = {{{colours}}};",
        *decoding.tables(contract, scale),
    ]


def palette(count: int) -> list[int]:
    """Return `count` clear colours (RGB565), neighbours far apart in hue."""
    found = []
    for i in range(count):
        hue = (0.36 + i * 0.381966) % 1  # steps of the golden section never come back close
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.85 if i % 2 else 0.7, 1.0)
        found.append(round(red * 31) << 11 | round(green * 63) << 5 | round(blue * 31))
    return found


_DECLARATIONS = (
    "extern const struct word_write network_init[], network_config[], network_start[];",
    "extern const uint32_t network_kernels[];",
    "extern const struct quadrant_biases network_biases[];",
    "extern const struct port network_input[];",
    "extern const struct output network_outputs[];",
    "extern const struct test_vector network_tests[];",
    "extern const char network_information[];",
)
_DETECTOR_DECLARATIONS = (
    "extern const char *const network_classes[];",
    "extern const uint16_t screen_colours[];",
    "extern const int32_t detect_priors[][2];",
    "extern const uint16_t detect_sigmoid[257], detect_exponential[257];",
)
