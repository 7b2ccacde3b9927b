import json

import pytest

from edgebed.errors import EdgebedError
from edgebed.program.contract import Contract, GridDecode, ImageInput, Nms

CONTRACT = Contract(
    ImageInput(224, 192, channels="bgr", resize="letterbox"),
    ("cat", "dog"),
    GridDecode(7, 6, 2, ((0.1, 0.2), (0.5, 0.25)), "squared", 2.0, "sigmoid"),
    Nms(0.3, 0.5, 16, 128),
)


def test_survives_json():
    text = json.dumps(CONTRACT.to_json())
    assert Contract.from_json(json.loads(text)) == CONTRACT


def test_output_channels_are_boxes_and_shared_classes():
    assert CONTRACT.output_channels == 2 * 5 + 2


@pytest.mark.parametrize(
    ("part", "field", "value", "message"),
    [
        ("input", "resize", "letterbx", r"contract\.input\.resize.*did you mean 'letterbox'"),
        ("input", "width", "224", r"contract\.input\.width: '224' is not a number"),
        ("decode", "size", "linear", r"contract\.decode\.size: 'linear' is not possible"),
        ("decode", "boxes", 2.5, r"contract\.decode\.boxes: 2\.5"),
        ("nms", "score", None, r"contract\.nms\.score: None"),
        ("nms", "scores", 0.3, r"contract\.nms: unknown field 'scores'.*'score'"),
    ],
)
def test_wrong_values_are_named(part, field, value, message):
    data = CONTRACT.to_json()
    data[part][field] = value
    with pytest.raises(EdgebedError, match=message):
        Contract.from_json(data)


def test_a_missing_field_is_named():
    data = CONTRACT.to_json()
    del data["input"]["fill"]
    with pytest.raises(EdgebedError, match=r"contract\.input: field 'fill' is missing"):
        Contract.from_json(data)
