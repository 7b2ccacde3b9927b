/* One register tile of conv.h: dot products, then requantisation and stores. */
#ifndef EB_CONV_TILE_H
#define EB_CONV_TILE_H

#include <stddef.h>

#include "isa.h"
#include "requantize.h"

/* All fields are literals where a layer is called; pitches, steps and strides are bytes. */
typedef struct {
  int height, width, channels;              /* of the output */
  int out_row, out_pixel;                   /* output pitches */
  int stride_y, stride_x;                   /* from one output pixel's inputs to the next one's */
  int runs_y, runs_x, quads, step_y, step_x; /* runs_y x runs_x runs of 4 * quads input bytes */
  int weight_zero;                          /* zero point of the weights */
  int interleave; /* vectors whose weights alternate step by step; a multiple of tile.vectors */
} eb_conv_shape;

/* Registers: rows x columns pixels x vectors of 16 channels; splits > 1 sums the steps of a run
 * in several accumulators, for tiles too small to hide the latency of a dot product. */
typedef struct {
  int rows, columns, vectors, splits;
} eb_conv_tile;

enum { EB_TILE_LIMIT = 32 };

/* ---- Dot products of four inputs for sixteen channels --------------------------------------
 * eb_dots: sixteen sums; eb_quad: four inputs of one pixel; eb_filter: 16 x 4 weights. */

#if EB_ISA >= 5
typedef __m512i eb_dots, eb_quad, eb_filter;

EB_INLINE eb_dots eb_dots_from(const int32_t *bias) { return _mm512_loadu_si512(bias); }
EB_INLINE eb_dots eb_dots_zero(void) { return _mm512_setzero_si512(); }
EB_INLINE eb_quad eb_quad_at(const uint8_t *x) {
  int32_t four;
  memcpy(&four, x, 4);
  return _mm512_set1_epi32(four);
}
EB_INLINE eb_filter eb_filter_at(const int8_t *w) { return _mm512_loadu_si512(w); }
EB_INLINE eb_filter eb_filter_ones(void) { return _mm512_set1_epi8(1); }
EB_INLINE eb_dots eb_dots_add(eb_dots sum, eb_quad x, eb_filter w) {
  return _mm512_dpbusd_epi32(sum, x, w);
}
EB_INLINE eb_dots eb_dots_join(eb_dots a, eb_dots b) { return _mm512_add_epi32(a, b); }
EB_INLINE eb_i32x16 eb_dots_total(eb_dots a) { return a; }

#elif EB_ISA == 3
typedef eb_i32x16 eb_dots, eb_filter;
typedef __m256i eb_quad;

EB_INLINE __m256i eb_dot_256(__m256i sum, __m256i x, __m256i w) {
#ifdef EB_EMULATE_VNNI
  /* Even and odd bytes apart: products of 8 x 8 bits, two to a 32-bit sum, fit 16-bit lanes. */
  const __m256i low = _mm256_set1_epi16(0xFF);
  const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8);
  sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_and_si256(x, low), even));
  return _mm256_add_epi32(
      sum, _mm256_madd_epi16(_mm256_srli_epi16(x, 8), _mm256_srai_epi16(w, 8)));
#else
  return _mm256_dpbusd_avx_epi32(sum, x, w);
#endif
}
EB_INLINE eb_dots eb_dots_from(const int32_t *bias) { return eb_load_i32x16(bias); }
EB_INLINE eb_dots eb_dots_zero(void) { return eb_set1_i32x16(0); }
EB_INLINE eb_quad eb_quad_at(const uint8_t *x) {
  int32_t four;
  memcpy(&four, x, 4);
  return _mm256_set1_epi32(four);
}
EB_INLINE eb_filter eb_filter_at(const int8_t *w) { return eb_load_i32x16((const int32_t *)w); }
EB_INLINE eb_filter eb_filter_ones(void) { return eb_set1_i32x16(0x01010101); }
EB_INLINE eb_dots eb_dots_add(eb_dots sum, eb_quad x, eb_filter w) {
  return (eb_dots){eb_dot_256(sum.low, x, w.low), eb_dot_256(sum.high, x, w.high)};
}
EB_INLINE eb_dots eb_dots_join(eb_dots a, eb_dots b) { return eb_add_i32x16(a, b); }
EB_INLINE eb_i32x16 eb_dots_total(eb_dots a) { return a; }

#elif EB_ISA == 2
/* The byte product of AVX2 saturates at 16 bits, so bytes are widened first. Part i holds
 * channels 4i .. 4i+3, each as two sums: of the first and of the last two inputs. */
