/* Convolution 3 x 3, stride 1, with a quarter of the products, and exact: Winograd's F(4x4, 3x3).
 *
 * A tile of 4 x 4 output pixels needs 6 x 6 inputs d. With the matrices below
 *     576 * outputs = A ((G g G') * (B d B')) A'      (* is element by element)
 * so that 36 products a channel do what 144 do directly; they are products of 16 bits, of which an
 * instruction does half as many. B d B' and G g G' fit 16 bits for every 8-bit d and g; what comes
 * behind wraps modulo 2^32, which is no loss: 576 = 9 * 64, 9 has an inverse modulo 2^32, and the
 * accumulator needs less than the 26 bits that are left. Where 576 times the accumulator does not
 * even wrap, the requantisation takes it as it is. winograd.py chooses layers and packs them.
 *
 *     B  4  0 -5  0  1  0    G    6   0   0    A  1  1  1  1  1  0
 *        0 -4 -4  1  1  0        -4  -4  -4       0  1 -1  2 -2  0
 *        0  4 -4 -1  1  0        -4   4  -4       0  1  1  4  4  0
 *        0 -2 -1  2  1  0         1   2   4       0  1 -1  8 -8  2
 *        0  2 -1 -2  1  0         1  -2   4
 *        0  4  0 -5  0  1         0   0  12
 */
#ifndef EB_WINOGRAD_H
#define EB_WINOGRAD_H

#include <stddef.h>

#include "requantize.h"

/* All fields are literals where a layer is called; pitches are bytes. */
typedef struct {
  int height, width;    /* of the output, at least 4 */
  int inputs, channels; /* input and output channels, multiples of 16 */
  int in_row, in_pixel, out_row, out_pixel;
  int tiles, vectors; /* computed together: tiles x vectors of 16 channels */
  int narrow;         /* 576 times the accumulators do not wrap, and the table is for them */
} eb_winograd_shape;

#if EB_ISA >= 5

enum { EB_WINOGRAD_LIMIT = 8, EB_WINOGRAD_INPUTS = 36 * 512 };
enum { EB_NINTH = 954437177 }; /* 9 * EB_NINTH = 1 modulo 2^32 */

/* The six values of B d for a column (or a row) d. */
#define EB_WINOGRAD_INPUT(name, vector, add, sub, shift)                                     \
  EB_INLINE void name(const vector d[6], vector to[6]) {                                     \
    const vector d42 = sub(d[4], d[2]), d31 = sub(d[3], d[1]), twice = add(d31, d31);        \
    to[0] = add(shift(sub(d[0], d[2]), 2), d42);                                             \
    to[1] = sub(add(d[3], d[4]), shift(add(d[1], d[2]), 2));                                 \
    to[2] = add(sub(d[4], d[3]), shift(sub(d[1], d[2]), 2));                                 \
    to[3] = add(d42, twice);                                                                 \
    to[4] = sub(d42, twice);                                                                 \
    to[5] = sub(sub(d[5], d[3]), shift(d31, 2));                                             \
  }
EB_WINOGRAD_INPUT(eb_winograd_b32, __m512i, _mm512_add_epi16, _mm512_sub_epi16,
                  _mm512_slli_epi16)
EB_WINOGRAD_INPUT(eb_winograd_b16, __m256i, _mm256_add_epi16, _mm256_sub_epi16,
                  _mm256_slli_epi16)
#undef EB_WINOGRAD_INPUT

/* B d B' of 32 or 16 channels of one tile; `step` int16 lie between two of the 36 results. */
#define EB_WINOGRAD_TILE(name, vector, widen, load, store, transform)                        \
  EB_INLINE void name(const uint8_t *x, int row, int pixel, int16_t *to, int step) {         \
    vector half[6][6];                                                                       \
    EB_UNROLL                                                                                \
    for (int j = 0; j < 6; j++) {                                                            \
      vector d[6], b[6];                                                                     \
      EB_UNROLL                                                                              \
      for (int i = 0; i < 6; i++) d[i] = widen(load((const void *)(x + i * row + j * pixel)));   \
      transform(d, b);                                                                       \
      EB_UNROLL                                                                              \
      for (int i = 0; i < 6; i++) half[i][j] = b[i];                                         \
    }                                                                                        \
    EB_UNROLL                                                                                \
    for (int i = 0; i < 6; i++) {                                                            \
      vector b[6];                                                                           \
      transform(half[i], b);                                                                 \
      EB_UNROLL                                                                              \
      for (int j = 0; j < 6; j++) store((void *)(to + (6 * i + j) * step), b[j]);            \
    }                                                                                        \
  }
