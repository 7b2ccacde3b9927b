/* Depthwise convolution of biased uint8 maps (stored byte = int8 + 128), channels last.
 *
 *     out[y][x][o] = requantise(bias[o] + sum over ky, kx of
 *                    in[y * stride_h + ky * dilation_h][x * stride_w + kx * dilation_w][o / m] *
 *                    weight[ky][kx][o])                         with m output channels an input one
 *
 * The input points to the top left of the padded map: no border is checked here, and up to 63
 * bytes behind the last pixel may be read. The bias holds the input's zero point already.
 *
 * The vector form works on blocks of 64 output bytes: 64 channels of one pixel, or as many whole
 * neighbouring pixels as fit where a map has fewer channels and no gaps. The same column of four
 * input rows is interleaved byte by byte, so that one dot-product instruction adds four taps of a
 * filter's column; two output rows share an interleaved vector (weights w0 w1 w2 0 and
 * 0 w0 w1 w2). Interleaving within 128-bit quarters leaves byte 16 q + 4 j + i of the block in
 * lane 4 q + i of vector j, and packing the results puts it back: no permutation is needed.
 */
#ifndef EB_DEPTHWISE_H
#define EB_DEPTHWISE_H

#include "depthwise_slide.h"

/* ---- Any shape, sixteen output channels at a time ------------------------------------------ */

EB_INLINE void eb_depthwise_pixel(const uint8_t *in, const uint8_t *packed, uint8_t *out,
                                  eb_depthwise_shape s, eb_requantization r) {
  const int outputs = s.channels * s.multiplier, padded = (outputs + 15) / 16 * 16;
  const int16_t *weights = (const int16_t *)(const void *)packed;
  const int32_t *bias = (const int32_t *)(const void *)(packed + s.bias_at);
  const int32_t *table = (const int32_t *)(const void *)(packed + s.table_at);
  for (int first = 0; first < outputs; first += 16) {
    const int n = outputs - first < 16 ? outputs - first : 16;
    int32_t acc[16];
    memcpy(acc, bias + first, sizeof acc);
    for (int ky = 0; ky < s.kernel_h; ky++)
      for (int kx = 0; kx < s.kernel_w; kx++) {
        const uint8_t *pixel = in + ky * s.dilation_h * s.in_row + kx * s.dilation_w * s.in_pixel;
        const int16_t *w = weights + (ky * s.kernel_w + kx) * padded + first;
        if (s.multiplier == 1)
          for (int i = 0; i < 16; i++) acc[i] += pixel[first + i] * w[i];
        else
          for (int i = 0; i < n; i++) acc[i] += pixel[(first + i) / s.multiplier] * w[i];
      }
    const int32_t *t = table + first / 16 * EB_TABLE_WORDS(r.rule);
    if (r.rule == EB_NONE)
      memcpy((int32_t *)(void *)out + first, acc, (size_t)n * sizeof acc[0]);
    else
      eb_requantize16(out + first, eb_load_i32x16(acc), t, r, n);
  }
}

EB_INLINE void eb_depthwise_plain(const uint8_t *in, const uint8_t *packed, uint8_t *out,
                                  eb_depthwise_shape s, eb_requantization r, int y0, int y1) {
  for (int y = y0; y < y1; y++)
    for (int x = 0; x < s.out_width; x++)
      eb_depthwise_pixel(in + y * s.stride_h * s.in_row + x * s.stride_w * s.in_pixel, packed,
                         out + y * s.out_row + x * s.out_pixel, s, r);
}

/* ---- Rows and blocks ------------------------------------------------------------------------- */

#if EB_ISA >= 2
/* s.rows output rows of one half block, from left to right. */
EB_INLINE void eb_depthwise_tile_rows(const uint8_t *in, const uint8_t *block, uint8_t *out,
                                      eb_depthwise_shape s, eb_requantization r, int half) {
  const eb_depthwise_tile one = {half, 1}, two = {half, 2};
  const int used = s.pixels * s.channels - half < EB_W ? s.pixels * s.channels - half : EB_W;
  const int in_step = s.pixels * s.stride_w * s.in_pixel, out_step = s.pixels * s.out_pixel;
  const int pairs = EB_ISA >= 5 && s.pixels == 1 && s.dilation_w == 1 && s.kernel_w <= 5;
  int x = 0;
  if (pairs)
    for (; x + 2 <= s.out_width; x += 2, in += 2 * in_step, out += 2 * out_step)
      eb_depthwise_run(in, block, out, s, r, two, used);
  if (!pairs || s.out_width % 2)
    for (; x < s.out_width; x += s.pixels, in += in_step, out += out_step) {
      const int left = (s.out_width - x) * s.channels - half;
      if (left > 0) eb_depthwise_run(in, block, out, s, r, one, left < used ? left : used);
    }
}

