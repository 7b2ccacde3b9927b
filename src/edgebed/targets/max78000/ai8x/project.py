"""Reading a whole project: description, weights and options to a `Project`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgebed import events
from edgebed.errors import EdgebedError
from edgebed.targets.max78000.ai8x.builder import Choices, build_program
from edgebed.targets.max78000.ai8x.checkpoint import read_quantised
from edgebed.targets.max78000.ai8x.flags import Flags, read_flags
from edgebed.targets.max78000.ai8x.network import Layer, Network
from edgebed.targets.max78000.ai8x.settings import (
    BESIDE,
    NO_SETTINGS,
    LayerSettings,
    input_shape,
    read_settings,
)
from edgebed.targets.max78000.ai8x.weights import Weights, read_npz
from edgebed.targets.max78000.ai8x.yaml_reader import read_network
from edgebed.targets.max78000.hints import LayerHint, Options, Project
from edgebed.targets.max78000.layers import per_pass


def read_project(
    yaml_path: Path,
    weights_path: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    listen: events.Listener = events.ignore,
) -> Project:
    """Read a project of the ai8x tools.

    Args:
        yaml_path: network description.
        weights_path: quantised checkpoint (`.pth.tar`) or integer weights (`.npz`); None for a
            network without weights.
        flags: options of those tools by name, without dashes in front; see `FLAGS`.
        listen: receives a note for every option that has no effect and every assumption.

    Returns:
        The program (ops `layerNN`, `layerNN.pool`, ...; the tensor `layerNN` is layer NN's
        result; outputs: last layer first) and the placement its author gave it.

    Raises:
        EdgebedError: a file cannot be read, or its parts contradict each other; the message names
            file and line or key.
    """
    options = read_flags(flags or {})
    for name in options.without_effect:
        listen(events.Note("compile", f"--{name} has no effect here"))
    network = _trimmed(read_network(yaml_path, options.skip_yaml_layers), options)
    weights = _read_weights(weights_path, network, options, listen)
    settings = _read_settings(weights_path, network, options, listen)
    _note_missing_sample(options, listen)
    shape = input_shape(
        network,
        given=options.input_shape,
        sample=options.sample_input,
        channels=_weight_channels(network, weights),
        settings=settings,
        folders=_folders(yaml_path, weights_path),
    )
    program, groups = build_program(network, weights, settings, shape, _choices(options))
    types = program.types
    hints = tuple(
        _hint(network, layer, groups[layer.name], types[layer.name].shape[0])
        for layer in network.layers
    )
    return Project(program, hints, _options(options))


def _note_missing_sample(options: Flags, listen: events.Listener) -> None:
    """Recorded command lines name files of another folder, so that this is no error."""
    sample = options.sample_input
    if sample is not None and options.input_shape is None and not Path(sample).is_file():
        missing = f"--sample-input: there is no file {sample}"
        listen(events.Note("compile", f"{missing}; the input's shape comes from elsewhere"))


def _choices(options: Flags) -> Choices:
    averages = "half_away" if options.avg_pool_rounding else "truncate"
    return Choices(averages, options.reshape_inputs)  # type: ignore[arg-type]


def _options(options: Flags) -> Options:
    return Options(options.fifo, options.avg_pool_rounding, options.overlap_data)


def _folders(*paths: Path | None) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(path.parent for path in paths if path is not None))


def _trimmed(network: Network, options: Flags) -> Network:
    """Apply the options that change the description."""
    layers = network.layers
    if options.stop_after is not None:
        last = options.stop_after - options.skip_yaml_layers
        if not 0 <= last < len(layers):
            raise EdgebedError(f"--stop-after {options.stop_after}: there is no such layer")
        layers = layers[: last + 1]
    for number in options.streaming_layers:
        if not 0 <= number < len(layers):
            raise EdgebedError(f"--streaming-layers {number}: there is no such layer")
    last_number = len(network.layers) + options.skip_yaml_layers - 1
    for number in options.no_bias or ():
        if not 0 <= number <= last_number:
            missing = f"--no-bias {number}: there is no such layer"
            raise EdgebedError(missing, where=network.file, try_=f"0 to {last_number}")
    return replace(network, layers=tuple(_changed(layer, options, len(layers)) for layer in layers))


def _changed(layer: Layer, options: Flags, count: int) -> Layer:
    changes: dict[str, Any] = {}
    if options.ignore_activation:
        changes["activation"] = "none"
    if options.ignore_streaming:
        changes["streaming"] = False
    if layer.number in options.streaming_layers:
        changes["streaming"] = True
    if layer.number == 0 and options.input_offset is not None:
        changes["in_offset"] = options.input_offset
    if layer.number == count - 1 and options.output_width is not None:
        changes["wide"] = options.output_width == 32
    return replace(layer, **changes)


def _read_weights(
    path: Path | None, network: Network, options: Flags, listen: events.Listener
) -> Mapping[int, Weights]:
    if path is None:
        return {}
    if path.suffix == ".npz":
        weights = read_npz(path)
    else:
        weights = read_quantised(
            path,
            network,
            skip=options.skip_checkpoint_layers,
            ignore_bn=options.ignore_bn,
            listen=listen,
        )
    _check_unused(path, network, weights)
    return {
        number: replace(found, bias=None) if options.drops_bias(number) else found
        for number, found in weights.items()
    }


def _check_unused(path: Path, network: Network, weights: Mapping[int, Weights]) -> None:
    for number in weights:
        if number < len(network.layers) and not network.layers[number].weighted:
            layer = network.layers[number]
            raise layer.place.fail(
                f"layer {number} ({layer.op}) cannot have weights",
                why=f"{path} has weight{number:02d}",
            )


def _read_settings(
    path: Path | None, network: Network, options: Flags, listen: events.Listener
) -> LayerSettings:
    count = len(network.layers)
    if options.layer_settings is not None:
        return read_settings(Path(options.layer_settings), count)
    if path is None or path.suffix != ".npz":
        return NO_SETTINGS
    beside = path.with_name(BESIDE)
    if beside.is_file():
        listen(events.Note("compile", f"shifts not given in the description: from {beside}"))
        return read_settings(beside, count)
    unknown = [layer.number for layer in network.layers if layer.weighted and layer.shift is None]
    if unknown and network.arch.lower() != "test":
        listen(
            events.Note(
                "compile",
                f"{path} does not hold output shifts: 0 is assumed for layers "
                f"{', '.join(map(str, unknown))}; `output_shift:` or --layer-settings gives them",
            )
        )
    return NO_SETTINGS


def _weight_channels(network: Network, weights: Mapping[int, Weights]) -> int | None:
    """Return the input channels of the first layer, if its weights tell."""
    first = network.layers[0]
    found = weights.get(0)
    if found is None or not found.shaped or first.flatten:
        return None
    axis = 0 if first.op == "convtranspose2d" else 1
    return int(found.values.shape[axis]) * first.groups


def _hint(network: Network, layer: Layer, ops: tuple[str, ...], channels: int) -> LayerHint:
    return LayerHint(
        name=layer.name,
        ops=ops,
        processors=layer.processors,
        output_processors=_output_map(network, layer, channels),
        in_offset=_in_offset(network, layer),
        out_offset=layer.out_offset,
        write_gap=layer.write_gap,
        streaming=layer.streaming,
        big_data=layer.big_data,
    )


def _in_offset(network: Network, layer: Layer) -> int:
    if layer.in_offset is not None:
        return layer.in_offset
    return 0 if layer.number == 0 else network.layers[layer.number - 1].out_offset


def _output_map(network: Network, layer: Layer, channels: int) -> int:
    last = layer.number == len(network.layers) - 1
    if last and network.output_map is not None:
        return network.output_map
    if layer.output_processors is not None:
        return layer.output_processors
    if not last:
        return network.layers[layer.number + 1].processors
    return (1 << per_pass(channels)) - 1
