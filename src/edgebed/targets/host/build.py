"""From a program to a folder with a library: write the project, compile it, keep the objects."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgebed import files as disk
from edgebed.compile.passes.pipeline import optimise
from edgebed.errors import EdgebedError
from edgebed.events import Finished, Listener, Started, ignore
from edgebed.program.types import Program
from edgebed.targets._shared.native import cache_folder
from edgebed.targets._shared.toolchain import Compiler, find_installed, find_zig, host_compilers
from edgebed.targets.host import manifest as manifests
from edgebed.targets.host.emit import OBSERVING
from edgebed.targets.host.kernels.isa import ISAS, PORTABLE, Isa
from edgebed.targets.host.manifest import Manifest

_TIMEOUT_S: Final = 600
_COMMON: Final = (
    "-std=gnu99", "-Wall", "-Wextra", "-Werror", "-fPIC", "-fvisibility=hidden",
    "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fomit-frame-pointer",
    "-ffunction-sections",
)  # fmt: skip


EXECUTOR: Final = frozenset(f"edgebed/{name}" for name in ("run.h", "crew.h", *OBSERVING))
"""Headers that the layers do not read."""


@dataclass(frozen=True)
class Unit:
    """One object file: a source compiled for one instruction set.

    Attributes:
        source: path in the project.
        isa: what it is compiled for.
        defines: macros.
        reads: further files of the project that decide its contents.
    """

    source: str
    isa: Isa
    defines: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tools:
    """A compiler with the flags of this target, and the archiver beside it.

    Attributes:
        compiler: which one.
        base: flags for a processor of this family without anything special.
        archiver: program and first arguments; files follow.
    """

    compiler: Compiler
    base: tuple[str, ...]
    archiver: tuple[str, ...]


def variants() -> tuple[Isa, ...]:
    """Return the instruction sets that the library of this machine's family holds."""
    return ISAS if platform.machine() in ("x86_64", "AMD64") else (PORTABLE,)


def units(name: str, paths: Iterable[str], *, observed: bool = False) -> tuple[Unit, ...]:
    """Return what is to be compiled for the project `name` with these files.

    Args:
        name: of the project.
        paths: its files.
        observed: with EB_OBSERVE; the layers' objects are the same with and without it.
    """
    headers = tuple(sorted(path for path in paths if path.startswith("edgebed/")))
    kernels = tuple(h for h in headers if h not in EXECUTOR)
    switch, table = (("EB_OBSERVE",), (f"{name}_observed.h",)) if observed else ((), ())
    layers = tuple(
        Unit(
            f"{name}_layers.c",
            isa,
            (f"EB_ISA={isa.level}", f"EB_TABLE={name}_steps_{isa.name}"),
            kernels,
        )
        for isa in variants()
    )
    return (
        *layers,
        Unit(f"{name}.c", PORTABLE, switch, (f"{name}.h", *table, *headers)),
        Unit(f"{name}_constants.c", PORTABLE, (), (f"{name}_constants.bin",)),
    )


