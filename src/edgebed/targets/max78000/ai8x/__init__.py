"""Projects of the ai8x tools: network description (YAML) + weights to a `Project`."""

from edgebed.targets.max78000.ai8x.flags import FLAGS, Flag, first_free, parse_flags
from edgebed.targets.max78000.ai8x.project import read_project

SUFFIXES = (".yaml", ".yml")

__all__ = ["FLAGS", "SUFFIXES", "Flag", "first_free", "parse_flags", "read_project"]
