"""`edgebed doctor`: what is installed, and what each missing part would enable."""

from __future__ import annotations

import json as json_format
import os
import platform
import shutil
from collections.abc import Iterator
from typing import Any, Final

import edgebed
from edgebed.cli.extras import BASE, CROSS_COMPILER, EXTRAS, Extra, version

NO_HOST_COMPILER: Final = (
    "none; without one the virtual board takes its slow path, with an accelerator about 20 times "
    "slower; pip install 'edgebed[cc]', or install clang or gcc"
)


def doctor(*, json: bool = False) -> int:
    """Say what is installed and what each missing extra would enable.

    Args:
        json: print one JSON object instead of text.

    Returns:
        0, or 1 where a package that edgebed always needs is missing.
    """
    found = inspect()
    if json:
        print(json_format.dumps(found, indent=2))
    else:
        print("\n".join(_lines(found)))
    return 0 if all(part["version"] for part in found["base"]) else 1


def inspect() -> dict[str, Any]:
    """Return the facts: interpreter, machine, base packages, extras, compiler."""
    return {
        "edgebed": edgebed.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "base": [{"package": name, "version": version(name)} for name in BASE.values()],
        "extras": [_extra(extra) for extra in EXTRAS],
        "compiler": _compiler(),
        "host_compiler": _host_compiler(),
    }


def _extra(extra: Extra) -> dict[str, Any]:
    versions = {name: version(name) for name in extra.packages.values()}
    return {
        "extra": extra.name,
        "enables": extra.enables,
        "packages": versions,
        "installed": all(versions.values()),
        "command": extra.command,
    }


def _compiler() -> str | None:
    installed = shutil.which(CROSS_COMPILER)
    zig = version("ziglang")
    return installed or (f"zig {zig} (the ziglang package)" if zig else None)


def _host_compiler() -> str | None:
    from edgebed.targets._shared.toolchain import host_compilers

    found = host_compilers()
    return " ".join(found[0].command) if found else None


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"edgebed {found['edgebed']}, Python {found['python']}, {found['machine']}"
    yield "always needed: " + ", ".join(
        f"{part['package']} {part['version'] or 'MISSING'}" for part in found["base"]
    )
    yield f"firmware compiler: {found['compiler'] or 'none'}"
    yield f"compiler for this computer: {found['host_compiler'] or NO_HOST_COMPILER}"
    yield ""
    for extra in found["extras"]:
        yield from _extra_lines(extra)
    missing = [extra["extra"] for extra in found["extras"] if not extra["installed"]]
    yield ""
    if missing:
        yield f"next: pip install 'edgebed[{','.join(missing)}]'"
    else:
        yield "everything is installed; next: edgebed demo"


def _extra_lines(extra: dict[str, Any]) -> Iterator[str]:
    if extra["installed"]:
        names = ", ".join(f"{name} {number}" for name, number in extra["packages"].items())
        yield f"  [x] {extra['extra']:<6} {names}: {extra['enables']}"
        return
    names = ", ".join(name for name, number in extra["packages"].items() if not number)
    yield f"  [ ] {extra['extra']:<6} without {names} you cannot {extra['enables']}"
    yield f"             {extra['command']}"
