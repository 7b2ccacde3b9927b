"""The devices: found by their fact sheets, loaded only when one is used.

A target is a folder with a `device.toml` (facts) and a module `target` that holds `TARGET`. Those
inside this package are found by themselves; others register their package in the entry point
group `edgebed.targets`.
"""

from __future__ import annotations

import importlib
import importlib.util
import tomllib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from edgebed.errors import EdgebedError, did_you_mean

if TYPE_CHECKING:  # loading a compiled network imports this package: it must be quick
    from edgebed.targets.contract import Library, Target

FACTS = "device.toml"
GROUP = "edgebed.targets"
HERE = Path(__file__).parent


def names() -> tuple[str, ...]:
    """Return the names of all known targets, sorted; no target's code is imported."""
    return tuple(sorted(_packages()))


def describe(name: str) -> dict[str, Any]:
    """Return the facts of a target from its `device.toml`; its code is not imported.

    Raises:
        EdgebedError: there is no such target, or its fact sheet is missing or damaged.
    """
    return _facts(name, _package(name))


def _facts(name: str, package: str) -> dict[str, Any]:
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    for folder in folders:
        path = Path(folder) / FACTS
        if path.is_file():
            return _read(path)
    raise EdgebedError(f"target {name!r} has no {FACTS}", where=package)


def load(name: str) -> Target:
    """Return a target.

    Raises:
        EdgebedError: there is no such target, or it defines no `TARGET`.
    """
    module = importlib.import_module(f"{_package(name)}.target")
    target = getattr(module, "TARGET", None)
    if target is None:
        raise EdgebedError("defines no TARGET", where=module.__name__)
    found: Target = target
    return found


def projects(name: str) -> ModuleType | None:
    """Return the module that reads projects of other tools for a target, or None.

    It has `SUFFIXES`, `parse_flags(words, others)`, `first_free(words, others)` and
    `read_project(path, weights, flags, listener)`; the fact sheet names it as `projects`. `others`
    are options of the command line itself, for the help on a mistyped word.

    Raises:
        EdgebedError: there is no such target.
    """
    reader = describe(name).get("projects")
    return None if reader is None else importlib.import_module(f"{_package(name)}.{reader}")


def library_target(folder: Path) -> str | None:
    """Return the target whose library a compiled folder holds; None where it holds none.

    Only fact sheets are read: `manifest` there names the file by which such a folder is known.
    """
    # Ours first: asking every installed package for its entry points takes tens of milliseconds.
    for packages in (_own_packages, _packages):
        for name, package in sorted(packages().items()):
            manifest = _facts(name, package).get("manifest")
            if manifest is not None and (folder / manifest).is_file():
                return name
    return None


def open_library(folder: str | Path, *, threads: int = 1, isa: str | None = None) -> Library:
    """Load a compiled network into this process: numpy in, numpy out.

    Args:
        folder: written by `edgebed compile MODEL --target NAME --out DIR`, where that target's
            builds are libraries.
        threads: that share the long layers.
        isa: instruction set instead of the best one that this processor has.

    Raises:
        EdgebedError: the folder is no compiled network, is damaged, or is for another machine.
    """
    place = Path(folder)
    name = library_target(place)
    if name is None:
        raise EdgebedError(
            "holds no compiled library" if place.is_dir() else "no such folder",
            where=str(place),
            try_="edgebed compile MODEL --target NAME --out DIR first",
        )
    package = _own_packages().get(name) or _package(name)
    module = importlib.import_module(f"{package}.{_facts(name, package)['library']}")
    found: Library = module.load(place, threads=threads, isa=isa)
    return found


def _packages() -> dict[str, str]:
    """Return the package of every target by name."""
    from importlib import metadata

    found = _own_packages()
    for entry in metadata.entry_points(group=GROUP):
        found.setdefault(entry.name, entry.value)
    return found


def _own_packages() -> dict[str, str]:
    return {path.parent.name: f"{__name__}.{path.parent.name}" for path in HERE.glob(f"*/{FACTS}")}


def _package(name: str) -> str:
    packages = _packages()
    if name not in packages:
        raise EdgebedError(f"unknown target {name!r}", try_=did_you_mean(name, packages))
    return packages[name]


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise EdgebedError("cannot be read", where=str(path), why=str(error)) from error
