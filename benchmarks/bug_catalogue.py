"""The faults that `deployment_bugs.py` plants. Pictures are prepared with Pillow, so that the ways
to resize are not those of the code that has to recognise them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from bug_networks import SETTINGS, Array, Edit, Graph, Network
from onnx import numpy_helper
from PIL import Image

from edgebed.observe.spectral import features

Random = np.random.Generator
ToInput = Callable[[Array], Array]
WAYS = Image.Resampling


@dataclass(frozen=True)
class Planted:
    """One fault, drawn.

    Attributes:
        integers: raw to the device's input integers; None leaves the network's own way.
        edit: of the device's file; None leaves it.
        layer: that is at fault; empty where none is.
        classes: names that the device lists; None for the network's own.
        order: of the device's scores; None for the network's own.
        stale: the frame before is fed.
        slow: factor on the time of `layer`.
    """

    integers: ToInput | None = None
    edit: Edit | None = None
    layer: str = ""
    classes: tuple[str, ...] | None = None
    order: tuple[int, ...] | None = None
    stale: bool = False
    slow: float = 1.0


@dataclass(frozen=True)
class Bug:
    """A kind of fault.

    Attributes:
        name: for the table.
        causes: verdicts that name it.
        plant: draws one.
    """

    name: str
    causes: tuple[str, ...]
    plant: Callable[[Network, Random], Planted]


def bugs_of(network: Network) -> list[Bug]:
    """Return the kinds of fault that a network can have."""
    first = _sound() if network.raw_layout == "T" else _pictures()
    found = [*first, *_integers(), *_inside(), *_around()]
    whole = network.raw_layout == "T" or "range" not in network.contract["input"]
    return found if whole else [one for one in found if one.name != "two scores swapped"]


def _real(name: str, cause: str | tuple[str, ...], make: Any) -> Bug:
    """A fault of the real-valued input: make(network, rng) gives raw to real values."""

    def plant(network: Network, rng: Random) -> Planted:
        change = make(network, rng)
        return Planted(integers=lambda raw: network.quantised(change(raw)))

    return Bug(name, (cause,) if isinstance(cause, str) else cause, plant)


def _after(
    name: str, cause: str | tuple[str, ...], change: Callable[[Array, Random], Array]
) -> Bug:
    """A fault that is a function of the right real-valued input."""

    def make(network: Network, rng: Random) -> ToInput:
        seed = int(rng.integers(1 << 30))
        return lambda raw: change(network.prepare(raw), np.random.default_rng(seed))

    return _real(name, cause, make)


def _pixels(name: str, cause: str, change: Callable[[Array, Random], Array]) -> Bug:
    """A fault of the pixels: float H x W x 3 of 0..255 to the same."""

    def make(network: Network, rng: Random) -> ToInput:
        seed = int(rng.integers(1 << 30))
        low, high = network.contract["input"].get("range", (0.0, 1.0))

        def whole(raw: Array) -> Array:
            planes = (network.prepare(raw) - low) / (high - low) * 255
            found = change(np.moveaxis(planes, 0, -1), np.random.default_rng(seed))
            return (np.moveaxis(found, -1, 0) / 255 * (high - low) + low).astype(np.float32)

        return whole

    return _real(name, cause, make)


def _placed(
    name: str, cause: str, place: Callable[[Image.Image, int, int, Random], Image.Image]
) -> Bug:
    """A fault of bringing the raw picture to size."""

    def make(network: Network, rng: Random) -> ToInput:
        seed = int(rng.integers(1 << 30))
        _, height, width = network.shape
        low, high = network.contract["input"].get("range", (0.0, 1.0))

        def whole(raw: Array) -> Array:
            one = place(Image.fromarray(raw), width, height, np.random.default_rng(seed))
            planes = np.moveaxis(np.asarray(one, np.float32), -1, 0)
            return (planes / 255 * (high - low) + low).astype(np.float32)

        return whole

    return _real(name, cause, make)


def _pictures() -> list[Bug]:
    return [
        _after("red and blue swapped", "channel_order", lambda x, r: x[::-1]),
        _after("channels rotated", "channel_order", lambda x, r: x[[1, 2, 0]]),
        _ranged("[-1, 1] for [0, 1], or the reverse", lambda x, own: 2 * x - 1 if own == 0 else x),
        _ranged("bytes 0..255", lambda x, own: 255 * x),
        _ranged("ImageNet mean and deviation", _imagenet),
        _real("normalised twice", "double_normalisation", _twice),
        _placed("nearest", "resize_method", lambda p, w, h, r: p.resize((w, h), WAYS.NEAREST)),
        _placed("bicubic", "resize_method", lambda p, w, h, r: p.resize((w, h), WAYS.BICUBIC)),
        _placed("letterbox for stretch", "aspect", _letterbox),
        _placed("centre crop for stretch", "crop", _crop),
        _after("crop moved", "crop_offset", _moved),
        _after("rotated", "rotation", lambda x, r: np.rot90(x, r.integers(1, 4), (1, 2))),
        _after("mirrored", "mirror", lambda x, r: np.flip(x, r.integers(1, 3))),
        _pixels("YCbCr as RGB", "colour_space", _ycc),
        _pixels("BT.709 decoded as BT.601", "colour_space", _matrix),
        _pixels("limited range", "colour_range", lambda x, r: 16 + x * 219 / 255),
        _pixels("grey", "grey", lambda x, r: np.repeat(_luma(x), 3, 2)),
        _pixels("bytes of RGB565 swapped", "colour_depth", _swapped_565),
        _after("HWC read as CHW", "layout",
               lambda x, r: np.ascontiguousarray(np.moveaxis(x, 0, -1)).reshape(x.shape)),
    ]  # fmt: skip


def _ranged(name: str, change: Callable[[Array, float], Array]) -> Bug:
    """A fault of normalisation: change([0, 1], low end of the right range)."""

    def make(network: Network, rng: Random) -> ToInput:
        low, high = network.contract["input"].get("range", (0.0, 1.0))
        return lambda raw: change((network.prepare(raw) - low) / (high - low), low)

    return _real(name, "normalisation", make)


def _imagenet(x: Array, low: float) -> Array:
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return ((x - mean[:, None, None]) / deviation[:, None, None]).astype(np.float32)


def _twice(network: Network, rng: Random) -> ToInput:
    low, high = network.contract["input"].get("range", (0.0, 1.0))
    return lambda raw: network.prepare(raw) / 255 * (high - low) + low


def _letterbox(picture: Image.Image, width: int, height: int, rng: Random) -> Image.Image:
    share = min(width / picture.width, height / picture.height)
    size = (round(picture.width * share), round(picture.height * share))
    result = Image.new("RGB", (width, height), (int(rng.choice([0, 114, 128])),) * 3)
    result.paste(picture.resize(size, WAYS.BOX), ((width - size[0]) // 2, (height - size[1]) // 2))
    return result


def _crop(picture: Image.Image, width: int, height: int, rng: Random) -> Image.Image:
    share = min(picture.width / width, picture.height / height)
    wide, high = width * share, height * share
    left, top = (picture.width - wide) / 2, (picture.height - high) / 2
    return picture.resize((width, height), WAYS.BOX, (left, top, left + wide, top + high))


def _moved(x: Array, rng: Random) -> Array:
    down, right = (int(n) for n in rng.choice([-9, -7, -5, -3, 3, 5, 7, 9], 2))
    padded = np.pad(x, ((0, 0), (12, 12), (12, 12)), mode="edge")
    height, width = x.shape[1:]
    return padded[:, 12 - down : 12 - down + height, 12 - right : 12 - right + width]


def _luma(x: Array) -> Array:
    return (x @ np.array([0.299, 0.587, 0.114]))[..., None]


def _ycc(x: Array, rng: Random) -> Array:
    picture = Image.fromarray(np.clip(np.rint(x), 0, 255).astype(np.uint8))
    return np.asarray(picture.convert("YCbCr"), np.float32)


def _matrix(x: Array, rng: Random) -> Array:
    luma = x @ np.array([0.2126, 0.7152, 0.0722])
    cb, cr = (x[..., 2] - luma) / 1.8556, (x[..., 0] - luma) / 1.5748
    parts = (luma + 1.402 * cr, luma - 0.344136 * cb - 0.714136 * cr, luma + 1.772 * cb)
    return np.clip(np.stack(parts, -1), 0, 255)


def _swapped_565(x: Array, rng: Random) -> Array:
    whole = np.clip(np.rint(x), 0, 255).astype(np.uint16)
    words = (whole[..., 0] >> 3) << 11 | (whole[..., 1] >> 2) << 5 | whole[..., 2] >> 3
    words = words.astype(np.uint16).byteswap()
    red, green, blue = words >> 11, words >> 5 & 63, words & 31
    return np.stack([red * 255 / 31, green * 255 / 63, blue * 255 / 31], -1)


def _feature(name: str, **change: Any) -> Bug:
    from dataclasses import replace

    other = replace(SETTINGS, **change)
    return _real(name, "audio_features", lambda n, r: lambda raw: features(raw, other, 49)[:, :10])


def _rated(name: str, rate: int) -> Bug:
    """Sound recorded at another rate: Pillow's filters resample the waveform."""

    def resampled(raw: Array) -> Array:
        strip = Image.fromarray(raw.astype(np.float32)[None])
        return np.asarray(strip.resize((len(raw) * rate // 16000, 1), WAYS.LANCZOS))[0]

    return _real(
        name, "audio_sample_rate", lambda n, r: lambda raw: features(resampled(raw), SETTINGS, 49)
    )


def _sound() -> list[Bug]:
    return [
        _rated("sound sampled at 8 kHz", 8000),
        _rated("sound sampled at 44.1 kHz", 44100),
        _feature("mel bands to 8 kHz", mel_high=8000.0),
        _feature("mel bands from 125 Hz", mel_low=125.0),
        _feature("64 mel bands", mel_bands=64),
        _feature("window of 640 samples", window=640),
        _feature("hop of 160 samples", hop=160),
        _feature("power for magnitude", power=2.0),
        _feature("logarithm of base 10", log="base10"),
        _feature("orthonormal cosine transform", cosine="orthonormal"),
        _feature("no cosine transform", coefficients=0),
        _feature("Slaney's mel scale", mel_scale="slaney"),
        _feature("rectangular window", shape="rectangular"),
        _feature("clip not scaled", level="none"),
        _after("features halved", "normalisation", lambda x, r: x / 2),
        _after("features centred", "normalisation", lambda x, r: (x + 30) / 1.5),
        _after("table transposed", "layout", lambda x, r: x.T.copy().reshape(x.shape)),
    ]  # fmt: skip


def _integers() -> list[Bug]:
    def sign(network: Network, rng: Random) -> Planted:
        return Planted(
            integers=lambda raw: (
                network.quantised(network.prepare(raw)).view(np.uint8) ^ 0x80
            ).view(np.int8)
        )

    def zero(network: Network, rng: Random) -> Planted:
        step = int(rng.choice([-1, 1]) * rng.integers(4, 24))
        return Planted(
            integers=lambda raw: np.clip(
                network.quantised(network.prepare(raw)).astype(int) + step, -128, 127
            ).astype(np.int8)
        )

    def stale(network: Network, rng: Random) -> Planted:
        return Planted(stale=True)

    return [
        Bug("uint8 read as int8", ("dtype",), sign),
        Bug("zero point off", ("zero_point",), zero),
        Bug("frame before", ("stale_frame",), stale),
    ]


def _inside() -> list[Bug]:
    return [
        _layer("range too narrow", "range_too_narrow", "narrow", _narrowed),
        _layer("range 24 times", "range_too_wide", "wide", lambda n, r: _scaled(n.graph, r, 24.0)),
        _layer("channels dead", "dead_channels", "dead", lambda n, r: _biased(n, r, -1e3)),
        _layer(
            "channels saturated", "saturated_channels", "stuck", lambda n, r: _biased(n, r, 1e3)
        ),
        _layer("off by one channel", "kernel", "shuffled", lambda n, r: _shuffled(n.graph, r)),
        _layer("bias left out", "kernel", "biasless", lambda n, r: _biasless(n.graph, r)),
    ]


def _layer(name: str, cause: str, kind: str, plant: Callable[[Network, Random], Planted]) -> Bug:
    """A fault inside the network: in a QDQ file, or as a network of another form plants it."""

    def draw(network: Network, rng: Random) -> Planted:
        own = getattr(network.graph, "plant", None)
        if own is None:
            return plant(network, rng)
        edit, layer = own(kind, network, rng)
        return Planted(edit=edit, layer=layer)

    return Bug(name, (cause,), draw)


def _set(model: onnx.ModelProto, name: str, values: Array) -> None:
    for one in model.graph.initializer:
        if one.name == name:
            one.CopyFrom(numpy_helper.from_array(values, name))


def _narrowed(network: Network, rng: Random) -> Planted:
    """A layer calibrated so that a tenth to a third of its values other than zero are cut."""
    at = int(rng.integers(len(network.graph.layers) - 1))
    one = network.graph.layers[at]
    seen = [network.run_reference(network.prepare(raw))[one.name] for raw in network.raws[:8]]
    values = np.concatenate([value.ravel() for value in seen])
    top = float(np.quantile(values[values > 0], rng.uniform(0.67, 0.9)))
    return _scaled(network.graph, rng, top / (one.scale * (127 - one.zero_point)), at)


def _scaled(graph: Graph, rng: Random, factor: float, at: int | None = None) -> Planted:
    """A layer's step multiplied, where it is quantised and where it is read."""
    one = graph.layers[int(rng.integers(len(graph.layers) - 1)) if at is None else at]

    def edit(model: onnx.ModelProto) -> None:
        for node in model.graph.node:
            writes = node.op_type == "QuantizeLinear" and node.output[0] == one.integers
            reads = node.op_type == "DequantizeLinear" and node.input[0] == one.integers
            if writes or reads:
                _set(model, node.input[1], np.array(one.scale * factor, np.float32))

    edit.factor = factor  # type: ignore[attr-defined]  # the device reports the step in use
    return Planted(edit=edit, layer=one.name)


def _convolution(graph: Graph, rng: Random) -> tuple[Any, Any]:
    """Draw a convolution and the layer that it writes."""
    ends = {node.input[0]: node.output[0] for node in graph.model.graph.node
            if node.op_type == "QuantizeLinear"}  # fmt: skip
    layers = {one.integers: one for one in graph.layers}
    found = [(node, layers[ends[node.output[0]]]) for node in graph.model.graph.node
             if node.op_type == "Conv" and ends.get(node.output[0]) in layers]  # fmt: skip
    return found[int(rng.integers(len(found)))]


def _constant(graph: Graph, name: str) -> tuple[str, Array, float | Array]:
    """Return the initialiser behind a weight: its name, values and step."""
    node = next(one for one in graph.model.graph.node if name in one.output)
    values = numpy_helper.to_array(graph.values[node.input[0]])
    return node.input[0], values, numpy_helper.to_array(graph.values[node.input[1]])


def _biased(network: Network, rng: Random, amount: float) -> Planted:
    """Two to four channels of a layer, of those that do something, whose bias is far off."""
    graph = network.graph
    node, layer = _convolution(graph, rng)
    name, values, scale = _constant(graph, node.input[2])
    seen = [network.run_reference(network.prepare(raw))[layer.name][0] for raw in network.raws[:4]]
    deviations = np.array([one.std() for one in np.moveaxis(np.stack(seen), 1, 0)])
    lively = np.flatnonzero(deviations >= min(4 * layer.scale, np.sort(deviations)[-4]))
    count = min(len(lively), len(values) // 4, int(rng.integers(2, 5)))
    chosen = rng.choice(lively, count, replace=False)
    wrong = values.astype(np.float64)
    wrong[chosen] += np.rint(amount * layer.scale * 256 / np.broadcast_to(scale, values.shape))[
        chosen
    ]
    return Planted(edit=lambda model: _set(model, name, _cut(wrong, values)), layer=layer.name)


def _cut(values: Array, like: Array) -> Array:
    if like.dtype.kind == "f":
        return values.astype(like.dtype)
    info = np.iinfo(like.dtype)
    return np.clip(values, info.min, info.max).astype(like.dtype)


def _biasless(graph: Graph, rng: Random) -> Planted:
    node, layer = _convolution(graph, rng)
    name, values, _ = _constant(graph, node.input[2])
    return Planted(edit=lambda model: _set(model, name, np.zeros_like(values)), layer=layer.name)


def _shuffled(graph: Graph, rng: Random) -> Planted:
    """Weights that take the next channel's scale; biases too where there is one scale only."""
    node, layer = _convolution(graph, rng)
    weights, values, scale = _constant(graph, node.input[1])
    scales = np.asarray(scale)
    if scales.ndim and scales.size > 1:
        owner = next(one for one in graph.model.graph.node if node.input[1] in one.output)
        name, rolled = owner.input[1], np.roll(scales, 1)
    else:
        name, rolled = weights, np.roll(values, 1, axis=0)
    return Planted(edit=lambda model: _set(model, name, rolled), layer=layer.name)


def _around() -> list[Bug]:
    def listed(network: Network, rng: Random) -> Planted:
        order = rng.permutation(len(network.classes))
        while (order == np.arange(len(order))).all():
            order = rng.permutation(len(order))
        return Planted(classes=tuple(network.classes[at] for at in order))

    def scores(network: Network, rng: Random) -> Planted:
        one, two = rng.choice(len(network.classes), 2, replace=False)
        order = list(range(len(network.classes)))
        order[one], order[two] = order[two], order[one]
        return Planted(order=tuple(order))

    def slow(network: Network, rng: Random) -> Planted:
        convolutions = [one.name for one in network.graph.layers if one.kind == "Conv"]
        return Planted(layer=str(rng.choice(convolutions)), slow=float(rng.uniform(6, 40)))

    return [
        Bug("list of names in another order", ("class_names",), listed),
        Bug("two scores swapped", ("class_names",), scores),
        Bug("slow kernel", ("slow_layer",), slow),
    ]
