"""The counter's events and what a damaged or foreign ELF file says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgebed.errors import EdgebedError
from edgebed.targets._shared import bare_arm, counting
from edgebed.targets._shared.bare_metal import build_c
from edgebed.targets._shared.counting import Counter
from edgebed.targets._shared.elf import load_firmware, section_bytes

CALLS = """
#include <stdint.h>
uint32_t out;
__attribute__((noinline)) void one(uint32_t i) { out += i; __asm volatile(""); }
void bench(void) { for (uint32_t i = 0; i < 10; i++) one(i); }
"""


def test_more_events_than_are_kept_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    program = build_c("m4", {"calls.c": CALLS})
    assert len(program.run(["out"], marks=["one"]).entries) == 10
    monkeypatch.setattr(counting, "_CAPACITY_EVENTS", 8)
    with pytest.raises(EdgebedError, match=r"1\d events; the counter keeps 8"):
        program.run(["out"], marks=["one"])


def test_at_most_eight_places_are_marked(tmp_path: Path) -> None:
    with pytest.raises(EdgebedError, match="9 marks; at most 8"):
        Counter(0, 64, range(0, 18, 2))
    shared = Counter(0, 64, [4], tmp_path / "counter")
    shared.words[:1] = 7
    assert np.fromfile(tmp_path / "counter", np.uint64)[0] == 7 == shared.total
    shared.clear()
    assert shared.total == 0 and shared.outside == 0 and not shared.counts.any()


def test_what_is_no_firmware_is_told(tmp_path: Path) -> None:
    path = tmp_path / "text.elf"
    path.write_text("hello")
    for read in (load_firmware, section_bytes):
        with pytest.raises(EdgebedError, match=r"text\.elf: cannot read the firmware"):
            read(path)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("ld: region `FLASH' overflowed by 5 bytes\ncollect2: error: ld returned 1", "by 5 bytes"),
        ("a.c:1:2: error: unknown type", "unknown type"),
        ("ld: a.o: undefined reference to `f'\ncollect2: error: ld returned 1", "to `f'"),
        ("something else", "something else"),
        ("", "no message"),
    ],
)
def test_the_telling_line_of_a_tool_is_quoted(said: str, told: str) -> None:
    assert bare_arm._why(said).endswith(told)
