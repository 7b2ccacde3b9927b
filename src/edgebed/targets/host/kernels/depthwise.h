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

#include "requantize.h"

/* All fields are literals where a layer is called; depthwise.py computes them. */
typedef struct {
  int out_width, channels, multiplier;
  int kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
  int in_row, in_pixel, out_row, out_pixel; /* bytes from one to the next */
  int blocks;                               /* of 64 bytes; 0: no vector form was packed */
  int pixels;                               /* in a block */
  int rows;                                 /* output rows that share interleaved columns */
  int planes;                               /* int8 weights a tap, added up */
  uint32_t extra; /* bit (plane - 1) * kernel_w + column: further planes have weights there */
  uint64_t wide;  /* bit b: block b has weights in further planes; the others skip them */
  int line;                                 /* see EB_DEPTHWISE_LINE; 0: use the exact table */
  int bias_at, table_at, blocks_at;         /* bytes from the start of the packed constants */
} eb_depthwise_shape;

/* Bits of `line`: round(fma(acc, a, b)) was proved exact for this layer (affine.py); with KINK, b
 * differs for negative accumulators; with AMEND, one accumulator a channel is off by `by`.
 * Words for each vector: a[16], b[16], b of the negative ones[16], accumulator[16], by[16]. */
enum { EB_DEPTHWISE_LINE = 1, EB_DEPTHWISE_KINK = 2, EB_DEPTHWISE_AMEND = 4 };

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

#if EB_ISA >= 2
/* ---- Vectors of EB_W bytes: a block of 64 is one of them or two halves ---------------------- */

#if EB_ISA >= 5
#define EB_W 64
typedef __m512i eb_bytes;
#define EB_W_(name) _mm512_##name
EB_INLINE eb_bytes eb_load_bytes(const void *from) { return _mm512_loadu_si512(from); }
#else
#define EB_W 32
typedef __m256i eb_bytes;
#define EB_W_(name) _mm256_##name
EB_INLINE eb_bytes eb_load_bytes(const void *from) {
  return _mm256_loadu_si256((const __m256i *)from);
}
#endif

/* Bytes ready for four-tap dot products. Weights come as int8, 64 bytes a vector, and once more as
 * int16: for each half of a vector the even taps, then the odd ones. */
#if EB_ISA >= 5
#define EB_WIDE_WEIGHTS 0
typedef eb_bytes eb_taps;
EB_INLINE eb_taps eb_as_taps(eb_bytes a) { return a; }
EB_INLINE eb_bytes eb_dot_taps(eb_bytes acc, eb_taps a, const uint8_t *w) {
  return _mm512_dpbusd_epi32(acc, a, eb_load_bytes(w));
}
#elif EB_ISA >= 3 && !defined(EB_EMULATE_VNNI)
#define EB_WIDE_WEIGHTS 0
typedef eb_bytes eb_taps;
EB_INLINE eb_taps eb_as_taps(eb_bytes a) { return a; }
EB_INLINE eb_bytes eb_dot_taps(eb_bytes acc, eb_taps a, const uint8_t *w) {
  return _mm256_dpbusd_avx_epi32(acc, a, eb_load_bytes(w));
}
#else
/* Without the instruction: taps 0, 2 and taps 1, 3 as 16-bit numbers; exact for every input. */
#define EB_WIDE_WEIGHTS 1
typedef struct {
  __m256i even, odd;
} eb_taps;
EB_INLINE eb_taps eb_as_taps(eb_bytes a) {
  return (eb_taps){_mm256_and_si256(a, _mm256_set1_epi16(255)), _mm256_srli_epi16(a, 8)};
}
EB_INLINE eb_bytes eb_dot_taps(eb_bytes acc, eb_taps a, const uint8_t *w) {
  acc = _mm256_add_epi32(acc, _mm256_madd_epi16(a.even, eb_load_bytes(w)));
  return _mm256_add_epi32(acc, _mm256_madd_epi16(a.odd, eb_load_bytes(w + 32)));
}
#endif

