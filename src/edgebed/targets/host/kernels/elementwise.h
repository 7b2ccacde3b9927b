/* Element by element: sums, products, tables, conversions of biased uint8 maps (int8 + 128).
 *
 * Two bytes have 65536 pairs, one byte has 256 values: elementwise.py evaluates the exact rule of a
 * layer for all of them, and takes a cheap form only where it agrees everywhere:
 *
 *     EB_PAIR_EVEN   round half to even (f(a, b) + offset)
 *     EB_PAIR_AWAY   cut (f(a, b) + offset, moved by `half` away from zero) + out_zero
 *     EB_PAIR_TABLE  a table of 65536 bytes, index 256 * a + b, for whatever fits neither
 *
 * with f(a, b) = a * a_scale + b * b_scale, or (a - a_zero) * (b - b_zero) * a_scale. The vector
 * forms compute it with float32 multiply-adds, the plain form in float64; each is proved by itself.
 * Up to 63 bytes behind the last element of an operand may be read.
 */
#ifndef EB_ELEMENTWISE_H
#define EB_ELEMENTWISE_H

#include "requantize.h"

enum { EB_PAIR_EVEN, EB_PAIR_AWAY, EB_PAIR_TABLE };

/* All fields are literals where a layer is called. */
typedef struct {
  int form;       /* of the vector variants */
  int plain_form; /* of the plain variant */
  int product;    /* f is the product, else the sum */
  float a_scale, b_scale, offset, half;
  double plain_a_scale, plain_b_scale, plain_offset, plain_half;
  int a_zero, b_zero;      /* stored bytes; product */
  int out_zero, low, high; /* stored bytes */
} eb_pair;

/* One operand may be broadcast: pitches of 0 repeat a row, a pixel or a channel. Literals. */
typedef struct {
  int width, channels;
  int a_row, a_pixel;
  int b_row, b_pixel, b_channel;
  int out_row, out_pixel;
} eb_pair_shape;

#if EB_ISA >= 5
EB_INLINE __m512 eb_floats16(const uint8_t *from, int step) {
  if (!step) return _mm512_set1_ps((float)*from);
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)from)));
}

EB_INLINE eb_i32x16 eb_pair16(const uint8_t *a, const uint8_t *b, int step, eb_pair p) {
  __m512 x = eb_floats16(a, 1), y = eb_floats16(b, step);
  const __m512 offset = _mm512_set1_ps(p.offset), scale = _mm512_set1_ps(p.a_scale);
  if (p.product) {
    x = _mm512_mul_ps(_mm512_sub_ps(x, _mm512_set1_ps((float)p.a_zero)),
                      _mm512_sub_ps(y, _mm512_set1_ps((float)p.b_zero)));
    y = offset;
  } else {
    y = _mm512_fmadd_ps(y, _mm512_set1_ps(p.b_scale), offset);
  }
  x = _mm512_fmadd_ps(x, scale, y);
  if (p.form == EB_PAIR_EVEN) return _mm512_cvtps_epi32(x);
  const __m512 sign = _mm512_and_ps(x, _mm512_set1_ps(-0.0f));
  x = _mm512_add_ps(x, _mm512_or_ps(sign, _mm512_set1_ps(p.half)));
  return _mm512_add_epi32(_mm512_cvttps_epi32(x), _mm512_set1_epi32(p.out_zero));
}

#elif EB_ISA >= 2
EB_INLINE __m256 eb_floats8(const uint8_t *from, int step) {
  if (!step) return _mm256_set1_ps((float)*from);
  return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)from)));
}

