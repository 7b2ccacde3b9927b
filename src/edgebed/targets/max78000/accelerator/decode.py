"""Decodes registers into the dataclasses of registers.py and refuses illegal values."""

from __future__ import annotations

from edgebed.errors import EdgebedError
from edgebed.targets.max78000.accelerator.memory import (
    CTL,
    FIRST_LAYER_REGISTER,
    IFRM,
    LCNT_MAX,
    QUADRANTS,
    Storage,
)
from edgebed.targets.max78000.accelerator.registers import (
    LayerRegisters,
    NetworkRegisters,
    Register,
)

# Bits that must be the same in all quadrants that work on a layer (specification 2.6).
_SHARED = {
    Register.RCNT: 0xFFFFFFFF,
    Register.CCNT: 0xFFFFFFFF,
    Register.ONED: 0xFFFFFFFF,
    Register.PRCNT: 0xFFFFFFFF,
    Register.PCCNT: 0xFFFFFFFF,
    Register.STRIDE: 0xFFFFFFFF,
    Register.RPTR_BASE: 0xFFFFFFFF,
    Register.LCTL: 0xFFFF0FFF,
    Register.MCNT: 0xFFFFFFFF,
    Register.LCTL2: 0xFFFFFFFF,
    Register.POST: 0xFFFFE000,
    Register.STREAM1: 0xFFFFFFFF,
}
_UNSUPPORTED_CTL = {
    8: "one-shot (stop after every layer)",
    16: "mlator",
    21: "simple 1-bit weights",
    30: "binary weights (MAX78002)",
    31: "qupac (MAX78002)",
}


def decode_network(storage: Storage, master: int) -> NetworkRegisters:
    """Return the settings of a start by quadrant `master`.

    Raises:
        EdgebedError: a control bit asks for something this model or device does not do.
    """
    control = int(storage.control[master, CTL])
    for bit, name in _UNSUPPORTED_CTL.items():
        if control >> bit & 1:
            raise EdgebedError(
                f"CTL {control:#010x} sets bit {bit}: {name}",
                where=f"quadrant {master}, register CTL",
                why="not supported on this device",
                try_=f"clear bit {bit}",
            )
    limits = int(storage.control[master, LCNT_MAX])
    first, last = limits >> 8 & 255, limits & 255
    if not first <= last < 32:
        raise EdgebedError(
            f"LCNT_MAX {limits:#x} runs layers {first} to {last}",
            where=f"quadrant {master}, register LCNT_MAX",
            why="first <= last <= 31",
        )
    fast = bool(control >> 22 & 1)  # one FIFO, filled through another address
    enabled = tuple(i for i in range(4) if storage.fifo_control >> 12 + i & 1)
    fifos = enabled or (0,) * fast
    return NetworkRegisters(
        master=master,
        quadrants=tuple(q for q in range(QUADRANTS) if storage.control[q, CTL] & 1),
        first=first,
        last=last,
        rounding=bool(control >> 13 & 1),
        streaming=bool(control >> 14 & 1),
        fifos=fifos if control >> 15 & 1 or fast else (),
        frame_words=int(storage.control[master, IFRM]) & 0xFFFFF,
    )


class Fields:
    """The registers of one layer in one place, with errors that name register and value."""

    def __init__(self, storage: Storage, network: NetworkRegisters, layer: int) -> None:
        words = storage.control[:, FIRST_LAYER_REGISTER : FIRST_LAYER_REGISTER + 21 * 32]
        self.words = words.reshape(QUADRANTS, 21, 32)[:, :, layer]
        self.network, self.layer = network, layer

    def word(self, register: Register, quadrant: int | None = None) -> int:
        """Return a register of one quadrant, the master's when none is given."""
        return int(self.words[self.network.master if quadrant is None else quadrant, register])

    def flag(self, register: Register, bit: int) -> bool:
        """Return one bit of the master's register."""
        return bool(self.word(register) >> bit & 1)

    def field(self, register: Register, high: int, low: int) -> int:
        """Return bits high:low of the master's register."""
        return self.word(register) >> low & (1 << high - low + 1) - 1

    def wrong(self, register: Register, what: str, legal: str) -> EdgebedError:
        """Return the error for an illegal register value."""
        return EdgebedError(
            f"{register.name} = {self.word(register):#x}: {what}",
            where=f"layer {self.layer}, register {register.name}",
            why=f"legal: {legal}",
        )

    def check_shared(self) -> None:
        """Every quadrant that works on this layer must hold the same values."""
        for quadrant in self.network.quadrants:
            if not self.word(Register.ENA, quadrant) & 0xFFFF:
                continue
            for register, mask in _SHARED.items():
                if (self.word(register) ^ self.word(register, quadrant)) & mask:
                    raise self.wrong(
                        register,
                        f"quadrant {quadrant} holds {self.word(register, quadrant):#x}",
                        "the same value in every quadrant with processors in the layer",
                    )


