"""Tensors of two traces find their partners."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgebed.observe.matching import Matching, match
from edgebed.observe.trace import Frame, Role, Tensor


def tensor(name: str, seed: int, *shape: int, role: Role = "layer", kind: str = "") -> Tensor:
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return Tensor(name, role, shape, "float32", kind=kind, values=values)


def matched(left: list[Tensor], right: list[Tensor]) -> Matching:
    return match([(Frame(0, tuple(left)), Frame(0, tuple(right)))])


def names(found: Matching) -> list[tuple[str, str]]:
    return [(pair.name, pair.device[1]) for pair in found.pairs]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("conv1", "conv1"),
        ("conv1", "conv1:0"),
        ("conv1", "conv1.q"),
        ("/features/conv", "features_conv"),
        ("conv1", "conv1_QuantizeLinear_Output"),
        ("conv1", "conv1/dequantize"),
        ("net/conv1/Relu", "net/conv1/Relu;net/conv1/BiasAdd"),
    ],
)
def test_what_converters_append_is_no_other_name(ours: str, theirs: str) -> None:
    left = [tensor(ours, 1, 4, 3), tensor("other", 2, 4, 3)]
    right = [tensor("zzz", 2, 4, 3), tensor(theirs, 1, 4, 3)]  # in another order
    assert (ours, theirs) in names(matched(left, right))


def test_layers_of_one_size_are_told_apart_by_their_values() -> None:
    left = [tensor(f"a{n}", n, 6, 6) for n in range(5)]
    right = [replace(left[n], name=f"b{n}") for n in (0, 2, 3)]  # two layers are missing
    found = matched(left, right)
    assert names(found) == [("a0", "b0"), ("a2", "b2"), ("a3", "b3")]
    assert [key[1] for key in found.only_reference] == ["a1", "a4"]
    assert not any(pair.doubtful for pair in found.pairs)


def test_a_destroyed_layer_is_held_in_place_by_its_neighbours() -> None:
    left = [tensor(f"a{n}", n, 6, 6) for n in range(5)]
    right = [replace(one, name=f"b{n}") for n, one in enumerate(left)]
    right[2] = tensor("b2", 99, 6, 6)
    found = matched(left, right)
    assert names(found) == [(f"a{n}", f"b{n}") for n in range(5)]
    assert [pair.doubtful for pair in found.pairs] == [False, False, True, False, False]


def test_kinds_decide_where_values_do_not() -> None:
    left = [tensor("a", 1, 4, kind="conv2d"), tensor("b", 2, 4, kind="add")]
    right = [tensor("y", 9, 4, kind="ADD")]
    assert names(matched(left, right)) == [("b", "y")]


def test_sizes_that_differ_under_one_name_are_said() -> None:
    found = matched([tensor("a", 1, 4, 5)], [tensor("a", 1, 6)])
    assert not found.pairs
    assert found.unlike == ("a: 4x5 in the reference, 6 here",)


def test_activation_that_the_device_fused_is_applied_to_the_reference() -> None:
    left = [tensor("conv", 1, 8, 8)]
    assert left[0].values is not None
    right = [replace(left[0], values=np.clip(left[0].values, 0, None))]
    (pair,) = matched(left, right).pairs
    assert pair.clip == (0.0, np.inf)


def test_layer_recorded_as_output_only_is_found() -> None:
    left = [tensor("a", 1, 4), tensor("last", 2, 4)]
    right = [tensor("a", 1, 4), tensor("last", 2, 4, role="output")]
    assert names(matched(left, right)) == [("a", "a"), ("last", "last")]


def test_order_of_execution_comes_from_the_manifest() -> None:
    frame = Frame(0, (tensor("last", 3, 4, role="output"), tensor("b", 2, 4), tensor("a", 1, 4)))
    found = match([(frame, frame)], (("a", "b", "last"), ()))
    assert [pair.name for pair in found.pairs] == ["a", "b", "last"]