/* Four rows of EB_W bytes, interleaved to four vectors of four-tap columns. */
EB_INLINE void eb_interleave(const eb_bytes row[4], eb_taps column[4]) {
  const eb_bytes low01 = EB_W_(unpacklo_epi8)(row[0], row[1]);
  const eb_bytes high01 = EB_W_(unpackhi_epi8)(row[0], row[1]);
  const eb_bytes low23 = EB_W_(unpacklo_epi8)(row[2], row[3]);
  const eb_bytes high23 = EB_W_(unpackhi_epi8)(row[2], row[3]);
  column[0] = eb_as_taps(EB_W_(unpacklo_epi16)(low01, low23));
  column[1] = eb_as_taps(EB_W_(unpackhi_epi16)(low01, low23));
  column[2] = eb_as_taps(EB_W_(unpacklo_epi16)(high01, high23));
  column[3] = eb_as_taps(EB_W_(unpackhi_epi16)(high01, high23));
}

/* ---- Requantisation of four accumulator vectors to one vector of bytes ---------------------- */

typedef struct {
  __m256 a, b, b_negative;
  __m256i amended, by;
} eb_line8;

EB_INLINE eb_line8 eb_load_line8(const uint8_t *words) {
  const float *t = (const float *)(const void *)words;
  const __m256i *ints = (const __m256i *)(const void *)words;
  return (eb_line8){_mm256_loadu_ps(t), _mm256_loadu_ps(t + 16), _mm256_loadu_ps(t + 32),
                    _mm256_loadu_si256(ints + 6), _mm256_loadu_si256(ints + 8)};
}

EB_INLINE __m256i eb_apply_line8(__m256i acc, eb_line8 c, int line) {
  if (line & EB_DEPTHWISE_KINK)
    c.b = _mm256_blendv_ps(c.b, c.b_negative, _mm256_castsi256_ps(acc));
  const __m256i y = _mm256_cvtps_epi32(_mm256_fmadd_ps(_mm256_cvtepi32_ps(acc), c.a, c.b));
  if (!(line & EB_DEPTHWISE_AMEND)) return y;
  return _mm256_add_epi32(y, _mm256_and_si256(_mm256_cmpeq_epi32(acc, c.amended), c.by));
}

#if EB_ISA >= 5
typedef struct {
  __m512 a, b, b_negative;
  __m512i amended, by;
} eb_line;

EB_INLINE eb_line eb_load_line(const uint8_t *words) {
  const float *t = (const float *)(const void *)words;
  return (eb_line){_mm512_loadu_ps(t), _mm512_loadu_ps(t + 16), _mm512_loadu_ps(t + 32),
                   eb_load_bytes(words + 192), eb_load_bytes(words + 256)};
}

EB_INLINE eb_bytes eb_apply_line(eb_bytes acc, eb_line c, int line) {
  if (line & EB_DEPTHWISE_KINK)
    c.b = _mm512_mask_mov_ps(c.b, _mm512_movepi32_mask(acc), c.b_negative);
  const eb_bytes y = _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_cvtepi32_ps(acc), c.a, c.b));
  if (!(line & EB_DEPTHWISE_AMEND)) return y;
  return _mm512_mask_add_epi32(y, _mm512_cmpeq_epi32_mask(acc, c.amended), y, c.by);
}
#else
typedef eb_line8 eb_line;
EB_INLINE eb_line eb_load_line(const uint8_t *words) { return eb_load_line8(words); }
EB_INLINE eb_bytes eb_apply_line(eb_bytes acc, eb_line c, int line) {
  return eb_apply_line8(acc, c, line);
}
#endif

/* The exact table; of two halves the other one is thrown away. */
EB_INLINE eb_bytes eb_scale_bytes(eb_bytes acc, const int32_t *table, eb_requantization r,
                                  int half) {
#if EB_ISA >= 5
  (void)half;
  return eb_scale16(acc, table, r);
#else
  const eb_i32x16 both = eb_scale16((eb_i32x16){acc, acc}, table, r);
  return half ? both.high : both.low;
#endif
}

