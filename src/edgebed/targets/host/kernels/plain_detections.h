/* Boxes, classes and scores of detections, as edgebed.program.ops._detections computes them. */
#ifndef EB_PLAIN_DETECTIONS_H
#define EB_PLAIN_DETECTIONS_H

#include "plain.h"

/* All fields are literals where a layer is called. */
typedef struct {
  int anchors, columns, classes; /* columns = classes, or one more with the background first */
  int most, each, per_class, regular;
  float score_threshold, iou_threshold;
  float scale[4]; /* of encodings: y, x, h, w */
} eb_detection_rule;

/* Results, zero where there is no detection. */
typedef struct {
  float *boxes, *classes, *scores, *count;
} eb_detections;

/* Memory: corners[4 * anchors], best[anchors], open[anchors]. */
typedef struct {
  float *corners, *best;
  uint8_t *open;
} eb_detection_room;

/* ymin, xmin, ymax, xmax of every anchor; double precision, rounded to float twice. */
EB_INLINE void eb_decode_boxes(const float *code, const float *anchor, float *corners,
                               eb_detection_rule r) {
  for (int a = 0; a < r.anchors; a++)
    for (int d = 0; d < 2; d++) {
      const double size = (double)anchor[4 * a + 2 + d];
      const float center = (float)((double)code[4 * a + d] / (double)r.scale[d] * size +
                                   (double)anchor[4 * a + d]);
      const double grown = exp((double)code[4 * a + 2 + d] / (double)r.scale[2 + d]);
      const float half = (float)(0.5 * grown * size);
      corners[4 * a + d] = center - half;
      corners[4 * a + 2 + d] = center + half;
    }
}

EB_INLINE float eb_overlap(const float *a, const float *b) {
  const float first = (a[2] - a[0]) * (a[3] - a[1]), second = (b[2] - b[0]) * (b[3] - b[1]);
  const float h = (a[2] < b[2] ? a[2] : b[2]) - (a[0] > b[0] ? a[0] : b[0]);
  const float w = (a[3] < b[3] ? a[3] : b[3]) - (a[1] > b[1] ? a[1] : b[1]);
  const float common = (h > 0 ? h : 0.0f) * (w > 0 ? w : 0.0f);
  if (first <= 0 || second <= 0) return 0.0f;
  return common / (first + second - common);
}

/* The best open box, which is then closed together with all that overlap it; -1: none is open. */
EB_INLINE int eb_next_box(eb_detection_room m, eb_detection_rule r) {
  int first = -1;
  for (int a = 0; a < r.anchors; a++)
    if (m.open[a] && (first < 0 || m.best[a] > m.best[first])) first = a;
  if (first < 0) return -1;
  m.open[first] = 0;
  for (int a = 0; a < r.anchors; a++)
    if (m.open[a] && !(eb_overlap(m.corners + 4 * first, m.corners + 4 * a) <= r.iou_threshold))
      m.open[a] = 0;
  return first;
}

EB_INLINE void eb_open_boxes(eb_detection_room m, eb_detection_rule r) {
  for (int a = 0; a < r.anchors; a++) m.open[a] = m.best[a] >= r.score_threshold;
}

/* Put a detection at a place of the results; those behind it move back, the last one drops. */
EB_INLINE int eb_insert_detection(eb_detections out, eb_detection_room m, eb_detection_rule r,
                                  int count, int place, int box, int label, float score) {
  if (place >= r.most) return count;
  count = count < r.most ? count + 1 : count;
  for (int i = count - 1; i > place; i--) {
    memcpy(out.boxes + 4 * i, out.boxes + 4 * (i - 1), 4 * sizeof(float));
    out.classes[i] = out.classes[i - 1], out.scores[i] = out.scores[i - 1];
  }
  memcpy(out.boxes + 4 * place, m.corners + 4 * box, 4 * sizeof(float));
  out.classes[place] = (float)label, out.scores[place] = score;
  return count;
}

/* The best classes of every box that stays, suppressed by each box's best class. */
EB_INLINE int eb_detect_once(const float *scores, eb_detections out, eb_detection_room m,
                             eb_detection_rule r) {
  int count = 0;
  for (int a = 0; a < r.anchors; a++) {
    const float *row = scores + a * r.columns + r.columns - r.classes;
    m.best[a] = row[0];
    for (int c = 1; c < r.classes; c++) m.best[a] = row[c] > m.best[a] ? row[c] : m.best[a];
  }
  eb_open_boxes(m, r);
  for (int kept = 0; kept < r.most; kept++) {
    const int box = eb_next_box(m, r);
    if (box < 0) break;
    const float *row = scores + box * r.columns + r.columns - r.classes;
    int before = -1; /* the class that was taken last */
    for (int n = 0; n < r.each && n < r.classes; n++) {
      int label = -1;
      for (int c = 0; c < r.classes; c++) {
        const int later = before < 0 || row[c] < row[before] || (row[c] == row[before] && c > before);
        if (later && (label < 0 || row[c] > row[label])) label = c;
      }
      count = eb_insert_detection(out, m, r, count, count, box, label, row[label]);
      before = label;
    }
  }
  return count;
}

/* The best pairs of box and class, suppressed within each class. */
EB_INLINE int eb_detect_per_class(const float *scores, eb_detections out, eb_detection_room m,
                                  eb_detection_rule r) {
  int count = 0;
  for (int c = 0; c < r.classes; c++) {
    for (int a = 0; a < r.anchors; a++)
      m.best[a] = scores[a * r.columns + r.columns - r.classes + c];
    eb_open_boxes(m, r);
    for (int kept = 0; kept < r.per_class; kept++) {
      const int box = eb_next_box(m, r);
      if (box < 0) break;
      int place = count;
      while (place > 0 && out.scores[place - 1] < m.best[box]) place--;
      count = eb_insert_detection(out, m, r, count, place, box, c, m.best[box]);
    }
  }
  return count;
}

EB_INLINE void eb_detect(const float *code, const float *scores, const float *anchor,
                         eb_detections out, eb_detection_room m, eb_detection_rule r) {
  memset(out.boxes, 0, (size_t)r.most * 4 * sizeof(float));
  memset(out.classes, 0, (size_t)r.most * sizeof(float));
  memset(out.scores, 0, (size_t)r.most * sizeof(float));
  eb_decode_boxes(code, anchor, m.corners, r);
  *out.count = (float)(r.regular ? eb_detect_per_class(scores, out, m, r)
                                 : eb_detect_once(scores, out, m, r));
}

#endif