EB_INLINE __m256i eb_pair8(const uint8_t *a, const uint8_t *b, int step, eb_pair p) {
  __m256 x = eb_floats8(a, 1), y = eb_floats8(b, step);
  const __m256 offset = _mm256_set1_ps(p.offset), scale = _mm256_set1_ps(p.a_scale);
  if (p.product) {
    x = _mm256_mul_ps(_mm256_sub_ps(x, _mm256_set1_ps((float)p.a_zero)),
                      _mm256_sub_ps(y, _mm256_set1_ps((float)p.b_zero)));
    y = offset;
  } else {
    y = _mm256_fmadd_ps(y, _mm256_set1_ps(p.b_scale), offset);
  }
  x = _mm256_fmadd_ps(x, scale, y);
  if (p.form == EB_PAIR_EVEN) return _mm256_cvtps_epi32(x);
  const __m256 sign = _mm256_and_ps(x, _mm256_set1_ps(-0.0f));
  x = _mm256_add_ps(x, _mm256_or_ps(sign, _mm256_set1_ps(p.half)));
  return _mm256_add_epi32(_mm256_cvttps_epi32(x), _mm256_set1_epi32(p.out_zero));
}

EB_INLINE eb_i32x16 eb_pair16(const uint8_t *a, const uint8_t *b, int step, eb_pair p) {
  return (eb_i32x16){eb_pair8(a, b, step, p), eb_pair8(a + 8, b + 8 * step, step, p)};
}

#else
EB_INLINE eb_i32x16 eb_pair16(const uint8_t *a, const uint8_t *b, int step, eb_pair p) {
  eb_i32x16 level;
  for (int i = 0; i < 16; i++) {
    const double x = a[i], y = b[i * step];
    const double value =
        p.product ? (x - p.a_zero) * (y - p.b_zero) * p.plain_a_scale + p.plain_offset
                  : x * p.plain_a_scale + (y * p.plain_b_scale + p.plain_offset);
    const double magic = 6755399441055744.0; /* 1.5 * 2^52: the unit is the last bit */
    level.lane[i] = p.plain_form == EB_PAIR_EVEN
                        ? (int32_t)(value + magic - magic)
                        : (int32_t)(value < 0 ? value - p.plain_half : value + p.plain_half) + p.out_zero;
  }
  return level;
}
#endif

/* n neighbouring elements. */
EB_INLINE void eb_pair_run(const uint8_t *a, const uint8_t *b, int step, uint8_t *out, int n,
                           eb_pair p, const uint8_t *table) {
  if ((EB_ISA >= 2 ? p.form : p.plain_form) == EB_PAIR_TABLE) {
    for (int i = 0; i < n; i++) out[i] = table[256 * a[i] + b[i * step]];
    return;
  }
  const eb_requantization r = {EB_FLOAT, p.out_zero, p.low, p.high, 0, 0};
  for (int i = 0; i < n; i += 64) {
    eb_i32x16 level[4];
    EB_UNROLL
    for (int j = 0; j < 4; j++)
      level[j] = eb_pair16(a + i + 16 * j, b + (i + 16 * j) * step, step, p);
    eb_store_first_u8x64(out + i, eb_bytes64(level[0], level[1], level[2], level[3], r),
                         n - i < 64 ? n - i : 64);
  }
}

/* Rows y0 <= y < y1. Where nothing lies between pixels, a row is one run. */
EB_INLINE void eb_pairwise(const uint8_t *a, const uint8_t *b, uint8_t *out, const uint8_t *table,
                           eb_pair_shape s, eb_pair p, int y0, int y1) {
  const int dense = s.a_pixel == s.channels && s.out_pixel == s.channels &&
                    s.b_pixel == s.b_channel * s.channels;
  for (int y = y0; y < y1; y++) {
    const uint8_t *ra = a + y * s.a_row, *rb = b + y * s.b_row;
    uint8_t *to = out + y * s.out_row;
    if (dense)
      eb_pair_run(ra, rb, s.b_channel, to, s.width * s.channels, p, table);
    else
      for (int x = 0; x < s.width; x++)
        eb_pair_run(ra + x * s.a_pixel, rb + x * s.b_pixel, s.b_channel, to + x * s.out_pixel,
                    s.channels, p, table);
  }
}

/* ---- Maximum and minimum of two maps with the same scale and zero point --------------------- */

