import dataclasses

import numpy as np
import pytest

from edgebed.data import synthetic
from edgebed.data.synthetic import scene
from edgebed.errors import EdgebedError


def test_a_sample_does_not_depend_on_order_or_count():
    few = synthetic.scenes(3, 2, 2, seed=5)
    many = synthetic.scenes(6, 4, 3, seed=5)
    last = many.splits["train"][2].load()
    many.splits["train"][5].load()
    np.testing.assert_array_equal(few.splits["train"][2].load(), last)
    for split in ("train", "val", "test"):
        for a, b in zip(few.splits[split], many.splits[split], strict=False):
            assert a.name == b.name
            np.testing.assert_array_equal(a.boxes, b.boxes)


def test_seeds_and_splits_give_different_scenes():
    names = [s.name for part in synthetic.scenes(4, 4, 4).splits.values() for s in part]
    assert len(set(names)) == 12
    first, second = synthetic.sample(0, 0).load(), synthetic.sample(1, 0).load()
    assert (first != second).mean() > 0.5


def test_every_class_appears_and_boxes_lie_inside():
    data = synthetic.scenes(120, 1, 1)
    labels = np.concatenate([sample.labels for sample in data.splits["train"]])
    assert set(labels) == set(range(5)) and len(data.classes) == 5
    assert np.bincount(labels).min() > 0.1 * len(labels)
    for sample in data.splits["train"]:
        assert sample.boxes.dtype == np.float32 and sample.labels.dtype == np.int64
        assert (sample.boxes >= 0).all() and (sample.boxes <= 224).all()
        assert (sample.boxes[:, 2:] - sample.boxes[:, :2] >= 4).all()


@pytest.mark.parametrize("size", [48, 224])
def test_pictures_have_the_asked_size(size):
    picture = synthetic.sample(3, 7, size).load()
    assert picture.shape == (size, size, 3) and picture.dtype == np.uint8
    assert picture.std() > 5


def one(label: int, x: float, y: float, radius: float = 30.0) -> scene.Thing:
    shape = scene.SHAPES[label]
    return scene.Thing(shape, label, x, y, radius, 0.0, np.full(16, 0.5, np.float32))


def test_box_of_a_ball_is_its_circle():
    boxes, labels = scene.visible_boxes([one(0, 100, 90)], 224)
    np.testing.assert_allclose(boxes, [[70, 60, 130, 120]], atol=1)
    assert labels.tolist() == [0]


def test_box_is_of_the_visible_part():
    cut, _ = scene.visible_boxes([one(0, 5, 100)], 224)
    np.testing.assert_allclose(cut, [[0, 70, 35, 130]], atol=1)


def test_hidden_objects_are_not_annotated():
    behind, front = one(0, 100, 100, 20), one(0, 102, 100, 60)
    boxes, _ = scene.visible_boxes([behind, front], 224)
    assert len(boxes) == 1 and boxes[0, 2] - boxes[0, 0] == pytest.approx(120, abs=2)
    beside = dataclasses.replace(behind, x=170.0)
    assert len(scene.visible_boxes([beside, front], 224)[0]) == 2


def test_light_side_of_a_ball_is_brighter():
    light = scene.Light(-0.8, 0.0, 0.6)
    ball = one(0, 112, 112, 60)
    ball.genes[0] = 0.8  # tennis ball: one colour all over
    patch = scene.cover(ball, 224)
    picture = ball.shape.paint(patch.x, patch.y, ball.genes, light, 1 / 60).mean(-1)
    middle = picture.shape[1] // 2
    solid = patch.alpha == 1
    left, right = solid.copy(), solid.copy()
    left[:, middle:] = right[:, :middle] = False
    assert picture[left].mean() > 1.3 * picture[right].mean()


@pytest.mark.parametrize("counts", [(0, 1, 1), (1, -3, 1)])
def test_empty_splits_are_refused(counts):
    with pytest.raises(EdgebedError, match="at least 1"):
        synthetic.scenes(*counts)


def test_tiny_scenes_are_refused():
    with pytest.raises(EdgebedError, match="too small"):
        synthetic.scenes(1, 1, 1, size=16)