/* Two vectors of levels to saturated 16-bit levels, two of those to bytes. */
EB_INLINE eb_bytes eb_words(eb_bytes a, eb_bytes b, int fraction) {
  if (fraction) a = EB_W_(srai_epi32)(a, fraction), b = EB_W_(srai_epi32)(b, fraction);
  return EB_W_(packs_epi32)(a, b);
}

EB_INLINE eb_bytes eb_narrow(eb_bytes words01, eb_bytes words23, eb_requantization r) {
  eb_bytes bytes = EB_W_(packus_epi16)(words01, words23);
  if (r.low > 0) bytes = EB_W_(max_epu8)(bytes, EB_W_(set1_epi8)((char)r.low));
  if (r.high < 255) bytes = EB_W_(min_epu8)(bytes, EB_W_(set1_epi8)((char)r.high));
  return bytes;
}

EB_INLINE void eb_store_block(uint8_t *to, eb_bytes a, int n) {
#if EB_ISA >= 5
  eb_store_first_u8x64(to, a, n);
#else
  if (n >= 32) {
    _mm256_storeu_si256((__m256i *)to, a);
  } else {
    uint8_t lane[32];
    _mm256_storeu_si256((__m256i *)lane, a);
    memcpy(to, lane, (size_t)n);
  }
#endif
}

/* ---- One block ------------------------------------------------------------------------------ */

/* Groups of four input rows under the window of the shared rows. */
EB_INLINE int eb_depthwise_quads(eb_depthwise_shape s) {
  return (s.kernel_h + s.rows - 1 + 3) / 4;
}

/* Whether column kx of a plane has weights; the first plane always counts as if it had. */
EB_INLINE int eb_depthwise_has(eb_depthwise_shape s, int plane, int kx) {
  if (plane == 0) return 1;
  if ((s.planes - 1) * s.kernel_w > 32) return s.extra != 0; /* too many to tell */
  return s.extra >> ((plane - 1) * s.kernel_w + kx) & 1;
}

/* Offsets within the packed constants of one block. */
EB_INLINE int eb_depthwise_weight_bytes(eb_depthwise_shape s) {
  return s.planes * s.kernel_w * eb_depthwise_quads(s) * s.rows * 256;
}

EB_INLINE int eb_depthwise_wide_at(eb_depthwise_shape s, eb_requantization r) {
  return eb_depthwise_weight_bytes(s) + 256 + 1280 + 4 * 4 * EB_TABLE_WORDS(r.rule);
}

EB_INLINE int eb_depthwise_block_bytes(eb_depthwise_shape s, eb_requantization r) {
  return eb_depthwise_wide_at(s, r) + 2 * eb_depthwise_weight_bytes(s);
}

/* Where the weights for eb_dot_taps begin, and the bytes from one vector to the next. */
EB_INLINE const uint8_t *eb_depthwise_weights(const uint8_t *block, eb_depthwise_shape s,
                                              eb_requantization r, int half) {
  return EB_WIDE_WEIGHTS ? block + eb_depthwise_wide_at(s, r) + 2 * half : block + half;
}
#define EB_WEIGHT_STEP (EB_WIDE_WEIGHTS ? 128 : 64)

/* What a tile needs to know, all literal. */
typedef struct {
  int half; /* 0, or 32 for the second half of a block */
  int tile; /* block positions side by side */
} eb_depthwise_tile;

/* The columns of one quad of input rows at one column of the filter. */
EB_INLINE void eb_depthwise_columns(const uint8_t *in, eb_depthwise_shape s, eb_depthwise_tile t,
                                    int quad, eb_taps column[4]) {
  eb_bytes row[4];
  EB_UNROLL
  for (int e = 0; e < 4; e++) {
    const int m = 4 * quad + e < s.kernel_h + s.rows - 1 ? 4 * quad + e : 0;
    const uint8_t *from = in + m * s.dilation_h * s.in_row;
    if (s.pixels == 1 || s.stride_w == 1) {
      row[e] = eb_load_bytes(from + t.half);
    } else {
      uint8_t piece[64];
      for (int p = 0; p < s.pixels; p++)
        memcpy(piece + p * s.channels, from + p * s.stride_w * s.channels, (size_t)s.channels);
      row[e] = eb_load_bytes(piece + t.half);
    }
  }
  eb_interleave(row, column);
}

