"""Exact rewriting of programs, one file a pass; `pipeline` puts them in order."""

from __future__ import annotations

from edgebed.compile.passes.changes import Change, report
from edgebed.compile.passes.pipeline import DEFAULT, PASSES, Pass, Pipeline, optimise

__all__ = ["DEFAULT", "PASSES", "Change", "Pass", "Pipeline", "optimise", "report"]
