"""Plans of random networks are executed byte by byte: no row is overwritten before its last use."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from row_networks import networks
from row_oracle import execute

from edgebed.targets._shared.rows.placement import pareto, plan

GOALS = ("time", "balanced", "ram")


@settings(max_examples=120, suppress_health_check=list(HealthCheck))
@given(networks())
def test_every_plan_of_a_random_network_computes_what_it_should(drawn) -> None:
    network, pixels = drawn
    for goal in GOALS:
        placed = plan(network, goal, alignment=4)
        execute(network, placed, pixels)
        assert placed.lower_bound <= placed.peak
        assert all(offset % 4 == 0 for offset in placed.offsets.values())
        assert set(placed.offsets) == set(placed.rings) == set(network.tensors)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(networks(stages=5))
def test_every_point_of_the_pareto_set_computes_what_it_should(drawn) -> None:
    network, pixels = drawn
    points = pareto(network, alignment=1)
    for placed in points:
        execute(network, placed, pixels)
    assert [p.peak for p in points] == sorted({p.peak for p in points}, reverse=True)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(networks())
def test_goals_keep_their_promises(drawn) -> None:
    network, _ = drawn
    time, balanced, ram = (plan(network, goal) for goal in GOALS)
    order = [run.stage for run in time.runs]
    assert order == sorted(order), "layer by layer: no stage starts before the last one is done"
    assert ram.peak <= time.peak
    assert balanced.peak <= max(1.15 * ram.peak, ram.peak + 8)
    assert len(balanced.runs) <= len(ram.runs)
