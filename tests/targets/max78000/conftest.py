"""Boards on both buses: the compiled one and its twin in Python."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from board_programs import build

from edgebed.targets._shared.elf import Firmware
from edgebed.targets.max78000.board.board import Board
from edgebed.targets.max78000.board.bus_python import PythonBus
from edgebed.targets.max78000.board.state import Shared

Boot = Callable[[str], Board]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Firmware]:
    """Compile each program once for a file's tests on both buses."""
    done: dict[str, Firmware] = {}

    def get(source: str) -> Firmware:
        if source not in done:
            done[source] = build(tmp_path_factory.mktemp("registers"), source)
        return done[source]

    return get


@pytest.fixture(params=["compiled bus", "python bus"])
def boot(request: pytest.FixtureRequest, compiled: Callable[[str], Firmware]) -> Boot:
    def make(source: str) -> Board:
        firmware = compiled(source)
        if request.param == "compiled bus":
            return Board(firmware)
        shared = Shared()
        return Board(firmware, shared=shared, bus=PythonBus(shared))

    return make
