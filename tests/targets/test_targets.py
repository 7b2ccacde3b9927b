from __future__ import annotations

import subprocess
import sys

import pytest

from edgebed.errors import EdgebedError
from edgebed.targets import describe, load, names, projects


def test_every_target_describes_itself() -> None:
    for name in names():
        assert describe(name)["summary"]


def test_listing_targets_imports_no_code_of_theirs() -> None:
    code = (
        "import sys; from edgebed.targets import names, describe;"
        "[describe(n) for n in names()];"
        "sys.exit(any(m.startswith(f'edgebed.targets.{n}.') for m in sys.modules for n in names()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_loaded_target_answers_to_its_name() -> None:
    for name in names():
        assert load(name).name == name


def test_an_unknown_target_gets_the_closest_name() -> None:
    near = names()[0][:-1]
    with pytest.raises(EdgebedError, match=names()[0]):
        load(near)
    with pytest.raises(EdgebedError, match="unknown target"):
        describe("no such device")


def test_readers_of_other_tools_projects_say_which_files_they_read() -> None:
    for name in names():
        reader = projects(name)
        assert reader is None or all(s.startswith(".") for s in reader.SUFFIXES)
