"""Detections: the four parts of one result are computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from edgebed.program.ops._detections import Settings
from edgebed.program.ops.detection_post_process import DetectionPostProcess
from edgebed.program.types import Op
from edgebed.targets.host.frame import Frame
from edgebed.targets.host.layout import View
from edgebed.targets.host.loops import nest
from edgebed.targets.host.lower.expressions import real, real_value
from edgebed.targets.host.steps import Call, Operand

HEADER = "plain_detections.h"


@dataclass(frozen=True)
class Parts:
    """Where the results of one detection lie, and of what."""

    inputs: tuple[str, ...]
    anchors: str
    settings: Settings
    boxes: View
    classes: View
    scores: View
    count: View


def detections(frame: Frame, op: Op) -> None:
    """Lower one part of a detection."""
    layer = cast(DetectionPostProcess, op)
    key = (op.inputs, layer.anchors, layer.settings)
    known = (one for one in frame.detections if isinstance(one, Parts))
    found = next((p for p in known if (p.inputs, p.anchors, p.settings) == key), None)
    if found is None:
        found = _parts(frame, layer)
        frame.detections.append(found)
    frame.views[op.output] = getattr(found, layer.part)


def _parts(frame: Frame, op: DetectionPostProcess) -> Parts:
    """Write the step that finds all parts."""
    boxes, scores = (_reals(frame, name) for name in op.inputs)
    most, count = op.max_detections, boxes.shape[0]
    shapes = {"boxes": (most, 4), "classes": (most,), "scores": (most,), "count": ()}
    results = {name: frame.scratch("f32", shape) for name, shape in shapes.items()}
    room = {
        "corners": frame.scratch("f32", (count, 4)),
        "best": frame.scratch("f32", (count,)),
        "open": frame.scratch("u8", (count,)),
    }
    anchors = frame.pack("anchors", frame.values(op.anchors), "float")
    text = (
        f"eb_detect(code, class_scores, anchors, (eb_detections){{{', '.join(results)}}}, "
        f"(eb_detection_room){{{', '.join(room)}}}, {_rule(op, scores)});"
    )
    writes = [Operand(name, view) for name, view in (results | room).items()]
    reads = (Operand("code", boxes), Operand("class_scores", scores))
    frame.emit(Call(text, reads, tuple(writes), (anchors,), (HEADER,)))
    return Parts(op.inputs, op.anchors, op.settings, **results)


def _rule(op: DetectionPostProcess, scores: View) -> str:
    anchors, columns = scores.shape
    each = min(op.max_classes_per_detection, op.num_classes)
    whole = (
        *(anchors, columns, op.num_classes),
        *(op.max_detections, each, op.detections_per_class, int(op.regular)),
    )
    numbers = ", ".join(map(str, whole))
    limits = f"{real(op.score_threshold)}, {real(op.iou_threshold)}"
    scales = ", ".join(map(real, op.scales))
    return f"(eb_detection_rule){{{numbers}, {limits}, {{{scales}}}}}"


def _reals(frame: Frame, tensor: str) -> View:
    """Return a row-major view of a tensor's real values."""
    kind = frame.kind(tensor)
    if kind.is_float:
        return frame.flat(tensor)
    view = frame.view(tensor)
    copy = frame.scratch("f32", view.shape)
    text = nest(
        view.shape,
        {"out": copy.strides, "in": view.strides},
        lambda at: f"{at['out']} = {real_value(at['in'], kind)};",
    )
    frame.emit(Call(text, (Operand("in", view),), (Operand("out", copy),)))
    return copy
