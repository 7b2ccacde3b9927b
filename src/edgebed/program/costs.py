"""What each layer of a program has to do: the terms of a cost law."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgebed.program.types import Program

Costs = Mapping[str, Mapping[str, object]]


def costs_of(program: Program) -> Costs:
    """Return what each layer costs, by the tensor it writes.

    `macs` are multiplications with accumulation; `moved` values read and written, weights apart;
    `kinds` of its op, depthwise convolutions for themselves.

    These are notes of a manifest, so that a trace tells its own costs: an optimised program leaves
    out channels and fuses ops, and another form of it has other costs.
    """
    macs, moved, kinds = {}, {}, {}
    for op in program.ops:
        types = [program.types[name] for name in op.inputs]
        result = program.types[op.output]
        macs[op.output] = int(op.macs(result, program.constants, types))
        moved[op.output] = int(sum(np.prod(t.shape, dtype=np.int64) for t in (*types, result)))
        groups = getattr(op, "groups", 1)
        kinds[op.output] = f"{op.kind}, depthwise" if groups > 1 else op.kind
    return {"macs": macs, "moved": moved, "kinds": kinds}
