"""The command-line options of the ai8x tools: which change something here, which do not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from edgebed.errors import EdgebedError, did_you_mean

Effect = Literal["result", "timing", "layout", "input", "check", "none", "refused"]
Value = Literal["switch", "number", "text", "list", "optional_list"]


@dataclass(frozen=True)
class Flag:
    """One option.

    Attributes:
        effect: `result` changes numbers, `layout` placement, `timing` cycles, `input` names where
            the input's shape comes from, `check` what is refused, `none` only what those tools
            would write, `refused` is not possible here.
        value: what follows the name on the command line.
        help: one line.
    """

    effect: Effect
    value: Value
    help: str


_RESULT: Final = {
    "avg-pool-rounding": Flag("result", "switch", "round averages instead of truncating them"),
    "no-bias": Flag("result", "optional_list", "leave out the biases of these layers, or of all"),
    "ignore-activation": Flag("result", "switch", "leave out all activations"),
    "output-width": Flag("result", "number", "width of the last layer's result: 8 or 32"),
    "stop-after": Flag("result", "number", "end after this layer"),
    "skip-yaml-layers": Flag("result", "number", "leave out the first N layers of the file"),
    "skip-checkpoint-layers": Flag("result", "number", "leave out the first N weights"),
    "reshape-inputs": Flag("result", "switch", "drop input channels that the layer does not read"),
    "ignore-bn": Flag("check", "switch", "leave out batch-norm weights that were not folded"),
}
_LAYOUT: Final = {
    "fifo": Flag("timing", "switch", "the input arrives through the FIFOs"),
    "fast-fifo": Flag("timing", "switch", "as --fifo; the fast FIFO is not modelled"),
    "fast-fifo-quad": Flag("timing", "switch", "as --fifo; the fast FIFO is not modelled"),
    "input-offset": Flag("layout", "number", "byte offset of the input in data memory"),
    "ignore-streaming": Flag("timing", "switch", "no layer streams"),
    "streaming-layers": Flag("timing", "list", "further layers that stream"),
    "overlap-data": Flag("check", "switch", "a result may overwrite the layer's own input"),
    "allow-streaming": Flag("check", "switch", "streaming without a FIFO"),
}
_INPUT: Final = {
    "input-shape": Flag("input", "list", "shape of the input: C,H,W"),
    "sample-input": Flag("input", "text", "an array file that has the input's shape"),
    "layer-settings": Flag("input", "text", "JSON file with shifts and weight bits by layer"),
}
_REFUSED: Final = {
    name: Flag("refused", "switch", why)
    for name, why in {
        "simple1b": "the 1-bit mode without multiplication is not specified publicly",
        "calcx4": "for the MAX78002 only",
        "read-ahead": "for the MAX78002 only",
        "link-layer": "for the MAX78002 only",
        "fixed-input": "the program does not contain its input",
        "one-shot": "stopping after every layer is not supported by the device",
        "snoop-loop": "for hardware debugging only",
    }.items()
}
_SWITCHES: Final = """
embedded-code compact-data compact-weights mexpress mlator no-mlator softmax unload no-unload
no-kat no-wfi energy pipeline no-pipeline pll no-pll balance-speed max-speed debugwait-off
overwrite display-checkpoint no-timer verbose log no-log no-progress log-intermediate
log-pooling short-log log-last-only verbose-all debug debug-computation debug-latency
no-error-stop stop-start forever ext-rdy ignore-bias-groups debug-snoop ignore-hw-limits
ignore-energy-warning ignore-mlator-warning no-greedy-kernel new-kernel-loader old-kernel-loader
input-sync input-fifo legacy-test legacy-kernels result-output powerdown deepsleep verify-writes
verify-kernels mlator-noverify write-zero-registers init-tram zero-sram pretend-zero-sram
zero-unused no-version-check no-fifo-wait fifo-go debug-new-streaming riscv riscv-flash
no-riscv-flash riscv-cache no-riscv-cache riscv-debug riscv-exclusive rtl rtl-sim rtl-preload
deduplicate-weights no-deduplicate-weights no-scale-output ai85 greedy-kernel
rtl-preload-weights apb no-compact-data no-mexpress
"""
_VALUED: Final = """
board-name prefix test-dir device debugwait define define-default-arm define-default-riscv
eclipse-includes eclipse-variables eclipse-openocd-args unroll-mlator unroll-8bit unroll-wide
boost timer switch-delay c-filename api-filename weight-filename sample-filename
sample-output-filename sample-numpy-filename slow-load log-filename repeat-layers clock-trim
weight-start kernel-format weight-input bias-input input-csv input-csv-format input-csv-retrace
input-csv-period input-pix-clk autogen autogen_list input-filename output-filename
output-config-filename output-data-filename output-weights-filename output-bias-filename
output-pass-filename runtest-filename top-level queue-name timeout override-start increase-start
override-rollover override-delta1 increase-delta1 override-delta2 increase-delta2 max-proc
apb-base ready-sel ready-sel-fifo ready-sel-aon input-split synthesize-input synthesize-words
max-verify-length max-checklines version-check-interval upstream yamllint start-layer
config-file checkpoint-file clock-divider
"""

FLAGS: Final[Mapping[str, Flag]] = {
    **_RESULT,
    **_LAYOUT,
    **_INPUT,
    **_REFUSED,
    **{
        name: Flag("none", "switch", "changes only what those tools write")
        for name in _SWITCHES.split()
    },
    **{
        name: Flag("none", "text", "changes only what those tools write")
        for name in _VALUED.split()
    },
}
"""Every option of those tools by name, without the leading dashes."""

SHORT: Final = {
    "overwrite-ok": "overlap-data",
    "e": "embedded-code",
    "v": "verbose",
    "L": "log",
    "D": "debug",
}


@dataclass(frozen=True)
class Flags:
    """The options that have an effect, read and checked.

    Attributes:
        no_bias: layers whose bias is left out; None = none, empty = all.
        without_effect: names that were given and change nothing here.
    """

    fifo: bool = False
    avg_pool_rounding: bool = False
    overlap_data: bool = False
    ignore_activation: bool = False
    ignore_streaming: bool = False
    ignore_bn: bool = False
    reshape_inputs: bool = False
    no_bias: tuple[int, ...] | None = None
    streaming_layers: tuple[int, ...] = ()
    output_width: int | None = None
    stop_after: int | None = None
    skip_yaml_layers: int = 0
    skip_checkpoint_layers: int = 0
    input_offset: int | None = None
    input_shape: tuple[int, ...] | None = None
    sample_input: str | None = None
    layer_settings: str | None = None
    without_effect: tuple[str, ...] = ()

    def drops_bias(self, layer: int) -> bool:
        """Say whether the bias of a layer is left out."""
        return self.no_bias is not None and (not self.no_bias or layer in self.no_bias)


def parse_flags(arguments: Sequence[str], others: Sequence[str] = ()) -> dict[str, Any]:
    """Split command-line words into options by name, as `read_project` takes them.

    Args:
        arguments: `--name`, `--name value` and `--name=value`, in any order.
        others: `--name` of options that are the caller's own; a mistyped word may have meant one.

    Raises:
        EdgebedError: a word is no option of those tools, or its value is missing.
    """
    found: dict[str, Any] = {}
    words = list(arguments)
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            raise EdgebedError(f"{word!r} belongs to no option")
        name, equals, given = word.lstrip("-").partition("=")
        flag = lookup(name, others)
        if flag.value == "switch":
            found[canonical(name)] = True
        elif equals:
            found[canonical(name)] = given
        elif _takes(flag, words):
            found[canonical(name)] = words.pop(0)
        elif flag.value == "optional_list":
            found[canonical(name)] = True
        else:
            raise EdgebedError(f"--{name} needs a value", try_=f"--{name} {flag.value.upper()}")
    return found


def first_free(arguments: Sequence[str], others: Sequence[str] = ()) -> int | None:
    """Return the place of the first word that is neither an option nor an option's value.

    Args:
        arguments: the words.
        others: see `parse_flags`.

    Raises:
        EdgebedError: an option before it is unknown.
    """
    place = 0
    while place < len(arguments):
        word = arguments[place]
        if not word.startswith("-"):
            return place
        name, equals, _ = word.lstrip("-").partition("=")
        flag = lookup(name, others)
        place += 2 if not equals and _takes(flag, arguments[place + 1 :]) else 1
    return None


def _takes(flag: Flag, following: Sequence[str]) -> bool:
    """Say whether an option without `=` has the next word as its value."""
    if flag.value == "switch" or not following:
        return False
    if flag.value == "optional_list":
        return re.fullmatch(r"[\d,]+", following[0]) is not None
    return re.match("--?[a-zA-Z]", following[0]) is None


def canonical(name: str) -> str:
    """Return an option's name without dashes in front and with dashes inside."""
    bare = name.lstrip("-")
    bare = bare if bare in FLAGS else bare.replace("_", "-")
    return SHORT.get(bare, bare)


