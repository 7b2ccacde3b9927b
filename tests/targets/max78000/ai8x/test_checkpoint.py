"""Checkpoints: read as PyTorch wrote them, never executed, refused when foreign or damaged."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgebed import events
from edgebed.errors import EdgebedError
from edgebed.program.ops.conv2d import Conv2d
from edgebed.program.ops.conv_transpose2d import ConvTranspose2d
from edgebed.program.run import run
from edgebed.program.types import Program
from edgebed.targets.max78000.ai8x import read_project
from edgebed.targets.max78000.ai8x.unpickle import Inert, read_checkpoint

torch = pytest.importorskip("torch")

HEAD = "arch: mine\ndataset: CIFAR-10\nlayers:\n"
CONV = "  - {processors: 0x7, op: conv2d, out_offset: 0x2000}\n"
FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])


def state(**tensors: Any) -> dict[str, Any]:
    items = {name.replace("__", "."): torch.tensor(v, dtype=torch.float32)
             for name, v in tensors.items()}  # fmt: skip
    return {"epoch": 3, "arch": "Mine", "state_dict": OrderedDict(items)}


def conv_state(rng: np.random.Generator, bits: int = 8, **more: Any) -> dict[str, Any]:
    half = 1 << (bits - 1)
    weight = rng.integers(-half, half, (4, 3, 3, 3)).astype(float)
    return state(
        c__op__weight=weight,
        **{"c__weight_bits": [float(bits)], "c__output_shift": [-2.0], **more},
    )


def save(folder: Path, content: Any, *, zipped: bool = True) -> Path:
    path = folder / "checkpoint.pth.tar"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def read(folder: Path, content: Any, layers: str = CONV, **flags: Any) -> Program:
    (folder / "net.yaml").write_text(HEAD + layers)
    path = content if isinstance(content, Path) else save(folder, content)
    return read_project(folder / "net.yaml", path, flags).program


# The file format


@FORMATS
def test_tensors_come_back_as_they_were_saved(zipped: bool, tmp_path: Path) -> None:
    base = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    content = {
        "plain": base,
        "turned": base.permute(2, 0, 1),
        "window": base[1, 1:, ::2],
        "scalar": torch.tensor(7),
        "none": torch.zeros(0, 3),
        "flags": torch.tensor([True, False]),
        "half": torch.tensor([0.5, -2.0], dtype=torch.float16),
        "bytes": torch.tensor([1, 255], dtype=torch.uint8),
        "parameter": torch.nn.Parameter(torch.ones(2, 2)),
        "nested": [{"a": (torch.tensor([1, 2]), "text", None, 1.5)}],
        "size": torch.Size([1, 2]),
    }
    found = read_checkpoint(save(tmp_path, content, zipped=zipped))
    for name in ("plain", "turned", "window", "scalar", "none", "flags", "half", "bytes"):
        expected = content[name].numpy()
        assert found[name].dtype == expected.dtype, name
        np.testing.assert_array_equal(found[name], expected, err_msg=name)
    assert found["parameter"].tolist() == [[1, 1], [1, 1]]
    assert found["nested"][0]["a"][0].tolist() == [1, 2]
    assert found["nested"][0]["a"][1:] == ["text", None, 1.5]
    assert found["size"] == [1, 2]


@FORMATS
def test_optimisers_are_inert(zipped: bool, tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimiser = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    content = {"optimizer_type": torch.optim.SGD, "optimizer_state_dict": optimiser.state_dict()}
    found = read_checkpoint(save(tmp_path, content, zipped=zipped))
    assert issubclass(found["optimizer_type"], Inert)
    assert found["optimizer_state_dict"]["param_groups"][0]["momentum"] == 0.9


class Evil:
    """Runs a function when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def zip_of(content: bytes, folder: Path) -> Path:
    path = folder / "evil.pth.tar"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
    return path


def stream_of(content: bytes, folder: Path) -> Path:
    path = folder / "evil.pth.tar"
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    path.write_bytes(b"".join(pickle.dumps(part, 2) for part in head) + content)
    return path


WRAPPERS = pytest.mark.parametrize("wrap", [zip_of, stream_of])


@WRAPPERS
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, "system"), (eval, "eval"), (exec, "exec"), (open, "open"), (getattr, "getattr")],
)
def test_foreign_objects_are_refused_and_not_executed(
    wrap: Callable[[bytes, Path], Path],
    protocol: int,
    function: Callable[..., Any],
    name: str,
    tmp_path: Path,
) -> None:
    mark = tmp_path / "executed"
    command = f"touch {mark}" if function is os.system else f"open({str(mark)!r}, 'w')"
    content = pickle.dumps({"state_dict": Evil(function, command)}, protocol)
    with pytest.raises(EdgebedError, match=rf"contains the object '\w+\.{name}'.*not allowed"):
        read_checkpoint(wrap(content, tmp_path))
    assert not mark.exists()


