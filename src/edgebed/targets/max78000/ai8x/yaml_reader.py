"""Reading a network description, with a line number for everything that is wrong in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from edgebed.errors import EdgebedError, did_you_mean
from edgebed.targets.max78000.ai8x.keys import (
    ALIASES,
    GLOBAL_KEYS,
    LAYER_KEYS,
    MAX_LAYERS,
    PLAIN,
    SISTER_ONLY,
)
from edgebed.targets.max78000.ai8x.network import INPUT, Layer, Network
from edgebed.targets.max78000.ai8x.values import Place, processors, text

REQUIRED = ("arch", "dataset", "layers")
RESERVED = ("stop", "input")


@dataclass(frozen=True)
class _Entry:
    """One entry of `layers`: values by canonical key, with the place of each."""

    place: Place
    sequence: int
    values: Mapping[str, Any]
    places: Mapping[str, Place]

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def at(self, key: str) -> Place:
        return self.places.get(key, self.place)


def read_network(path: Path, skip: int = 0) -> Network:
    """Read a network description.

    Args:
        path: the YAML file.
        skip: number of entries of `layers` to leave out at the beginning.

    Raises:
        EdgebedError: the file cannot be read, is not YAML, or has an unknown key or value; file
            and line are named.
    """
    top = _top_level(path)
    file = str(path)
    missing = [key for key in REQUIRED if key not in top]
    if missing:
        raise EdgebedError(f"the key `{missing[0]}` is missing", where=file)
    if "data_buffer" in top:
        raise top["data_buffer"][1].fail("rolling data buffers are not supported")
    entries = _entries(*top["layers"], skip)
    output_map = top.get("output_map")
    return Network(
        file=file,
        arch=text(*top["arch"]),
        dataset=text(*top["dataset"]),
        layers=_layers(_in_order(entries), skip),
        output_map=processors(*output_map) if output_map else None,
    )


def _top_level(path: Path) -> dict[str, tuple[Any, Place]]:
    loader, node = _compose(path)
    if not isinstance(node, yaml.MappingNode):
        raise EdgebedError(
            "this is not a network description", where=str(path), why="no `layers:` in it"
        )
    found: dict[str, tuple[Any, Place]] = {}
    for key, child, place in _items(loader, node, str(path)):
        if key not in GLOBAL_KEYS:
            raise Place(place.file, place.line).fail(
                f"unknown key `{key}`", try_=did_you_mean(key, GLOBAL_KEYS)
            )
        found[key] = ((loader, child) if key == "layers" else _value(loader, child, place), place)
    return found


def _compose(path: Path) -> tuple[yaml.SafeLoader, yaml.Node | None]:
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EdgebedError(f"cannot read the network description: {error}", where=str(path)) from (
            error
        )
    try:
        loader = yaml.SafeLoader(content)
        return loader, loader.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise EdgebedError(f"this is not YAML: {problem}", where=where) from error
    except RecursionError as error:
        raise EdgebedError(
            "this is not a network description: nested too deeply", where=str(path)
        ) from error


def _items(
    loader: yaml.SafeLoader, node: yaml.MappingNode, file: str
) -> Iterable[tuple[str, yaml.Node, Place]]:
    """Yield key, value and place; a key may occur once, merged (`<<`) defaults aside."""
    own: set[str] = set()
    for key_node, _ in node.value:
        key = str(key_node.value)
        if key in own:
            raise Place(file, key_node.start_mark.line + 1).fail(f"key `{key}` occurs twice")
        own.add(key)
    loader.flatten_mapping(node)
    last = {str(k.value): (k, v) for k, v in node.value}
    for key, (key_node, child) in last.items():
        yield key, child, Place(file, key_node.start_mark.line + 1, key)


def _value(loader: yaml.SafeLoader, node: yaml.Node, place: Place) -> Any:
    try:
        return loader.construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise place.fail(f"the value cannot be read: {error}") from error


def _entries(found: tuple[yaml.SafeLoader, yaml.Node], place: Place, skip: int) -> list[_Entry]:
    loader, node = found
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        raise place.fail("it is not a list of layers")
    if skip >= len(node.value):
        raise place.fail(f"{skip} of {len(node.value)} layers are left out; none remains")
    entries: list[_Entry] = []
    sequence = 0
    for child in node.value[skip:]:
        entry = _entry(loader, child, place.file, sequence, skip)
        entries.append(entry)
        sequence = entry.sequence + 1
    return entries


def _entry(loader: yaml.SafeLoader, node: yaml.Node, file: str, sequence: int, skip: int) -> _Entry:
    start = Place(file, node.start_mark.line + 1)
    if not isinstance(node, yaml.MappingNode):
        raise start.fail("this layer is not a mapping of keys to values")
    values: dict[str, Any] = {}
    places: dict[str, Place] = {}
    for written, child, place in _items(loader, node, file):
        key = ALIASES.get(written, written)
        if key not in LAYER_KEYS:
            known = (*LAYER_KEYS, *ALIASES)
            raise Place(file, place.line).fail(
                f"unknown key `{written}` in a layer", try_=did_you_mean(written, known)
            )
        if key in values:
            raise place.fail(f"it says the same as `{places[key].key}`, which is given too")
        values[key] = LAYER_KEYS[key](_value(loader, child, place), place)
        places[key] = place
    _refuse_sister_keys(values, places)
    number = values["sequence"] - skip if "sequence" in values else sequence
    return _Entry(start, number, values, places)


def _refuse_sister_keys(values: Mapping[str, Any], places: Mapping[str, Place]) -> None:
    for key, off in SISTER_ONLY.items():
        if values.get(key, off) != off:
            raise places[key].fail("this device cannot do it", why="it is for the MAX78002 only")


def _in_order(entries: list[_Entry]) -> list[_Entry]:
    ordered = sorted(entries, key=lambda entry: entry.sequence)
    for before, after in pairwise(ordered):
        if before.sequence == after.sequence:
            raise after.at("sequence").fail(f"two layers have sequence {after.sequence}")
    if len(ordered) > MAX_LAYERS:
        raise ordered[MAX_LAYERS].place.fail(
            f"{len(ordered)} layers", why=f"the device has {MAX_LAYERS}"
        )
    for number, entry in enumerate(ordered):
        if _stops(entry, ordered, number):
            return ordered[: number + 1]
    return ordered


def _stops(entry: _Entry, ordered: list[_Entry], number: int) -> bool:
    """Say whether execution ends here; any other jump is not for this device."""
    target = entry.get("next_sequence")
    if target is None:
        return False
    if target in ("stop", -1):
        return True
    following = ordered[number + 1] if number + 1 < len(ordered) else None
    if following and target in (following.sequence, str(following.get("name", "")).lower()):
        return False
    if following is None and target == entry.sequence + 1:
        return True
    raise entry.at("next_sequence").fail(
        f"layer {number} cannot be followed by {target!r}",
        why="this device executes layers in order",
    )


def _layers(entries: list[_Entry], skip: int) -> tuple[Layer, ...]:
    numbers: dict[int | str, int] = {entry.sequence: n for n, entry in enumerate(entries)}
    for number, entry in enumerate(entries):
        name = entry.get("name")
        if name is None:
            continue
        if name.lower() in numbers or name.lower() in RESERVED:
            raise entry.at("name").fail(f"the name {name!r} is taken")
        numbers[name.lower()] = number
    known = _Numbers(numbers, skip)
    return tuple(_layer(entry, number, known) for number, entry in enumerate(entries))


@dataclass(frozen=True)
class _Numbers:
    """Position of a layer in execution order, by its sequence number or name."""

    positions: Mapping[int | str, int]
    skip: int

    def find(self, word: int | str, place: Place, reader: int) -> int:
        if word == "input" or word == INPUT:
            return INPUT
        number = self.positions.get(word - self.skip if isinstance(word, int) else word)
        if number is None:
            names = [str(known) for known in self.positions]
            raise place.fail(f"there is no layer {word!r}", try_=did_you_mean(str(word), names))
        if number >= reader:
            raise place.fail(
                f"layer {reader} reads layer {word!r}", why="only an earlier one has a result"
            )
        return number


def _layer(entry: _Entry, number: int, known: _Numbers) -> Layer:
    op, eltwise = _operation(entry)
    size, average = _pool(entry)
    inputs = entry.get("in_sequences")
    source = entry.get("weight_source")
    given = (
        (number - 1,)
        if inputs is None
        else tuple(known.find(word, entry.at("in_sequences"), number) for word in inputs)
    )
    bits = entry.get("quantization")
    if bits == -1:
        raise entry.at("quantization").fail("binary weights are not for this device")
    if "processors" not in entry.values:
        raise entry.place.fail(f"layer {number} has no `processors`", try_="processors: 0x...")
    return Layer(
        place=entry.place,
        number=number,
        **{key: entry.get(key, default) for key, default in PLAIN.items()},
        op=op,
        eltwise=eltwise,
        operands=_operands(entry, eltwise),
        kernel=_kernel(entry, op),
        pad=_pad(entry, op),
        stride=_stride(entry, op),
        dilation=_dilation(entry, op),
        output_pad=entry.get("output_pad", 1 if op == "convtranspose2d" else 0),
        pool=(size[0], 1) if op == "conv1d" else size,
        pool_average=average,
        pool_stride=_pool_stride(entry, op),
        pool_first=_pool_first(entry, eltwise, size),
        activation=_activation(entry, op),
        bits=bits,
        shift=entry.get("output_shift"),
        wide=entry.get("output_width", 8) == 32,
        inputs=given,
        explicit_inputs=inputs is not None,
        big_data=_big_data(entry, number),
        weight_source=None
        if source is None
        else known.find(source, entry.at("weight_source"), number),
    )


def _operation(entry: _Entry) -> tuple[Any, Any]:
    op, eltwise = entry.get("op", ("conv2d", None))
    inflight = entry.get("eltwise")
    if eltwise and inflight and eltwise != inflight:
        raise entry.at("eltwise").fail("`op` names another element-wise operation")
    return op, inflight or eltwise


def _operands(entry: _Entry, eltwise: str | None) -> int:
    if eltwise is None and "operands" in entry.values:
        raise entry.at("operands").fail("this layer has no element-wise operation")
    return int(entry.get("operands", 2)) if eltwise else 1


def _pool(entry: _Entry) -> tuple[tuple[int, int], bool]:
    if "max_pool" in entry.values and "avg_pool" in entry.values:
        raise entry.at("avg_pool").fail("this layer has `max_pool` too")
    return entry.get("max_pool") or entry.get("avg_pool") or (1, 1), "avg_pool" in entry.values


def _pool_stride(entry: _Entry, op: str) -> tuple[int, int]:
    rows, columns = entry.get("pool_stride", (1, 1))
    # Without a convolution the data decide: one column has no stride of its own.
    if rows != columns and op not in ("conv1d", "none"):
        raise entry.at("pool_stride").fail(f"{rows} x {columns}", why="both have to be equal")
    return rows, 1 if op == "conv1d" else columns


def _pool_first(entry: _Entry, eltwise: str | None, pool: tuple[int, int]) -> bool:
    first = bool(entry.get("pool_first", True))
    if not first and (eltwise is None or pool == (1, 1)):
        raise entry.at("pool_first").fail(
            "false needs both pooling and an element-wise operation", try_="pool_first: true"
        )
    return first


_DEFAULT_KERNEL = {"conv1d": (9, 1), "conv2d": (3, 3), "convtranspose2d": (3, 3)}
_KERNELS = {"conv2d": ((1, 1), (3, 3)), "convtranspose2d": ((3, 3),)}


def _kernel(entry: _Entry, op: str) -> tuple[int, int]:
    size: tuple[int, int] | None = entry.get("kernel_size")
    if op == "none":
        return 1, 1  # whatever it says: nothing is convolved
    if size is None:
        return _DEFAULT_KERNEL.get(op, (1, 1))
    if op == "conv1d" and size[1] in (1, size[0]):
        return size[0], 1
    allowed = _KERNELS.get(op, ((1, 1),))
    if size not in allowed:
        raise entry.at("kernel_size").fail(
            f"{size[0]}x{size[1]} is not possible for {op}",
            try_=" or ".join(f"{rows}x{columns}" for rows, columns in allowed),
        )
    return size


def _pad(entry: _Entry, op: str) -> int:
    pad = int(entry.get("pad", 0 if op in ("none", "linear") else 1))
    size = _kernel(entry, op)[0]
    if pad >= size and pad > 0:
        raise entry.at("pad").fail(
            f"{pad} rows and columns around a kernel of {size}",
            why="padding is smaller than the kernel; no kernel, no padding",
            try_=f"pad: {size - 1}",
        )
    return pad


def _stride(entry: _Entry, op: str) -> int:
    expected = 2 if op == "convtranspose2d" else 1
    stride = int(entry.get("stride", expected))
    if op == "convtranspose2d" and stride == 1 and _pool(entry)[0] != (1, 1):
        return expected  # with pooling, 1 stands for the operation's own stride
    if op == "convtranspose2d" and stride != expected:
        raise entry.at("stride").fail(f"{stride} for {op}", try_=str(expected))
    return stride


def _dilation(entry: _Entry, op: str) -> tuple[int, int]:
    rows, columns = entry.get("dilation", (1, 1))
    if op == "none" and "dilation" in entry.values:
        raise entry.at("dilation").fail("this layer has no convolution")
    return (rows, 1) if op == "conv1d" else (rows, columns)


def _activation(entry: _Entry, op: str) -> Any:
    activation = entry.get("activation", "none")
    if activation == "none":
        return activation
    if op == "none":
        raise entry.at("activation").fail("this layer has no convolution to activate")
    if entry.get("output_width") == 32:
        raise entry.at("activation").fail("a 32-bit result is not activated", try_="none")
    return activation


def _big_data(entry: _Entry, number: int) -> bool:
    big = bool(entry.get("data_format", False))
    if big and number > 0:
        raise entry.at("data_format").fail("CHW is for the first layer only", try_="HWC")
    return big