EB_INLINE void eb_extreme_run(const uint8_t *a, const uint8_t *b, int step, uint8_t *out, int n,
                              int minimum) {
  for (int i = 0; i < n; i++) {
    const uint8_t x = a[i], y = b[i * step];
    out[i] = (x < y) == minimum ? x : y;
  }
}

EB_INLINE void eb_extreme(const uint8_t *a, const uint8_t *b, uint8_t *out, eb_pair_shape s,
                          int minimum, int y0, int y1) {
  for (int y = y0; y < y1; y++)
    for (int x = 0; x < s.width; x++)
      eb_extreme_run(a + y * s.a_row + x * s.a_pixel, b + y * s.b_row + x * s.b_pixel, s.b_channel,
                     out + y * s.out_row + x * s.out_pixel, s.channels, minimum);
}

/* ---- One operand ---------------------------------------------------------------------------- */

/* Pitches in bytes on the byte side, and on the other side too. Literals. */
typedef struct {
  int width, channels;
  int in_row, in_pixel, out_row, out_pixel;
} eb_map_shape;

/* out[i] = table[in[i]]: every activation function, and every change of scale. */
#if EB_ISA >= 5
typedef struct {
  __m512i part[4];
} eb_table;

EB_INLINE eb_table eb_load_table(const uint8_t *from) {
  eb_table t;
  EB_UNROLL
  for (int i = 0; i < 4; i++) t.part[i] = _mm512_loadu_si512(from + 64 * i);
  return t;
}

EB_INLINE __m512i eb_look_up(__m512i q, eb_table t) {
#if defined(__AVX512VBMI__)
  const __m512i low = _mm512_permutex2var_epi8(t.part[0], q, t.part[1]);
  const __m512i high = _mm512_permutex2var_epi8(t.part[2], q, t.part[3]);
  return _mm512_mask_blend_epi8(_mm512_movepi8_mask(q), low, high);
#else
  /* Sixteen rows of sixteen bytes; the upper half of a byte chooses the row. */
  const __m512i column = _mm512_and_si512(q, _mm512_set1_epi8(15));
  const __m512i row = _mm512_andnot_si512(_mm512_set1_epi8(15), q);
  __m512i found = q;
  EB_UNROLL
  for (int i = 0; i < 16; i++) {
    const __m512i part = t.part[i / 4];
    const __m512i sixteen = i % 4 == 0   ? _mm512_shuffle_i32x4(part, part, 0x00)
                            : i % 4 == 1 ? _mm512_shuffle_i32x4(part, part, 0x55)
                            : i % 4 == 2 ? _mm512_shuffle_i32x4(part, part, 0xAA)
                                         : _mm512_shuffle_i32x4(part, part, 0xFF);
    const __mmask64 here = _mm512_cmpeq_epi8_mask(row, _mm512_set1_epi8((char)(16 * i)));
    found = _mm512_mask_shuffle_epi8(found, here, sixteen, column);
  }
  return found;
#endif
}

EB_INLINE void eb_table_run(const uint8_t *in, uint8_t *out, int n, const uint8_t *table) {
  const eb_table t = eb_load_table(table);
  for (int i = 0; i < n; i += 64)
    eb_store_first_u8x64(out + i, eb_look_up(_mm512_loadu_si512(in + i), t),
                         n - i < 64 ? n - i : 64);
}
#else
EB_INLINE void eb_table_run(const uint8_t *in, uint8_t *out, int n, const uint8_t *table) {
  for (int i = 0; i < n; i++) out[i] = table[in[i]];
}
#endif

EB_INLINE void eb_table_map(const uint8_t *in, uint8_t *out, const uint8_t *table, eb_map_shape s,
                            int y0, int y1) {
  const int dense = s.in_pixel == s.channels && s.out_pixel == s.channels;
  const int runs = dense ? 1 : s.width, n = dense ? s.width * s.channels : s.channels;
  for (int y = y0; y < y1; y++)
    for (int x = 0; x < runs; x++)
      eb_table_run(in + y * s.in_row + x * s.in_pixel, out + y * s.out_row + x * s.out_pixel, n,
                   table);
}

#endif
