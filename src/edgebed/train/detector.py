"""The float network as a torch module, built from its description."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgebed.train.networks import LayerSpec, Network


class FloatLayer(nn.Module):
    """Max pool, convolution, batch normalisation and activation of one `LayerSpec`.

    A learned offset after the normalisation makes the convolution's own bias superfluous.
    """

    def __init__(self, spec: LayerSpec) -> None:
        super().__init__()
        self.spec = spec
        self.conv = nn.Conv2d(
            spec.in_channels,
            spec.out_channels,
            spec.kernel,
            padding=spec.pad,
            bias=spec.bias and spec.norm != "affine",
        )
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_in", nonlinearity="relu")
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)
        self.norm = None
        if spec.norm != "none":
            affine = spec.norm == "affine"
            self.norm = nn.BatchNorm2d(spec.out_channels, momentum=0.05, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Map n x in x H x W to n x out x H' x W'."""
        x = self.before_activation(x)
        return functional.relu_(x) if self.spec.activation == "relu" else x

    def before_activation(self, x: Tensor) -> Tensor:
        """Return what the activation is applied to."""
        if self.spec.pool > 1:
            x = functional.max_pool2d(x, self.spec.pool)
        x = cast(Tensor, self.conv(x))
        return x if self.norm is None else cast(Tensor, self.norm(x))

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias (float64) with the normalisation's statistics folded in."""
        weight = self.conv.weight.detach().double()
        bias = torch.zeros(len(weight), dtype=torch.float64)
        if self.conv.bias is not None:
            bias = self.conv.bias.detach().double()
        if self.norm is None:
            return weight, bias
        norm = self.norm
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None
        factor = (variance.double() + norm.eps).rsqrt()
        offset = torch.zeros_like(factor)
        if norm.affine:
            factor = factor * norm.weight.detach().double()
            offset = norm.bias.detach().double()
        return weight * factor[:, None, None, None], (bias - mean.double()) * factor + offset


class FloatDetector(nn.Module):
    """The whole network in floating point.

    Args:
        network: its description.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.layers = nn.ModuleList(FloatLayer(spec) for spec in network.layers)
        start_head(cast(FloatLayer, self.layers[-1]).conv, network)

    def forward(self, x: Tensor) -> Tensor:
        """Map n x 3 x H x W (input integer / 128, so -1 to 127/128) to logits n x C x h x w."""
        x = fold(x, self.network.fold)
        for layer in self.layers:
            x = layer(x)
        return x


def fold(x: Tensor, block: int) -> Tensor:
    """Move blocks of pixels into channels, in the order of ONNX SpaceToDepth.

    Args:
        x: n x C x H x W.
        block: side of a block; 1 = no change.

    Returns:
        n x (block * block * C) x H / block x W / block; channel (row * block + column) * C + c.
    """
    if block == 1:
        return x
    n, channels, height, width = x.shape
    x = x.view(n, channels, height // block, block, width // block, block)
    return x.permute(0, 3, 5, 1, 2, 4).reshape(n, -1, height // block, width // block)


def start_head(conv: nn.Conv2d, network: Network) -> None:
    """Give the output layer small weights and confidences that say "nothing" almost everywhere."""
    nn.init.normal_(conv.weight, std=0.01)
    assert conv.bias is not None
    with torch.no_grad():
        conv.bias.zero_()
        for box in range(network.decode.boxes):
            conv.bias[5 * box + 4] = math.log(0.02 / 0.98)
