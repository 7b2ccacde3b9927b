"""The report on two traces as a reader opens it: valid, offline, bounded, and true."""

from __future__ import annotations

import base64
import io
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from traces import Recorder, integer_network, pictures, preprocessed

from edgebed.cli import execute
from edgebed.figures import Figure
from edgebed.observe.names import found_names, short_names
from edgebed.observe.trace import Frame, Manifest, Tensor
from edgebed.observe.trace_writer import TraceWriter

EMPTY = {"meta", "img", "br", "line", "path"}
INTEGER = integer_network()


class Page(HTMLParser):
    """Tags in balance, nothing fetched, text and pictures of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.said = ""
        self.commands: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.links += [str(named[key]) for key in ("src", "href", "data") if key in named]
        assert not any(key.startswith("on") for key in named), named
        if tag == "style":
            assert "body" not in self.open
        if tag == "img":
            assert named.get("alt")
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in EMPTY:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ("line", "rect", "path"), tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.said += data + " "
        if self.open and self.open[-1] == "pre":
            self.commands.append(data)


def overflow(right: np.ndarray, _before: object) -> np.ndarray:
    return ((right.astype(int) * 3 + 128) % 256 - 128).astype(np.int8)


def compared(
    folder: Path, reference: Recorder, device: Recorder, frames: int = 4, more: Sequence[str] = ()
) -> str:
    given = pictures(frames)
    reference.record(folder / "ref.trace", given)
    device.record(folder / "dev.trace", given)
    execute(["compare", *paths(folder), "--html", str(folder / "page.html"), *more])
    return (folder / "page.html").read_text()


def paths(folder: Path) -> list[str]:
    return [str(folder / f"{name}.trace") for name in ("ref", "dev")]


def shown(page: Page) -> list[np.ndarray]:
    from PIL import Image

    found = []
    for link in page.links:
        data = base64.b64decode(link.removeprefix("data:image/png;base64,"))
        found.append(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    return found


def test_the_page_is_valid_and_fetches_nothing(tmp_path: Path) -> None:
    kernel = Recorder(INTEGER, "board", defects={"deep.q": overflow})
    text = compared(tmp_path, Recorder(INTEGER), kernel)
    page = Page(text)
    assert text.startswith("<!doctype html>") and 'name="viewport"' in text
    assert page.links and all(link.startswith("data:image/png;base64,") for link in page.links)
    assert not re.search(r"https?:|url\(|@import|<script|<link|<iframe", text)
    assert "prefers-color-scheme:dark" in text


def test_every_command_of_the_page_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kernel = Recorder(INTEGER, "board", defects={"deep.q": overflow})
    (tmp_path / "my checks.py").write_text("def none(reference, device):\n    return []\n")
    more = ["--frame", "2", "--assert", f"{tmp_path / 'my checks.py'}:none", "--exact"]
    page = Page(compared(tmp_path, Recorder(INTEGER), kernel, more=more))
    assert len(page.commands) >= 3 and any("my checks.py" in line for line in page.commands)
    assert all("--frame 2" in line for line in page.commands)
    for line in page.commands:
        words = shlex.split(line)
        assert words[0] == "edgebed"
        capsys.readouterr()
        assert execute(words[1:]) == 2, line
        assert not capsys.readouterr().err


def test_pictures_are_those_of_the_worst_frame_in_their_colours(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    given = pictures(4)
    bgr = Recorder(INTEGER, "board", preprocess=lambda p: preprocessed(p[..., ::-1]))
    page = Page(compared(tmp_path, Recorder(INTEGER), bgr))
    number = int(re.findall(r"frame (\d+), nRMSE", page.said)[0])
    raw, ours, theirs, _gap = shown(page)[:4]
    assert np.array_equal(raw, given[number])
    for found, wanted in ((ours, given[number]), (theirs, given[number][..., ::-1])):
        low, high = float(given[number].min()), float(given[number].max())
        stretched = np.clip((wanted - low) / (high - low), 0, 1) * 255  # to the reference's range
        assert np.abs(found - stretched).max() <= 2


def test_names_are_text_and_long_ones_short(tmp_path: Path) -> None:
    def nasty(one: Tensor) -> Tensor:
        fused = f"<script>alert(1)</script>/{one.name};" + "model/fused/part;" * 12 + "\"'&"
        return replace(one, name=fused) if one.role == "layer" else one

    device = Recorder(INTEGER, "board", defects={"deep.q": overflow}, changed=nasty)
    text = compared(tmp_path, Recorder(INTEGER, changed=nasty), device)
    page = Page(text)
    assert "<script" not in text and "<script>alert(1)</script>/" in page.said
    cells = [unescape(cell) for cell in re.findall(r"<td[^>]*>([^<]*)</td>", text)]
    assert max(map(len, cells)) <= 60


def test_classes_have_their_names(tmp_path: Path) -> None:
    text = ""
    for name, gain in (("ref", 1.0), ("dev", -1.0)):
        manifest = Manifest("app", "io", notes={"classes": ["cat", "<dog>", "cow"]})
        with TraceWriter(tmp_path / f"{name}.trace", manifest) as writer:
            for number in range(3):
                picture = np.random.default_rng(number).integers(0, 256, (8, 8, 3)).astype(np.uint8)
                scores = np.array([gain, -gain, 0], np.float32)
                writer.write(Frame(number, (
                    Tensor("picture", "raw", (8, 8, 3), "uint8", layout="HWC", values=picture),
                    Tensor("x", "input", (8, 8, 3), "float32", values=picture.astype(np.float32)),
                    Tensor("scores", "output", (3,), "float32", values=scores),
                )))  # fmt: skip
    execute(["compare", *paths(tmp_path), "--html", str(tmp_path / "p.html")])
    text = Page((tmp_path / "p.html").read_text()).said
    assert "cat becomes <dog>" in text


def test_sound_is_drawn(tmp_path: Path) -> None:
    for name, gain in (("ref", 1.0), ("dev", 0.2)):
        with TraceWriter(tmp_path / f"{name}.trace", Manifest("app", "io")) as writer:
            for number in range(3):
                wave = np.sin(np.arange(16000) / 20 * (number + 1)).astype(np.float32)
                table = np.abs(wave[:490]).reshape(49, 10)
                writer.write(Frame(number, (
                    Tensor("sound", "raw", (16000,), "float32", values=wave),
                    Tensor("x", "input", (49, 10), "float32", values=table * np.float32(gain)),
                    Tensor("y", "output", (4,), "float32", values=table[0, :4]),
                )))  # fmt: skip
    execute(["compare", *paths(tmp_path), "--html", str(tmp_path / "p.html")])
    page = Page((tmp_path / "p.html").read_text())
    assert "raw data" in page.said
    assert all(one.shape[1] > one.shape[0] for one in shown(page))  # time runs to the right
    assert (tmp_path / "p.html").stat().st_size < 300_000


def test_a_layer_of_nan_stands_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("ref", "dev"):
        with TraceWriter(tmp_path / f"{name}.trace", Manifest("app", "full")) as writer:
            values = np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32)
            bad = values.copy()
            if name == "dev":
                bad[0, :2, :2] = np.nan
            writer.write(Frame(0, (
                Tensor("x", "input", (3, 8, 8), "float32", values=values),
                Tensor("c", "layer", (3, 8, 8), "float32", values=bad),
                Tensor("y", "output", (4,), "float32", values=values[0, 0, :4]),
            )))  # fmt: skip
    assert execute(["compare", *paths(tmp_path), "--html", str(tmp_path / "p.html")]) == 2
    assert re.search(r"c +layer +<- departs +NaN", capsys.readouterr().out)
    text = (tmp_path / "p.html").read_text()
    assert "4 NaN or infinite" in text
    Page(text)


@pytest.mark.parametrize("layers", [1, 100, 400])
def test_the_page_stays_small_however_deep_the_network(tmp_path: Path, layers: int) -> None:
    time = {"latency": Figure(2.0, "us", "measured", "clock")}
    for name in ("ref", "dev"):
        rng = np.random.default_rng(0)
        names = [f"model/block_{n}/conv/BiasAdd;model/block_{n}/Relu6" for n in range(layers)]
        with TraceWriter(tmp_path / f"{name}.trace", Manifest("app", "full")) as writer:
            for number in range(3):
                values = [rng.normal(size=(4, 4, 8)).astype(np.float32) for _ in names]
                if name == "dev":
                    values[layers // 2 :] = [one * 2 for one in values[layers // 2 :]]
                found = [Tensor(n, "layer", (4, 4, 8), "float32", values=v)
                         for n, v in zip(names, values, strict=True)]  # fmt: skip
                found.insert(0, Tensor("x", "input", (4, 4, 8), "float32", values=values[0] * 0))
                last = values[-1].ravel()[:5]
                found.append(Tensor("y", "output", (5,), "float32", values=last))
                writer.write(Frame(number, tuple(found), {}, dict.fromkeys(names, time)))
    assert execute(["compare", *paths(tmp_path), "--html", str(tmp_path / "p.html")]) == 2
    text = (tmp_path / "p.html").read_text()
    Page(text)
    assert len(text) < 120_000 + 1_000 * layers


def test_short_names_stay_different_and_find_their_tensors() -> None:
    names = [f"model/{'x' * 40}/activation_{n}/Relu;model/conv{n}/BiasAdd" for n in range(30)]
    short = short_names([*names, "x"], 22)
    assert len(set(short.values())) == 31 and max(map(len, short.values())) <= 22
    assert short["x"] == "x"
    assert found_names("model/conv3/BiasAdd", names) == [names[3]]
    assert found_names("ACTIVATION_12", names) == [names[12]]
    assert len(found_names("activation_1", names)) == 11 and not found_names("q", names)


def test_detections_are_drawn_where_only_they_differ(tmp_path: Path) -> None:
    boxes = {"ref": [[0, 0.9, 20, 40, 60, 120], [1, 0.8, 90, 10, 130, 50]],
             "dev": [[1, 0.9, 20, 40, 60, 120]]}  # fmt: skip
    picture = np.full((3, 150, 150), 100, np.uint8)
    for name, rows in boxes.items():
        manifest = Manifest("board", "io", notes={"classes": ["cell", "spot"]})
        with TraceWriter(tmp_path / f"{name}.trace", manifest) as writer:
            for number in range(2):
                found = np.array(rows if number else boxes["ref"], np.float64)
                writer.write(Frame(number, (
                    Tensor("x", "input", (3, 150, 150), "uint8", 1 / 255, values=picture),
                    Tensor("y", "output", (8, 2, 2), "float32", values=np.zeros((8, 2, 2), "f4")),
                    Tensor("detections", "answer", found.shape, "float64", values=found),
                )))  # fmt: skip
    execute(["compare", *paths(tmp_path), "--html", str(tmp_path / "p.html")])
    page = Page((tmp_path / "p.html").read_text())
    assert "frame 1, equal outputs" in page.said and "frame 0" not in page.said
    assert "1 cell, 1 spot" in page.said
    _input, ours, theirs = shown(page)
    for drawn, coloured in ((ours, [(40, 20), (40, 40), (120, 60), (10, 90), (50, 130)]),
                            (theirs, [(40, 20), (120, 60)])):  # fmt: skip
        grey = np.ptp(drawn.astype(int), axis=2) == 0
        assert all(not grey[at] for at in coloured)
        assert grey[80, 40] and grey[0, 0]
    assert np.ptp(theirs[10, 90].astype(int)) == 0
