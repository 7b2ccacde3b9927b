"""Register-level model of the MAX78000 CNN accelerator.

Everything it does follows from what firmware writes: layer registers, kernels, biases, data memory
and FIFOs. The arithmetic is bit-exact with the vendor's simulator.
"""

from edgebed.targets.max78000.accelerator.device import Accelerator
from edgebed.targets.max78000.accelerator.results import LayerRun, RunResult

__all__ = ["Accelerator", "LayerRun", "RunResult"]
