"""The custom operator TFLite_Detection_PostProcess."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np

from edgebed.program.tflite.flatbuffer import DAMAGE
from edgebed.program.tflite.layer import Layer
from edgebed.program.types import Constant

_PARTS = ("boxes", "classes", "scores", "count")
_MAX_DETECTIONS = 10_000
_MAX_SETTINGS = 64


def detection_post_process(layer: Layer) -> None:
    """Convert TFLite_Detection_PostProcess: one op for each of its four outputs."""
    boxes, scores = layer.value(0), layer.value(1)
    fields = _fields(layer, _settings(layer))
    anchors = np.array(layer.real(2, "anchors"))
    name = layer.store("anchors", Constant(anchors, 32))
    count = fields["max_detections"]
    shapes: tuple[tuple[int, ...], ...] = ((1, count, 4), (1, count), (1, count), (1,))
    for output in range(len(layer.operator.outputs)):
        if output >= len(_PARTS):
            raise layer.fail(f"it has {len(layer.operator.outputs)} outputs", why="4 exist")
        result = layer.emit(
            "detection_post_process", [boxes.tensor, scores.tensor], suffix=_PARTS[output],
            part=_PARTS[output], anchors=name, **fields,
        )  # fmt: skip
        layer.give(result, shapes[output], output)


def _settings(layer: Layer) -> Mapping[str, Any]:
    """Return the scalars of the flexbuffer that holds the options."""
    from flatbuffers import flexbuffers

    try:
        table = flexbuffers.GetRoot(bytearray(layer.operator.custom)).AsMap
        keys = [key.AsKey for key in islice(table.Keys, _MAX_SETTINGS)]
        found = {str(key): table[key] for key in keys}
        return {
            key: value.AsFloat if value.IsFloat else int(value.AsInt)
            for key, value in found.items()
            if value.IsFloat or value.IsInt or value.IsBool
        }
    except (*DAMAGE, LookupError, AttributeError, RecursionError, MemoryError) as error:
        raise layer.fail("its options cannot be read", why=str(error)[:120]) from error


def _fields(layer: Layer, settings: Mapping[str, Any]) -> dict[str, Any]:
    def get(key: str, default: float | None = None) -> Any:
        value = settings.get(key, default)
        if value is None or not np.isfinite(value):
            raise layer.fail(f"its option {key} is {value}", try_="export it again")
        return value

    count, classes = int(get("max_detections")), int(get("num_classes"))
    if not 0 < count <= _MAX_DETECTIONS or classes < 1:
        raise layer.fail(f"{count} detections of {classes} classes")
    return {
        "max_detections": count,
        "num_classes": classes,
        "max_classes_per_detection": int(get("max_classes_per_detection", 1)),
        "detections_per_class": int(get("detections_per_class", 100)),
        "regular": bool(get("use_regular_nms", 0)),
        "score_threshold": float(get("nms_score_threshold")),
        "iou_threshold": float(get("nms_iou_threshold")),
        "scales": tuple(float(get(key)) for key in ("y_scale", "x_scale", "h_scale", "w_scale")),
    }