def lookup(name: str, others: Sequence[str] = ()) -> Flag:
    """Return an option's description; `others` are further names that may have been meant.

    Raises:
        EdgebedError: those tools have no such option.
    """
    known = canonical(name)
    if known not in FLAGS:
        raise EdgebedError(
            f"unknown option --{known}",
            try_=did_you_mean(f"--{known}", [*(f"--{one}" for one in FLAGS), *others]),
        )
    return FLAGS[known]


def read_flags(given: Mapping[str, Any]) -> Flags:
    """Check options by name and return those that have an effect.

    Raises:
        EdgebedError: unknown, refused, or with a value that cannot be read.
    """
    found: dict[str, Any] = {}
    idle: list[str] = []
    for name, value in given.items():
        flag, known = lookup(name), canonical(name)
        if value is False or value is None:
            continue
        if flag.effect == "refused":
            raise EdgebedError(f"--{known} is not possible", why=flag.help)
        if flag.effect == "none" and not _matters(known, value):
            idle.append(known)
            continue
        found[known.replace("-", "_")] = _value(known, flag, value)
    for name in ("fast_fifo", "fast_fifo_quad"):
        if found.pop(name, False):
            found["fifo"] = True
    if found.pop("allow_streaming", False):
        idle.append("allow-streaming")
    _check(found)
    names = {field.name for field in fields(Flags)}
    return Flags(**{k: v for k, v in found.items() if k in names}, without_effect=tuple(idle))


