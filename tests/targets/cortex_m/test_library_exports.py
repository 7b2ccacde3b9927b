"""What users take home is used as they would: make, CMake, two networks, Arduino, Zephyr."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from contract_programs import detector, rules, write
from elftools.elf.elffile import ELFFile
from small_networks import mobile, quantised

from edgebed.program.contract import ImageInput
from edgebed.program.types import Program
from edgebed.targets._shared.arm_cores import CORES, find_compiler, find_core
from edgebed.targets._shared.bare_metal import build_c
from edgebed.targets._shared.toolchain import find_zig
from edgebed.targets.cortex_m.target import TARGET

COMPILERS = [
    pytest.param("zig", marks=pytest.mark.skipif(find_zig() is None, reason="no zig")),
    pytest.param(
        "gcc",
        marks=pytest.mark.skipif(
            shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not installed"
        ),
    ),
]
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
RUNTIME = "__aeabi_"
"""What compilers bring for cores that lack an instruction begins so; it is no library of C's."""


def eye() -> Program:
    return detector(rules(ImageInput(32, 24)))


def library(program: Program, folder: Path, cpu: str = "m4", goal: str = "balanced") -> Path:
    """Write a compiled folder; return its library."""
    TARGET.with_options({"cpu": cpu, "goal": goal}).plan(program).write(folder)
    return folder / "library"


def tools(cpu: str, compiler: str) -> list[str]:
    """Return CC=, AR= and CFLAGS= for make."""
    if compiler == "gcc":
        return []  # the makefile knows
    zig = str(find_zig())
    words = find_compiler(find_core(cpu), kind=compiler).compiler
    return [f"CC={' '.join(words[:5])}", f"AR={zig} ar", f"CFLAGS={' '.join(words[5:])}"]


def undefined(path: Path) -> set[str]:
    with path.open("rb") as file:
        symbols = ELFFile(file).get_section_by_name(".symtab").iter_symbols()
        return {one.name for one in symbols if one["st_shndx"] == "SHN_UNDEF"} - {""}


def offered(path: Path) -> set[str]:
    with path.open("rb") as file:
        symbols = ELFFile(file).get_section_by_name(".symtab").iter_symbols()
        return {
            one.name
            for one in symbols
            if one["st_shndx"] != "SHN_UNDEF" and one["st_info"]["bind"] == "STB_GLOBAL"
        }


def run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# ---- make and CMake ----


@needs_make
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("cpu", list(CORES))
def test_make_builds_objects_that_need_nobody(cpu: str, compiler: str, tmp_path: Path) -> None:
    for program in (eye(), quantised(mobile())):
        folder = library(program, tmp_path / program.name, cpu)
        run(["make", *tools(cpu, compiler)], folder)
        assert (folder / f"lib{program.name}.a").stat().st_size > 1000
        objects = sorted(folder.glob("*.o"))
        needed = set().union(*map(undefined, objects)) - set().union(*map(offered, objects))
        assert {name for name in needed if not name.startswith(RUNTIME)} == set()
        if cpu != "m0plus":  # the others divide and multiply to 64 bits
            assert not any("div" in name or "mul" in name for name in needed), needed
        public = {name for one in objects for name in offered(one)}
        assert all(name.startswith(f"{program.name}_") for name in public), public
        run(["make", "clean"], folder)
        assert not list(folder.glob("*.[oa]"))


@needs_make
@pytest.mark.parametrize("compiler", COMPILERS)
def test_make_compiles_the_recorder_in_where_it_is_asked_to(compiler: str, tmp_path: Path) -> None:
    folder = library(eye(), tmp_path)
    for words, there in (([], False), (["TRACE=3"], True)):
        run(["make", "-B", *tools("m4", compiler), *words], folder)
        assert ("eye_trace_begin" in offered(folder / "eye.o")) == there


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
@pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None, reason="arm-none-eabi-gcc is not installed"
)
def test_cmake_builds_it_inside_of_another_project(tmp_path: Path) -> None:
    library(eye(), tmp_path / "net")
    flags = " ".join(find_core("m4").flags)
    write(
        {
            "CMakeLists.txt": b"cmake_minimum_required(VERSION 3.13)\nproject(app C)\n"
            b"add_subdirectory(net/library)\nadd_library(app STATIC app.c)\n"
            b"target_link_libraries(app eye)\n",
            "app.c": b'#include "eye.h"\n#include "eye_contract.h"\nvoid app(void *);\n'
            b"void app(void *arena) { eye_run(arena); }\n",
        },
        tmp_path,
    )
    run(
        [
            *("cmake", "-S", ".", "-B", "build", "-DCMAKE_SYSTEM_NAME=Generic"),
            *("-DCMAKE_SYSTEM_PROCESSOR=arm", "-DCMAKE_C_COMPILER=arm-none-eabi-gcc"),
            *("-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY", f"-DCMAKE_C_FLAGS={flags}"),
        ],
        tmp_path,
    )
    run(["cmake", "--build", "build"], tmp_path)
    assert (tmp_path / "build" / "net" / "library" / "libeye.a").is_file()
    assert (tmp_path / "build" / "libapp.a").is_file()


