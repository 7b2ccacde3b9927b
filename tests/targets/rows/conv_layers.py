"""Single weighted layers: drawn, their meaning in numpy, and C that runs them row by row."""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import dataclass, field

import numpy as np
from c_kernels import INCLUDE, library
from elftools.elf.elffile import ELFFile
from hypothesis import strategies as st

from edgebed.targets._shared.arm_cores import CORES, find_compiler
from edgebed.targets._shared.bare_metal import Ran, build_c
from edgebed.targets._shared.rows.kernels.sets import Packed, WindowShape

GAP = 64  # bytes around rows and outputs that nobody may touch, and before maps that overlap


@dataclass(frozen=True)
class Case:
    """A layer, its input map [H, W, C], where rows begin, and how the output lies on the input."""

    shape: WindowShape
    depthwise: bool
    weights: np.ndarray = field(repr=False)
    lines: np.ndarray = field(repr=False)  # [O, 3]: bias, multiplier, c
    rule: int
    fraction: int
    limits: tuple[int, int]
    zero_point: int
    output_zero: int
    image: np.ndarray = field(repr=False)
    skew: tuple[int, int] = (0, 0)


def accumulators(case: Case) -> np.ndarray:
    """Return the sums without bias, int64 [OH, OW, O], one output pixel at a time."""
    s = case.shape
    sums = np.zeros((s.out_height, s.out_width, s.out_channels), np.int64)
    pixel = np.full(s.in_channels, case.zero_point, np.int64)
    for y in range(s.out_height):
        for x in range(s.out_width):
            for i in range(s.kernel[0]):
                for j in range(s.kernel[1]):
                    r = y * s.stride[0] - s.padding[0] + i * s.dilation[0]
                    c = x * s.stride[1] - s.padding[1] + j * s.dilation[1]
                    inside = 0 <= r < s.in_height and 0 <= c < s.in_width
                    values = case.image[r, c].astype(np.int64) if inside else pixel
                    if case.depthwise:
                        copies = np.repeat(values, s.out_channels // s.in_channels)
                        sums[y, x] += copies * case.weights[:, i, j]
                    else:
                        sums[y, x] += case.weights[:, i, j] @ values
    return sums


def meaning(case: Case) -> np.ndarray:
    """Return the output bytes, int8 [OH, OW, O]."""
    bias, multiplier, c = case.lines.T
    total = accumulators(case) + bias
    if case.rule == 0:
        y = ((total * multiplier >> 32) + c) >> case.fraction
    elif case.rule == 3:  # rounded twice
        nearest = (total * multiplier + (1 << 30)) >> 31
        y = (((nearest - (total < 0)) >> c) + 2 * case.output_zero + 1) >> 1
    elif case.rule == 4:  # a float32 product, ties to even
        factors = multiplier.astype(np.int32).view(np.float32)
        y = np.rint(total.astype(np.float32) * factors).astype(np.int64) + case.output_zero
    else:  # 2: rounded once
        places = 31 - c
        y = ((total * multiplier + (1 << (places - 1))) >> places) + case.output_zero
    return np.clip(y, *case.limits).astype(np.int8)


@st.composite
def cases(draw, *, depthwise=False, wide=False, rules=(0, 0, 2, 3), largest=5, kind=""):
    """Draw a layer of a few output rows; kind: 1x1, 3x3, or dense on vectors."""
    number = st.integers
    rng = np.random.default_rng(draw(number(0, 2**32 - 1)))
    kernel = (draw(number(1, largest)), draw(number(1, largest)))
    stride, dilation = draw(number(1, 3)), draw(number(1, 2))
    if kind in ("1x1", "3x3"):
        kernel = (int(kind[0]), int(kind[2]))
        stride, dilation = draw(st.sampled_from([(1, 1), (stride, dilation)]))
    pad_top, pad_left = draw(number(0, kernel[0] - 1)), draw(number(0, kernel[1] - 1))
    channels, width = draw(number(1, 40 if not depthwise else 21)), draw(number(1, 20))
    height = draw(number(1, 6))
    copies = draw(st.sampled_from([1, 1, 1, 2, 3])) if depthwise else 1
    outputs = channels * copies if depthwise else draw(number(1, 20))
    reach = (kernel[1] - 1) * dilation + 1
    room = width + pad_left + draw(number(0, 2)) * dilation
    out_width = max(1, (room - reach) // stride + 1)
    in_place = not depthwise and kernel == (1, 1) and stride == 1 and outputs <= channels
    shape = WindowShape(
        height, width, channels, draw(number(1, 3)), out_width, outputs, kernel,
        (stride, stride), (pad_top, pad_left), (dilation, dilation),
        in_place=in_place and draw(st.booleans()),
    )  # fmt: skip
    if shape.in_place:
        shape = WindowShape(height, width, channels, height, width, outputs, in_place=True)
    if kind == "dense":
        rows = draw(st.sampled_from([1, 1, 2, 3]))
        shape = WindowShape(1, rows, channels * draw(number(1, 9)), 1, rows, outputs)
        kernel, channels = (1, 1), shape.in_channels
    size = (outputs, *kernel) if depthwise else (outputs, *kernel, channels)
    limit = draw(st.sampled_from([127, 127, 20]))
    weights = rng.integers(-limit, limit + 1, size)
    if draw(st.booleans()):
        weights = np.where(rng.random(size) < 0.3, limit, weights)
    if wide:
        weights += draw(number(-128, 128))
    return _filled(draw, rng, shape, depthwise, weights, rules)


def _filled(draw, rng, shape, depthwise, weights, rules):
    outputs = shape.out_channels
    depth = weights[0].size
    rule = draw(st.sampled_from(rules))
    scale = rng.uniform(0.2, 2, outputs) / (40 * np.abs(weights).max() * np.sqrt(depth)) * 64
    bias = rng.integers(-3000, 3000, outputs)
    fraction = 0
    if rule == 0:
        fraction = int(min(20, max(0, np.floor(30.5 - 32 - np.log2(scale.max())))))
        multiplier = (scale * 2.0 ** (32 + fraction)).astype(np.int64) // 2 * 2
        multiplier = np.minimum(multiplier, 2**31 - 2)
        c = rng.integers(-20 << fraction, (20 << fraction) + 1, outputs)
    else:
        exponent = np.ceil(np.log2(scale)).astype(np.int64)
        multiplier = np.minimum((scale / 2.0**exponent * 2**31).astype(np.int64), 2**31 - 1)
        c = exponent
        if rule == 3:
            c = np.maximum(-exponent - 1, 0)
        elif rule == 4:
            # A power of two is what ties come from.
            scale = np.where(rng.random(outputs) < 0.5, 2.0 ** (exponent - 1), scale)
            multiplier = scale.astype(np.float32).view(np.int32).astype(np.int64)
    low = draw(st.sampled_from([-128, -128, -20]))
    high = draw(st.sampled_from([127, 127, 30]))
    image = rng.integers(-128, 128, (shape.in_height, shape.in_width, shape.in_channels))
    if draw(st.booleans()):
        image = np.where(rng.random(image.shape) < 0.5, rng.choice([-128, 127], image.shape), image)
    return Case(
        shape, depthwise, weights, np.stack([bias, multiplier, c], 1), rule, fraction,
        (low, high), draw(st.integers(-128, 127)), draw(st.integers(-128, 127)) if rule else 0,
        image.astype(np.int8), (draw(st.integers(0, 3)), draw(st.integers(0, 3))),
    )  # fmt: skip


DRIVER = """
enum { GUARD = 64 };
int32_t job[24];
int8_t image[65536], output[65536];
int64_t weights[16384], scratch[1024];
eb_line lines[1024];
void bench(void);
void bench(void) {
    const int32_t *j = job;
    const eb_conv conv = {
        weights, lines, (uint16_t)j[1], (uint16_t)j[2], (uint16_t)j[3], (uint16_t)j[4],
        (uint16_t)j[5], (uint8_t)j[6], (uint8_t)j[7], (uint8_t)j[8], (uint8_t)j[9], (uint8_t)j[10],
        (int8_t)j[11],
        {(int8_t)j[12], (int8_t)j[13], (int8_t)j[14], (uint8_t)j[15], (uint8_t)j[16]}};
    const int8_t *in = image + GUARD + j[22];
    int8_t *out = j[23] < 0 ? image + GUARD + j[22] + j[23] + 1 : output + GUARD + j[23];
    for (int32_t step = 0; step < j[17]; step++) {
        const int8_t *rows[16];
        for (int32_t i = 0; i < j[6]; i++) {
            const int32_t r = step * j[18] - j[19] + i * j[20];
            rows[i] = r < 0 || r >= j[21] ? 0 : in + r * j[1] * j[2];
        }
        kernels[j[0]](&conv, rows, out + step * j[3] * j[4], scratch, step);
    }
}
"""
"""A program that runs one layer, described by `job`, with one of the array `kernels`."""


def driver(packed_kernels: dict[str, str]) -> str:
    """Return the program for kernels by name, with their headers."""
    includes = "".join(f'#include "{name}"\n' for name in sorted(set(packed_kernels.values())))
    names = ", ".join(packed_kernels)
    return f"{includes}static eb_kernel *const kernels[] = {{{names}}};\n{DRIVER}"


def contents(case: Case, packed: Packed, kernel: int) -> dict[str, bytes]:
    """Return the driver's variables for one layer; memory that nobody may touch holds 0x5A."""
    s = case.shape
    # In place the output begins where the input does, or a few bytes before.
    out = -1 - case.skew[1] if s.in_place else case.skew[1]
    job = [
        *(kernel, s.in_width, s.in_channels, s.out_width, s.out_channels, packed.depth),
        *(*s.kernel, s.stride[1], s.padding[1], s.dilation[1], case.zero_point, *case.limits),
        *(case.output_zero, case.fraction, case.rule, s.out_height),
        *(s.stride[0], s.padding[0], s.dilation[0], s.in_height, case.skew[0], out),
    ]
    guard = bytes([0x5A]) * GAP
    out_bytes = s.out_height * s.out_width * s.out_channels
    assert packed.scratch_bytes + GAP <= 8192
    return {
        "job": np.array(job, "<i4").tobytes(),
        "image": guard + bytes([0x5A]) * case.skew[0] + case.image.tobytes() + guard,
        "output": guard + bytes(out_bytes + case.skew[1]) + guard,
        "weights": packed.weights,
        "lines": case.lines.astype("<i4").tobytes(),
        "scratch": bytes(packed.scratch_bytes) + guard,
    }


def result(case: Case, packed: Packed, memory: dict[str, bytes]) -> np.ndarray:
    """Return the output map, int8 [OH, OW, O], after a look at what nobody may touch."""
    s = case.shape
    shape = (s.out_height, s.out_width, s.out_channels)
    guard = bytes([0x5A]) * GAP
    assert memory["scratch"][packed.scratch_bytes :][:GAP] == guard, "wrote behind the scratch"
    if s.in_place:
        start = GAP + case.skew[0] - case.skew[1]
        end = GAP + case.skew[0] + case.image.size
        assert memory["image"][:start] == guard[:1] * start
        assert memory["image"][end:][:GAP] == guard
        data = memory["image"][start:]
    else:
        start = GAP + case.skew[1]
        assert memory["image"][GAP + case.skew[0] :][: case.image.size] == case.image.tobytes()
        assert memory["output"][:GAP] == guard
        assert memory["output"][start + int(np.prod(shape)) :][:GAP] == guard
        data = memory["output"][start:]
    return np.frombuffer(data[: int(np.prod(shape))], np.int8).reshape(shape)


class NativeLayers:
    """The driver as a library of this process."""

    def __init__(self, packed_kernels: dict[str, str]) -> None:
        self.names = list(packed_kernels)
        self._library = library(driver(packed_kernels))

    def run(self, case: Case, packed: Packed) -> np.ndarray:
        given = contents(case, packed, self.names.index(packed.function))
        for name, data in given.items():
            self._variable(name, len(data))[:] = data
        self._library.bench()
        ran = {name: bytes(self._variable(name, len(given[name]))) for name in given}
        return result(case, packed, ran)

    def _variable(self, name: str, count: int) -> ctypes.Array[ctypes.c_char]:
        return (ctypes.c_char * count).in_dll(self._library, name)


class BareLayers:
    """The driver on an emulated core."""

    def __init__(self, packed_kernels: dict[str, str], core: str, compiler: str = "") -> None:
        self.names = list(packed_kernels)
        text = driver(packed_kernels)
        self.program = build_c(core, {"layers.c": text}, include=INCLUDE, compiler=compiler)

    def run(self, case: Case, packed: Packed) -> np.ndarray:
        return self.ran(case, packed)[0]

    def ran(self, case: Case, packed: Packed) -> tuple[np.ndarray, Ran]:
        """Return the output map and what the core did."""
        given = contents(case, packed, self.names.index(packed.function))
        outputs = ["image", "output", "scratch"]
        ran = self.program.run(outputs, inputs=given)
        return result(case, packed, ran.outputs), ran


def undefined_symbols(text: str, core: str, compiler: str, folder) -> set[str]:
    """Return what an object of these kernels asks of other objects."""
    source, target = folder / "kernels.c", folder / "kernels.o"
    source.write_text(text)
    tool = find_compiler(CORES[core], kind=compiler)
    command = [*tool.compiler, *(f"-I{path}" for path in INCLUDE), "-c", source, "-o", target]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with target.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        found = {one.name for one in table.iter_symbols() if one["st_shndx"] == "SHN_UNDEF"}
    return found - {""}