def _matters(name: str, value: Any) -> bool:
    """Refuse values of otherwise idle options that would change the network or the device."""
    if name == "start-layer" and _number(name, value) != 0:
        raise EdgebedError("--start-layer is not possible", try_="--skip-yaml-layers")
    if name == "device" and str(value).upper() not in ("MAX78000", "AI85", "85"):
        raise EdgebedError(f"--device {value} is another device", try_="--device MAX78000")
    return False


def _value(name: str, flag: Flag, value: Any) -> Any:
    if flag.value == "switch":
        return bool(value)
    if flag.value == "number":
        return _number(name, value)
    if flag.value == "text":
        return str(value)
    if value is True:
        return ()
    items = value.split(",") if isinstance(value, str) else value
    if isinstance(items, int):
        items = [items]
    return tuple(_number(name, item) for item in items)


def _number(name: str, value: Any) -> int:
    try:
        return int(value, 0) if isinstance(value, str) else int(value)
    except (TypeError, ValueError) as error:
        raise EdgebedError(f"--{name}: {value!r} is not a whole number") from error


def _check(found: Mapping[str, Any]) -> None:
    if found.get("output_width", 8) not in (8, 32):
        raise EdgebedError(f"--output-width {found['output_width']}", try_="8 or 32")
    if found.get("input_offset", 0) < 0:
        raise EdgebedError(f"--input-offset {found['input_offset']}", try_="0 or more, in bytes")
    shape = found.get("input_shape")
    if shape is not None and (len(shape) not in (2, 3) or min(shape) < 1):
        raise EdgebedError(f"--input-shape {shape} is not C,H,W", try_="--input-shape 3,32,32")
