import sys

import numpy as np
import pytest
from PIL import Image

from edgebed.data.readers.pictures import frames
from edgebed.errors import EdgebedError


def test_one_picture(tmp_path):
    Image.new("RGBA", (8, 6), (1, 2, 3, 255)).save(tmp_path / "a.png")
    [(name, picture)] = frames(tmp_path / "a.png")
    assert name == "a" and picture.shape == (6, 8, 3) and picture.dtype == np.uint8
    assert picture[0, 0].tolist() == [1, 2, 3]


def test_a_folder_in_order_of_names(tmp_path):
    for name in ("b.JPG", "a.png", "c.bmp"):
        Image.new("RGB", (8, 6)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    assert [name for name, _ in frames(tmp_path)] == ["a", "b", "c"]


def test_a_folder_without_pictures(tmp_path):
    with pytest.raises(EdgebedError, match="no picture in the folder"):
        frames(tmp_path)


@pytest.mark.parametrize(("shape", "count"), [((6, 8, 3), 1), ((5, 6, 8, 3), 5)])
def test_arrays(tmp_path, shape, count):
    data = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.save(tmp_path / "x.npy", data)
    got = list(frames(tmp_path / "x.npy"))
    assert len(got) == count
    np.testing.assert_array_equal(got[-1][1], data.reshape(-1, 6, 8, 3)[-1])


@pytest.mark.parametrize("data", [np.zeros((4, 4, 3), np.float32), np.zeros((3, 4, 4), np.uint8)])
def test_other_arrays_are_refused(tmp_path, data):
    np.save(tmp_path / "x.npy", data)
    with pytest.raises(EdgebedError, match="is not a picture"):
        frames(tmp_path / "x.npy")


def test_pickled_arrays_are_not_executed(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(EdgebedError, match=r"x\.npy"):
        frames(tmp_path / "x.npy")


@pytest.mark.parametrize("name", ["x.jpg", "x.mp4", "x.dat"])
def test_files_that_are_neither(tmp_path, name):
    (tmp_path / name).write_text("nothing to see")
    with pytest.raises(EdgebedError, match=name.replace(".", r"\.")):
        list(frames(tmp_path / name))
    with pytest.raises(EdgebedError, match="no such file"):
        frames(tmp_path / "absent.png")


def test_video_frames(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in (40, 120, 200):
            picture = np.full((48, 64, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    got = list(frames(path))
    assert [name for name, _ in got] == ["clip_000000", "clip_000001", "clip_000002"]
    for (_, picture), level in zip(got, (40, 120, 200), strict=True):
        assert picture.shape == (48, 64, 3)
        assert abs(picture.mean() - level) < 6


def test_video_without_pyav_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "x.mp4").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(EdgebedError, match=r"edgebed\[video\]"):
        list(frames(tmp_path / "x.mp4"))


def test_sixteen_bit_grey_keeps_its_tones(tmp_path):
    Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], np.uint16)).save(tmp_path / "x.png")
    [(_, picture)] = frames(tmp_path / "x.png")
    assert picture[0, :, 0].tolist() == [0, 0x80, 0xFF]
