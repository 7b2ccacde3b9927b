/* Convolution, pointwise and dense as one blocked implicit GEMM over stored bytes.
 *
 * What it computes, for each output pixel and channel, with x the stored input bytes:
 *     accumulator = bias[o] + sum over the kernel of x * (w - weight_zero)
 * and stores eb_requantization of it. The input's zero point is folded into the bias (conv.py).
 *
 * Where the work goes. A tile of output pixels x 16-channel vectors stays in registers while the
 * loop walks the kernel in steps of four input bytes:
 *
 *                weights of 16 channels x 4 inputs        one load, used by every pixel
 *     4 inputs of a pixel, copied to all 16 lanes         one load, used by every vector
 *       -> one dot-product instruction: 64 multiply-accumulates
 *
 * Input bytes that lie side by side form a run; channels last and without dilation that is a
 * whole kernel row, so even one or three input channels fill the four-byte steps. Bytes at the
 * end of a run that belong to nobody meet weights equal to weight_zero and count nothing.
 */
#ifndef EB_CONV_H
#define EB_CONV_H

#include "conv_tile.h"

/* ---- Overlapping tiles ---------------------------------------------------------------------
 * Dot products and requantisation keep different units of the processor busy, but a tile's
 * requantisation waits for its last dot product. So the sums of the previous tile wait in memory
 * and are requantised piece by piece among the dot products of the next one. */

typedef struct {
  eb_i32x16 total[EB_TILE_LIMIT];
  uint8_t *y; /* where the tile belongs */
} eb_conv_waiting;

/* The dot products between two pieces: a run of the kernel, or a share of its only run. */
EB_INLINE int eb_conv_segments(eb_conv_shape s, eb_conv_tile t) {
  const int runs = s.runs_y * s.runs_x, pieces = (t.rows * t.columns * t.vectors + 3) / 4;
  return runs > 1 ? runs : pieces;
}

EB_INLINE int eb_conv_overlaps(eb_conv_shape s, eb_conv_tile t) {
  const int tiles = (s.height / t.rows) * (s.width / t.columns);
  const int steps = s.runs_y * s.runs_x * s.quads, segments = eb_conv_segments(s, t);
  return EB_ISA >= 5 && tiles >= 4 && t.splits == 1 && s.weight_zero == 0 && segments <= 12 &&
         steps >= segments && t.rows * t.columns * t.vectors <= 20;
}

/* Like eb_conv_tile_at, but stores the waiting tile and leaves this one waiting. */
EB_INLINE void eb_conv_tile_overlapped(eb_conv_shape s, eb_conv_tile t, eb_requantization r,
                                       eb_conv_place at, eb_conv_waiting *waiting, int last) {
  const int count = t.rows * t.columns * t.vectors, pieces = (count + 3) / 4;
  const int segments = eb_conv_segments(s, t), runs = s.runs_y * s.runs_x;
  eb_dots sums[EB_TILE_LIMIT];
  EB_UNROLL
  for (int i = 0; i < count; i++) sums[i] = eb_dots_from(at.bias + i % t.vectors * 16);
  const int8_t *w = eb_conv_hidden(at.w);
  const int32_t *table = at.table;
  EB_UNROLL
  for (int k = 0; k < segments; k++) {
    const int first = runs > 1 ? 0 : k * s.quads / segments;
    const int end = runs > 1 ? s.quads : (k + 1) * s.quads / segments;
    const int run = runs > 1 ? k : 0;
    const uint8_t *x = at.x + run / s.runs_x * s.step_y + run % s.runs_x * s.step_x + 4 * first;
    EB_UNROLL
    for (int i = k * pieces / segments; i < (k + 1) * pieces / segments; i++)
      eb_conv_finish_four(s, t, r, table, waiting->y, waiting->total, 4 * i, last);
    EB_ROLLED
    for (int quad = first; quad < end; quad++, x += 4, w += at.w_step)
      eb_conv_step(s, t, x, w, at.w_vector, sums, sums);
  }
  EB_UNROLL
  for (int i = 0; i < count; i++) waiting->total[i] = eb_dots_total(sums[i]);
  waiting->y = at.y;
}

/* All whole tiles of strips first .. end-1, then their narrower right edge. The first tile is
 * stored twice: what waits before it has no sums yet and the right ones follow. */
