"""The four networks of MLPerf Tiny as row-wise stages, from their published shapes."""

from __future__ import annotations

import math

from edgebed.targets._shared.rows.stage import Network, Stage, Tensor, Window


class Draft:
    """Collects tensors and stages of a network of maps; every layer returns its output's name."""

    def __init__(self, rows: int, width: int, channels: int, fetch: bool = False) -> None:
        self.shapes: dict[str, tuple[int, int, int]] = {"x": (rows, width, channels)}
        self.stages: list[Stage] = []
        self.inner_input = fetch
        if fetch:
            self._add("fetch", "x", (), rows)

    def _add(self, kind: str, out: str, windows: tuple[Window, ...], steps: int, **more) -> str:
        name = f"{kind}{len(self.stages)}"
        self.stages.append(
            Stage(name, kind, out, windows, steps, "eb_f", "f.h", "eb_conv", "{0}", **more)
        )
        return out

    def map(self, kind, x, channels, kernel=3, stride=1, width_stride=None, scratch=0):
        rows, width, depth = self.shapes[x]
        out = f"t{len(self.stages)}"
        columns = width_stride or stride
        shape = (-(-rows // stride), -(-width // columns), channels)
        pad = max(0, (shape[0] - 1) * stride + kernel - rows) // 2
        self.shapes[out] = shape
        place = (0,) if kernel == 1 and stride == 1 and channels <= depth else ()
        window = Window(x, kernel, stride, pad)
        return self._add(kind, out, (window,), shape[0], scratch_bytes=scratch, in_place=place)

    def add(self, a: str, b: str) -> str:
        out = f"t{len(self.stages)}"
        self.shapes[out] = self.shapes[a]
        windows = (Window(a), Window(b))
        return self._add("add", out, windows, self.shapes[a][0], in_place=(0, 1))

    def pool(self, x: str) -> str:
        out = f"t{len(self.stages)}"
        self.shapes[out] = (1, 1, self.shapes[x][2])
        return self._add("pool", out, (Window(x),), self.shapes[x][0], accumulates=True)

    def dense(self, x: str, size: int, scratch: int = 0) -> str:
        out = f"t{len(self.stages)}"
        self.shapes[out] = (1, 1, size)
        return self._add("dense", out, (Window(x, whole=True),), 1, scratch_bytes=scratch)

    def network(self, *outputs: str) -> Network:
        tensors = {
            name: Tensor(
                name,
                shape[0],
                shape[1] * shape[2],
                "output"
                if name in outputs
                else "input"
                if name == "x" and not self.inner_input
                else "inner",
            )
            for name, shape in self.shapes.items()
        }
        inputs = () if self.inner_input else ("x",)
        return Network("net", tensors, tuple(self.stages), inputs, outputs)


def keyword_spotting() -> Network:
    net = Draft(49, 10, 1)
    x = net.map("conv", "x", 64, kernel=10, stride=2)
    for _ in range(4):
        x = net.map("dw", x, 64)
        x = net.map("pw", x, 64, kernel=1)
    x = net.dense(net.pool(x), 12)
    return net.network(x)


def visual_wake_words(fetch: bool = False) -> Network:
    net = Draft(96, 96, 3, fetch)
    x = net.map("conv", "x", 8, stride=2)
    plan = [(1, 16), (2, 32), (1, 32), (2, 64), (1, 64), (2, 128)]
    plan += [(1, 128)] * 5 + [(2, 256), (1, 256)]
    for stride, channels in plan:
        x = net.map("dw", x, net.shapes[x][2], stride=stride)
        x = net.map("pw", x, channels, kernel=1)
    x = net.dense(net.pool(x), 2)
    return net.network(x)


def resnet8(fetch: bool = False) -> Network:
    net = Draft(32, 32, 3, fetch)
    x = net.map("conv", "x", 16)
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        y = net.map("conv", net.map("conv", x, channels, stride=stride), channels)
        x = net.map("conv", x, channels, kernel=1, stride=2) if stride == 2 else x
        x = net.add(x, y)
    x = net.dense(net.pool(x), 10)
    return net.network(x)


def autoencoder() -> Network:
    net = Draft(1, 1, 640)
    x = "x"
    for size in (128, 128, 128, 128, 8, 128, 128, 128, 128, 640):
        x = net.dense(x, size)
    return net.network(x)


def width(network: Network, name: str) -> int:
    """Pixels of a row: the maps of these networks keep theirs through stages in place."""
    writers = [stage for stage in network.stages if stage.output == name and stage.in_place]
    if not writers:
        return 1
    sizes = [network.tensors[window.tensor].row_bytes for window in writers[0].inputs]
    return math.gcd(network.tensors[name].row_bytes, *sizes)