/* Add column c of the tile's input to the accumulators [row][position][vector]. */
EB_INLINE void eb_depthwise_add(const uint8_t *in, const uint8_t *weights, eb_depthwise_shape s,
                                eb_depthwise_tile t, int c, eb_bytes acc[2][2][4]) {
  const int quads = eb_depthwise_quads(s);
  EB_UNROLL
  for (int q = 0; q < quads; q++) {
    eb_taps column[4];
    eb_depthwise_columns(in + c * s.in_pixel, s, t, q, column);
    EB_UNROLL
    for (int i = 0; i < t.tile * s.planes * s.rows; i++) {
      const int y = i % s.rows, plane = i / s.rows % s.planes, x = i / (s.rows * s.planes);
      const int right = c - x * s.stride_w, kx = right / s.dilation_w;
      const int outside = right < 0 || right % s.dilation_w || kx >= s.kernel_w;
      if (outside || 4 * q > y + s.kernel_h - 1 || !eb_depthwise_has(s, plane, kx)) continue;
      const int tap = ((plane * s.kernel_w + kx) * quads + q) * s.rows + y;
      EB_UNROLL
      for (int j = 0; j < 4; j++)
        acc[y][x][j] =
            eb_dot_taps(acc[y][x][j], column[j], weights + EB_WEIGHT_STEP * (4 * tap + j));
    }
  }
}

/* The line of vector j of a block, for layers that have one. */
EB_INLINE eb_line eb_depthwise_line(const uint8_t *tables, eb_depthwise_shape s, int half, int j) {
  return eb_load_line(tables + (s.line ? 256 + 320 * j + half : 0));
}

/* Accumulators of vectors j and j + 1 of a block to 16-bit levels. */
EB_INLINE eb_bytes eb_depthwise_words(const uint8_t *tables, eb_depthwise_shape s,
                                      eb_requantization r, int half, int j, const eb_line line[2],
                                      const eb_bytes acc[2]) {
  const int32_t *exact = (const int32_t *)(const void *)(tables + 1536);
  eb_bytes level[2];
  EB_UNROLL
  for (int i = 0; i < 2; i++)
    level[i] = s.line ? eb_apply_line(acc[i], line[i], s.line)
                      : eb_scale_bytes(acc[i], exact + (j + i) * EB_TABLE_WORDS(r.rule), r, half);
  return eb_words(level[0], level[1], s.line ? 0 : r.fraction);
}

EB_INLINE void eb_depthwise_store(uint8_t *out, const uint8_t *tables, eb_depthwise_shape s,
                                  eb_requantization r, int half, int bytes, const eb_bytes acc[4]) {
  eb_line line[4];
  EB_UNROLL
  for (int j = 0; j < 4; j++) line[j] = eb_depthwise_line(tables, s, half, j);
  const eb_bytes words01 = eb_depthwise_words(tables, s, r, half, 0, line, acc);
  const eb_bytes words23 = eb_depthwise_words(tables, s, r, half, 2, line + 2, acc + 2);
  eb_store_block(out, eb_narrow(words01, words23, r), bytes);
}