EB_INLINE void eb_conv_strips_overlapped(eb_conv_shape s, eb_conv_tile t, eb_requantization r,
                                         eb_conv_place at, int last, int first, int end) {
  const int columns = s.width / t.columns;
  eb_conv_waiting waiting;
  EB_UNROLL
  for (int i = 0; i < t.rows * t.columns * t.vectors; i++)
    waiting.total[i] = eb_set1_i32x16(0);
  waiting.y = at.y;
  if (first >= end) return;
  eb_conv_place strip = at;
  for (int i = first; i < end; i++) {
    eb_conv_place tile = strip;
    for (int j = 0; j < columns; j++) {
      eb_conv_tile_overlapped(s, t, r, tile, &waiting, last);
      tile.x += t.columns * s.stride_x, tile.y += t.columns * s.out_pixel;
    }
    strip.x += t.rows * s.stride_y, strip.y += t.rows * s.out_row;
  }
  eb_conv_finish(s, t, r, at.table, waiting.y, waiting.total, last);
  at.x += columns * t.columns * s.stride_x, at.y += columns * t.columns * s.out_pixel;
  t.columns = s.width % t.columns;
  for (int i = first; i < end && t.columns; i++) {
    eb_conv_tile_at(s, t, r, at, last);
    at.x += t.rows * s.stride_y, at.y += t.rows * s.out_row;
  }
}

/* ---- The layer ----------------------------------------------------------------------------- */

/* One strip of `rows` output rows: tiles from left to right, the last one narrower. */
EB_INLINE void eb_conv_strip(eb_conv_shape s, eb_conv_tile t, eb_requantization r,
                             eb_conv_place at, int last) {
  for (int tile = 0; tile < s.width / t.columns; tile++) {
    eb_conv_tile_at(s, t, r, at, last);
    at.x += t.columns * s.stride_x, at.y += t.columns * s.out_pixel;
  }
  t.columns = s.width % t.columns;
  if (t.columns) eb_conv_tile_at(s, t, r, at, last);
}

/* Strips first .. end-1 for the vectors of one tile; the last strip of the map may be lower. */
EB_INLINE void eb_conv_strips(eb_conv_shape s, eb_conv_tile t, eb_requantization r,
                              eb_conv_place at, int last, int first, int end) {
  const int whole = s.height / t.rows;
  at.x += (ptrdiff_t)first * t.rows * s.stride_y, at.y += (ptrdiff_t)first * t.rows * s.out_row;
  const int stop = end < whole ? end : whole;
  if (eb_conv_overlaps(s, t)) {
    eb_conv_strips_overlapped(s, t, r, at, last, first, stop);
    at.x += (ptrdiff_t)(stop - first) * t.rows * s.stride_y;
    at.y += (ptrdiff_t)(stop - first) * t.rows * s.out_row;
  }
  for (int strip = first; strip < stop && !eb_conv_overlaps(s, t); strip++) {
    eb_conv_strip(s, t, r, at, last);
    at.x += t.rows * s.stride_y, at.y += t.rows * s.out_row;
  }
  t.rows = s.height % t.rows;
  if (t.rows && end > whole) eb_conv_strip(s, t, r, at, last);
}

/* What the tile at a block of sixteen channels reads and writes. Weights lie in bundles of
 * `interleave` blocks (the last one may be smaller); within a bundle their steps alternate, so
 * that a layer whose weights are used once reads memory in one stream. */
EB_INLINE eb_conv_place eb_conv_at(eb_conv_shape s, eb_conv_place layer, int rule, int block) {
  const int steps = s.runs_y * s.runs_x * s.quads;
  const int bundle = block / s.interleave * s.interleave;
  const int rest = (s.channels + 15) / 16 - bundle;
  const int size = s.interleave == 1 || rest > s.interleave ? s.interleave : rest;
  layer.w += ((ptrdiff_t)bundle * steps + block - bundle) * 64;
  layer.w_step = 64 * size;
  layer.w_vector = s.interleave == 1 ? 64 * steps : 64;
  layer.bias += 16 * block;
  layer.table += block * EB_TABLE_WORDS(rule);
  layer.y += 16 * block * (rule == EB_NONE ? 4 : 1);
  return layer;
}

/* A layer, or the part of it with strips first_strip .. end_strip-1 of tile.rows output rows and
 * with groups first_group .. end_group-1 of 16 * tile.vectors channels: threads may share both. */
EB_INLINE void eb_conv(eb_conv_shape s, eb_conv_tile t, eb_requantization r, const uint8_t *x,
                       const int8_t *w, const int32_t *bias, const int32_t *table, uint8_t *y,
                       int first_strip, int end_strip, int first_group, int end_group) {
  const int blocks = (s.channels + 15) / 16, last = s.channels - 16 * (blocks - 1);
  const int whole = (last == 16 ? blocks : blocks - 1) / t.vectors;
  const eb_conv_place layer = {x, w, 0, 0, bias, table, y};
  for (int group = first_group; group < end_group && group < whole; group++)
    eb_conv_strips(s, t, r, eb_conv_at(s, layer, r.rule, group * t.vectors), 16, first_strip,
                   end_strip);
  const eb_conv_place rest = eb_conv_at(s, layer, r.rule, whole * t.vectors);
  t.vectors = blocks - whole * t.vectors;
  if (t.vectors && end_group > whole)
    eb_conv_strips(s, t, r, rest, last, first_strip, end_strip);
}

#endif