def decode_layer(storage: Storage, network: NetworkRegisters, layer: int) -> LayerRegisters:
    """Return the decoded registers of one layer.

    Raises:
        EdgebedError: a field is illegal on this device; names layer, register, value.
    """
    f = Fields(storage, network, layer)
    f.check_shared()
    decoded = _decode(f)
    _check(f, decoded)
    return decoded


def _decode(f: Fields) -> LayerRegisters:
    passthrough = f.flag(Register.POST, 24)
    one_dimensional = f.flag(Register.ONED, 12) and not passthrough
    transposed = f.flag(Register.POST, 28)
    operands = f.field(Register.ONED, 21, 18) + 1 if f.flag(Register.ONED, 13) else 1
    window = f.field(Register.PRCNT, 3, 0) + 1, f.field(Register.PCCNT, 3, 0) + 1
    kernel = (1, 1) if passthrough else _kernel_size(f)
    bits, passes = (8, 1, 2, 4)[f.field(Register.POST, 23, 22)], _passes(f)
    rows, pad_rows = _size(f, Register.RCNT, transposed)
    columns, pad_columns = _size(f, Register.CCNT, transposed)
    return LayerRegisters(
        index=f.layer,
        rows=rows,
        columns=columns,
        pad_rows=pad_rows,
        pad_columns=pad_columns,
        kernel_rows=kernel[0],
        kernel_columns=kernel[1],
        one_dimensional=one_dimensional,
        window=window,
        stride=f.field(Register.STRIDE, 3, 0) + 1,
        maximum=f.flag(Register.LCTL, 8),
        # The vendor's simulator has no rounding in one-dimensional pooling.
        rounding=f.network.rounding and not one_dimensional,
        operands=operands,
        function=f.field(Register.ONED, 15, 14),
        pool_last=operands > 1 and window != (1, 1) and not f.flag(Register.ONED, 16),
        passthrough=passthrough,
        transposed=transposed,
        flatten=f.flag(Register.POST, 27),
        passes=passes,
        processors=_processors(f, passthrough),
        read_base=f.field(Register.RPTR_BASE, 12, 0),
        write_base=_write_bases(f),
        pass_offset=f.field(Register.WPTR_CHOFFS, 12, 0),
        skip=f.field(Register.LCTL2, 7, 4),
        columns_per_pass=f.field(Register.LCTL2, 16, 8) // bits + 1,
        big_data=f.flag(Register.LCTL, 6),
        wide=f.flag(Register.LCTL, 16),
        activation=f.field(Register.LCTL, 9, 9) or 2 * f.field(Register.POST, 26, 26),
        shift=_shift(f),
        bits=bits,
        weight_start=f.field(Register.MCNT, 31, 16),
        weight_offset=f.field(Register.ONED, 7, 4),
        out_channels=0 if passthrough else _out_channels(f, bits, passes),
        bias=None if passthrough else _bias(f),
        streaming=f.network.streaming and (f.layer == 0 or f.word(Register.STREAM1) != 0),
        time_slots=f.field(Register.ONED, 3, 0) + 1,
    )


def _passes(f: Fields) -> int:
    """Return the input passes; beyond 16 (flatten) POST holds the upper bits."""
    high = f.field(Register.POST, 21, 18) if f.flag(Register.POST, 27) else 0
    return 16 * high + f.field(Register.LCTL2, 3, 0) + 1


def _shift(f: Fields) -> int:
    magnitude = f.field(Register.POST, 16, 13)
    return -magnitude if f.flag(Register.POST, 17) else magnitude