/* s.rows output rows x t.tile block positions; the first `bytes` of each are stored. */
EB_INLINE void eb_depthwise_run(const uint8_t *in, const uint8_t *block, uint8_t *out,
                                eb_depthwise_shape s, eb_requantization r, eb_depthwise_tile t,
                                int bytes) {
  const uint8_t *tables = block + eb_depthwise_weight_bytes(s);
  const uint8_t *weights = eb_depthwise_weights(block, s, r, t.half);
  eb_bytes acc[2][2][4];
  EB_UNROLL
  for (int i = 0; i < 16; i++)
    acc[i / 8][i / 4 % 2][i % 4] = eb_load_bytes(tables + 64 * (i % 4) + t.half);
  if (t.tile == 1) {
    for (int kx = 0; kx < s.kernel_w; kx++) eb_depthwise_add(in, weights, s, t, kx * s.dilation_w, acc);
  } else {
    EB_UNROLL
    for (int c = 0; c < s.stride_w + s.kernel_w; c++) eb_depthwise_add(in, weights, s, t, c, acc);
  }
  EB_UNROLL
  for (int i = 0; i < s.rows * t.tile; i++)
    eb_depthwise_store(out + i / t.tile * s.out_row + i % t.tile * s.out_pixel, tables, s, r,
                       t.half, bytes, acc[i / t.tile][i % t.tile]);
}

#if EB_ISA >= 5
/* The columns of the block that lies `bytes` (0..64, a multiple of 4) behind `now`; `next` lies 64
 * behind. Byte 16 q + 4 j + i is in vector j, so 4 bytes are one vector and 16 one quarter. */
EB_INLINE void eb_depthwise_shift(const eb_taps now[4], const eb_taps next[4], int bytes,
                                  eb_taps to[4]) {
  EB_UNROLL
  for (int j = 0; j < 4; j++) {
    const int from = (j + bytes / 4) % 4, quarters = (j + bytes / 4) / 4;
    to[j] = quarters == 0   ? now[from]
            : quarters == 1 ? _mm512_alignr_epi64(next[from], now[from], 2)
            : quarters == 2 ? _mm512_alignr_epi64(next[from], now[from], 4)
            : quarters == 3 ? _mm512_alignr_epi64(next[from], now[from], 6)
                            : next[from];
  }
}

#define EB_SEGMENT 16 /* blocks */

/* What one pass holds in registers: of vectors j and j + 1, the weights of the first plane. */
typedef struct {
  eb_bytes weight[3][2][2]; /* [column][output row][vector] */
  eb_bytes bias[2];
  eb_line line[2];
} eb_depthwise_pass;

EB_INLINE eb_depthwise_pass eb_depthwise_load_pass(const uint8_t *block, eb_depthwise_shape s,
                                                   int j) {
  const uint8_t *tables = block + eb_depthwise_weight_bytes(s);
  eb_depthwise_pass p;
  EB_UNROLL
  for (int i = 0; i < 12; i++) {
    const int vector = i % 2, y = i / 2 % 2, kx = i / 4;
    if (y >= s.rows) continue;
    p.weight[kx][y][vector] =
        eb_load_bytes(block + (kx * s.rows + y) * 256 + 64 * (j + vector));
  }
  EB_UNROLL
  for (int i = 0; i < 2; i++) {
    p.bias[i] = eb_load_bytes(tables + 64 * (j + i));
    p.line[i] = eb_depthwise_line(tables, s, 0, j + i);
  }
  return p;
}

/* Vectors j and j + 1 of output row y of one block. */
EB_INLINE eb_bytes eb_depthwise_slide_words(const uint8_t *block, eb_taps column[3][4],
                                            const eb_depthwise_pass *p, eb_depthwise_shape s,
                                            eb_requantization r, int y, int j) {
  const uint8_t *tables = block + eb_depthwise_weight_bytes(s);
  eb_bytes acc[2];
  EB_UNROLL
  for (int i = 0; i < 2; i++) {
    acc[i] = p->bias[i];
    EB_UNROLL
    for (int kx = 0; kx < 3; kx++)
      acc[i] = _mm512_dpbusd_epi32(acc[i], column[kx][j + i], p->weight[kx][y][i]);
    EB_UNROLL
    for (int tap = 3; tap < 3 * s.planes; tap++) {
      if (!eb_depthwise_has(s, tap / 3, tap % 3)) continue;
      const uint8_t *w = block + (tap * s.rows + y) * 256 + 64 * (j + i);
      acc[i] = _mm512_dpbusd_epi32(acc[i], column[tap % 3][j + i], eb_load_bytes(w));
    }
  }
  return eb_depthwise_words(tables, s, r, 0, j, p->line, acc);
}