EB_WINOGRAD_TILE(eb_winograd_in32, __m512i, _mm512_cvtepu8_epi16, _mm256_loadu_si256,
                 _mm512_storeu_si512, eb_winograd_b32)
EB_WINOGRAD_TILE(eb_winograd_in16, __m256i, _mm256_cvtepu8_epi16, _mm_loadu_si128,
                 _mm256_storeu_si256, eb_winograd_b16)
#undef EB_WINOGRAD_TILE

/* The four values of A m. */
EB_INLINE void eb_winograd_a(const __m512i m[6], __m512i to[4]) {
  const __m512i s = _mm512_add_epi32(m[1], m[2]), d = _mm512_sub_epi32(m[1], m[2]);
  const __m512i t = _mm512_add_epi32(m[3], m[4]), u = _mm512_sub_epi32(m[3], m[4]);
  const __m512i twice = _mm512_add_epi32(u, u), last = _mm512_add_epi32(m[5], m[5]);
  to[0] = _mm512_add_epi32(_mm512_add_epi32(m[0], s), t);
  to[1] = _mm512_add_epi32(d, twice);
  to[2] = _mm512_add_epi32(s, _mm512_slli_epi32(t, 2));
  to[3] = _mm512_add_epi32(_mm512_add_epi32(d, last), _mm512_slli_epi32(twice, 2));
}

/* A m A' of sixteen channels of one tile, then requantisation: 4 x 4 pixels. */
EB_INLINE void eb_winograd_out(const int32_t *m, const int32_t *table, eb_requantization r,
                               uint8_t *y, int row, int pixel, int narrow) {
  __m512i half[4][6];
  EB_UNROLL
  for (int j = 0; j < 6; j++) {
    __m512i column[6], a[4];
    EB_UNROLL
    for (int i = 0; i < 6; i++) column[i] = _mm512_load_si512(m + 16 * (6 * i + j));
    eb_winograd_a(column, a);
    EB_UNROLL
    for (int i = 0; i < 4; i++) half[i][j] = a[i];
  }
  EB_UNROLL
  for (int i = 0; i < 4; i++) {
    __m512i a[4];
    eb_winograd_a(half[i], a);
    EB_UNROLL
    for (int j = 0; j < 4; j++) {
      if (!narrow)
        a[j] = _mm512_srai_epi32(_mm512_mullo_epi32(a[j], _mm512_set1_epi32(EB_NINTH)), 6);
      a[j] = eb_scale16(a[j], table, r);
    }
    const eb_u8x64 bytes = eb_bytes64(a[0], a[1], a[2], a[3], r);
    if (pixel == 16) {
      eb_store_first_u8x64(y + i * row, bytes, 64);
      continue;
    }
    EB_UNROLL
    for (int j = 0; j < 4; j++)
      eb_store_u8x16(y + i * row + j * pixel, eb_part_u8x64(bytes, j));
  }
}

