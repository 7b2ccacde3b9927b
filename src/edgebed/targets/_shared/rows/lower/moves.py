"""Copies that bring values into another order in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgebed.targets._shared.rows.stage import Stage, Window

if TYPE_CHECKING:
    from edgebed.targets._shared.rows.frame import Frame, Order, Place

AXES = 5


def reordered(frame: Frame, tensor: str, place: Place, name: str, order: Order) -> Stage:
    """Return the stage that copies a tensor into memory `name`, in another order."""
    from edgebed.targets._shared.rows.frame import element_bytes

    kind = frame.kind(tensor)
    strides = [0] * len(kind.shape)
    step = 1
    for axis in reversed(place.order):
        strides[axis] = step
        step *= kind.shape[axis]
    return move_stage(
        frame, f"{tensor} reordered", place.storage, name,
        [kind.shape[a] for a in order], [strides[a] for a in order], element_bytes(kind),
    )  # fmt: skip


def move_stage(
    frame: Frame, label: str, source: str, target: str, shape: list[int], strides: list[int],
    size: int, offset: int = 0,
) -> Stage:  # fmt: skip
    """Return a stage that gathers `source` with strides into gapless memory.

    Args:
        frame: of the program.
        label: name of the stage.
        source: memory to read.
        target: memory to write.
        shape: of the target, sparsest axis first.
        strides: in the source, elements, for each axis of the shape.
        size: bytes of an element.
        offset: elements from the source's start to the first value.

    Raises:
        EdgebedError: more axes than the kernel has.
    """
    merged = _merged(shape, strides)
    if len(merged) > AXES:
        raise frame.program.ops[0].fail(f"{label}: {len(merged)} axes", try_=f"at most {AXES}")
    merged = [(1, 0)] * (AXES - len(merged)) + merged
    dims = ", ".join(str(n) for n, _ in merged)
    steps = ", ".join(str(s) for _, s in merged)
    return Stage(
        name=label, kind="move", output=target, inputs=(Window(source, whole=True),), steps=1,
        function="eb_move", header="move.h", layer_type="eb_move_t",
        layer=f"{{{{{dims}}}, {{{steps}}}, {offset}, {size}}}",
    )  # fmt: skip


def _merged(shape: list[int], strides: list[int]) -> list[tuple[int, int]]:
    """Join axes that run on without a gap; drop those of size 1."""
    axes: list[tuple[int, int]] = []
    for n, step in zip(shape, strides, strict=True):
        if n == 1:
            continue
        if axes and axes[-1][1] == n * step:
            axes[-1] = (axes[-1][0] * n, step)
        else:
            axes.append((n, step))
    return axes or [(1, 0)]
