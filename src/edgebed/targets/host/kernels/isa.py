"""The instruction sets a layer is compiled for, and the compiler flags of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Isa:
    """One variant of the generated code.

    Attributes:
        name: as in EDGEBED_ISA.
        level: the macro EB_ISA.
        flags: compiler flags on top of a baseline x86-64 target (gcc and clang).
        needs: features the processor must have, by their names in /proc/cpuinfo.
        registers: vector registers of the architecture.
    """

    name: str
    level: int
    flags: tuple[str, ...]
    needs: tuple[str, ...]
    registers: int


_AVX2 = ("-mavx2", "-mfma", "-mbmi2")

PORTABLE = Isa("portable", 0, (), (), 16)
AVX2 = Isa("avx2", 2, _AVX2, ("avx2", "fma", "bmi2"), 16)
AVXVNNI = Isa("avxvnni", 3, (*_AVX2, "-mavxvnni"), (*AVX2.needs, "avx_vnni"), 16)
AVX512 = Isa(
    "avx512",
    5,
    (*_AVX2, *(f"-mavx512{part}" for part in ("f", "bw", "vl", "dq", "vnni"))),
    (*AVX2.needs, "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni"),
    32,
)
ISAS = (PORTABLE, AVX2, AVXVNNI, AVX512)
"""From the least to the most capable."""


def cpu_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return the feature names of this machine's first processor; empty where none are told."""
    if not cpuinfo.is_file():
        return frozenset()
    for line in cpuinfo.read_text().splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def runnable() -> tuple[Isa, ...]:
    """Return the instruction sets that this machine can run, from the least to the most capable."""
    features = cpu_features()
    return tuple(isa for isa in ISAS if features.issuperset(isa.needs))