def commands(name: str, paths: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Return how any C compiler builds the project in its folder."""
    built = []
    objects = []
    for unit in units(name, paths):
        objects.append(_object_name(unit))
        defines = tuple(f"-D{define}" for define in unit.defines)
        built.append(
            ("cc", "-O3", *_COMMON, *unit.isa.flags, *defines, "-c", unit.source, "-o", objects[-1])
        )
    library = ("cc", "-shared", *objects, "-lm", "-lpthread", "-o", f"lib{name}.so")
    return (*built, library, ("ar", "rcs", f"lib{name}.a", *objects))


def _object_name(unit: Unit) -> str:
    suffix = f"_{unit.isa.name}" if unit.defines else ""
    return f"{Path(unit.source).stem}{suffix}.o"


def compile_program(
    program: Program,
    out: Path,
    listener: Listener = ignore,
    *,
    passes: bool = True,
    tuned: bool = False,
) -> Manifest:
    """Compile a program into a folder: C project, static and shared library, manifest.

    Args:
        program: what to compile.
        out: folder to write; its files of the same names are replaced.
        listener: told what happens.
        passes: rewrite the program first, by the default pipeline; it computes the same.
        tuned: measure a few register tiles of each layer first, and take the fastest.

    Raises:
        EdgebedError: an op cannot be compiled, or no compiler is installed.
    """
    from edgebed.targets.host.target import TARGET
    from edgebed.targets.host.tuning import tune

    listener(Started("compile", f"{program.name} for host, into {out}"))
    if passes:
        program, _ = optimise(program, listener)
    choices = tune(program, listener) if tuned else None
    TARGET.plan(program, choices).write(out)
    build(out)
    found = manifests.read(out)
    arena = f"arena {found.arena_bytes:,} bytes"
    listener(
        Finished("compile", f"lib{found.name}.so, {arena}, {found.constant_bytes:,} of constants")
    )
    return found


def build(folder: Path) -> dict[str, int]:
    """Compile the project in a folder; return sizes in bytes by name.

    Objects and libraries are kept in the cache by the digest of what they are made of.

    Raises:
        EdgebedError: the folder holds no project, no compiler is installed, or none compiles it.
    """
    manifest = manifests.read(folder)
    todo = units(manifest.name, _paths(folder))
    library = _first_built(folder, lambda tools: _build_with(tools, folder, manifest, todo))
    digest = hashlib.sha256(library.read_bytes()).hexdigest()
    disk.write_text(folder / manifests.FILE, replace(manifest, library_sha256=digest).to_json())
    return {
        "library": library.stat().st_size,
        "constants": manifest.constant_bytes,
        "arena": manifest.arena_bytes,
    }


def all_tools() -> list[Tools]:
    """Return the usable compilers, best first."""
    return [tools for compiler in host_compilers() if (tools := _tools(compiler)) is not None]


def _tools(compiler: Compiler) -> Tools | None:
    if compiler.name == "zig":
        zig = find_zig()
        assert zig is not None
        return Tools(compiler, _zig_flags(), (str(zig), "ar"))
    archiver = find_installed("ar", "llvm-ar", "gcc-ar")
    return Tools(compiler, ("-O3",), (str(archiver),)) if archiver else None


def _zig_flags() -> tuple[str, ...]:
    optimised = ("-O3", "-Xclang", "-O3", "-fno-sanitize=all")
    if sys.platform != "linux":
        return optimised
    machine = platform.machine()
    target = ("-target", f"{machine}-linux-gnu.2.28")
    return (*optimised, *target, "-mcpu=x86_64" if machine == "x86_64" else "-mcpu=baseline")


def observed(folder: Path) -> Path:
    """Return the shared library of a folder's sources as they are now, compiled with EB_OBSERVE.

    It lies in the cache, under the digest of what it is made of. What was edited in the folder is
    compiled anew: `build(folder)` does the same for the library without the switch, so that a
    changed kernel can be watched by `edit; build(folder); load(folder).watch(x)`.

    Raises:
        EdgebedError: the folder holds no project that knows the switch, no compiler is installed,
            or none compiles it.
    """
    manifest = manifests.read(folder)
    table = f"{manifest.name}_observed.h"
    if not (folder / table).is_file():
        raise EdgebedError(
            f"has no {table}", where=str(folder), try_="compile the network again",
            why="sources are missing, or were written by an earlier version of edgebed",
        )  # fmt: skip
    todo = units(manifest.name, _paths(folder), observed=True)
    return _first_built(folder, lambda tools: _cached(tools, folder, manifest.name, todo)[0])


def _paths(folder: Path) -> list[str]:
    return [str(p.relative_to(folder).as_posix()) for p in folder.rglob("*") if p.is_file()]


def _first_built(folder: Path, made: Callable[[Tools], Path]) -> Path:
    """Return what the first compiler makes that can."""
    reasons = []
    for tools in all_tools():
        try:
            return made(tools)
        except EdgebedError as error:
            reasons.append(str(error))
    raise EdgebedError(
        "cannot be compiled", where=str(folder),
        why="; ".join(reasons) or "no C compiler found",
        try_="pip install 'edgebed[cc]', or install clang or gcc",
    )  # fmt: skip


def _build_with(tools: Tools, folder: Path, manifest: Manifest, todo: Sequence[Unit]) -> Path:
    """Put both libraries into the folder; return the shared one."""
    shared, static = _cached(tools, folder, manifest.name, todo)
    for source, name in ((shared, manifest.library), (static, f"lib{manifest.name}.a")):
        _copy(source, folder / name)
    return folder / manifest.library


def _cached(tools: Tools, folder: Path, name: str, todo: Sequence[Unit]) -> tuple[Path, Path]:
    """Return the shared and the static library of a folder's sources in the cache."""
    cache = cache_folder() / "host"
    cache.mkdir(parents=True, exist_ok=True)
    files = {
        path: (folder / path).read_bytes() for unit in todo for path in (unit.source, *unit.reads)
    }
    keys = [_digest(tools, unit, files) for unit in todo]
    whole = hashlib.sha256(repr((name, keys)).encode()).hexdigest()[:32]
    shared, static = cache / f"{whole}.so", cache / f"{whole}.a"
    if not (shared.is_file() and static.is_file()):
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            made = [pool.submit(_object, tools, folder, unit, cache / f"{key}.o")
                    for unit, key in zip(todo, keys, strict=True)]  # fmt: skip
            objects = [one.result() for one in made]
        _link(tools, objects, todo, shared, static)
    return shared, static


def _copy(source: Path, target: Path) -> None:
    """Put a new file in place of an old one, which a process may still have mapped."""
    temporary = target.with_name(f"{disk.TEMPORARY}{os.getpid()}-{target.name}")
    shutil.copyfile(source, temporary)
    temporary.replace(target)


def _digest(tools: Tools, unit: Unit, files: Mapping[str, bytes]) -> str:
    state = hashlib.sha256(
        repr((tools.compiler.command, tools.base, _COMMON, unit.isa, unit.defines)).encode()
    )
    for path in (unit.source, *unit.reads):
        state.update(f"\0{path}\0{len(files[path])}\0".encode())
        state.update(files[path])
    return state.hexdigest()[:32]


def _object(tools: Tools, folder: Path, unit: Unit, target: Path) -> Path:
    if target.is_file():
        return target
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as scratch:
        built = Path(scratch) / target.name
        defines = [f"-D{define}" for define in unit.defines]
        flags = [*tools.base, *_COMMON, *unit.isa.flags, *defines]
        _run([*tools.compiler.command, *flags, "-c", unit.source, "-o", str(built)], folder)
        built.replace(target)
    return target


def _link(
    tools: Tools, objects: Sequence[Path], todo: Sequence[Unit], shared: Path, static: Path
) -> None:
    with tempfile.TemporaryDirectory(dir=shared.parent, prefix=".build-") as scratch:
        here = Path(scratch)
        for source, unit in zip(objects, todo, strict=True):
            shutil.copyfile(source, here / _object_name(unit))
        names = [_object_name(unit) for unit in todo]
        base = [flag for flag in tools.base if not flag.startswith("-mcpu")]
        link = [*tools.compiler.command, *base, "-shared", *names, "-lm", "-lpthread"]
        _run([*link, "-o", shared.name], here)
        _run([*tools.archiver, "rcs", static.name, *names], here)
        (here / static.name).replace(static)
        (here / shared.name).replace(shared)


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise EdgebedError(f"{command[0]} took longer than {_TIMEOUT_S} s") from error
    except OSError as error:
        raise EdgebedError(f"{command[0]} cannot be started: {error.strerror}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or ["no message"]
        raise EdgebedError(f"{Path(command[0]).name} refused the code", why=lines[0])


def shared_library(source: Path, isa: Isa, folder: Path, headers: Path) -> Path:
    """Return a small library of one C file, compiled for one instruction set.

    Args:
        source: the file.
        isa: what it is compiled for.
        folder: where the library goes, under the digest of what it is made of; one that is there
            already is taken.
        headers: folder of its includes.

    Raises:
        EdgebedError: no compiler is installed, or none compiles it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = b"".join(path.read_bytes() for path in (source, *sorted(headers.glob("*.h"))))
    reasons = []
    for tools in all_tools():
        flags = [*tools.base, *_COMMON[:5], *isa.flags, f"-DEB_ISA={isa.level}", "-shared"]
        command = [*tools.compiler.command, *flags, f"-I{headers}", str(source)]
        state = hashlib.sha256(repr((tools.compiler.command, flags)).encode() + text)
        target = folder / f"{source.stem}-{isa.name}-{state.hexdigest()[:24]}.so"
        if target.is_file():
            return target
        partial = target.with_suffix(f".{os.getpid()}")
        try:
            _run([*command, "-o", str(partial)], folder)
        except EdgebedError as error:
            reasons.append(str(error))
            continue
        partial.replace(target)
        return target
    why = "; ".join(reasons) or "no C compiler found"
    raise EdgebedError("cannot be compiled", where=source.name, why=why)