typedef struct {
  __m256i part[4];
} eb_dots, eb_filter;
typedef __m256i eb_quad;

EB_INLINE eb_dots eb_dots_from(const int32_t *bias) {
  eb_dots a;
  EB_UNROLL
  for (int i = 0; i < 4; i++)
    a.part[i] = _mm256_cvtepu32_epi64(_mm_loadu_si128((const __m128i *)(bias + 4 * i)));
  return a;
}
EB_INLINE eb_dots eb_dots_zero(void) {
  const __m256i zero = _mm256_setzero_si256();
  return (eb_dots){{zero, zero, zero, zero}};
}
EB_INLINE eb_quad eb_quad_at(const uint8_t *x) {
  int32_t four;
  memcpy(&four, x, 4);
  return _mm256_cvtepu8_epi16(_mm_set1_epi32(four));
}
EB_INLINE eb_filter eb_filter_at(const int8_t *w) {
  eb_filter a;
  EB_UNROLL
  for (int i = 0; i < 4; i++)
    a.part[i] = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(w + 16 * i)));
  return a;
}
EB_INLINE eb_filter eb_filter_ones(void) {
  const __m256i one = _mm256_set1_epi16(1);
  return (eb_filter){{one, one, one, one}};
}
EB_INLINE eb_dots eb_dots_add(eb_dots sum, eb_quad x, eb_filter w) {
  EB_UNROLL
  for (int i = 0; i < 4; i++)
    sum.part[i] = _mm256_add_epi32(sum.part[i], _mm256_madd_epi16(x, w.part[i]));
  return sum;
}
EB_INLINE eb_dots eb_dots_join(eb_dots a, eb_dots b) {
  EB_UNROLL
  for (int i = 0; i < 4; i++) a.part[i] = _mm256_add_epi32(a.part[i], b.part[i]);
  return a;
}
EB_INLINE eb_i32x16 eb_dots_total(eb_dots a) {
  const __m256i low = _mm256_hadd_epi32(a.part[0], a.part[1]);
  const __m256i high = _mm256_hadd_epi32(a.part[2], a.part[3]);
  return (eb_i32x16){_mm256_permute4x64_epi64(low, 0xD8), _mm256_permute4x64_epi64(high, 0xD8)};
}

#elif defined(__SSE2__) && !defined(EB_PLAIN)
/* What every x86-64 processor has: as for AVX2, in halves. Part i holds channels 2i and 2i+1. */
#include <emmintrin.h>
typedef struct {
  __m128i part[8];
} eb_dots, eb_filter;
typedef __m128i eb_quad;

EB_INLINE eb_dots eb_dots_from(const int32_t *bias) {
  eb_dots a;
  EB_UNROLL
  for (int i = 0; i < 8; i++)
    a.part[i] = _mm_unpacklo_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(bias + 2 * i)),
                                   _mm_setzero_si128());
  return a;
}
EB_INLINE eb_dots eb_dots_zero(void) {
  eb_dots a;
  EB_UNROLL
  for (int i = 0; i < 8; i++) a.part[i] = _mm_setzero_si128();
  return a;
}
EB_INLINE eb_quad eb_quad_at(const uint8_t *x) {
  int32_t four;
  memcpy(&four, x, 4);
  return _mm_unpacklo_epi8(_mm_set1_epi32(four), _mm_setzero_si128());
}
EB_INLINE eb_filter eb_filter_at(const int8_t *w) {
  eb_filter a;
  EB_UNROLL
  for (int i = 0; i < 4; i++) {
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(w + 16 * i));
    a.part[2 * i] = _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
    a.part[2 * i + 1] = _mm_srai_epi16(_mm_unpackhi_epi8(bytes, bytes), 8);
  }
  return a;
}
EB_INLINE eb_filter eb_filter_ones(void) {
  eb_filter a;
  EB_UNROLL
  for (int i = 0; i < 8; i++) a.part[i] = _mm_set1_epi16(1);
  return a;
}
EB_INLINE eb_dots eb_dots_add(eb_dots sum, eb_quad x, eb_filter w) {
  EB_UNROLL
  for (int i = 0; i < 8; i++)
    sum.part[i] = _mm_add_epi32(sum.part[i], _mm_madd_epi16(x, w.part[i]));
  return sum;
}
EB_INLINE eb_dots eb_dots_join(eb_dots a, eb_dots b) {
  EB_UNROLL
  for (int i = 0; i < 8; i++) a.part[i] = _mm_add_epi32(a.part[i], b.part[i]);
  return a;
}
EB_INLINE eb_i32x16 eb_dots_total(eb_dots a) {
  eb_i32x16 total;
  EB_UNROLL
  for (int i = 0; i < 4; i++) {
    const __m128 one = _mm_castsi128_ps(a.part[2 * i]), two = _mm_castsi128_ps(a.part[2 * i + 1]);
    const __m128i first = _mm_castps_si128(_mm_shuffle_ps(one, two, 0x88));
    const __m128i second = _mm_castps_si128(_mm_shuffle_ps(one, two, 0xDD));
    _mm_storeu_si128((__m128i *)(void *)(total.lane + 4 * i), _mm_add_epi32(first, second));
  }
  return total;
}