def _size(f: Fields, register: Register, transposed: bool) -> tuple[int, int]:
    pad = f.field(register, 17, 16)
    size = f.field(register, 9, 0) + 1 - 2 * pad
    if size < 1 or pad > 2:
        raise f.wrong(register, f"size {size} with padding {pad}", "size >= 1, padding 0 to 2")
    if transposed and size % 2:
        raise f.wrong(register, f"size {size}", "twice the input size in transposed convolution")
    return (size // 2 if transposed else size), pad


def _kernel_size(f: Fields) -> tuple[int, int]:
    length = f.field(Register.ONED, 11, 8)
    if f.field(Register.ONED, 12, 12):
        if not 1 <= length <= 9:
            raise f.wrong(Register.ONED, f"1-D kernel length {length}", "[11:8] = 1 to 9")
        return length, 1
    if length > 1:
        raise f.wrong(Register.ONED, f"kernel code {length}", "[11:8] = 0 (3x3) or 1 (1x1)")
    return (1, 1) if length else (3, 3)


def _processors(f: Fields, passthrough: bool) -> tuple[int, ...]:
    enabled: list[int] = []
    for quadrant in f.network.quadrants:
        word = f.word(Register.ENA, quadrant)
        if not passthrough and word >> 16 != word & 0xFFFF:
            raise EdgebedError(
                f"ENA = {word:#010x} in quadrant {quadrant}",
                where=f"layer {f.layer}, register ENA",
                why="legal: kernel enables [31:16] equal processor enables [15:0] in convolutions",
            )
        enabled += [16 * quadrant + bit for bit in range(16) if word >> bit & 1]
    if not enabled:
        raise f.wrong(Register.ENA, "no processor is enabled", "at least one in some quadrant")
    return tuple(enabled)


def _write_bases(f: Fields) -> tuple[tuple[int, int], ...]:
    words = (f.word(Register.WPTR_BASE, q) for q in range(QUADRANTS))
    return tuple((word & 0x1FFF, word >> 13 & 15) for word in words)


def _out_channels(f: Fields, bits: int, passes: int) -> int:
    span = f.field(Register.MCNT, 15, 0) - f.field(Register.MCNT, 31, 16)
    kernels = span // bits + 1
    if span < 0 or span % bits or kernels % passes:
        raise f.wrong(
            Register.MCNT,
            f"{span} bits from first to last kernel",
            f"(output columns * {passes} passes - 1) * {bits}",
        )
    return kernels // passes


def _bias(f: Fields) -> tuple[int, int] | None:
    owners = [q for q in f.network.quadrants if f.word(Register.POST, q) >> 12 & 1]
    if len(owners) > 1:
        raise f.wrong(Register.POST, f"bias enabled in quadrants {owners}", "bit 12 in one only")
    return (owners[0], f.word(Register.POST, owners[0]) & 0xFFF) if owners else None


def _check(f: Fields, layer: LayerRegisters) -> None:
    """Raise on combinations the device does not have (specification 2.6, 2.16)."""
    if f.field(Register.POST, 31, 29):
        raise f.wrong(Register.POST, "bits 31:29 are set", "0, they exist on the MAX78002 only")
    if layer.window[0] > layer.rows or layer.window[1] > layer.columns:
        raise f.wrong(Register.PRCNT, f"window {layer.window} on {layer.rows}x{layer.columns}",
                      "a window no larger than the map")  # fmt: skip
    if min(layer.out_size) < 1:
        raise f.wrong(Register.RCNT, f"output size {layer.out_size}", "a map the kernel fits in")
    if layer.wide and layer.activation:
        raise f.wrong(Register.LCTL, "32-bit output with an activation", "bit 16 without bit 9")
    if layer.one_dimensional and (layer.columns > 1 or layer.operands > 1):
        raise f.wrong(Register.ONED, "conv1d on two-dimensional or element-wise data",
                      "one column, one operand")  # fmt: skip
    if layer.weight_offset >= layer.kernel_rows * layer.kernel_columns and not layer.passthrough:
        raise f.wrong(Register.ONED, f"byte offset {layer.weight_offset}",
                      "[7:4] below the kernel's size in bytes")  # fmt: skip
    if layer.big_data and (layer.passes > 1 or layer.operands > 1):
        raise f.wrong(Register.LCTL, "CHW input with passes or operands", "bit 6 with one of each")
    if layer.big_data and len({p // 4 for p in layer.processors}) < len(layer.processors):
        raise f.wrong(Register.ENA, f"CHW input on processors {layer.processors}",
                      "one processor per instance: one of 0 to 3, one of 4 to 7, ...")  # fmt: skip
    if layer.big_data and layer.index != f.network.first:
        raise f.wrong(Register.LCTL, "CHW input in an inner layer", "bit 6 in the first layer only")
