"""Random row-wise networks for hypothesis."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from edgebed.targets._shared.rows.stage import Network, Stage, Tensor, Window


class Growing:
    """A network to which a draw adds stage after stage."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.tensors: dict[str, Tensor] = {}
        self.pixels: dict[str, int] = {}
        self.stages: list[Stage] = []

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def tensor(self, rows: int, width: int, pixel: int, role: str = "inner") -> str:
        name = f"t{len(self.tensors)}"
        self.tensors[name] = Tensor(name, rows, width * pixel, role)  # type: ignore[arg-type]
        self.pixels[name] = width
        return name

    def stage(self, kind: str, out: str, windows: tuple[Window, ...], steps: int, **more: Any):
        scratch = self.draw(st.sampled_from((0, 0, 0, 5, 40)))
        name = f"{kind}{len(self.stages)}"
        self.stages.append(
            Stage(name, kind, out, windows, steps, "eb_f", "f.h", "eb_t", "", (), scratch, **more)
        )

    def pick(self) -> str:
        names = list(self.tensors)
        return names[-1] if self.number(0, 3) else self.draw(st.sampled_from(names))

    def window(self, x: str) -> None:
        kernel, stride = self.number(1, 5), self.number(1, 3)
        dilation, pad = self.number(1, 2), self.number(0, kernel - 1)
        reach = (kernel - 1) * dilation + 1
        rows = (self.tensors[x].rows + 2 * pad - reach) // stride + 1
        if rows < 1:
            return self.whole(x)
        out = self.tensor(rows, self.number(1, 4), self.number(1, 4))
        self.stage("window", out, (Window(x, kernel, stride, pad, dilation),), rows)

    def whole(self, x: str) -> None:
        out = self.tensor(self.number(1, 4), self.number(1, 4), self.number(1, 4))
        steps = self.draw(st.sampled_from((1, self.tensors[out].rows)))
        self.stage("whole", out, (Window(x, whole=True),), steps)

    def accumulate(self, x: str) -> None:
        out = self.tensor(1, 1, self.number(1, 9))
        self.stage("pool", out, (Window(x),), self.tensors[x].rows, accumulates=True)

    def element_wise(self, x: str) -> None:
        """In place, with all operands of one shape; some of them not in place, some read twice."""
        like = self.tensors[x]
        same = [
            name
            for name, other in self.tensors.items()
            if (other.rows, self.pixels[name]) == (like.rows, self.pixels[x])
        ]
        others = self.draw(st.lists(st.sampled_from(same), max_size=2))
        names = [x, *others]
        width = self.pixels[x]
        most = min(self.tensors[name].row_bytes // width for name in names)
        out = self.tensor(like.rows, width, self.number(1, most))
        whole = self.number(0, 3) == 0
        place = tuple(p for p in range(len(names)) if self.number(0, 4))
        windows = tuple(Window(name, whole=whole) for name in names)
        self.stage("mix", out, windows, 1 if whole else like.rows, in_place=place)

    def concat(self, x: str) -> None:
        rows = self.tensors[x].rows
        names = [name for name, other in self.tensors.items() if other.rows == rows]
        parts = [x, self.draw(st.sampled_from(names))]
        out = self.tensor(rows, self.number(1, 4), self.number(1, 4))
        self.stage("concat", out, tuple(Window(part) for part in parts), rows)

    def source(self, _: str) -> None:
        out = self.tensor(self.number(1, 12), self.number(1, 4), self.number(1, 4))
        self.stage("fetch", out, (), self.tensors[out].rows)

    def grow(self) -> None:
        kinds = [self.window] * 5 + [self.element_wise] * 3
        kinds += [self.accumulate, self.whole, self.concat, self.source]
        kinds[self.number(0, len(kinds) - 1)](self.pick())


@st.composite
def networks(draw: Any, stages: int = 8) -> tuple[Network, dict[str, int]]:
    """A network, and the pixels of a row by tensor."""
    net = Growing(draw)
    inputs = [
        net.tensor(net.number(1, 14), net.number(1, 5), net.number(1, 5), "input")
        for _ in range(net.number(1, 2))
    ]
    for _ in range(net.number(1, stages)):
        net.grow()
    read = {window.tensor for stage in net.stages for window in stage.inputs}
    last = net.stages[-1].output
    outputs = [
        name
        for name in net.tensors
        if name not in inputs
        and (name == last or net.number(0, 9) == 0 or (name not in read and net.number(0, 3)))
    ]
    for name in outputs:
        net.tensors[name] = replace(net.tensors[name], role="output")
    made = Network("n", net.tensors, tuple(net.stages), tuple(inputs), tuple(outputs))
    return made, net.pixels
