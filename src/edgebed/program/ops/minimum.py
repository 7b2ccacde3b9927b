"""The least of two values."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from edgebed.program.ops._extreme import Extreme


class Minimum(Extreme):
    """The least of two operands; see `Extreme`."""

    kind: ClassVar[str] = "minimum"
    pick: ClassVar[np.ufunc] = np.minimum
