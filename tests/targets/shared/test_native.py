"""Building C once, safely, and saying why when it cannot be done."""

from __future__ import annotations

import ctypes
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgebed.errors import EdgebedError
from edgebed.targets._shared import native, toolchain
from edgebed.targets._shared.native import build_library, cache_folder, load_library
from edgebed.targets._shared.toolchain import Compiler, find_installed, host_compilers

COMPILERS = host_compilers()
needs_compiler = pytest.mark.skipif(not COMPILERS, reason="no C compiler")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "edgebed" / "native"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "answer.c"
    path.write_text("int answer(void);\nint answer(void) { return 42; }\n")
    return path


@needs_compiler
@pytest.mark.parametrize("compiler", COMPILERS[-1:], ids=lambda c: c.name)
def test_library_is_built_once_and_answers(compiler: Compiler, source: Path) -> None:
    first = build_library(source, compiler)
    stamp = first.stat().st_mtime_ns
    assert first.parent == cache_folder()
    assert ctypes.CDLL(str(first)).answer() == 42
    assert build_library(source, compiler) == first and first.stat().st_mtime_ns == stamp
    source.write_text(source.read_text().replace("42", "43"))
    assert build_library(source, compiler) != first
    assert sorted(path.suffix for path in cache_folder().iterdir()) == [".so", ".so"]


@needs_compiler
def test_builds_at_the_same_time_give_one_library(source: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        built = list(pool.map(lambda _: build_library(source, COMPILERS[-1]), range(4)))
    assert len(set(built)) == 1
    assert list(cache_folder().iterdir()) == [built[0]]


@needs_compiler
def test_wrong_c_is_refused_with_the_compilers_message(source: Path) -> None:
    source.write_text("int answer(void) { return forty_two; }\n")
    with pytest.raises(EdgebedError, match="forty_two"):
        build_library(source, COMPILERS[-1])
    assert not list(cache_folder().iterdir())


@needs_compiler
def test_next_compiler_is_tried(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Compiler("broken", (sys.executable, "-c", "raise SystemExit('error: no')"), ())
    monkeypatch.setattr(native, "host_compilers", lambda: [broken, COMPILERS[-1]])
    assert load_library(source).answer() == 42
    monkeypatch.setattr(native, "host_compilers", lambda: [broken])
    with pytest.raises(EdgebedError, match=r"broken.*error: no"):
        load_library(source)


def test_without_a_compiler_the_error_says_what_to_install(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "host_compilers", list)
    with pytest.raises(EdgebedError, match=r"install 'edgebed\[cc\]'"):
        load_library(source)


def test_cc_comes_first_and_missing_ones_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", f"{sys.executable} -x")
    assert host_compilers()[0].command == (sys.executable, "-x")
    monkeypatch.setenv("CC", "no-such-compiler")
    assert "no-such-compiler" not in {compiler.name for compiler in host_compilers()}
    assert find_installed("no-such-compiler") is None


def test_zig_of_the_wheel_is_found() -> None:
    pytest.importorskip("ziglang")
    zig = toolchain.find_zig()
    assert zig is not None and zig.name.startswith("zig")
    assert any(compiler.name == "zig" for compiler in host_compilers())
