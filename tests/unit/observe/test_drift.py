"""Drift is seen, named and dated; what is no drift raises nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from traces import inputs, integer_network

from edgebed.cli import execute
from edgebed.errors import EdgebedError
from edgebed.figures import Figure
from edgebed.observe.drift import Drift, drift
from edgebed.observe.drift_profile import Profile, profile_of
from edgebed.observe.trace import Frame, Level, Manifest, Tensor
from edgebed.observe.trace_writer import TraceWriter
from edgebed.program.types import Array

SIDE = 24
Fault = Callable[[Array], Array]


def scenes(seed: int, count: int) -> Iterator[Array]:
    """Pictures 0..255, rows x columns x 3: bright on top, reddish, with upright edges."""
    random = np.random.default_rng(seed)
    down = np.linspace(1, 0, SIDE)[:, None, None]
    for _ in range(count):
        tint = np.array([20.0, 0, -20]) + random.normal(0, 8, 3)
        bars = np.repeat(random.normal(0, 30, (1, SIDE, 1)), SIDE, 0)
        blobs = np.kron(random.normal(0, 15, (6, 6, 1)), np.ones((4, 4, 1)))
        grain = random.normal(0, 4, (SIDE, SIDE, 3))
        light = 100 + random.normal(0, 15) + 50 * down
        yield np.clip(light + tint + bars + blobs + grain, 0, 255)


def frames(pictures: Iterable[Array]) -> Iterator[Frame]:
    """A network that says whether the left half is the brighter one."""
    for at, picture in enumerate(pictures):
        stored = (np.round(picture) - 128).astype(np.int8)
        layer = np.maximum(stored[::2, ::2].mean(2), -60).astype(np.int8)
        gap = np.tanh((picture[:, : SIDE // 2].mean() - picture[:, SIDE // 2 :].mean()) / 20)
        scores = np.array([gap, -gap], np.float32)
        yield Frame(at, (
            Tensor("x", "input", stored.shape, "int8", 1 / 255, -128, "HWC", "", stored),
            Tensor("half", "layer", layer.shape, "int8", 1 / 255, -128, "", "Pool", layer),
            Tensor("scores", "output", (2,), "float32", kind="Tanh", values=scores),
        ))  # fmt: skip


def write(path: Path, source: Iterator[Frame], level: Level = "full") -> Path:
    with TraceWriter(path, Manifest("reference", level, "halves", "d1")) as writer:
        for frame in source:
            writer.write(frame)
    return path


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return profile_of(write(tmp_path_factory.mktemp("p") / "r.trace", frames(scenes(0, 300))))


def with_fault(tmp_path: Path, profile: Profile, fault: Fault, clean: int = 80) -> Drift:
    pictures = [*scenes(1, clean), *(fault(one) for one in scenes(2, 112))]
    return drift(write(tmp_path / "t.trace", frames(iter(pictures))), profile)


def noisy(picture: Array) -> Array:
    return np.clip(picture + np.random.default_rng(3).normal(0, 25, picture.shape), 0, 255)


def blurred(picture: Array) -> Array:
    wide = np.pad(picture, ((2, 2), (2, 2), (0, 0)), mode="edge")
    rows = np.mean([wide[at : at + SIDE] for at in range(5)], axis=0)
    return np.asarray(np.mean([rows[:, at : at + SIDE] for at in range(5)], axis=0))


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (lambda p: 0.6 * p, "brightness_shift"),
        (lambda p: 60 + 0.5 * p, "contrast_shift"),
        (lambda p: np.clip(1.7 * p, 0, 255), "saturation"),
        (lambda p: p[:, :, ::-1], "channel_order"),
        (lambda p: np.rot90(p), "orientation"),
        (lambda p: np.rot90(p, 2), "orientation"),
        (noisy, "noise"),
        (blurred, "blur"),
        (lambda p: p * np.array([1, 0, 1]), "missing_channel"),
        (lambda p: np.full_like(p, 4), "dead_sensor"),
    ],
)
def test_a_fault_is_named_and_dated(
    tmp_path: Path, profile: Profile, fault: Fault, cause: str
) -> None:
    found = with_fault(tmp_path, profile, fault)
    if cause == "contrast_shift":
        assert found.verdicts[0].cause in ("contrast_shift", "brightness_shift")
    else:
        assert [one.cause for one in found.verdicts] == [cause]
    since = int(found.verdicts[0].evidence.split("Since frame ")[1].split(":")[0])
    assert abs(since - 80) <= 4


def test_a_camera_that_stands_still_is_named(tmp_path: Path, profile: Profile) -> None:
    pictures = [*scenes(1, 40), *([*scenes(2, 1)] * 20)]
    found = drift(write(tmp_path / "t.trace", frames(iter(pictures))), profile)
    assert [one.cause for one in found.verdicts] == ["stuck_frame"]
    assert "Since frame 40" in found.verdicts[0].evidence


def test_clean_frames_raise_nothing_in_many_windows(tmp_path: Path, profile: Profile) -> None:
    path = write(tmp_path / "t.trace", frames(scenes(5, 1600)))
    for window in (64, 16, 8):
        found = drift(path, profile, window)
        assert (found.windows, found.drifted) == (1600 // window, 0)


def test_a_video_of_one_usual_scene_raises_nothing(tmp_path: Path, profile: Profile) -> None:
    """Frames that resemble each other say no more together than a few do."""
    (scene,) = scenes(8, 1)
    random = np.random.default_rng(9)
    video = (np.clip(scene + random.normal(0, 1, scene.shape), 0, 255) for _ in range(128))
    assert not drift(write(tmp_path / "t.trace", frames(video)), profile).verdicts


def test_other_classes_from_inputs_as_usual_are_named(tmp_path: Path, profile: Profile) -> None:
    def decided(source: Iterator[Frame]) -> Iterator[Frame]:
        for frame in source:
            values = np.array([0.9, -0.9], np.float32)
            yield replace(frame, tensors=(*frame.tensors[:2], replace(frame.tensors[2],
                          values=values)))  # fmt: skip

    path = write(tmp_path / "t.trace", decided(frames(scenes(4, 64))))
    (verdict,) = drift(path, profile).verdicts
    assert verdict.cause == "class_prior_shift"
    assert "class 0 wins in 100%" in verdict.evidence or "class 1 wins in 0%" in verdict.evidence


def test_a_layer_that_moves_alone_is_named(tmp_path: Path, profile: Profile) -> None:
    def broken(source: Iterator[Frame]) -> Iterator[Frame]:
        for frame in source:
            layer = frame.tensors[1]
            assert layer.values is not None
            halved = replace(layer, values=(layer.values // 2).astype(np.int8))
            yield replace(frame, tensors=(frame.tensors[0], halved, frame.tensors[2]))

    found = drift(write(tmp_path / "t.trace", broken(frames(scenes(4, 64)))), profile)
    assert [(one.cause, one.layer) for one in found.verdicts] == [("layer_shift", "half")]


def test_statistics_alone_are_enough_to_see_a_dark_picture(tmp_path: Path) -> None:
    made = profile_of(write(tmp_path / "r.trace", frames(scenes(0, 200)), "statistics"))
    clean = write(tmp_path / "c.trace", frames(scenes(1, 64)), "statistics")
    dark = write(tmp_path / "d.trace", frames(0.5 * p for p in scenes(2, 64)), "statistics")
    assert not drift(clean, made).verdicts
    assert drift(dark, made).verdicts[0].layer == "input x"


def test_a_profile_is_the_same_after_saving(tmp_path: Path, profile: Profile) -> None:
    profile.save(tmp_path / "profile.json")
    loaded = Profile.load(tmp_path / "profile.json")
    assert loaded.features.keys() == profile.features.keys()
    assert loaded.thresholds == pytest.approx(profile.thresholds, rel=1e-5)
    assert (loaded.network, loaded.digest, loaded.frames) == ("halves", "d1", 300)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no JSON"),
        (b"[]", "is no profile"),
        (b"\xff\xfe", "is no JSON"),
        (b'{"format": 9, "thresholds": []}', "profile format 9"),
        (b'{"format": 2, "thresholds": []}', "damaged profile"),
        (b'{"format": 2, "thresholds": [], "features": {"a": 3}, "counted": {}}', "damaged"),
    ],
)
def test_a_bad_profile_is_one_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "profile.json").write_bytes(content)
    with pytest.raises(EdgebedError, match=words):
        Profile.load(tmp_path / "profile.json")


def test_too_few_frames_make_no_reference(tmp_path: Path) -> None:
    with pytest.raises(EdgebedError, match="3 whole frames are too few"):
        profile_of(write(tmp_path / "r.trace", frames(scenes(0, 3))))


def test_another_networks_trace_is_refused(tmp_path: Path, profile: Profile) -> None:
    def renamed() -> Iterator[Frame]:
        for one in frames(scenes(0, 2)):
            yield replace(one, tensors=tuple(replace(t, name="y" + t.name) for t in one.tensors))

    with pytest.raises(EdgebedError, match="has no tensor of the profile"):
        drift(write(tmp_path / "t.trace", renamed()), profile)


# What is broken.


def test_a_constant_reference_takes_every_change_for_one_and_nothing_else(tmp_path: Path) -> None:
    (scene,) = scenes(0, 1)
    still = profile_of(write(tmp_path / "r.trace", frames([scene] * 40)))
    same = drift(write(tmp_path / "s.trace", frames([scene] * 40)), still)
    other = drift(write(tmp_path / "o.trace", frames([0.5 * scene] * 40)), still)
    assert not same.verdicts
    assert other.verdicts[0].layer == "input x"
    assert np.isfinite(still.thresholds).all() and min(still.thresholds) > 0


def test_a_short_video_is_no_reference(tmp_path: Path) -> None:
    def video() -> Iterator[Array]:
        (scene,) = scenes(0, 1)
        for at in range(90):
            yield np.clip(scene + 40 * np.sin(at / 30) + np.roll(scene, at // 9, 1) / 8, 0, 255)

    with pytest.raises(EdgebedError, match="90 frames of a reference say as much as"):
        profile_of(write(tmp_path / "r.trace", frames(video())))


def test_one_frame_is_a_window_that_says_little(tmp_path: Path, profile: Profile) -> None:
    usual = drift(write(tmp_path / "u.trace", frames(scenes(3, 1))), profile)
    white = drift(write(tmp_path / "w.trace", frames([np.full((SIDE, SIDE, 3), 250.0)])), profile)
    assert (usual.frames, usual.windows, usual.verdicts) == (1, 1, ())
    assert white.verdicts


def test_a_trace_without_inputs_is_judged_by_its_layers(tmp_path: Path, profile: Profile) -> None:
    def without(source: Iterator[Frame]) -> Iterator[Frame]:
        for one in source:
            yield replace(one, tensors=one.tensors[1:])

    clean = write(tmp_path / "c.trace", without(frames(scenes(4, 64))))
    dark = write(tmp_path / "d.trace", without(frames(0.4 * one for one in scenes(4, 64))))
    assert not drift(clean, profile).verdicts
    found = drift(dark, profile).verdicts[0]
    assert (found.cause, found.layer) == ("layer_shift", "half")


def test_frames_of_nan_are_named_and_bring_nothing_down(tmp_path: Path, profile: Profile) -> None:
    def broken(source: Iterator[Frame]) -> Iterator[Frame]:
        for one in source:
            real = np.full((SIDE, SIDE, 3), np.nan, np.float32)
            given = Tensor("x", "input", real.shape, "float32", layout="HWC", values=real)
            yield replace(one, tensors=(given, *one.tensors[1:]))

    found = drift(write(tmp_path / "t.trace", broken(frames(scenes(4, 64)))), profile)
    assert found.verdicts[0].cause == "bad_values"


def test_a_reference_with_some_nan_is_refused_or_watches_what_is_left(tmp_path: Path) -> None:
    def broken(source: Iterator[Frame]) -> Iterator[Frame]:
        for one in source:
            scores = np.array([np.nan, np.nan], np.float32)
            yield replace(one, tensors=(*one.tensors[:2],
                                        replace(one.tensors[2], values=scores)))  # fmt: skip

    made = profile_of(write(tmp_path / "r.trace", broken(frames(scenes(0, 64)))))
    assert made.tensors == ("input x", "half")


def test_an_input_that_is_no_picture_is_not_called_dark(tmp_path: Path) -> None:
    def sounds(seed: int, gain: float) -> Iterator[Frame]:
        random = np.random.default_rng(seed)
        for at in range(120):
            table = (gain * random.normal(40, 20, (49, 10))).clip(-128, 127).astype(np.int8)
            yield Frame(at, (Tensor("x", "input", table.shape, "int8", 0.5, 0, "", "", table),))

    made = profile_of(write(tmp_path / "r.trace", sounds(0, 1.0)))
    (verdict,) = drift(write(tmp_path / "t.trace", sounds(1, 0.5)), made, 120).verdicts
    assert verdict.cause == "level_shift"


# The command.


def test_observe_writes_a_profile_and_says_what_drifted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path / "good.trace", frames(scenes(0, 200)))
    dark = write(tmp_path / "dark.trace", frames(0.5 * p for p in scenes(1, 64)))
    kept = tmp_path / "profile.json"
    assert execute(["observe", str(good), "--write-profile", str(kept)]) == 0
    assert execute(["observe", str(good), "--profile", str(kept)]) == 0
    assert "nothing found" in capsys.readouterr().out
    assert execute(["observe", str(dark), "--profile", str(kept), "--json"]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["verdicts"][0]["cause"] == "brightness_shift"
    assert answer["frames"] == 64


def test_observe_replays_a_trace_with_its_program_and_uses_the_profile_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from edgebed.deploy.bundle import PROGRAM
    from edgebed.observe.recorders import reference
    from edgebed.program.to_onnx import save

    network = integer_network()
    layer = network.ops[3].output
    folder = tmp_path / "compiled"
    folder.mkdir()
    save(network, folder / PROGRAM)
    recorded = list(reference.record(network, {"x": np.stack(inputs(24))}))
    good, bad = tmp_path / "good.trace", tmp_path / "bad.trace"
    for path, defect in ((good, None), (bad, layer)):
        with TraceWriter(path, reference.manifest(network, "full")) as writer:
            for frame in recorded:
                writer.write(replace(frame, tensors=tuple(
                    replace(t, values=np.roll(t.values, 1, 0)) if t.name == defect
                    and t.values is not None else t for t in frame.tensors
                )))  # fmt: skip
    words = ["--program", str(folder), "--json"]
    assert execute(["observe", str(good), *words]) == 0
    assert execute(["observe", str(good), "--write-profile", str(folder / "profile.json")]) == 0
    capsys.readouterr()
    assert execute(["observe", str(good), *words]) == 0
    assert json.loads(capsys.readouterr().out)["windows"] == 1
    assert execute(["observe", str(bad), *words]) == 2
    found = json.loads(capsys.readouterr().out)["verdicts"]
    assert {v["cause"] for v in found if v["layer"] == layer} & {"kernel", "stale_weights"}


def test_observe_reads_a_cut_trace_up_to_the_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "t.trace", frames(scenes(0, 20)))
    path.write_bytes(path.read_bytes()[:-2000])
    assert execute(["observe", str(path)]) == 0
    out = capsys.readouterr().out
    assert "19 frames" in out and "is cut" in out


@pytest.mark.parametrize("content", [b"", b"EBTRACE", b"no trace at all"])
def test_observe_says_of_a_bad_file_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "t.trace").write_bytes(content)
    assert execute(["observe", str(tmp_path / "t.trace")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert execute(["observe", str(tmp_path / "none.trace")]) == 1


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda t: replace(t, values=np.full_like(t.values, 3)), "constant_layer"),
        (lambda t: replace(t, values=np.full_like(t.values, 127) - (t.values > 30)), "saturation"),
    ],
)
def test_observe_names_a_layer_without_any_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Tensor], Tensor],
    cause: str,
) -> None:  # fmt: skip
    broken = (
        replace(one, tensors=(one.tensors[0], change(replace(one.tensors[1], scale=0.1)),
                              one.tensors[2]))
        for one in frames(scenes(0, 12))
    )  # fmt: skip
    path = write(tmp_path / "t.trace", broken)
    assert execute(["observe", str(path), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)["verdicts"]
    assert [(one["cause"], one["layer"]) for one in found] == [(cause, "half")]


def test_observe_names_values_that_are_none_and_late_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def timed() -> Iterator[Frame]:
        for at, one in enumerate(frames(scenes(0, 60))):
            scores = one.tensors[2].values
            assert scores is not None
            if at >= 7:
                scores = np.array([np.nan, np.inf], np.float32)
            spent = Figure(90.0 if at % 10 == 9 else 10.0 + at % 3, "ms", "measured", "clock")
            tensors = (*one.tensors[:2], replace(one.tensors[2], values=scores))
            yield replace(one, tensors=tensors, figures={"latency": spent})

    assert execute(["observe", str(write(tmp_path / "t.trace", timed())), "--json"]) == 2
    found = {v["cause"]: v for v in json.loads(capsys.readouterr().out)["verdicts"]}
    assert found.keys() == {"bad_values", "late_frames"}
    assert found["bad_values"]["layer"] == "output scores"
    assert "Since frame 7: 106" in found["bad_values"]["evidence"]
