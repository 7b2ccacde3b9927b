"""Quantisation-aware training in exactly the target's arithmetic.

Activations are integers -128..127 that mean q / 128. A layer with weight bits b and shift t holds

    w_q = clip(floor(w * 2^(b-1) * 2^-t + 1/2), -2^(b-1), 2^(b-1) - 1)
    b_q = clip(floor(bias * 2^(b-1) * 2^-t + 1/2), -128, 127), worth 128 * b_q in the accumulator
    acc = sum(x_q * w_q) + 128 * b_q
    y_q = clip(floor(acc * 2^s / 128 + 1/2), 0 or -128, 127), s = t + 8 - b

and a wide layer returns acc, which means acc * 2^t / (128 * 2^(b-1)). Training runs the same
integers forward and passes gradients straight through the rounding, so that evaluation mode and
the exported program agree in every bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgebed.errors import EdgebedError
from edgebed.program.arithmetic import INT8_MAX, INT8_MIN, weight_range
from edgebed.train.detector import FloatDetector, FloatLayer, fold
from edgebed.train.networks import LayerSpec, Network

POST_SHIFT: Final = (-15, 15)
"""Least and largest s of the formula above."""

BIAS_UNIT: Final = 128
"""Accumulator steps of one step of a stored bias."""

BIAS_STEPS: Final = 128
"""Stored biases go from -128 to 127."""

FLOAT32_EXACT: Final = 2**24
"""float32 adds integers without error as long as no sum leaves this range."""

ACTIVATION_STEPS: Final = 128


class _Round(torch.autograd.Function):
    """floor(x + 1/2) forward, the identity backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.floor(x + 0.5)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class _RoundClip(torch.autograd.Function):
    """Round and clip forward, the identity backward, also outside the range.

    Weights of one bit are -1 or 0: with the gradient cut outside the range no positive weight
    could ever come back.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: int, high: int) -> Tensor:
        return torch.floor(x + 0.5).clamp(low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0], None, None


class QuantisedLayer(nn.Module):
    """One layer in integer arithmetic; activations are integers held in float tensors.

    The parameters are fractions of what the integers can hold (weight * 2^-t, and stored bias /
    128), so that one learning rate suits all layers: it moves each by as many integer steps.

    Args:
        spec: its description.
        weight: real weights, out x in x kernel x kernel.
        bias: real biases, out values (ignored where the description has none).
        shift: t of the module's formulas.
    """

    shift: Tensor

    def __init__(self, spec: LayerSpec, weight: Tensor, bias: Tensor, shift: int) -> None:
        super().__init__()
        self.spec = spec
        self.register_buffer("shift", torch.tensor(shift, dtype=torch.int64))
        self.weight = nn.Parameter((weight * 2.0**-shift).float())
        self.bias = nn.Parameter((bias * self.steps / BIAS_STEPS).float()) if spec.bias else None

    @property
    def post_shift(self) -> int:
        """The shift s that the device applies to accumulators."""
        return int(self.shift) + 8 - self.spec.weight_bits

    @property
    def steps(self) -> float:
        """Weight steps per real unit: 2^(b-1) * 2^-t."""
        return float(2.0 ** (self.spec.weight_bits - 1 - int(self.shift)))

    def integer_weight(self) -> Tensor:
        """Return w_q as a float tensor of integers."""
        low, high = weight_range(self.spec.weight_bits)
        return cast(Tensor, _RoundClip.apply(self.weight * -low, low, high))  # type: ignore[no-untyped-call]

    def integer_bias(self) -> Tensor | None:
        """Return b_q as a float tensor of integers, or None."""
        if self.bias is None:
            return None
        return cast(Tensor, _RoundClip.apply(self.bias * BIAS_STEPS, INT8_MIN, INT8_MAX))  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        """Map integers n x in x H x W to n x out x H' x W'; exact in evaluation mode."""
        acc = self.accumulate(x)
        if self.spec.wide:
            return acc
        low = 0 if self.spec.activation == "relu" else INT8_MIN
        y = cast(Tensor, _Round.apply(acc * 2.0 ** (self.post_shift - 7)))  # type: ignore[no-untyped-call]
        y = y.clamp(low, INT8_MAX)
        return y if self.training else y.float()

    def accumulate(self, x: Tensor) -> Tensor:
        """Return the accumulators: pooling, convolution and bias."""
        if self.spec.pool > 1:
            x = functional.max_pool2d(x, self.spec.pool)
        weight, bias = self.integer_weight(), self.integer_bias()
        if self.training:
            acc = functional.conv2d(x, weight, padding=self.spec.pad).float()
        else:
            acc = self._exact(x, weight)
        return acc if bias is None else acc + BIAS_UNIT * bias[:, None, None].to(acc.dtype)

    def _exact(self, x: Tensor, weight: Tensor) -> Tensor:
        """Convolve without rounding; the result is float64."""
        bound = -INT8_MIN * float(weight.detach().abs().sum(dim=(1, 2, 3)).max())
        kind = torch.float32 if bound < FLOAT32_EXACT else torch.float64
        return functional.conv2d(x.to(kind), weight.to(kind), padding=self.spec.pad).double()


class QuantisedDetector(nn.Module):
    """The whole network in integer arithmetic.

    Args:
        network: its description, with the weight bits of every layer.
        layers: its layers, first to last.
    """

    def __init__(self, network: Network, layers: Iterable[QuantisedLayer]) -> None:
        super().__init__()
        self.network = network
        self.layers = nn.ModuleList(layers)

    @staticmethod
    def blank(network: Network) -> QuantisedDetector:
        """Return the network with all weights zero, ready for `load_state_dict`."""
        layers = []
        for spec in network.layers:
            weight = torch.zeros(spec.out_channels, spec.in_channels, spec.kernel, spec.kernel)
            layers.append(QuantisedLayer(spec, weight, torch.zeros(spec.out_channels), 0))
        return QuantisedDetector(network, layers)

    @property
    def output_scale(self) -> float:
        """Real value of one step of the output accumulators."""
        last = cast(QuantisedLayer, self.layers[-1])
        return float(1 / (ACTIVATION_STEPS * last.steps))

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs n x 3 x H x W (input integer / 128) to real logits n x C x h x w."""
        return self.accumulators(x * ACTIVATION_STEPS) * self.output_scale

    def accumulators(self, x: Tensor) -> Tensor:
        """Map input integers to the integers of the wide output, in float tensors."""
        x = fold(x, self.network.fold)
        for layer in self.layers:
            x = layer(x)
        return x

    @torch.no_grad()
    def integers(self, x: npt.NDArray[np.int8]) -> npt.NDArray[np.int32]:
        """Run the device's arithmetic on input integers.

        Args:
            x: int8, n x 3 x H x W.

        Returns:
            int32, n x C x h x w: the accumulators of the wide output layer.
        """
        if self.training:
            raise RuntimeError("call eval() first: training mode is not exact")
        acc = self.accumulators(torch.from_numpy(np.ascontiguousarray(x)).float())
        return acc.numpy().astype(np.int32)