@WRAPPERS
@pytest.mark.parametrize(
    "content",
    [
        b"cedgebed.events\nNote\n.",  # our own objects are foreign too
        b"ctorch\nload\n.",
        b"ctorch._utils\n_rebuild_device_tensor_from_numpy\n.",
        b"ctorch.optim.sgd\nos.system\n.",
        b"c__builtin__\ngetattr\n.",
        b"(S'x'\nios\nsystem\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    ],
)
def test_names_are_refused_in_every_notation(
    wrap: Callable[[bytes, Path], Path], content: bytes, tmp_path: Path
) -> None:
    with pytest.raises(EdgebedError, match="not allowed"):
        read_checkpoint(wrap(content, tmp_path))


def test_a_pickle_cannot_change_what_allowed_names_do(tmp_path: Path) -> None:
    # BUILD with (None, {"name": "x"}) on an allowed function, then on the dictionary class.
    for name in (b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n"):
        content = b"\x80\x02" + name + b"N}X\x04\x00\x00\x00nameX\x01\x00\x00\x00xs\x86b."
        with pytest.raises(EdgebedError, match="not an intact PyTorch checkpoint"):
            read_checkpoint(zip_of(content, tmp_path))
    assert read_checkpoint(save(tmp_path, {"a": torch.ones(1)}))["a"].tolist() == [1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an intact"),
        (b"\x80\x02I5\n.", "magic number"),
        (pickle.dumps([1, 2]), "magic number"),
        (b"PK\x05\x06" + bytes(18), "no data.pkl"),
    ],
)
def test_files_that_are_no_checkpoints_are_refused(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.pth.tar"
    path.write_bytes(content)
    with pytest.raises(EdgebedError, match=message):
        read_checkpoint(path)
    with pytest.raises(EdgebedError, match="cannot read the checkpoint"):
        read_checkpoint(tmp_path / "gone.pth.tar")


def test_a_checkpoint_that_is_no_dictionary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgebedError, match="not a dictionary"):
        read_checkpoint(save(tmp_path, [1, 2]))


@FORMATS
def test_truncated_checkpoints_are_refused(zipped: bool, tmp_path: Path) -> None:
    whole = save(tmp_path, state(c__weight=np.ones((2, 40))), zipped=zipped).read_bytes()
    path = tmp_path / "cut.pth.tar"
    for length in range(0, len(whole), len(whole) // 40):
        path.write_bytes(whole[:length])
        with pytest.raises(EdgebedError, match=r"not an intact|not allowed"):
            read_checkpoint(path)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damage_causes_a_clear_error_or_none(data: st.DataObject, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    zipped = data.draw(st.booleans())
    torch.save(state(c__weight=[[1.0, 2.0]]), buffer, _use_new_zipfile_serialization=zipped)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.pth.tar"
    path.write_bytes(content)
    try:
        read_checkpoint(path)
    except EdgebedError as error:
        assert "damaged.pth.tar" in str(error)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=80))
def test_any_pickle_causes_a_clear_error_or_none(content: bytes, tmp_path: Path) -> None:
    try:
        read_checkpoint(zip_of(b"\x80\x02" + content, tmp_path))
    except EdgebedError as error:
        assert "evil.pth.tar" in str(error)


def test_tensors_larger_than_their_storage_are_refused(tmp_path: Path) -> None:
    content = read_parts(save(tmp_path, {"a": torch.ones(4)}))
    wrong = content["archive/data.pkl"].replace(b"K\x04\x85", b"K\xff\x85", 1)
    assert wrong != content["archive/data.pkl"]
    path = tmp_path / "wrong.pth.tar"
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in {**content, "archive/data.pkl": wrong}.items():
            archive.writestr(name, part)
    with pytest.raises(EdgebedError, match=r"larger than its storage|another size"):
        read_checkpoint(path)


def read_parts(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {
            "archive/" + name.partition("/")[2]: archive.read(name) for name in archive.namelist()
        }


# What a quantised checkpoint means


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_weights_shift_and_bias(bits: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(bits)
    stored = rng.integers(-128, 128, 4)
    content = conv_state(rng, bits, c__op__bias=stored * 2.0 ** (bits - 1))
    program = read(tmp_path, content)
    (op,) = program.ops
    assert isinstance(op, Conv2d)
    assert op.requantize is not None
    assert op.requantize.right_shift == 7 - (-2 + 8 - bits)
    weight = program.constants["layer00.weight"]
    assert weight.bits == bits
    np.testing.assert_array_equal(weight.values, content["state_dict"]["c.op.weight"].numpy())
    np.testing.assert_array_equal(program.constants["layer00.bias"].values, 128 * stored)


def test_old_checkpoints_have_no_bits_and_shifts(tmp_path: Path) -> None:
    content = state(conv1__conv2d__weight=np.full((4, 3, 3, 3), 5.0))
    program = read(tmp_path, content)
    (op,) = program.ops
    assert isinstance(op, Conv2d)
    assert op.requantize is not None
    assert (op.requantize.right_shift, program.constants["layer00.weight"].bits) == (7, 8)


def test_the_description_decides_over_the_checkpoint(tmp_path: Path) -> None:
    layers = CONV.replace("op:", "output_shift: 1, quantization: 8, op:")
    program = read(tmp_path, conv_state(np.random.default_rng(0), 4), layers)
    (op,) = program.ops
    assert isinstance(op, Conv2d)
    assert op.requantize is not None
    assert op.requantize.right_shift == 7 - 1


def test_transposed_kernels_stay_as_pytorch_has_them(tmp_path: Path) -> None:
    weight = np.random.default_rng(1).integers(-128, 128, (3, 5, 3, 3)).astype(float)
    program = read(
        tmp_path, state(up__op__weight=weight), CONV.replace("conv2d", "ConvTranspose2d")
    )
    (op,) = program.ops
    assert isinstance(op, ConvTranspose2d)
    np.testing.assert_array_equal(program.constants["layer00.weight"].values, weight)
    x = torch.randint(-128, 128, (1, 3, 32, 32), generator=torch.Generator().manual_seed(2))
    accumulator = torch.nn.functional.conv_transpose2d(
        x.double(), torch.tensor(weight), stride=2, padding=1, output_padding=1
    )
    expected = torch.floor(accumulator / 128 + 0.5).clamp(-128, 127).numpy()[0]
    got = run(program, x.numpy().astype(np.int8)[0])["layer00"]
    np.testing.assert_array_equal(got, expected)


def test_weights_go_to_layers_in_the_order_of_the_file(tmp_path: Path) -> None:
    layers = (
        CONV
        + "  - {processors: 0xf, op: none, out_offset: 0}\n"
        + "  - {processors: 0xf, op: mlp, flatten: true, out_offset: 0x2000}\n"
    )
    content = state(
        z__op__weight=np.full((4, 3, 3, 3), 3.0),
        a__op__weight=np.full((2, 4 * 1024), 2.0),
        later__op__weight=np.ones((1, 1)),
    )
    heard: list[events.Event] = []
    (tmp_path / "net.yaml").write_text(HEAD + layers.replace("0x2000}", "0x2000, pad: 1}", 1))
    path = save(tmp_path, content)
    with pytest.raises(EdgebedError, match=r"processors|values"):
        read_project(tmp_path / "net.yaml", path, {"input-shape": "4,32,32"})
    program = read_project(tmp_path / "net.yaml", path, {}, heard.append).program
    assert program.constants["layer00.weight"].values[0, 0, 0, 0] == 3
    assert program.constants["layer02.weight"].values[0, 0] == 2
    assert [event.text for event in heard if isinstance(event, events.Note)] == [
        "weights without a layer: later.op.weight"
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"arch": "mine"}, "the checkpoint has no `state_dict`"),
        ({**state(), "arch": "other"}, "architecture 'other'.*says 'mine'"),
        (state(c__op__weight=np.full((4, 3, 3, 3), np.nan)), r"c\.op\.weight: .*not finite"),
        (
            state(c__op__weight=np.full((4, 3, 3, 3), 0.5)),
            r"c\.op\.weight: .*not integers.*-q\.pth",
        ),
        (state(c__op__weight=np.full((4, 3, 3, 3), 300.0)), r"hold 300\.\.300"),
        (state(c__op__weight=np.ones((4, 2, 3, 3))), "3 input channels, its weights 2"),
        (state(c__op__weight=np.ones((4, 3, 1, 1))), "kernels of layer 0 are 1x1"),
        (state(c__bn__weight=[1.0, 2.0]), r"c\.bn\.weight has shape.*fold the batch norm"),
        (state(other=[1.0]), r"layer 0 \(conv2d\) has no weights.*0 layers, 1 are needed"),
        (state(c__op__weight=np.ones((4, 3, 3, 3)), c__weight_bits=[3.0]), "weights of 3 bits"),
        (
            state(c__op__weight=np.ones((4, 3, 3, 3)), c__op__bias=[np.inf] * 4),
            r"c\.op\.bias: .*not finite",
        ),
        (
            state(c__op__weight=np.ones((4, 3, 3, 3)), c__op__bias=[1e6] * 4),
            "biases of layer 0 hold",
        ),
        (
            state(c__op__weight=np.ones((4, 3, 3, 3)), c__output_shift=[0.5]),
            r"c\.output_shift: .*not integers",
        ),
        (
            state(c__op__weight=np.ones((4, 3, 3, 3)), c__output_shift=[1.0, 2.0]),
            r"c\.output_shift: it is not a single number",
        ),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused(
    content: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(EdgebedError, match=message):
        read(tmp_path, content)


def test_batch_norm_can_be_left_out(tmp_path: Path) -> None:
    content = conv_state(np.random.default_rng(3), c__bn__weight=[1.0, 2.0])
    assert read(tmp_path, content, **{"ignore-bn": True}).ops


def test_weights_can_be_left_out_at_the_beginning(tmp_path: Path) -> None:
    content = state(a__op__weight=np.ones((9, 9)), b__op__weight=np.full((4, 3, 3, 3), 7.0))
    program = read(tmp_path, content, **{"skip-checkpoint-layers": 1})
    assert program.constants["layer00.weight"].values[0, 0, 0, 0] == 7


def test_all_zero_weights_need_one_bit(tmp_path: Path) -> None:
    program = read(tmp_path, state(c__op__weight=np.zeros((4, 3, 3, 3))))
    assert program.constants["layer00.weight"].bits == 1
