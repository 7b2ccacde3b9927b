"""What a network did, where it departs, and why; the package itself can be called.

with edgebed.observe("run.trace", level="full") as watch:
    ...

See `edgebed.observe.pipeline.observe` for what it takes.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """A package that is called as its function of the same name."""

    def __call__(self, *given: Any, **named: Any) -> Any:
        from edgebed.observe.pipeline import observe

        return observe(*given, **named)


sys.modules[__name__].__class__ = _Callable