@torch.no_grad()
def calibrate(
    detector: FloatDetector, network: Network, pictures: Tensor, *, quantile: float = 0.9999
) -> QuantisedDetector:
    """Fold the normalisation and bring a float network into the target's ranges.

    A ReLU network does not change when a channel is divided by a positive number and the weights
    that read it are multiplied by it. So every channel is divided by the largest value it takes on
    `pictures`, which makes activations fill 0..127; then the power-of-two shift of each layer is
    the one with the least squared error of its weights and biases, and the mean error that is
    left goes into the biases (Nagel et al. 2019, arXiv 1906.04721).

    Args:
        detector: the trained float network, in evaluation mode.
        network: the description to quantise to (weight bits may differ from the detector's).
        pictures: n x 3 x H x W, input integers / 128.
        quantile: share of a channel's values that must not be cut.

    Raises:
        EdgebedError: the weights are not finite or need a shift that the device does not have.
    """
    real = fold(pictures, network.fold)
    whole = real * ACTIVATION_STEPS
    before = torch.ones(network.folded[0], dtype=torch.float64)
    layers = []
    for module, spec in zip(detector.layers, network.layers, strict=True):
        float_layer = cast(FloatLayer, module)
        wanted = float_layer.before_activation(real)
        real = float_layer(real)
        after = _scale(spec, real, quantile)
        weight, bias = float_layer.folded()
        weight = weight * before[None, :, None, None] / after[:, None, None, None]
        bias = bias / after
        layer = QuantisedLayer(spec, weight, bias, best_shift(spec, weight, bias)).eval()
        _correct_bias(layer, whole, wanted.mean(dim=(0, 2, 3)).double() / after)
        whole = layer(whole)
        layers.append(layer)
        before = after
    return QuantisedDetector(network, layers)


def best_shift(spec: LayerSpec, weight: Tensor, bias: Tensor) -> int:
    """Return the shift t with the least squared error of weights and biases.

    Raises:
        EdgebedError: a value is not finite.
    """
    if not (torch.isfinite(weight).all() and torch.isfinite(bias).all()):
        raise EdgebedError(
            "the weights hold NaN or infinity",
            where=f"layer {spec.name}",
            try_="a smaller --learning-rate",
        )
    low, high = POST_SHIFT
    extra = 8 - spec.weight_bits
    shifts = range(low - extra, high - extra + 1)
    return min(shifts, key=lambda shift: _shift_error(spec, weight, bias, shift))


def _shift_error(spec: LayerSpec, weight: Tensor, bias: Tensor, shift: int) -> float:
    steps = 2.0 ** (spec.weight_bits - 1 - shift)
    low, high = weight_range(spec.weight_bits)
    error = (torch.floor(weight * steps + 0.5).clamp(low, high) / steps - weight).square().sum()
    if spec.bias:
        # One bias acts like a weight on a constant input of 1, the largest there is.
        rounded = torch.floor(bias * steps + 0.5).clamp(INT8_MIN, INT8_MAX) / steps
        error = error + (rounded - bias).square().sum()
    return float(error)


def _correct_bias(layer: QuantisedLayer, inputs: Tensor, wanted: Tensor) -> None:
    """Move the biases so that each channel's mean before the activation is `wanted` again."""
    stored = layer.integer_bias()
    if layer.bias is not None and stored is not None:
        found = layer.accumulate(inputs).mean(dim=(0, 2, 3)) / (ACTIVATION_STEPS * layer.steps)
        layer.bias.copy_((stored + (wanted - found) * layer.steps) / BIAS_STEPS)


def _scale(spec: LayerSpec, outputs: Tensor, quantile: float) -> Tensor:
    """Return the value below which `quantile` of each channel's outputs lie; 1 where wide."""
    if spec.wide:
        return torch.ones(spec.out_channels, dtype=torch.float64)
    values = outputs.transpose(0, 1).flatten(1)
    values = values if spec.activation == "relu" else values.abs()
    keep = max(1, round((1 - quantile) * values.shape[1]))
    peak = values.topk(keep, dim=1).values[:, -1].double()
    # A channel that is nearly silent here must not be blown up without limit.
    return peak.clamp(min=max(float(peak.max()) * 0.05, 1e-6))
