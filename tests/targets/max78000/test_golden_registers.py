"""Projects that bring their own placement get the registers that the vendor's generator writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from edgebed.targets.max78000.ai8x import parse_flags, read_project
from edgebed.targets.max78000.assemble import used_quadrants
from edgebed.targets.max78000.compiler import Compiled, compile_program
from edgebed.targets.max78000.kernels import pack_kernels
from edgebed.targets.max78000.registers import MCNT, ONED, POST, layer_registers

SHIFT = 0x1F << 13
START_BYTE = 0xF << 4


def compiled(case: Path) -> Compiled:
    words = json.loads((case / "meta.json").read_text())["case"]["args"]
    flags = parse_flags(words)
    flags.pop("sample-input", None)
    return compile_program(read_project(case / "network.yaml", case / "weights_int.npz", flags))


def registers(one: Compiled) -> dict[tuple[int, int, int], int]:
    quadrants = used_quadrants(one.chain)
    return {
        (quadrant, layer, number): value
        for quadrant in quadrants
        for layer in range(len(one.chain))
        for number, value in layer_registers(
            one.chain, layer, quadrant, quadrants, fifo=one.fifo
        ).items()
    }


def free(one: Compiled, layer: int, register: int, column: int) -> int:
    """Bits that may differ: the unused shift of a wide result, and where kernels start."""
    if register == POST and one.chain[layer].layer.wide:
        return SHIFT
    moved = one.chain[layer].at.kernel_column != column
    return {MCNT: 0xFFFFFFFF, ONED: START_BYTE}.get(register, 0) if moved else 0


def test_registers_equal_the_generators(cases_dir: Path) -> None:
    for case in sorted(path.parent for path in cases_dir.glob("max78000/*/network.yaml")):
        meta, one = json.loads((case / "meta.json").read_text()), compiled(case)
        columns = [layer["args"]["kern_offs"] for layer in meta["latency"]]
        mine = registers(one)
        theirs = {(q, layer, number): value for q, layer, number, value in meta["lregs"]}
        assert mine.keys() == theirs.keys(), case.name
        for (quadrant, layer, number), value in theirs.items():
            mask = ~free(one, layer, number, columns[layer])
            ours = mine[quadrant, layer, number]
            assert ours & mask == value & mask, (case.name, quadrant, layer, number)


def test_kernel_memory_equals_the_generators_where_columns_do(cases_dir: Path) -> None:
    for case in sorted(path.parent for path in cases_dir.glob("max78000/*/network.yaml")):
        one = compiled(case)
        columns = [
            layer["args"]["kern_offs"]
            for layer in json.loads((case / "meta.json").read_text())["latency"]
        ]
        if any(
            p.kernels and p.at.kernel_column != c
            for p, c in zip(one.chain, columns, strict=True)
            if not p.layer.passthrough
        ):
            continue
        with np.load(case / "device_words.npz") as words:
            assert columns_of(words["kernels"]) == columns_of(one.image.kernels), case.name
        assert pack_kernels(one.chain).any() or one.chain[0].layer.passthrough


def columns_of(words: np.ndarray) -> dict[tuple[int, int], bytes]:
    """Return the non-zero 72-bit columns by processor address and number."""
    found: dict[tuple[int, int], bytes] = {}
    position = 0
    while words[position]:
        address, count = int(words[position]), int(words[position + 1])
        data = words[position + 2 : position + 2 + count].astype(">u4").tobytes()
        base = address & ~0x3FFF
        for number in range(len(data) // 9):
            column = data[9 * number : 9 * number + 9]
            if any(column):
                found[base, (address - base) // 4 + number] = column
        position += 2 + count
    return found
