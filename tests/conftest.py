"""Where the tests find data and golden cases; tests that need them skip when they are absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

# A test run says the same twice; HYPOTHESIS_PROFILE=explore draws new examples each time.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def _folder(variable: str, default: str) -> Path:
    path = (ROOT / os.environ.get(variable, default)).resolve()
    if not path.is_dir():
        pytest.skip(f"{variable} is not set and {default} is absent")
    return path


@pytest.fixture(scope="session")
def data_dir() -> Path:
    return _folder("EDGEBED_DATA", "../shared/data")


@pytest.fixture(scope="session")
def cases_dir() -> Path:
    return _folder("EDGEBED_CASES", "../shared/cases")
