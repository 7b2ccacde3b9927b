"""Plans of random networks are executed byte by byte: no row is overwritten before its last use."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from row_networks import networks
from row_oracle import execute

from edgebed.targets._shared.rows.placement import pareto, plan
from edgebed.targets._shared.rows.stage import Network

GOALS = ("time", "balanced", "ram")


def _all_goals_compute(network: Network, pixels: dict[str, int], alignment: int) -> None:
    for goal in GOALS:
        placed = plan(network, goal, alignment=alignment)
        execute(network, placed, pixels)
        assert placed.lower_bound <= placed.peak
        assert all(offset % alignment == 0 for offset in placed.offsets.values())
        assert set(placed.offsets) == set(placed.rings) == set(network.tensors)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(networks(), st.sampled_from((1, 1, 4)))
def test_every_plan_of_a_random_network_computes_what_it_should(drawn, alignment) -> None:
    _all_goals_compute(*drawn, alignment)


@pytest.mark.slow
@settings(max_examples=500, suppress_health_check=list(HealthCheck))
@given(networks(stages=12), st.sampled_from((1, 1, 4)))
def test_plans_of_many_larger_networks_compute_what_they_should(drawn, alignment) -> None:
    _all_goals_compute(*drawn, alignment)


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(networks(stages=5))
def test_every_point_of_the_pareto_set_computes_what_it_should(drawn) -> None:
    network, pixels = drawn
    points = pareto(network, alignment=1)
    for placed in points:
        execute(network, placed, pixels)
    assert [p.peak for p in points] == sorted({p.peak for p in points}, reverse=True)


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(networks())
def test_goals_keep_their_promises(drawn) -> None:
    network, _ = drawn
    time, balanced, ram = (plan(network, goal) for goal in GOALS)
    order = [run.stage for run in time.runs]
    assert order == sorted(order), "layer by layer: no stage starts before the last one is done"
    assert ram.peak <= time.peak
    assert balanced.peak <= max(1.15 * ram.peak, ram.peak + 8)
    assert len(balanced.runs) <= len(ram.runs)
