"""Energy of a stretch of virtual time: the accelerator, and a processor that runs or sleeps.

All estimated. The accelerator's part is `cost.energy`, which was calibrated on a whole board and
so includes the processor sleeping beside it; the processor adds its active time, and its sleep
while the accelerator rests. ASSUMPTIONS, of the size of the chip's data sheet (22 uA per MHz active
at 3.0 V and 100 MHz): 6.7 mW active, 2.0 mW asleep. Camera and display are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgebed.figures import Figure
from edgebed.targets.max78000.accelerator import RunResult
from edgebed.targets.max78000.cost import energy

ACTIVE_MW, SLEEP_MW = 6.7, 2.0
_SOURCE = (
    "accelerator: model calibrated on BED; processor, by assumption: "
    f"{ACTIVE_MW} mW active, {SLEEP_MW} mW asleep; camera and display not counted"
)


def cnn_energy(runs: Sequence[RunResult]) -> Figure:
    """Return the accelerator's energy for some runs, in mJ."""
    macs = sum(layer.macs for run in runs for layer in run.layers)
    return energy(sum(run.cycles for run in runs), macs)


def board_energy(
    runs: Sequence[RunResult], active_s: float, asleep_s: float, cnn_hz: float
) -> Figure:
    """Return accelerator and processor together, in mJ.

    Args:
        runs: what the accelerator did.
        active_s: virtual time in which the processor executed.
        asleep_s: virtual time in which it slept.
        cnn_hz: the accelerator's clock.
    """
    cnn = cnn_energy(runs)
    resting = max(asleep_s - sum(run.cycles for run in runs) / cnn_hz, 0.0)
    value = cnn.value + ACTIVE_MW * active_s + SLEEP_MW * resting
    return Figure(value, "mJ", "estimated", _SOURCE)
