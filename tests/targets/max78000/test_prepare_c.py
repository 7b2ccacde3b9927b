"""prepare.c, compiled for this machine: every camera colour in every layout, word by word."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebed.data.preprocess import frame_to_tensor, from_rgb565
from edgebed.program.contract import ImageInput
from edgebed.targets._shared.native import load_library
from edgebed.targets.max78000 import tables
from edgebed.targets.max78000.emit import _sources
from edgebed.targets.max78000.image import TensorLayout
from edgebed.targets.max78000.ports import ports
from edgebed.targets.max78000.wire import Wire, _fold

# The accelerator as plain memory; what is pushed into FIFO 0 comes in order behind it.
_REGISTERS = """
#include <stdint.h>
#define CNN_FIFO_STATUS 0
#define REG32(address) (*place(address))
#define MEMORY_WORDS 0x408000
uint32_t memory[MEMORY_WORDS + 0x20000];
uint32_t pushed;
static inline uint32_t *place(uint32_t address)
{
    if (address < 0x50400000)
        return &memory[MEMORY_WORDS + pushed++];
    return &memory[(address - 0x50400000) / 4];
}
"""
_MEMORY_WORDS = 0x408000
WIDTH, HEIGHT = 256, 128  # half of the 65536 colours of RGB565; folded by 2 it fills a memory


def layout(fold: int, form: str, processors: tuple[int, ...], base: int = 0) -> Wire:
    shape = (3 * fold * fold, HEIGHT // fold, WIDTH // fold)
    place = TensorLayout("x", shape, 0, form, False, processors, 1, base, 1)  # type: ignore[arg-type]
    return Wire((3, HEIGHT, WIDTH), fold, ports(place), (), {})


LAYOUTS = {
    "folded by 4": (layout(4, "hwc", tuple(range(48))), "PREPARE_WORDS"),
    "folded by 4, elsewhere": (layout(4, "hwc", tuple(range(16, 64)), 64), "PREPARE_WORDS"),
    "folded by 2": (layout(2, "hwc", tuple(range(12))), "PREPARE_WORDS"),
    "folded by 2, odd lanes": (layout(2, "hwc", tuple(range(1, 13))), "PREPARE_BYTES"),
    "pixels": (layout(1, "hwc", (0, 1, 2)), "PREPARE_PIXELS"),
    "pixels in other lanes": (layout(1, "hwc", (1, 2, 3)), "PREPARE_BYTES"),
    "FIFO": (layout(1, "fifo_hwc", (0, 1, 2)), "PREPARE_PIXELS"),
    "channel by channel": (layout(1, "chw", (0, 4, 8)), "PREPARE_BYTES"),
}


def library(order: Wire, channels: str, folder: Path) -> ctypes.CDLL:
    """Compile prepare.c and the real cnn.h for this machine."""
    ports_c = tables._ports("network_input", order.inputs.ports)
    numbers: dict[str, Any] = {
        "NETWORK_FIFO": int(bool(order.inputs.ports[0].full)),
        "NETWORK_INPUT_PORTS": len(order.inputs.ports),
        "NETWORK_INPUT_LANES": tables._common_lanes(order),
        "NETWORK_GROUP_BYTES": order.inputs.shape[0] * order.inputs.group,
        "CAMERA_WIDTH": WIDTH,
        "CAMERA_HEIGHT": HEIGHT,
        "PREPARE_FOLD": order.fold,
        "PREPARE_GROUP": order.inputs.group,
        "PREPARE_RED": 0 if channels == "rgb" else 2,
        "PREPARE_PATH": tables._prepare_path(order),
    }
    lines = [f"#define {name} {value}" for name, value in numbers.items()]
    sources = _sources(detector=True)
    (folder / "registers.h").write_text("#ifndef R\n#define R\n" + _REGISTERS + "#endif\n")
    (folder / "network.h").write_text(
        "\n".join(['#include "tables.h"', *lines, "extern const struct port network_input[];\n"])
    )
    for name in ("tables.h", "cnn.h", "prepare.h", "prepare.c"):
        (folder / name).write_text(sources[name])
    source = folder / "host.c"
    # The cache goes by this file's text, so it holds the others.
    text = '#include "network.h"\n' + ports_c + '#include "prepare.c"\n'
    source.write_text(text + _inlined(folder))
    return load_library(source)


def _inlined(folder: Path) -> str:
    every = sorted(path.read_text() for path in folder.glob("*.[ch]"))
    return "/*" + re.sub(r"\*/|/\*", "", "".join(every)) + "*/\n"


def prepared(code: ctypes.CDLL, colours: np.ndarray) -> np.ndarray:
    """Return the memory after a frame of RGB565 words."""
    ctypes.c_uint32.in_dll(code, "pushed").value = 0
    frame = colours.astype(">u2")
    code.prepare(frame.ctypes.data_as(ctypes.c_void_p))
    return np.array((ctypes.c_uint32 * (_MEMORY_WORDS + 0x20000)).in_dll(code, "memory"))


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize(("order", "path"), LAYOUTS.values(), ids=LAYOUTS)
def test_every_colour_reaches_its_word(
    order: Wire, path: str, channels: str, tmp_path: Path
) -> None:
    assert tables._prepare_path(order) == path
    code = library(order, channels, tmp_path)
    picture = ImageInput(WIDTH, HEIGHT, channels=channels)  # type: ignore[arg-type]
    for colours in np.random.default_rng(0).permutation(65536).reshape(2, HEIGHT, WIDTH):
        found = prepared(code, colours)
        tensor = frame_to_tensor(from_rgb565(colours.astype(np.uint16)), picture)
        groups = order.inputs.to_wire(_fold(tensor, order.fold)).astype(np.uint32)
        for port in order.inputs.ports:
            lanes = [lane for lane in range(4) if port.lanes >> lane & 1]
            wanted = sum(groups[:, port.start + i] << (8 * lane) for i, lane in enumerate(lanes))
            first = _MEMORY_WORDS if port.full else (port.address - 0x50400000) // 4
            step = 1 if port.full else port.stride // 4
            np.testing.assert_array_equal(found[first : first + step * len(groups) : step], wanted)
