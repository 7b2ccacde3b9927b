"""The largest of two values."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from edgebed.program.ops._extreme import Extreme


class Maximum(Extreme):
    """The largest of two operands; see `Extreme`."""

    kind: ClassVar[str] = "maximum"
    pick: ClassVar[np.ufunc] = np.maximum