/* One pass over a segment of s.rows output rows, from left to right: vectors j and j + 1 of each
 * block, so that all weights stay in registers. Each column is interleaved once; the next blocks
 * get it from registers. The first pass (j = 0) leaves its words for the second (j = 2). With 8
 * channels vectors 2 and 3 have the weights of 0 and 1: then one pass computes all (`both`). */
EB_INLINE void eb_depthwise_slide(const uint8_t *in, const uint8_t *block, uint8_t *out,
                                  eb_depthwise_shape s, eb_requantization r, int width, int j,
                                  eb_bytes words[2][EB_SEGMENT]) {
  const eb_depthwise_tile t = {0, 1};
  const int both = s.channels == 8 && s.pixels == 8;
  const int step = s.pixels * s.in_pixel;
  const int used = s.pixels * s.channels < 64 ? s.pixels * s.channels : 64;
  const eb_depthwise_pass p = eb_depthwise_load_pass(block, s, j);
  eb_taps column[3][4], next[4];
  eb_depthwise_columns(in, s, t, 0, column[0]);
  if (s.pixels == 1) eb_depthwise_columns(in + step, s, t, 0, column[1]);
  for (int x = 0; x * s.pixels < width; x++) {
    if (s.pixels == 1) {
      eb_depthwise_columns(in + (x + 2) * step, s, t, 0, column[2]);
    } else {
      /* The last block may end before the next one begins. */
      const int more = (x + 1) * s.pixels < width + 2;
      eb_depthwise_columns(in + (more ? x + 1 : x) * step, s, t, 0, next);
      eb_depthwise_shift(column[0], next, s.channels, column[1]);
      eb_depthwise_shift(column[0], next, 2 * s.channels, column[2]);
    }
    const int left = (width - x * s.pixels) * s.channels;
    EB_UNROLL
    for (int i = 0; i < 4; i++) {
      const int y = i % 2, jj = j + i / 2 * 2;
      if (y >= s.rows || (i > 1 && !both)) continue;
      const eb_bytes done = eb_depthwise_slide_words(block, column, &p, s, r, y, jj);
      if (jj == 0)
        words[y][x] = done;
      else
        eb_store_block(out + y * s.out_row + x * s.pixels * s.out_pixel,
                       eb_narrow(words[y][x], done, r), left < used ? left : used);
    }
    EB_UNROLL
    for (int i = 0; i < 4; i++) {
      column[0][i] = s.pixels == 1 ? column[1][i] : next[i];
      column[1][i] = column[2][i];
    }
  }
}

EB_INLINE void eb_depthwise_slide_rows(const uint8_t *in, const uint8_t *block, uint8_t *out,
                                       eb_depthwise_shape s, eb_requantization r) {
  eb_bytes words[2][EB_SEGMENT];
  const int segment = EB_SEGMENT * s.pixels;
  for (int x = 0; x < s.out_width; x += segment, in += segment * s.in_pixel) {
    const int width = s.out_width - x < segment ? s.out_width - x : segment;
    uint8_t *to = out + x * s.out_pixel;
    eb_depthwise_slide(in, block, to, s, r, width, 0, words);
    if (s.channels == 8 && s.pixels == 8) continue;
    eb_depthwise_slide(in, block, to, s, r, width, 2, words);
  }
}

/* ---- Stride 2 over narrow maps: 16 or 32 channels ------------------------------------------- */

/* With stride 2 neighbouring output pixels do not lie side by side in the input; vectors of 32
 * bytes hold one pixel of one or two output rows instead. */

