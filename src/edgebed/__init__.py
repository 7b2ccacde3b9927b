"""edgebed: from a neural network to a running edge device.

The names below are imported on first use (PEP 562), so that `import edgebed` stays fast and needs
none of the extras.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgebed.compile.plan import BuildPlan as BuildPlan
    from edgebed.data.dataset import Dataset as Dataset
    from edgebed.data.dataset import Sample as Sample
    from edgebed.data.decode import Detections as Detections
    from edgebed.errors import BudgetMissedError as BudgetMissedError
    from edgebed.errors import EdgebedError as EdgebedError
    from edgebed.figures import Figure as Figure
    from edgebed.observe.pipeline import observe as observe
    from edgebed.program.contract import Contract as Contract
    from edgebed.program.run import run as run
    from edgebed.program.run import trace as trace
    from edgebed.program.types import Constant as Constant
    from edgebed.program.types import Op as Op
    from edgebed.program.types import Program as Program
    from edgebed.program.types import TensorType as TensorType
    from edgebed.targets import load as target  # noqa: F401 - listed in __all__
    from edgebed.targets.contract import Cost as Cost
    from edgebed.targets.contract import Machine as Machine
    from edgebed.targets.contract import Problem as Problem
    from edgebed.targets.contract import Target as Target
    from edgebed.targets.contract import Trace as Trace
    from edgebed.targets.host.session import Session as Session
    from edgebed.targets.host.session import load as load

__version__ = "0.1.0"

_WHERE = {
    "BudgetMissedError": ("edgebed.errors", "BudgetMissedError"),
    "BuildPlan": ("edgebed.compile.plan", "BuildPlan"),
    "Constant": ("edgebed.program.types", "Constant"),
    "Contract": ("edgebed.program.contract", "Contract"),
    "Cost": ("edgebed.targets.contract", "Cost"),
    "Dataset": ("edgebed.data.dataset", "Dataset"),
    "Detections": ("edgebed.data.decode", "Detections"),
    "EdgebedError": ("edgebed.errors", "EdgebedError"),
    "Figure": ("edgebed.figures", "Figure"),
    "Machine": ("edgebed.targets.contract", "Machine"),
    "Op": ("edgebed.program.types", "Op"),
    "Problem": ("edgebed.targets.contract", "Problem"),
    "Program": ("edgebed.program.types", "Program"),
    "Sample": ("edgebed.data.dataset", "Sample"),
    "Session": ("edgebed.targets.host.session", "Session"),
    "Target": ("edgebed.targets.contract", "Target"),
    "TensorType": ("edgebed.program.types", "TensorType"),
    "Trace": ("edgebed.targets.contract", "Trace"),
    "load": ("edgebed.targets.host.session", "load"),
    "observe": ("edgebed.observe", ""),  # a package that can be called
    "run": ("edgebed.program.run", "run"),
    "target": ("edgebed.targets", "load"),
    "trace": ("edgebed.program.run", "trace"),
}

__all__ = [*sorted(_WHERE), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'edgebed' has no attribute {name!r}")
    module, attribute = _WHERE[name]
    found = importlib.import_module(module)
    value = getattr(found, attribute) if attribute else found
    globals()[name] = value  # the next use costs nothing
    return value


def __dir__() -> list[str]:
    return __all__