#else
typedef eb_i32x16 eb_dots;
typedef const uint8_t *eb_quad;
typedef const int8_t *eb_filter;

EB_INLINE eb_dots eb_dots_from(const int32_t *bias) { return eb_load_i32x16(bias); }
EB_INLINE eb_dots eb_dots_zero(void) { return eb_set1_i32x16(0); }
EB_INLINE eb_quad eb_quad_at(const uint8_t *x) { return x; }
EB_INLINE eb_filter eb_filter_at(const int8_t *w) { return w; }
EB_INLINE eb_filter eb_filter_ones(void) {
#define EB_ONES 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
  static const int8_t ones[64] = {EB_ONES, EB_ONES, EB_ONES, EB_ONES};
#undef EB_ONES
  return ones;
}
EB_INLINE eb_dots eb_dots_add(eb_dots sum, eb_quad x, eb_filter w) {
  for (int i = 0; i < 16; i++)
    for (int j = 0; j < 4; j++) sum.lane[i] += x[j] * w[4 * i + j];
  return sum;
}
EB_INLINE eb_dots eb_dots_join(eb_dots a, eb_dots b) { return eb_add_i32x16(a, b); }
EB_INLINE eb_i32x16 eb_dots_total(eb_dots a) { return a; }
#endif

/* ---- One tile ------------------------------------------------------------------------------ */

/* What a layer reads and writes, seen from the tile at hand. */
typedef struct {
  const uint8_t *x;     /* first input byte of the first pixel */
  const int8_t *w;      /* packed weights of the first vector */
  int w_step, w_vector; /* bytes from one step, and from one vector, to the next */
  const int32_t *bias;  /* of the first vector */
  const int32_t *table; /* requantisation of the first vector */
  uint8_t *y;           /* first channel of the first pixel */
} eb_conv_place;

/* Pixel p of a tile that is `columns` wide, with the given pitches. */
EB_INLINE int eb_conv_pixel(int p, int columns, int row, int column) {
  return p / columns * row + p % columns * column;
}

/* sums[p * V + v] += four inputs of every pixel times four weights of every vector. */
EB_INLINE void eb_conv_step(eb_conv_shape s, eb_conv_tile t, const uint8_t *x, const int8_t *w,
                            int w_vector, eb_dots *sums, eb_dots *inputs) {
  eb_filter filter[EB_TILE_LIMIT];
  EB_UNROLL
  for (int v = 0; v < t.vectors; v++) filter[v] = eb_filter_at(w + v * w_vector);
  EB_UNROLL
  for (int p = 0; p < t.rows * t.columns; p++) {
    const eb_quad quad = eb_quad_at(x + eb_conv_pixel(p, t.columns, s.stride_y, s.stride_x));
    EB_UNROLL
    for (int v = 0; v < t.vectors; v++)
      sums[p * t.vectors + v] = eb_dots_add(sums[p * t.vectors + v], quad, filter[v]);
    if (s.weight_zero) inputs[p] = eb_dots_add(inputs[p], quad, eb_filter_ones());
  }
}

/* Byte offset of vector i of a tile from its first channel; size is that of a stored number. */
EB_INLINE int eb_conv_offset(eb_conv_shape s, eb_conv_tile t, int i, int size) {
  return eb_conv_pixel(i / t.vectors, t.columns, s.out_row, s.out_pixel) +
         16 * size * (i % t.vectors);
}

/* Channels of vector i that exist. */
EB_INLINE int eb_conv_lanes(eb_conv_tile t, int i, int last) {
  return (i + 1) % t.vectors ? 16 : last;
}

