"""PyTorch modules, through torch.export, against PyTorch."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

import torch
from torch import nn

from edgebed.errors import EdgebedError
from edgebed.program.from_torch import from_torch, read_torch
from edgebed.program.read import read_model
from edgebed.program.run import run


class InvertedBlock(nn.Module):
    """A MobileNet v3 block: expansion, depthwise, squeeze and excite, projection, shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Sequential(
            nn.Conv2d(8, 24, 1, bias=False), nn.BatchNorm2d(24), nn.Hardswish(),
            nn.Conv2d(24, 24, 3, padding=1, groups=24, bias=False), nn.BatchNorm2d(24), nn.ReLU6(),
        )  # fmt: skip
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(24, 6, 1), nn.SiLU(), nn.Conv2d(6, 24, 1),
            nn.Hardsigmoid(),
        )  # fmt: skip
        self.narrow = nn.Conv2d(24, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.wide(x)
        return x + self.narrow(y * self.gate(y))


class Shuffle(nn.Module):
    """A ShuffleNet unit."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Conv2d(4, 4, 3, padding=1, groups=4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, 1)
        y = torch.cat([first, self.branch(second)], 1)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class TwoHeads(nn.Module):
    """Two inputs, two outputs."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.softmax(a @ b.transpose(1, 2), -1), (a - b).abs().amax(-1)


def sequence() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(3, 8, 5, 2), nn.BatchNorm1d(8), nn.LeakyReLU(0.2), nn.MaxPool1d(2),
        nn.Flatten(), nn.Linear(72, 5), nn.Softmax(1),
    )  # fmt: skip


def decoder() -> nn.Module:
    return nn.Sequential(
        nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.GELU(), nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.GroupNorm(2, 4), nn.PReLU(4), nn.PixelUnshuffle(2), nn.Mish(), nn.PixelShuffle(2),
    )  # fmt: skip


def randomised(module: nn.Module) -> nn.Module:
    """Give batch norms statistics that are not 0 and 1."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.running_mean = torch.randn(part.num_features)
            part.running_var = torch.rand(part.num_features) + 0.5
    return module.eval()


MODULES = [
    (InvertedBlock, [(1, 8, 6, 5)]),
    (Shuffle, [(1, 8, 6, 5)]),
    (TwoHeads, [(1, 5, 4), (1, 5, 4)]),
    (sequence, [(1, 3, 42)]),
    (decoder, [(1, 8, 4, 6)]),
    (lambda: nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), [(1, 7, 16)]),
    (lambda: nn.LSTM(8, 6, batch_first=True), [(1, 4, 8)]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("build", "shapes"), MODULES)
def test_a_module_answers_as_in_pytorch(build: object, shapes: list[tuple[int, ...]]) -> None:
    module = randomised(build())  # type: ignore[operator]
    inputs = [torch.randn(shape) for shape in shapes]
    with torch.no_grad():
        wanted = module(*inputs)
    program = from_torch(module, inputs)
    feeds = {name: x.numpy() for name, x in zip(program.inputs, inputs, strict=True)}
    found = run(program, feeds)
    flat = [wanted] if isinstance(wanted, torch.Tensor) else [*wanted[:1], *_tensors(wanted[1:])]
    for name, theirs in zip(program.outputs, flat, strict=True):
        mine = found[name].reshape(theirs.shape)
        np.testing.assert_allclose(mine, theirs.numpy(), rtol=1e-4, atol=1e-5)


def _tensors(rest: object) -> list[torch.Tensor]:
    if isinstance(rest, torch.Tensor):
        return [rest]
    return [one for part in rest for one in _tensors(part)]  # type: ignore[attr-defined]


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU())


def test_a_module_keeps_its_mode_and_its_layers_fold() -> None:
    module = small().train()
    program = from_torch(module, [torch.randn(1, 2, 6, 6)])
    assert module.training
    assert [op.kind for op in program.ops] == ["conv2d", "unary"]
    assert program.name == "Sequential"


def test_a_saved_program_is_read_by_its_content(tmp_path: Path) -> None:
    module, x = randomised(small()), torch.randn(1, 2, 6, 6)
    path = tmp_path / "network.bin"
    with path.open("wb") as file:
        torch.export.save(torch.export.export(module, (x,)), file)
    program = read_model(path)
    (found,) = run(program, x.numpy()).values()
    with torch.no_grad():
        np.testing.assert_allclose(found, module(x).numpy(), rtol=1e-4, atol=1e-6)


def test_what_torch_cannot_follow_is_one_sentence() -> None:
    class Branch(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(EdgebedError, match=r"Branch: torch\.export cannot follow") as caught:
        from_torch(Branch(), [torch.randn(1, 3)])
    assert "\n" not in str(caught.value)


def test_an_unsupported_operator_names_the_module() -> None:
    class Sorted(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.topk(x, 2)[0]

    with pytest.raises(EdgebedError, match=r"Sorted, layer .*TopK"):
        from_torch(Sorted(), [torch.randn(1, 5)])


def test_a_pickled_module_is_refused_without_loading_it(tmp_path: Path) -> None:
    path = tmp_path / "module.pt"
    torch.save(small(), path)
    with pytest.raises(EdgebedError, match=r"torch\.export did not write"):
        read_model(path)


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.write_text, (self.path, "run"))


def test_an_archive_that_brings_code_is_refused_before_it_runs(tmp_path: Path) -> None:
    import io
    import zipfile

    module, x = small().eval(), torch.randn(1, 2, 6, 6)
    good, bad, trace = tmp_path / "good.pt2", tmp_path / "bad.pt2", tmp_path / "trace"
    torch.export.save(torch.export.export(module, (x,)), good)
    payload = io.BytesIO()
    torch.save((Harmful(trace),), payload)
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w") as target:
        for entry in source.infolist():
            data = source.read(entry)
            harmful = entry.filename.endswith("sample_inputs/model.pt")
            target.writestr(entry.filename, payload.getvalue() if harmful else data)
    with pytest.raises(EdgebedError, match="pickled objects"):
        read_torch(bad)
    assert not trace.exists()


@pytest.mark.parametrize("end", [0, 4, 100, 2000, -10])
def test_a_cut_archive_is_refused(tmp_path: Path, end: int) -> None:
    path = tmp_path / "cut.pt2"
    torch.export.save(torch.export.export(small().eval(), (torch.randn(1, 2, 6, 6),)), path)
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(EdgebedError, match=r"cut\.pt2"):
        read_torch(path)


def test_a_damaged_archive_is_one_sentence_and_no_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, cut = tmp_path / "whole.pt2", tmp_path / "cut.pt2"
    torch.export.save(torch.export.export(nn.Linear(4, 2).eval(), (torch.zeros(1, 4),)), whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(cut, "w") as target:
        for name in source.namelist():
            if "weight_" not in name:
                target.writestr(name, source.read(name))
    capfd.readouterr()
    with pytest.raises(EdgebedError, match=r"cut\.pt2: .*try: torch\.export\.save"):
        read_model(cut)
    assert capfd.readouterr().err == ""
