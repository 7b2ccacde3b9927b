/* The parts of a vectorised depthwise convolution: interleaving rows, requantising blocks, and
 * one tile of a layer. See depthwise.h for the idea. */
#ifndef EB_DEPTHWISE_TILE_H
#define EB_DEPTHWISE_TILE_H

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
#endif

#endif
