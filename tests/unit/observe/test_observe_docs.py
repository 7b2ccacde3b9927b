"""What the pages promise about `compare` and `observe` is what they do."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from traces import Recorder, integer_network, pictures, preprocessed

from edgebed.cli import execute
from edgebed.cli.compare import compare
from edgebed.cli.observe import observe

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "cli.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.split(f"## `{title}`", 1)[1].split("\n## ", 1)[0]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("docs")
    program = integer_network()
    Recorder(program).record(folder / "a.trace", pictures(4))
    bgr = Recorder(program, "board", preprocess=lambda p: preprocessed(p[..., ::-1]))
    bgr.record(folder / "b.trace", pictures(4))
    return folder


def printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    capsys.readouterr()
    assert execute(words) in (0, 2)
    return json.loads(capsys.readouterr().out)


def missing(example: Any, real: Any, where: str = "") -> list[str]:
    """Return the keys of an example that the real thing lacks, in every object of it."""
    if isinstance(example, list):
        return missing(example[0], real[0], where) if example and real else []
    if not isinstance(example, dict):
        return []
    gone = [f"{where}.{key}" for key in example if key not in real]
    inner = [missing(example[k], real[k], f"{where}.{k}") for k in example if k in real]
    return gone + [one for part in inner for one in part]


def test_the_example_of_the_json_is_true(found: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = section("edgebed compare REFERENCE.trace DEVICE.trace")
    (example,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    words = ["compare", str(found / "a.trace"), str(found / "b.trace"), "--json"]
    real = printed(words, capsys)
    assert not missing(json.loads(example), real)
    explained = set(re.findall(r"`(\w+)`", text))
    assert set(real) <= explained | {"frames", "format"}


def test_the_keys_of_observe_are_listed(found: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = section("edgebed observe TRACE")
    listed = re.search(r"`--json` \| one JSON object: (.*) \|", text)
    assert listed is not None
    real = printed(["observe", str(found / "a.trace"), "--json"], capsys)
    assert set(re.findall(r"`(\w+)`", listed.group(1))) - {"compare"} == set(real)


@pytest.mark.parametrize(
    ("title", "verb"),
    [
        ("edgebed compare REFERENCE.trace DEVICE.trace", compare),
        ("edgebed observe TRACE", observe),
    ],
)
def test_every_option_is_described(title: str, verb: Any) -> None:
    import inspect

    options = {name.strip("_").replace("_", "-") for name in inspect.signature(verb).parameters}
    known = {"model", "folder", "trace", "more", "input", "count", "pixels", "input-shape"}
    described = set(re.findall(r"`--([a-z-]+)", section(title)))
    assert options - known <= described


def test_the_ten_lines_of_the_page_are_few_and_compile() -> None:
    text = (DOCS / "observe.md").read_text(encoding="utf-8")
    first = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    compile(first, "observe.md", "exec")
    assert len([line for line in first.splitlines() if line.strip()]) <= 15
