"""Pictures say themselves what they would look like turned; where they do not, nothing is said."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_drift import frames, write

from edgebed.errors import EdgebedError
from edgebed.observe.drift import drift
from edgebed.observe.drift_profile import Profile, profile_of
from edgebed.observe.drift_what_if import (
    CHANNELS,
    LEAST,
    LIKE,
    TURNS,
    WhatIf,
    colours,
    forms,
    learned,
    views,
)
from edgebed.program.types import Array

SIDE = 24


def weak_scenes(seed: int, count: int) -> Iterator[Array]:
    """Pictures whose upper half is lit a little more, and whose edges are lit from above."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        coarse = np.kron(random.normal(0, 30, (6, 6, 3)), np.ones((4, 4, 1)))
        shade = random.normal(6, 25) * np.linspace(1, -1, SIDE)[:, None, None]
        lit = np.zeros((SIDE, SIDE, 1))
        for row in random.integers(2, SIDE - 4, 3):
            column = random.integers(0, SIDE - 6)
            strength = random.normal(8, 14)
            lit[row, column : column + 6] += 3 * strength
            lit[row + 1, column : column + 6] += 2 * strength
            lit[row + 2, column : column + 6] += strength
        yield np.clip(128 + coarse + shade + lit + random.normal(0, 3, coarse.shape), 0, 255)


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    path = write(tmp_path_factory.mktemp("p") / "r.trace", frames(weak_scenes(0, 300)))
    return profile_of(path)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda p: np.rot90(p, 2), "turned by 180 degrees"),
        (lambda p: np.rot90(p), "turned by 90 degrees to the left"),
        (lambda p: np.rot90(p, 3), "turned by 90 degrees to the right"),
    ],
)
def test_a_turn_that_no_single_number_shows_is_named(
    tmp_path: Path, profile: Profile, fault: Callable[[Array], Array], words: str
) -> None:
    turned = frames(fault(one) for one in weak_scenes(5, 192))
    found = drift(write(tmp_path / "t.trace", turned), profile, 192).verdicts
    assert found[0].cause == "orientation"
    assert words in found[0].evidence


def test_mirrored_pictures_that_look_alike_raise_nothing(tmp_path: Path, profile: Profile) -> None:
    mirrored = frames(one[:, ::-1] for one in weak_scenes(6, 512))
    assert not drift(write(tmp_path / "t.trace", mirrored), profile).verdicts


def test_clean_frames_raise_nothing_with_what_was_learned(tmp_path: Path, profile: Profile) -> None:
    path = write(tmp_path / "t.trace", frames(weak_scenes(7, 1536)))
    for window in (128, 32):
        assert drift(path, profile, window).drifted == 0


def test_learned_features_are_no_better_on_the_reference_than_on_new_frames(
    tmp_path: Path, profile: Profile
) -> None:
    """Pictures without any up and down: what is said of them is 0.5, not what was memorised."""
    random = np.random.default_rng(0)
    noise = [views(random.random((3, SIDE, SIDE)), faults=True) for _ in range(100)]
    made = learned(noise)
    assert made is not None
    found, said = made
    for name in TURNS:
        unseen = np.array([row[LIKE + name] for row in said])
        again = np.array([found.features(one[""])[LIKE + name] for one in noise])
        error = 4 * unseen.std() / 10 + 0.02
        assert abs(unseen.mean() - 0.5) < error
        assert again.mean() < unseen.mean()  # on its own frames it has learned the noise


planes = st.builds(
    lambda seed, rows, columns, scale: np.random.default_rng(seed).random((3, rows, columns))
    * scale,
    st.integers(0, 99), st.integers(16, 70), st.integers(16, 70), st.sampled_from([1e-3, 1, 255]),
)  # fmt: skip


@settings(deadline=None, max_examples=30)
@given(planes, st.floats(0.1, 10), st.floats(-5, 5))
def test_descriptions_do_not_change_with_brightness_and_contrast(
    picture: Array, factor: float, offset: float
) -> None:
    changed = factor * picture + offset * picture.std()
    assert np.allclose(forms(picture), forms(changed), atol=1e-5)
    assert np.allclose(colours(picture), colours(changed), atol=1e-2)


@settings(deadline=None, max_examples=30)
@given(planes)
def test_every_description_has_one_length_and_finite_numbers(picture: Array) -> None:
    found = views(picture, faults=True)
    assert {*found} == {"", *TURNS, *CHANNELS}
    assert all(np.isfinite(one).all() for one in found.values())
    assert len({len(found[name]) for name in TURNS}) == 1
    assert len(found[""]) == len(forms(picture)) + len(colours(picture))


def test_constant_small_and_grey_pictures_are_no_trouble() -> None:
    assert np.isfinite(views(np.full((3, 32, 32), 7.0), faults=True)[""]).all()
    assert views(np.zeros((3, 8, 40))) == {}
    grey = views(np.random.default_rng(0).random((1, 40, 40)), faults=True)
    assert {*grey} == {"", *TURNS}


def test_too_few_frames_teach_nothing() -> None:
    random = np.random.default_rng(0)
    few = [views(random.random((3, 16, 16)), faults=True) for _ in range(LEAST - 1)]
    assert learned(few) is None
    assert learned([]) is None


def test_what_was_learned_survives_saving_and_damage_is_said(
    tmp_path: Path, profile: Profile
) -> None:
    path = tmp_path / "profile.json"
    profile.save(path)
    found = Profile.load(path).what_if["input x"]
    assert found.faults == profile.what_if["input x"].faults
    assert np.allclose(found.weights[0], profile.what_if["input x"].weights[0], rtol=1e-4)
    plain = json.loads(path.read_text())
    plain["what_if"]["input x"]["offsets"] = [0.0]
    path.write_text(json.dumps(plain))
    with pytest.raises(EdgebedError, match="damaged profile"):
        Profile.load(path)


def test_a_profile_of_other_pictures_gives_no_features_of_another_length() -> None:
    by = WhatIf(("mirrored",), ((1.0, 2.0),), (0.0,), ((0.5,),))
    assert by.features(views(np.ones((3, 20, 20)))[""]) == {}
