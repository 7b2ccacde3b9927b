/* AVX-512 forms of common depthwise layers: three columns wide, with stride 1 or 2. They keep the
 * weights in registers and interleave every input column once. See depthwise.h for the idea. */
#ifndef EB_DEPTHWISE_SLIDE_H
#define EB_DEPTHWISE_SLIDE_H

#include "depthwise_tile.h"

/* ---- Stride 1: blocks of 64 bytes ------------------------------------------------------------ */

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

#endif
