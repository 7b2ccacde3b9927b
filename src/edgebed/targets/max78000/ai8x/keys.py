"""The keys of a network description: names, aliases, what each value may be.

Facts from the public documentation and behaviour of ai8x-synthesis ("Network Loader Configuration
Language"). Keys that only its larger sister device has are known, so that the error can say so.
"""

from __future__ import annotations

from typing import Any, Final

from edgebed.targets.max78000.ai8x.values import (
    Reader,
    anything,
    boolean,
    choice,
    crop,
    dimensions,
    integer,
    kernel,
    pair,
    processors,
    same_pair,
    sequence,
    sequences,
    text,
)

MAX_LAYERS: Final = 32
INSTANCE_BYTES: Final = 0x8000

ELEMENTWISE: Final = {
    "add": "add",
    "sub": "subtract",
    "or": "bit_or",
    "bitwiseor": "bit_or",
    "bitwise_or": "bit_or",
    "xor": "bit_xor",
    "bitwisexor": "bit_xor",
    "bitwise_xor": "bit_xor",
}
OPERATIONS: Final = {
    "conv1d": ("conv1d", None),
    "conv2d": ("conv2d", None),
    "convtranspose2d": ("convtranspose2d", None),
    "linear": ("linear", None),
    "fc": ("linear", None),
    "mlp": ("linear", None),
    "none": ("none", None),
    "passthrough": ("none", None),
    **{word: ("none", kind) for word, kind in ELEMENTWISE.items()},
}
ACTIVATIONS: Final = {"none": "none", "relu": "relu", "abs": "abs"}
FORMATS: Final = {"hwc": False, "little": False, "chw": True, "big": True}
WEIGHT_BITS: Final = {"1": 1, "2": 2, "4": 4, "8": 8, "bin": -1, "binary": -1}
WIDTHS: Final = {"8": 8, "32": 32}

ALIASES: Final = {
    "operation": "op",
    "operator": "op",
    "convolution": "op",
    "activate": "activation",
    "conv_groups": "groups",
    "bias_quadrant": "bias_group",
    "in_skip": "read_gap",
}

LAYER_KEYS: Final[dict[str, Reader]] = {
    "sequence": integer(0, MAX_LAYERS - 1),
    "name": text,
    "next_sequence": sequence,
    "in_sequences": sequences,
    "processors": processors,
    "output_processors": processors,
    "in_offset": integer(0, INSTANCE_BYTES - 1),
    "out_offset": integer(0, INSTANCE_BYTES - 1),
    "in_channels": integer(1, 1024),
    "out_channels": integer(1, 1024),
    "in_dim": dimensions,
    "in_crop": crop,
    "in_channel_skip": integer(0, 1023),
    "op": choice(OPERATIONS),
    "eltwise": choice(ELEMENTWISE),
    "operands": integer(2, 16),
    "pool_first": boolean,
    "max_pool": pair(1, 16),
    "avg_pool": pair(1, 16),
    "pool_stride": pair(1, 16),
    "kernel_size": kernel,
    "pad": integer(0, 9),
    "stride": same_pair(1, 16),
    "dilation": pair(1, 1023),
    "groups": integer(1, 1024),
    "output_pad": integer(0, 9),
    "activation": choice(ACTIVATIONS),
    "quantization": choice(WEIGHT_BITS),
    "output_shift": integer(-22, 15),
    "output_width": choice(WIDTHS),
    "data_format": choice(FORMATS),
    "flatten": boolean,
    "streaming": boolean,
    "write_gap": integer(0, 255),
    "bias_group": anything,
    "output": boolean,
    "weight_source": sequence,
    # Without effect on a build for this device.
    "simulated_sequence": sequence,
    "snoop_sequence": sequence,
    # Of the sister device; any value but "off" is refused.
    "pool_dilation": pair(1, 16),
    "read_gap": integer(0, 255),
    "bypass": boolean,
    "calcx4": boolean,
    "readahead": boolean,
    "tcalc": boolean,
    "buffer_shift": integer(0),
    "buffer_insert": integer(0),
}

SISTER_ONLY: Final = {
    "pool_dilation": (1, 1),
    "read_gap": 0,
    "bypass": False,
    "calcx4": False,
    "readahead": False,
    "tcalc": False,
    "buffer_shift": 0,
    "buffer_insert": 0,
}
"""Keys that this device cannot honour, with the value at which they are off."""

GLOBAL_KEYS: Final = (
    "arch",
    "dataset",
    "layers",
    "output_map",
    "bias",
    "weights",
    "unload",
    "snoop",
    "data_buffer",
)

PLAIN: Final[dict[str, Any]] = {
    "processors": None,
    "output_processors": None,
    "in_channels": None,
    "out_channels": None,
    "in_dim": None,
    "in_crop": (0, 0),
    "in_channel_skip": 0,
    "in_offset": None,
    "out_offset": 0,
    "groups": 1,
    "write_gap": 0,
    "streaming": False,
    "flatten": False,
    "output": False,
}
"""Keys that a layer takes over as they are, with their defaults."""