/* sums[t][f][v] = over the channels, transformed inputs times transformed weights. */
EB_INLINE void eb_winograd_products(eb_winograd_shape s, const int16_t *inputs, const int16_t *w,
                                    const int32_t *bias, int32_t *sums) {
  const int count = s.tiles * s.vectors;
  EB_ROLLED
  for (int f = 0; f < 36; f++) {
    __m512i sum[EB_WINOGRAD_LIMIT];
    EB_UNROLL
    for (int i = 0; i < count; i++) /* place 1, 1 counts once in every output */
      sum[i] = f == 7 ? _mm512_loadu_si512(bias + i % s.vectors * 16) : _mm512_setzero_si512();
    const int16_t *x = inputs + f * s.inputs;
    EB_ROLLED
    for (int c = 0; c < s.inputs; c += 2, w += 32 * s.vectors) {
      __m512i weights[EB_WINOGRAD_LIMIT];
      EB_UNROLL
      for (int v = 0; v < s.vectors; v++) weights[v] = _mm512_load_si512(w + 32 * v);
      EB_UNROLL
      for (int t = 0; t < s.tiles; t++) {
        int32_t pair;
        memcpy(&pair, x + t * 36 * s.inputs + c, 4);
        EB_UNROLL
        for (int v = 0; v < s.vectors; v++)
          sum[t * s.vectors + v] = _mm512_dpwssd_epi32(sum[t * s.vectors + v],
                                                       _mm512_set1_epi32(pair), weights[v]);
      }
    }
    EB_UNROLL
    for (int i = 0; i < count; i++)
      _mm512_store_si512(sums + (i * 36 + f) * 16, sum[i]);
  }
}

/* The first row (or column) of a tile. The last one overlaps its neighbour where 4 does not divide
 * the map: some pixels are computed twice. */
EB_INLINE int eb_winograd_start(int number, int length) {
  return 4 * number + 4 <= length ? 4 * number : length - 4;
}

typedef struct {
  const uint8_t *x; /* top left of its inputs */
  uint8_t *y;       /* and of its outputs */
} eb_winograd_place;

EB_INLINE eb_winograd_place eb_winograd_at(eb_winograd_shape s, int tile, const uint8_t *x,
                                           uint8_t *y) {
  const int across = (s.width + 3) / 4, count = (s.height + 3) / 4 * across;
  tile = tile < count ? tile : count - 1; /* the last group may lack some: its last one again */
  const ptrdiff_t row = eb_winograd_start(tile / across, s.height);
  const ptrdiff_t column = eb_winograd_start(tile % across, s.width);
  return (eb_winograd_place){x + row * s.in_row + column * s.in_pixel,
                             y + row * s.out_row + column * s.out_pixel};
}

/* Pieces first .. end-1 of a layer; a piece is a group of tiles for a group of channels. */
EB_INLINE void eb_winograd(eb_winograd_shape s, eb_requantization r, const uint8_t *x,
                           const int16_t *w, const int32_t *bias, const int32_t *table, uint8_t *y,
                           int first, int end) {
  _Alignas(64) int16_t inputs[EB_WINOGRAD_INPUTS];
  _Alignas(64) int32_t sums[EB_WINOGRAD_LIMIT * 36 * 16];
  const int blocks = s.channels / (16 * s.vectors);
  for (int piece = first; piece < end; piece++) {
    const int group = piece / blocks * s.tiles, channel = piece % blocks * 16 * s.vectors;
    for (int t = 0; t < s.tiles && (channel == 0 || piece == first); t++) {
      const uint8_t *from = eb_winograd_at(s, group + t, x, y).x;
      int16_t *to = inputs + t * 36 * s.inputs;
      for (int c = 0; c < s.inputs; c += s.inputs % 32 ? 16 : 32)
        if (s.inputs % 32)
          eb_winograd_in16(from + c, s.in_row, s.in_pixel, to + c, s.inputs);
        else
          eb_winograd_in32(from + c, s.in_row, s.in_pixel, to + c, s.inputs);
    }
    eb_winograd_products(s, inputs, w + (ptrdiff_t)channel * 36 * s.inputs, bias + channel, sums);
    for (int t = 0; t < s.tiles; t++)
      for (int v = 0; v < s.vectors; v++)
        eb_winograd_out(sums + (t * s.vectors + v) * 36 * 16,
                        table + (channel / 16 + v) * EB_TABLE_WORDS(r.rule), r,
                        eb_winograd_at(s, group + t, x, y).y + channel + 16 * v, s.out_row,
                        s.out_pixel, s.narrow);
  }
}
#endif

#endif