/* Store vectors i .. i+3 of a tile (those that exist), in as few pieces as lie side by side. */
EB_INLINE void eb_conv_store_four(eb_conv_shape s, eb_conv_tile t, uint8_t *y, eb_u8x64 bytes,
                                  int i, int last) {
  const int count = t.rows * t.columns * t.vectors;
  const int start = eb_conv_offset(s, t, i, 1);
  int side_by_side = i + 4 <= count;
  EB_UNROLL
  for (int j = 1; j < 4; j++)
    side_by_side = side_by_side && eb_conv_lanes(t, i + j - 1, last) == 16 &&
                   eb_conv_offset(s, t, i + j, 1) == start + 16 * j;
  if (side_by_side) {
    eb_store_first_u8x64(y + start, bytes, 48 + eb_conv_lanes(t, i + 3, last));
    return;
  }
  EB_UNROLL
  for (int j = 0; j < 4; j++)
    if (i + j < count)
      eb_store_first_u8x16(y + eb_conv_offset(s, t, i + j, 1), eb_part_u8x64(bytes, j),
                           eb_conv_lanes(t, i + j, last));
}

/* Requantise and store vectors i .. i+3 of a finished tile (those that exist); `last` channels of
 * its last vector exist. */
EB_INLINE void eb_conv_finish_four(eb_conv_shape s, eb_conv_tile t, eb_requantization r,
                                   const int32_t *table, uint8_t *y, const eb_i32x16 *total,
                                   int i, int last) {
  const int count = t.rows * t.columns * t.vectors;
  eb_i32x16 four[4];
  EB_UNROLL
  for (int j = 0; j < 4; j++) { /* behind the end the last vector is repeated */
    const int k = i + j < count ? i + j : count - 1;
    four[j] = eb_scale16(total[k], table + k % t.vectors * EB_TABLE_WORDS(r.rule), r);
    if (r.rule == EB_NONE && i + j < count)
      eb_store_first_i32x16((int32_t *)(void *)(y + eb_conv_offset(s, t, k, 4)), total[k],
                            eb_conv_lanes(t, k, last));
  }
  if (r.rule != EB_NONE)
    eb_conv_store_four(s, t, y, eb_bytes64(four[0], four[1], four[2], four[3], r), i, last);
}

EB_INLINE void eb_conv_finish(eb_conv_shape s, eb_conv_tile t, eb_requantization r,
                              const int32_t *table, uint8_t *y, const eb_i32x16 *total, int last) {
  EB_UNROLL
  for (int i = 0; i < t.rows * t.columns * t.vectors; i += 4)
    eb_conv_finish_four(s, t, r, table, y, total, i, last);
}

/* The weights of a small layer are the same for every tile; kept in registers throughout, as
 * compilers like to, they would push the sums out to memory. So nobody knows where they are. */
EB_INLINE const int8_t *eb_conv_hidden(const int8_t *w) {
#if defined(__GNUC__)
  __asm__("" : "+r"(w));
#endif
  return w;
}

EB_INLINE void eb_conv_tile_at(eb_conv_shape s, eb_conv_tile t, eb_requantization r,
                               eb_conv_place at, int last) {
  const int count = t.rows * t.columns * t.vectors;
  eb_dots sums[EB_TILE_LIMIT], inputs[EB_TILE_LIMIT];
  EB_UNROLL
  for (int i = 0; i < t.splits * count; i++)
    sums[i] = i < count ? eb_dots_from(at.bias + i % t.vectors * 16) : eb_dots_zero();
  EB_UNROLL
  for (int p = 0; p < t.rows * t.columns; p++) inputs[p] = eb_dots_zero();

  const int8_t *w = eb_conv_hidden(at.w);
  for (int run = 0; run < s.runs_y * s.runs_x; run++) {
    const uint8_t *x = at.x + run / s.runs_x * s.step_y + run % s.runs_x * s.step_x;
    int quad = 0;
    for (; quad + t.splits <= s.quads; quad += t.splits) {
      EB_UNROLL
      for (int i = 0; i < t.splits; i++)
        eb_conv_step(s, t, x + 4 * i, w + at.w_step * i, at.w_vector, sums + i * count, inputs);
      x += 4 * t.splits, w += at.w_step * t.splits;
    }
    for (; quad < s.quads; quad++, x += 4, w += at.w_step)
      eb_conv_step(s, t, x, w, at.w_vector, sums, inputs);
  }

  eb_i32x16 total[EB_TILE_LIMIT];
  EB_UNROLL
  for (int i = 0; i < count; i++) {
    EB_UNROLL
    for (int k = 1; k < t.splits; k++) sums[i] = eb_dots_join(sums[i], sums[k * count + i]);
    total[i] = eb_dots_total(sums[i]);
    if (s.weight_zero)
      total[i] = eb_sub_i32x16(total[i], eb_mul_i32x16(eb_dots_total(inputs[i / t.vectors]),
                                                       eb_set1_i32x16(s.weight_zero)));
  }
  eb_conv_finish(s, t, r, at.table, at.y, total, last);
}

#endif
