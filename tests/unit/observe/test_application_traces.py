"""An application of its own, with a few calls between its lines."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import edgebed
from edgebed.errors import EdgebedError
from edgebed.observe.recorders import litert
from edgebed.observe.trace import Frame, Manifest
from edgebed.observe.trace_reader import TraceReader

SIDE = 16


def read(path: Path) -> tuple[Manifest, list[Frame]]:
    with TraceReader(path) as reader:
        frames = list(reader.frames())
        assert not reader.cut
        return reader.manifest, frames


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = []
    for number in range(3):
        coarse = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(coarse).resize((40, 30)).save(paths[-1])
    return paths


@pytest.fixture
def network(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    held = {
        "w": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "d": rng.normal(size=(4, 2)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "d"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes, "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(value, name) for name, value in held.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "small.onnx"
    onnx.save(model, path)
    return path


def prepare(picture: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    small = np.asarray(Image.fromarray(picture).resize((SIDE, SIDE)), np.float32)
    return (small / 127.5 - 1).transpose(2, 0, 1)[None]


def test_pil_and_onnx_runtime(pictures: list[Path], network: Path, tmp_path: Path) -> None:
    import onnxruntime

    session, answers = onnxruntime.InferenceSession(str(network)), []
    with edgebed.observe(tmp_path / "t.trace", level="full", classes=["cat", "dog"]) as watch:
        for path in pictures:
            with watch.frame(light=310):
                picture = watch.raw(np.asarray(Image.open(path)))
                x = watch.input(prepare(picture))
                y = session.run(None, {"image": x})[0]
                watch.layers(session)
                answers.append(watch.output(y))
    manifest, frames = read(tmp_path / "t.trace")
    assert (manifest.source, manifest.network, manifest.level) == ("onnxruntime", "small", "full")
    assert manifest.notes["classes"] == ["cat", "dog"] and len(manifest.digest) == 64
    assert [one.number for one in frames] == [0, 1, 2]
    for frame, path, answer in zip(frames, pictures, answers, strict=True):
        names = {role: [one.name for one in frame.of(role)] for role in ("raw", "input", "output")}
        assert names == {"raw": ["picture"], "input": ["image"], "output": ["scores"]}
        assert [one.name for one in frame.of("layer")] == ["c", "r", "p", "f"]
        picture, x, scores = (frame.named(n) for n in ("picture", "image", "scores"))
        assert picture is not None and x is not None and scores is not None
        np.testing.assert_array_equal(picture.values, np.asarray(Image.open(path)))
        assert (picture.layout, x.layout, x.shape) == ("HWC", "CHW", (3, SIDE, SIDE))
        np.testing.assert_allclose(scores.real, answer[0], atol=1e-5)
        assert frame.sensors == {"light": 310}
        assert 0 < frame.figures["latency"].value <= frame.figures["frame"].value


def test_pil_and_litert(pictures: list[Path], cases_dir: Path, tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    model = cases_dir / "models" / "vww_96_int8.tflite"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of the memory that inner tensors take
        net = Interpreter(str(model), experimental_preserve_all_tensors=True)
    net.allocate_tensors()
    inp, out = net.get_input_details()[0], net.get_output_details()[0]
    with edgebed.observe(tmp_path / "t.trace", level="full", model=model) as watch:
        for path in pictures:
            small = watch.raw(np.asarray(Image.open(path).resize((96, 96))))
            x = watch.input((small.astype(np.int16) - 128).astype(np.int8)[None])
            net.set_tensor(inp["index"], x)
            net.invoke()
            watch.layers(net)
            watch.output(net.get_tensor(out["index"]))
    manifest, frames = read(tmp_path / "t.trace")
    assert manifest.source == "litert" and manifest.network == "vww_96_int8"
    assert len(frames) == 3 and len(manifest.layers) > 20
    for frame in frames:
        (given,), (answer,) = frame.of("input"), frame.of("output")
        assert given.name == inp["name"] and given.scale == pytest.approx(inp["quantization"][0])
        assert answer.name == out["name"] and answer.scale is not None
    (again, *_) = litert.record(
        model, {inp["name"]: np.stack([f.of("input")[0].values for f in frames])},
        kernels="delegated",
    )  # fmt: skip
    for one in again.of("layer"):
        same = frames[0].named(one.name)
        assert same is not None
        np.testing.assert_array_equal(same.values, one.values)


def test_frames_without_blocks_begin_and_end_by_themselves(tmp_path: Path) -> None:
    with edgebed.observe(tmp_path / "t.trace") as watch:
        for number in range(4):
            x = watch.input(np.full((1, 2), number, np.float32))
            watch.step("double", x * 2)
            watch.output(x.sum())
    _, frames = read(tmp_path / "t.trace")
    assert [float(one.of("output")[0].real) for one in frames] == [0, 2, 4, 6]
    assert all(one.figures["double"].unit == "us" for one in frames)


def test_level_io_never_asks_for_layers(tmp_path: Path) -> None:
    with edgebed.observe(tmp_path / "t.trace", level="io") as watch, watch.frame():
        watch.layers("there is no such file.onnx")
        watch.output(np.zeros(3, np.float32))
    _, (frame,) = read(tmp_path / "t.trace")
    assert not frame.of("layer")


def test_level_off_writes_no_file_and_returns_what_it_got(tmp_path: Path) -> None:
    x = np.zeros(3)
    with edgebed.observe(tmp_path / "t.trace", level="off") as watch, watch.frame():
        assert watch.raw(x) is x and watch.input(x) is x and watch.output(x) is x
    assert not (tmp_path / "t.trace").exists()


def test_statistics_keep_no_inner_values(tmp_path: Path) -> None:
    with edgebed.observe(tmp_path / "t.trace", level="statistics") as watch, watch.frame():
        watch.layers({"a": np.arange(10.0, dtype=np.float32)})
        watch.output(np.zeros(3, np.float32))
    _, (frame,) = read(tmp_path / "t.trace")
    (layer,) = frame.of("layer")
    assert layer.values is None and layer.statistics is not None
    assert layer.statistics.mean == pytest.approx(4.5)


def test_an_array_that_changes_later_was_recorded_as_it_was(tmp_path: Path) -> None:
    buffer = np.zeros((2, 2, 3), np.uint8)
    with edgebed.observe(tmp_path / "t.trace") as watch:
        for value in (1, 2):
            with watch.frame():
                buffer[:] = value
                watch.raw(buffer)
                buffer[:] = 77
    _, frames = read(tmp_path / "t.trace")
    assert [one.of("raw")[0].real.max() for one in frames] == [1, 2]


def test_a_frame_that_fails_is_left_out_and_the_error_goes_on(tmp_path: Path) -> None:
    def one(watch: Any, broken: bool) -> Iterator[None]:
        with watch.frame():
            watch.input(np.zeros(1, np.float32))
            if broken:
                raise ZeroDivisionError
            yield

    with edgebed.observe(tmp_path / "t.trace") as watch:
        list(one(watch, False))
        with pytest.raises(ZeroDivisionError):
            list(one(watch, True))
        list(one(watch, False))
    _, frames = read(tmp_path / "t.trace")
    assert [frame.number for frame in frames] == [0, 2]


def test_every_tenth_frame(tmp_path: Path) -> None:
    with edgebed.observe(tmp_path / "t.trace", every=10) as watch:
        for number in range(25):
            with watch.frame():
                watch.output(np.full(1, number, np.float32))
    _, frames = read(tmp_path / "t.trace")
    assert [float(one.of("output")[0].real[0]) for one in frames] == [0, 10, 20]


def test_work_of_recording_is_no_part_of_the_frames_time(tmp_path: Path) -> None:
    class Slow:
        def get_tensor_details(self) -> list[Any]:
            time.sleep(0.2)
            return []

        get_input_details = get_output_details = _get_ops_details = get_tensor_details
        invoke = get_tensor = None

    with edgebed.observe(tmp_path / "t.trace", level="full") as watch, watch.frame():
        watch.input(np.zeros(1, np.float32))
        watch.layers(Slow())
    _, (frame,) = read(tmp_path / "t.trace")
    assert frame.figures["frame"].value < 100_000  # microseconds


@pytest.mark.parametrize(
    "use, what",
    [
        (lambda watch: watch.layers(object()), "shows no layers"),
        (lambda watch: watch.raw(np.array(["text"])), "numbers are needed"),
        (lambda watch: watch.layers("missing.onnx"), "no ONNX file"),
    ],
)
def test_what_cannot_be_recorded_is_said(use: Any, what: str, tmp_path: Path) -> None:
    with (
        pytest.raises(EdgebedError, match=what),
        edgebed.observe(tmp_path / "t.trace", level="full") as watch,
        watch.frame(),
    ):
        use(watch)


def test_wrong_settings_are_said_before_the_first_frame(tmp_path: Path) -> None:
    with pytest.raises(EdgebedError, match="no level"):
        edgebed.observe(tmp_path / "t.trace", level="fulll")  # type: ignore[arg-type]
    with pytest.raises(EdgebedError, match="every"):
        edgebed.observe(tmp_path / "t.trace", every=0)
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(EdgebedError, match="cannot write"),
        edgebed.observe(tmp_path / "file" / "t.trace"),
    ):
        pass


def test_the_package_is_still_a_package() -> None:
    code = (
        "import edgebed, sys; assert 'numpy' not in sys.modules; "
        "import edgebed.observe.trace; assert callable(edgebed.observe); "
        "assert edgebed.observe.trace.VERSION; from edgebed import observe; observe.__call__"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("resolver", ["AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "BUILTIN_REF"])
def test_an_interpreter_that_forgets_its_layers_is_refused(
    cases_dir: Path, tmp_path: Path, resolver: str
) -> None:
    from ai_edge_litert import interpreter as runtime

    net = runtime.Interpreter(
        str(cases_dir / "models" / "kws_ref_model.tflite"),
        experimental_op_resolver_type=runtime.OpResolverType[resolver],
    )
    net.allocate_tensors()
    given = net.get_input_details()[0]
    with edgebed.observe(tmp_path / "t.trace", level="full") as watch:
        net.set_tensor(given["index"], watch.input(np.zeros(given["shape"], np.int8)))
        net.invoke()
        with pytest.raises(EdgebedError, match="experimental_preserve_all_tensors=True"):
            watch.layers(net)
        net.invoke()  # looking has left nothing behind that stops it


def test_a_file_of_the_user_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"weights")
    with pytest.raises(EdgebedError, match="exists and is no trace"):
        edgebed.observe(tmp_path / "net.onnx").__enter__()
    assert (tmp_path / "net.onnx").read_bytes() == b"weights"
    for _ in range(2):  # an older trace is
        with edgebed.observe(tmp_path / "t.trace") as watch:
            watch.input(np.zeros(3))


def test_facts_that_have_no_place_are_named_at_once(tmp_path: Path) -> None:
    from datetime import date

    with pytest.raises(EdgebedError, match=r"date has no place in a trace; try: text"):
        edgebed.observe(tmp_path / "t.trace", day=date(2024, 1, 2)).__enter__()


def test_frames_that_come_fast_are_all_there_however_it_ends(tmp_path: Path) -> None:
    values = [np.full((1, 4), n, np.float32) for n in range(100)]
    for error in (None, KeyboardInterrupt, ValueError):
        path = tmp_path / f"{error}.trace"
        with contextlib.suppress(KeyboardInterrupt, ValueError), edgebed.observe(path) as watch:
            for one in values:
                with watch.frame():
                    watch.output(watch.input(one))
                one[:] = -1  # a camera writes to the same memory again
            if error is not None:
                raise error
        with TraceReader(path) as reader:
            found = list(reader.frames())
        assert [float(one.of("output")[0].values[0]) for one in found] == list(range(100))
        for n, one in enumerate(values):
            one[:] = n


def test_a_frame_after_a_pause_is_in_the_file_at_once(tmp_path: Path) -> None:
    from edgebed.observe.pipeline import PATIENCE_S

    with edgebed.observe(tmp_path / "t.trace") as watch:
        for count in (1, 2):
            with watch.frame():
                watch.input(np.zeros(3))
            with TraceReader(tmp_path / "t.trace") as reader:
                assert len(list(reader.frames())) == count
            time.sleep(2 * PATIENCE_S)