/* One input column of output rows 0 and `second` (0 or 1), interleaved. */
EB_INLINE void eb_depthwise_stack_column(const uint8_t *in, eb_depthwise_shape s, int second,
                                         __m256i column[4]) {
  __m256i row[4];
  EB_UNROLL
  for (int e = 0; e < 4; e++) {
    const uint8_t *from = in + (e < s.kernel_h ? e : 0) * s.in_row;
    if (s.channels == 32)
      row[e] = _mm256_loadu_si256((const __m256i *)from);
    else
      row[e] = _mm256_inserti128_si256(
          _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)from)),
          _mm_loadu_si128((const __m128i *)(from + 2 * second * s.in_row)), 1);
  }
  const __m256i low01 = _mm256_unpacklo_epi8(row[0], row[1]);
  const __m256i high01 = _mm256_unpackhi_epi8(row[0], row[1]);
  const __m256i low23 = _mm256_unpacklo_epi8(row[2], row[3]);
  const __m256i high23 = _mm256_unpackhi_epi8(row[2], row[3]);
  column[0] = _mm256_unpacklo_epi16(low01, low23), column[1] = _mm256_unpackhi_epi16(low01, low23);
  column[2] = _mm256_unpacklo_epi16(high01, high23);
  column[3] = _mm256_unpackhi_epi16(high01, high23);
}

/* One pixel of one or two rows: bytes 16 q + 4 j + i in vector j, as everywhere. */
EB_INLINE __m256i eb_depthwise_stack(const uint8_t *block, const __m256i weight[3][4],
                                     __m256i column[3][4], eb_depthwise_shape s,
                                     eb_requantization r) {
  const uint8_t *tables = block + eb_depthwise_weight_bytes(s);
  __m256i level[4];
  EB_UNROLL
  for (int j = 0; j < 4; j++) {
    __m256i acc = _mm256_loadu_si256((const __m256i *)(tables + 64 * j));
    EB_UNROLL
    for (int kx = 0; kx < 3; kx++) acc = _mm256_dpbusd_epi32(acc, column[kx][j], weight[kx][j]);
    EB_UNROLL
    for (int tap = 3; tap < 3 * s.planes; tap++) {
      if (!eb_depthwise_has(s, tap / 3, tap % 3)) continue;
      acc = _mm256_dpbusd_epi32(acc, column[tap % 3][j],
                                _mm256_loadu_si256((const __m256i *)(block + tap * 256 + 64 * j)));
    }
    level[j] = eb_apply_line8(acc, eb_load_line8(tables + 256 + 320 * j), s.line);
  }
  __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(level[0], level[1]),
                                      _mm256_packs_epi32(level[2], level[3]));
  if (r.low > 0) bytes = _mm256_max_epu8(bytes, _mm256_set1_epi8((char)r.low));
  if (r.high < 255) bytes = _mm256_min_epu8(bytes, _mm256_set1_epi8((char)r.high));
  return bytes;
}

EB_INLINE void eb_depthwise_stack_rows(const uint8_t *in, const uint8_t *block, uint8_t *out,
                                       eb_depthwise_shape s, eb_requantization r, int second) {
  __m256i column[3][4], weight[3][4];
  EB_UNROLL
  for (int i = 0; i < 12; i++)
    weight[i / 4][i % 4] =
        _mm256_loadu_si256((const __m256i *)(block + i / 4 * 256 + 64 * (i % 4)));
  eb_depthwise_stack_column(in, s, second, column[0]);
  for (int x = 0; x < s.out_width; x++, in += 2 * s.in_pixel, out += s.out_pixel) {
    eb_depthwise_stack_column(in + s.in_pixel, s, second, column[1]);
    eb_depthwise_stack_column(in + 2 * s.in_pixel, s, second, column[2]);
    const __m256i bytes = eb_depthwise_stack(block, weight, column, s, r);
    if (s.channels == 32) {
      _mm256_storeu_si256((__m256i *)out, bytes);
    } else {
      _mm_storeu_si128((__m128i *)out, _mm256_castsi256_si128(bytes));
      _mm_storeu_si128((__m128i *)(out + second * s.out_row),
                       second ? _mm256_extracti128_si256(bytes, 1) : _mm256_castsi256_si128(bytes));
    }
    EB_UNROLL
    for (int j = 0; j < 4; j++) column[0][j] = column[2][j];
  }
}
#endif

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
