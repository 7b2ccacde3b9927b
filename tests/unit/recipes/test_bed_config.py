"""The recipe's settings: read from flags, written as the command that repeats the run."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebed.errors import BudgetMissedError, EdgebedError
from edgebed.figures import parse_share
from edgebed.recipes.bed.config import BedConfig, parse_weight_bits
from edgebed.recipes.bed.outcome import Outcome
from edgebed.recipes.folder import RunFolder


@given(st.lists(st.sampled_from([1, 2, 4, 8]), min_size=1, max_size=20))
def test_weight_bits_are_read_as_they_are_written(bits: list[int]) -> None:
    value = bits[0] if len(bits) == 1 else tuple(bits)
    config = replace(BedConfig(), weight_bits=value)
    assert parse_weight_bits(config.bits) == value


@pytest.mark.parametrize("text", ["", "3", "8,", "8;4", "16", "eight", "-8"])
def test_other_weight_bits_are_refused(text: str) -> None:
    with pytest.raises(EdgebedError, match=r"--weight-bits: .* is not a weight width"):
        parse_weight_bits(text)


@pytest.mark.parametrize(
    ("text", "value"), [("1%", 0.01), ("0.01", 0.01), ("0", 0.0), ("100%", 1.0), ("2.5%", 0.025)]
)
def test_shares_are_read_in_percent_or_as_a_part(text: str, value: float) -> None:
    assert parse_share(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "%", "two", "-1%", "101%", "1.5", "nan", "inf"])
def test_other_shares_are_refused(text: str) -> None:
    with pytest.raises(EdgebedError, match="is not a share"):
        parse_share(text)


def test_defaults_follow_the_data() -> None:
    own = BedConfig(data="folder").resolved()
    drawn = BedConfig().resolved()
    assert own.epochs > drawn.epochs >= 1 and own.qat_epochs > drawn.qat_epochs >= 1
    assert own.resolved() == own


def test_a_short_training_shortens_the_quantised_part_but_not_to_nothing() -> None:
    assert BedConfig(epochs=1).resolved().qat_epochs == 1
    assert BedConfig(epochs=1, qat_epochs=0).resolved().qat_epochs == 0
    assert BedConfig(epochs=1, qat_epochs=9).resolved().qat_epochs == 9


@pytest.mark.parametrize("field", ["epochs", "frames"])
def test_negative_numbers_are_refused(field: str) -> None:
    with pytest.raises(EdgebedError, match=f"--{field} is -1"):
        BedConfig(**{field: -1})


def test_the_command_says_every_setting_and_survives_a_shell() -> None:
    config = BedConfig(
        data="my pictures/it's", weight_bits=(8, 4), max_drop=0.015, seed=3, skip_bad=True, frames=5
    ).resolved()
    words = shlex.split(config.command("out dir", resume=True))
    assert words[:3] == ["edgebed", "run", "bed"]
    given = {flag: words[words.index(flag) + 1] for flag in words if flag.startswith("--")
             and flag not in ("--skip-bad", "--resume")}  # fmt: skip
    assert given["--data"] == "my pictures/it's" and given["--out"] == "out dir"
    assert parse_weight_bits(given["--weight-bits"]) == (8, 4)
    assert parse_share(given["--max-drop"]) == 0.015
    assert (given["--seed"], given["--frames"]) == ("3", "5")
    assert {"--skip-bad", "--resume"} <= set(words)
    assert json.loads(json.dumps(config.to_json()))["max_drop"] == 0.015


@pytest.mark.parametrize(
    ("limit", "missed"), [(None, False), (0.05, False), (0.02, True), (0.0, True)]
)
def test_the_budget_is_what_quantisation_may_cost(
    tmp_path: object, limit: float | None, missed: bool
) -> None:
    stages = {
        "train": {"float": {"ap50": 0.80}},
        "score": {"metrics": {"int8 program": {"ap50": 0.77}, "virtual board": {"ap50": 0.77}}},
    }
    config = BedConfig(max_drop=limit)
    outcome = Outcome(RunFolder(tmp_path), config, stages, {})  # type: ignore[arg-type]
    assert list(outcome.accuracy()) == ["float network", "int8 program", "virtual board"]
    if not missed:
        outcome.check_budget()
        return
    with pytest.raises(BudgetMissedError, match=r"cost 3\.00 points of AP@0\.5") as caught:
        outcome.check_budget()
    assert caught.value.exit_code == 2
