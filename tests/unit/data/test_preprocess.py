from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebed.data import preprocess
from edgebed.errors import EdgebedError
from edgebed.program.contract import ImageInput

SIZE = st.integers(1, 40)


def area_weights(source: int, size: int) -> list[list[Fraction]]:
    """Overlap of destination pixel j with source pixel i, as a share of j; from the definition."""
    step = Fraction(source, size)
    rows = []
    for j in range(size):
        low, high = j * step, (j + 1) * step
        overlaps = [
            max(Fraction(0), min(high, i + 1) - max(low, Fraction(i))) for i in range(source)
        ]
        rows.append([o / step for o in overlaps])
    return rows


def bilinear_weights(source: int, size: int) -> list[list[Fraction]]:
    rows = []
    for j in range(size):
        p = min(max(((2 * j + 1) * source * 256) // (2 * size) - 128, 0), 256 * (source - 1))
        row = [Fraction(0)] * source
        row[p // 256] += Fraction(256 - p % 256, 256)
        if p % 256:
            row[p // 256 + 1] += Fraction(p % 256, 256)
        rows.append(row)
    return rows


def exact(picture: np.ndarray, width: int, height: int, kind: str) -> np.ndarray:
    def weights(source: int, size: int) -> list[list[Fraction]]:
        use_area = kind == "area" and size <= source
        return area_weights(source, size) if use_area else bilinear_weights(source, size)

    wy, wx = weights(picture.shape[0], height), weights(picture.shape[1], width)
    values = [[[Fraction(int(v)) for v in pixel] for pixel in row] for row in picture]
    out = np.empty((height, width, picture.shape[2]), np.uint8)
    for y, row_weights in enumerate(wy):
        for x, column_weights in enumerate(wx):
            for c in range(picture.shape[2]):
                total = sum(
                    wr * wc * values[r][k][c]
                    for r, wr in enumerate(row_weights)
                    if wr
                    for k, wc in enumerate(column_weights)
                    if wc
                )
                out[y, x, c] = int(total + Fraction(1, 2))
    return out


@given(SIZE, SIZE, SIZE, SIZE, st.sampled_from(["area", "bilinear"]), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_resize_is_the_stated_fraction_rounded_once(rows, columns, height, width, kind, seed):
    rows, columns, height, width = (min(v, 14) for v in (rows, columns, height, width))
    picture = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), np.uint8)
    result = preprocess.resize(picture, width, height, kind)
    np.testing.assert_array_equal(result, exact(picture, width, height, kind))


@given(SIZE, SIZE, SIZE, SIZE)
@settings(max_examples=40, deadline=None)
def test_nearest_takes_the_pixel_under_the_centre(rows, columns, height, width):
    picture = np.zeros((rows, columns, 3), np.uint8)
    picture[..., 0], picture[..., 1] = np.mgrid[:rows, :columns]
    result = preprocess.resize(picture, width, height, "nearest")
    for y in range(height):
        assert result[y, 0, 0] == int(Fraction(2 * y + 1, 2) * rows / height)
    for x in range(width):
        assert result[0, x, 1] == int(Fraction(2 * x + 1, 2) * columns / width)


@pytest.mark.parametrize("kind", ["area", "bilinear", "nearest"])
def test_large_white_picture_stays_white(kind):
    picture = np.full((3000, 4000, 3), 255, np.uint8)
    assert (preprocess.resize(picture, 224, 224, kind) == 255).all()


@given(st.binary(min_size=3, max_size=300))
def test_rgb565_keeps_the_high_bits_and_repeats_them(data):
    frame = np.frombuffer(data[: len(data) // 3 * 3], np.uint8).reshape(1, -1, 3)
    back = preprocess.from_rgb565(preprocess.to_rgb565(frame))
    np.testing.assert_array_equal(back, preprocess.cut_bits(frame))
    np.testing.assert_array_equal(back >> 3, frame >> 3)
    assert (np.abs(back.astype(int) - frame) <= 7).all()
    extremes = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    np.testing.assert_array_equal(preprocess.cut_bits(extremes), extremes)


def test_red_word_is_in_the_high_bits():
    words = preprocess.to_rgb565(np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8))
    assert words.tolist() == [0xF800, 0x07E0, 0x001F]


@pytest.mark.parametrize(("channels", "first"), [("rgb", 200 - 128), ("bgr", 10 - 128)])
def test_channel_order_and_offset(channels, first):
    picture = np.tile(np.array([200, 100, 10], np.uint8), (6, 8, 1))
    want = ImageInput(4, 3, channels=channels, camera_bits="rgb888")
    tensor = preprocess.to_tensor(picture, want)
    assert tensor.dtype == np.int8 and tensor.shape == (3, 3, 4)
    assert (tensor[0] == first).all() and (tensor[1] == 100 - 128).all()
    np.testing.assert_array_equal(preprocess.to_picture(tensor, want), picture[:3, :4])


def test_batch_of_frames_equals_one_by_one():
    frames = np.random.default_rng(1).integers(0, 256, (3, 5, 7, 3), np.uint8)
    want = ImageInput(7, 5)
    batch = preprocess.frame_to_tensor(frames, want)
    assert batch.shape == (3, 3, 5, 7)
    for frame, tensor in zip(frames, batch, strict=True):
        np.testing.assert_array_equal(preprocess.to_tensor(frame, want), tensor)


def test_letterbox_centres_and_fills():
    picture = np.full((50, 100, 3), 255, np.uint8)
    want = ImageInput(20, 20, resize="letterbox", camera_bits="rgb888", fill=7)
    frame = preprocess.to_frame(picture, want)
    assert (frame[5:15] == 255).all()
    assert (frame[:5] == 7).all() and (frame[15:] == 7).all()


def test_crop_keeps_the_middle():
    picture = np.zeros((10, 30, 3), np.uint8)
    picture[:, 10:20] = 255
    frame = preprocess.to_frame(picture, ImageInput(10, 10, resize="crop"))
    assert (frame == 255).all()


@given(
    st.integers(1, 2000),
    st.integers(1, 2000),
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from(["stretch", "letterbox", "crop"]),
)
def test_boxes_return_from_the_network_input(width, height, w, h, mode):
    place = preprocess.geometry(width, height, ImageInput(w, h, resize=mode))
    source, target = place.source, place.target
    assert source.x >= 0 and source.x + source.width <= width and source.width >= 1
    assert target.y >= 0 and target.y + target.height <= h and target.height >= 1
    boxes = np.array(
        [[0, 0, width, height], [width / 3, height / 4, width / 2, height]], np.float32
    )
    back = place.to_picture(place.to_input(boxes))
    np.testing.assert_allclose(back, boxes, atol=1e-3 * max(width, height))
    seen = [source.x, source.y, source.x + source.width, source.y + source.height]
    landed = place.to_input(np.array([seen], np.float32))[0]
    corner = [target.x, target.y, target.x + target.width, target.y + target.height]
    np.testing.assert_allclose(landed, corner, atol=1e-2)


def test_a_grey_picture_is_refused():
    with pytest.raises(EdgebedError, match="height x width x 3"):
        preprocess.to_tensor(np.zeros((4, 4), np.uint8), ImageInput(2, 2))


def test_an_offset_that_leaves_int8_is_refused():
    with pytest.raises(EdgebedError, match="offset 0"):
        preprocess.to_tensor(np.zeros((4, 4, 3), np.uint8), ImageInput(2, 2, offset=0))
