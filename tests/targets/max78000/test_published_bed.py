"""The published detector: it places itself, computes right, and costs what is known of it."""

from __future__ import annotations

import pytest
from networks_by_hand import bed
from test_conformance import assert_equal_everywhere

from edgebed.figures import Figure
from edgebed.targets.max78000.check import check
from edgebed.targets.max78000.compiler import Compiled, compile_program
from edgebed.targets.max78000.cost import cost_of

# Cycles that the vendor's synthesiser prints for BED, without its factor for streaming layers.
LATER = (
    *(107308, 106624, 207660, 29008, 52092, 26656, 52092, 26656, 52092, 7252, 13116, 6664),
    *(13116, 13116, 13116, 3477, 3330, 3234, 882, 882, 833),
)
STREAMED = (4_971_474, 547_698, 99_810)  # with the factor: (15 * cycles + 9) // 10


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    return compile_program(bed())


def test_it_fits() -> None:
    assert check(bed()) == []


def test_it_streams_until_a_map_fits(compiled: Compiled) -> None:
    assert compiled.fifo
    assert [p.layer.streaming for p in compiled.chain] == [True] * 3 + [False] * 21


def test_every_layer_equals_the_interpreter(compiled: Compiled) -> None:
    assert_equal_everywhere(compiled, seed=1)


def test_cycles_are_the_published_ones(compiled: Compiled) -> None:
    cycles = tuple(compiled.image.cycles.values())
    assert cycles[3:] == LATER
    assert tuple((15 * count + 9) // 10 for count in cycles[:3]) == STREAMED
    assert cost_of(compiled).total["cycles"].value == 4_485_195


def test_memory_and_energy_are_the_published_ones(compiled: Compiled) -> None:
    total = cost_of(compiled).total
    assert total["weights"].value == 298_544
    assert total["biases"].value == 975
    assert total["energy"].value == pytest.approx(1.845, rel=1e-3)
    assert total["time"].value == pytest.approx(89.7, abs=0.05)


def test_time_and_energy_are_estimates_and_bytes_are_counted(compiled: Compiled) -> None:
    cost = cost_of(compiled)
    figures: list[Figure] = [*cost.total.values()]
    figures += [figure for layer in cost.layers for figure in layer.figures.values()]
    for figure in figures:
        assert figure.kind == ("measured" if figure.unit == "bytes" else "estimated")
        assert figure.source
    assert all(f.low <= f.value <= f.high for f in figures if f.unit == "mJ" and f.low and f.high)


def test_layers_add_up_to_the_total(compiled: Compiled) -> None:
    cost = cost_of(compiled)
    for name in ("weights", "biases"):
        assert sum(layer.figures[name].value for layer in cost.layers) == cost.total[name].value
    energy = sum(layer.figures["energy"].value for layer in cost.layers)
    assert energy == pytest.approx(cost.total["energy"].value, rel=1e-6)


def test_equal_programs_give_equal_words() -> None:
    first, second = compile_program(bed()).image, compile_program(bed()).image
    assert first.kernels.tobytes() == second.kernels.tobytes()
    assert first.config.tobytes() == second.config.tobytes()