# ---- in a firmware ----


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("*.c")}


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("goal", ["balanced", "ram"])
def test_the_example_runs_on_a_virtual_board(goal: str, compiler: str, tmp_path: Path) -> None:
    for program in (eye(), quantised(mobile())):
        folder = library(program, tmp_path / program.name, goal=goal)
        main = (folder / "example" / "main.c").read_text()
        bench = "int main(void);\nint result = 7;\nvoid bench(void) { result = main(); }\n"
        built = build_c(
            "m4",
            {**texts(folder), "main.c": main, "bench.c": bench},
            include=[folder, folder / "example"],
            compiler=compiler,
        )
        ran = built.run(["result"])
        assert int.from_bytes(ran.outputs["result"], "little") == 0
        assert ran.instructions > 10_000


@pytest.mark.parametrize("compiler", COMPILERS)
def test_two_networks_live_in_one_firmware(compiler: str, tmp_path: Path) -> None:
    programs = (eye(), quantised(mobile()), quantised(mobile("other", side=10, channels=4, seed=3)))
    folders = [library(program, tmp_path / program.name) for program in programs]
    names = [program.name for program in programs]
    includes = "".join(f'#include "{name}.h"\n#include "{name}_selftest.h"\n' for name in names)
    sizes = " + ".join(f"{name.upper()}_ARENA_BYTES" for name in names)
    calls = "\n".join(
        f"    wrong |= {name}_selftest(memory) << {4 * i};" for i, name in enumerate(names)
    )
    main = f"""{includes}
static uint8_t memory[{sizes}] __attribute__((aligned(16)));
int wrong;
void bench(void) {{
{calls}
}}
"""
    sources = {name: text for folder in folders for name, text in texts(folder).items()}
    built = build_c("m4", {**sources, "main.c": main}, include=folders, compiler=compiler)
    assert int.from_bytes(built.run(["wrong"]).outputs["wrong"], "little") == 0


def test_a_wrong_build_fails_its_self_test(tmp_path: Path) -> None:
    folder = library(eye(), tmp_path)
    given = texts(folder)
    tables = (folder / "eye_tables.h").read_text()
    at = tables.index("= {", tables.index("int8_t")) + 4
    (folder / "eye_tables.h").write_text(tables[:at] + "-" + tables[at:].replace("-", "", 1))
    main = (folder / "example" / "main.c").read_text()
    bench = "int main(void);\nint result = 7;\nvoid bench(void) { result = main(); }\n"
    sources = {**given, "main.c": main, "bench.c": bench}
    built = build_c("m4", sources, include=[folder, folder / "example"])
    assert int.from_bytes(built.run(["result"]).outputs["result"], "little") == 1


@pytest.mark.skipif(find_zig() is None, reason="no zig")
@pytest.mark.parametrize("goal", ["balanced", "ram"])
@pytest.mark.parametrize("standard", ["c++98", "c++20"])
def test_headers_are_cpp_too(standard: str, goal: str, tmp_path: Path) -> None:
    for program in (eye(), quantised(mobile())):
        folder = library(program, tmp_path / program.name, goal=goal)
        headers = [path.name for path in folder.glob("*.h") if "_tables" not in path.name]
        text = "".join(f'#include "{name}"\n' for name in headers)
        source = folder / "user.cpp"
        source.write_text(text + f"const char *digest() {{ return {program.name}_digest; }}\n")
        words = find_compiler(find_core("m4"), kind="zig").compiler
        flags = [f"-std={standard}" if word == "-std=c99" else word for word in words]
        run([*flags, "-c", source.name, "-o", "user.o"], folder)
        assert f"{program.name}_digest" in undefined(folder / "user.o")  # not a mangled name


# ---- Arduino ----


@pytest.fixture
def arduino(tmp_path: Path) -> Iterator[Path]:
    """The unpacked archive."""
    folder = library(eye(), tmp_path / "net")
    data = (folder / "eye_arduino.zip").read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "zip")
    yield tmp_path / "zip"


def test_the_arduino_library_is_laid_out_as_specified(arduino: Path) -> None:
    (root,) = arduino.iterdir()  # exactly one folder
    lines = (root / "library.properties").read_text().splitlines()
    fields = dict(line.split("=", 1) for line in lines)
    required = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category"}
    assert required | {"url", "architectures"} <= set(fields)
    assert all(fields.values())
    assert fields["name"] == root.name == "eye"
    assert fields["category"] == "Data Processing"  # one of the specification's
    assert fields["version"].count(".") == 2
    assert (root / "src" / fields["includes"]).is_file()
    assert {"eye.c", "eye_contract.c", "edgebed"} <= {one.name for one in (root / "src").iterdir()}
    for sketch in (root / "examples").iterdir():
        assert (sketch / f"{sketch.name}.ino").is_file()