/* All rows of one block; with two rows at a time the last pair may overlap the one before. */
EB_INLINE void eb_depthwise_block(const uint8_t *in, const uint8_t *block, uint8_t *out,
                                  eb_depthwise_shape s, eb_requantization r, int slides, int y0,
                                  int y1) {
  const int bytes = s.pixels * s.channels < 64 ? s.pixels * s.channels : 64;
  for (int y = y0; y < y1; y += s.rows) {
    const int row = y + s.rows <= y1 ? y : y1 - s.rows;
    const uint8_t *from = in + row * s.stride_h * s.in_row;
    uint8_t *to = out + row * s.out_row;
#if EB_ISA >= 5
    if (slides) {
      eb_depthwise_slide_rows(from, block, to, s, r);
      continue;
    }
#endif
    (void)slides;
    EB_UNROLL
    for (int half = 0; half < 64; half += EB_W)
      if (half < bytes) eb_depthwise_tile_rows(from, block, to + half, s, r, half);
  }
}

EB_INLINE void eb_depthwise_blocks(const uint8_t *in, const uint8_t *packed, uint8_t *out,
                                   eb_depthwise_shape s, eb_requantization r, int slides, int y0,
                                   int y1) {
  eb_depthwise_shape narrow = s;
  narrow.extra = 0;
  for (int b = 0; b < s.blocks; b++) {
    const uint8_t *block = packed + s.blocks_at + b * eb_depthwise_block_bytes(s, r);
    /* The last of several blocks overlaps the one before. */
    const int channel = b && 64 * b + 64 > s.channels ? s.channels - 64 : 64 * b;
    if (s.wide >> (b < 63 ? b : 63) & 1)
      eb_depthwise_block(in + channel, block, out + channel, s, r, slides, y0, y1);
    else
      eb_depthwise_block(in + channel, block, out + channel, narrow, r, slides, y0, y1);
  }
}
#endif

/* ---- Layers: rows y0 <= y < y1; depthwise.py picks the function ------------------------------ */

/* Any layer with one output channel an input channel. */
EB_INLINE void eb_depthwise_tiled(const uint8_t *in, const uint8_t *packed, uint8_t *out,
                                  eb_depthwise_shape s, eb_requantization r, int y0, int y1) {
#if EB_ISA >= 2
  if (y1 - y0 >= s.rows) {
    eb_depthwise_blocks(in, packed, out, s, r, 0, y0, y1);
    return;
  }
#endif
  eb_depthwise_plain(in, packed, out, s, r, y0, y1);
}

/* Three neighbouring columns, at most three rows (four where rows are not shared): blocks of 64
 * channels, or of whole pixels. */
EB_INLINE void eb_depthwise_slid(const uint8_t *in, const uint8_t *packed, uint8_t *out,
                                 eb_depthwise_shape s, eb_requantization r, int y0, int y1) {
#if EB_ISA >= 5
  if (y1 - y0 >= s.rows)
    eb_depthwise_blocks(in, packed, out, s, r, 1, y0, y1);
  else
    eb_depthwise_plain(in, packed, out, s, r, y0, y1);
#else
  eb_depthwise_tiled(in, packed, out, s, r, y0, y1);
#endif
}

/* Three columns, stride 2, maps of 16 or 32 channels without gaps, a proved line. */
EB_INLINE void eb_depthwise_stacked(const uint8_t *in, const uint8_t *packed, uint8_t *out,
                                    eb_depthwise_shape s, eb_requantization r, int y0, int y1) {
#if EB_ISA >= 5
  const int step = 32 / s.channels;
  for (int y = y0; y < y1; y += step)
    eb_depthwise_stack_rows(in + 2 * y * s.in_row, packed + s.blocks_at, out + y * s.out_row, s, r,
                            step == 2 && y + 1 < y1);
#else
  eb_depthwise_tiled(in, packed, out, s, r, y0, y1);
#endif
}

#endif
