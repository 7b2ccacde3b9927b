"""A network as data: the same description feeds training, export and the documentation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from edgebed.errors import EdgebedError
from edgebed.program.contract import GridDecode


@dataclass(frozen=True)
class LayerSpec:
    """One accelerator layer: optional max pool, then a stride-1 convolution, then an activation.

    Attributes:
        name: unique in its network; also the layer's name in the program.
        in_channels: input channels.
        out_channels: output channels.
        kernel: side of the square kernel, 1 or 3.
        pad: zero pixels added on every side, 0 to 2.
        pool: side and stride of the max pool before the convolution; 1 = none.
        bias: whether the layer has biases.
        norm: how float training normalises the output by batch, folded before quantisation:
            not at all, to zero mean and unit variance (`plain`), or with learned scale and
            offset after that (`affine`).
        activation: `relu`, or `none` for signed outputs.
        wide: 32-bit accumulators are the output; only the last layer.
        weight_bits: bits of a weight after quantisation: 8, 4, 2 or 1.
    """

    name: str
    in_channels: int
    out_channels: int
    kernel: int
    pad: int
    pool: int = 1
    bias: bool = True
    norm: Literal["none", "plain", "affine"] = "affine"
    activation: Literal["relu", "none"] = "relu"
    wide: bool = False
    weight_bits: int = 8

    @property
    def weights(self) -> int:
        """Number of weights."""
        return self.in_channels * self.out_channels * self.kernel**2


@dataclass(frozen=True)
class Network:
    """A chain of layers and the grid that its output is decoded with.

    Attributes:
        name: what `--network` takes.
        channels: channels of the picture.
        height: rows of the picture.
        width: columns of the picture.
        fold: the first operation moves blocks of fold x fold pixels into channels; 1 = none.
            Channel order after folding: (row in block, column in block, picture channel).
        layers: the layers, first to last.
        decode: how the last layer's C x H x W becomes boxes. Its priors are replaced by those
            of the data set where `fit_priors` is set.
        fit_priors: whether the priors follow the training boxes.
    """

    name: str
    channels: int
    height: int
    width: int
    fold: int
    layers: tuple[LayerSpec, ...]
    decode: GridDecode
    fit_priors: bool = False

    @property
    def folded(self) -> tuple[int, int, int]:
        """Shape C x H x W that the first layer sees."""
        return self.channels * self.fold**2, self.height // self.fold, self.width // self.fold

    def shapes(self) -> list[tuple[int, int, int]]:
        """Return every layer's output shape, C x H x W."""
        _, height, width = self.folded
        shapes = []
        for layer in self.layers:
            grow = 2 * layer.pad - layer.kernel + 1
            height, width = height // layer.pool + grow, width // layer.pool + grow
            shapes.append((layer.out_channels, height, width))
        return shapes

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one picture."""
        pairs = zip(self.layers, self.shapes(), strict=True)
        return sum(layer.weights * shape[1] * shape[2] for layer, shape in pairs)

    @property
    def parameters(self) -> int:
        """Weights and biases (batch normalisation is folded into them)."""
        return sum(
            layer.weights + (layer.out_channels if layer.bias else 0) for layer in self.layers
        )

    @property
    def kernel_bytes(self) -> int:
        """Bytes of all kernels at their weight bits, without packing gaps."""
        return sum((layer.weights * layer.weight_bits + 7) // 8 for layer in self.layers)

    def with_weight_bits(self, bits: int | tuple[int, ...]) -> Network:
        """Return the network with `bits` for every layer, or one number per layer.

        With a single number below 8 the first and the last layer keep 8 bits: they hold few
        weights and lose the most.

        Raises:
            EdgebedError: a number is not 1, 2, 4 or 8, or there are not as many as layers.
        """
        per_layer = self._inner_bits(bits) if isinstance(bits, int) else bits
        if len(per_layer) != len(self.layers):
            raise EdgebedError(
                f"{len(per_layer)} weight widths for {len(self.layers)} layers",
                where=f"network {self.name}",
                try_=f"one number, or {len(self.layers)} numbers",
            )
        for width in per_layer:
            if width not in (1, 2, 4, 8):
                raise EdgebedError(
                    f"weights of {width} bits", where=f"network {self.name}", try_="1, 2, 4 or 8"
                )
        pairs = zip(self.layers, per_layer, strict=True)
        return replace(self, layers=tuple(replace(one, weight_bits=w) for one, w in pairs))

    def _inner_bits(self, bits: int) -> tuple[int, ...]:
        return (8, *[bits] * (len(self.layers) - 2), 8)