@pytest.mark.skipif(find_zig() is None, reason="no zig")
def test_the_arduino_sketch_is_cpp_and_its_library_c(arduino: Path) -> None:
    root = arduino / "eye"
    stub = "struct Line { void begin(long); operator bool(); void println(const char *); };\n"
    (arduino / "Arduino.h").write_text(stub + "extern Line Serial;\n")
    words = list(find_compiler(find_core("m4"), "-Os", kind="zig").compiler)
    folders = [f"-I{root / 'src'}", "-include", str(arduino / "Arduino.h")]
    cpp = ["-std=gnu++17" if word == "-std=c99" else word for word in words]
    sketch = root / "examples" / "SelfTest" / "SelfTest.ino"
    run([*cpp, "-x", "c++", *folders, "-c", str(sketch), "-o", "sketch.o"], arduino)
    gnu = ["-std=gnu11" if word == "-std=c99" else word for word in words]
    for source in (root / "src").rglob("*.c"):  # Arduino's builder takes them all
        run([*gnu, f"-I{root / 'src'}", "-c", str(source), "-o", f"{source.stem}.o"], arduino)
    needed = undefined(arduino / "sketch.o")
    assert {"eye_selftest", "eye_digest"} <= needed


def test_a_title_of_many_lines_stays_one_property(tmp_path: Path) -> None:
    program = replace(eye(), name="two\nlines = é")
    folder = library(program, tmp_path)
    (archive,) = folder.glob("*_arduino.zip")
    with zipfile.ZipFile(archive) as found:
        (name,) = (one for one in found.namelist() if one.endswith("library.properties"))
        lines = found.read(name).decode("ascii").splitlines()
    assert all("=" in line for line in lines)
    assert len({line.split("=", 1)[0] for line in lines}) == len(lines)


# ---- Zephyr ----


def test_the_zephyr_module_is_laid_out_as_documented(tmp_path: Path) -> None:
    """zephyr/module.yml names a folder with CMakeLists.txt and a Kconfig file, from the root on."""
    folder = library(eye(), tmp_path)
    module = yaml.safe_load((folder / "zephyr" / "module.yml").read_text())
    assert module["name"] == "eye"
    cmake = folder / module["build"]["cmake"] / "CMakeLists.txt"
    kconfig = (folder / module["build"]["kconfig"]).read_text()
    option = kconfig.split()[1]
    assert option == "EDGEBED_EYE"
    assert f"if(CONFIG_{option})" in cmake.read_text()


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_the_zephyr_module_gives_cmake_its_sources(tmp_path: Path) -> None:
    folder = library(eye(), tmp_path / "net")
    script = f"""
function(zephyr_library_named name)
  message("library ${{name}}")
endfunction()
function(zephyr_include_directories)
  message("include ${{ARGN}}")
endfunction()
function(zephyr_library_sources)
  foreach(path ${{ARGN}})
    message("source ${{path}}")
  endforeach()
endfunction()
set(CONFIG_EDGEBED_EYE y)
include({folder}/zephyr/CMakeLists.txt)
"""
    (tmp_path / "script.cmake").write_text(script)
    done = subprocess.run(
        ["cmake", "-P", "script.cmake"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    said = dict.fromkeys(line.split(" ", 1)[0] for line in done.stderr.splitlines())
    assert list(said) == ["library", "include", "source"]
    given = [line.split(" ", 1)[1] for line in done.stderr.splitlines() if "source" in line]
    found = {Path(path).resolve().name for path in given if Path(path).is_file()}
    assert found == {path.name for path in folder.glob("*.c")}


@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
@pytest.mark.parametrize("level", ["", "2"])
def test_zephyrs_configuration_hands_the_recorders_level_on(level: str, tmp_path: Path) -> None:
    folder = library(eye(), tmp_path / "net")
    names = ("library_named", "include_directories", "library_sources", "compile_definitions")
    stubs = "".join(
        f'function(zephyr_{name})\n  message("{name} ${{ARGN}}")\nendfunction()\n' for name in names
    )
    chosen = f"set(CONFIG_EDGEBED_EYE_TRACE {level})\n" if level else ""
    script = f"{stubs}set(CONFIG_EDGEBED_EYE y)\n{chosen}include({folder}/zephyr/CMakeLists.txt)\n"
    (tmp_path / "script.cmake").write_text(script)
    done = subprocess.run(
        ["cmake", "-P", "script.cmake"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ("compile_definitions EB_TRACE=2" in done.stderr) == bool(level)
    assert "EB_TRACE" in done.stderr or not level
    assert "config EDGEBED_EYE_TRACE" in (folder / "zephyr" / "Kconfig").read_text()


def test_without_compilers_named_make_takes_arms(tmp_path: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    folder = library(eye(), tmp_path)
    bare = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["make", "-n"], cwd=folder, capture_output=True, text=True, check=True, env=bare
    )
    assert "arm-none-eabi-gcc -mcpu=cortex-m4" in done.stdout
    assert "arm-none-eabi-ar rcs libeye.a" in done.stdout
