/* Counts, ends and sums of a tensor's values where they lie, and a sample of them.
 *
 * Bytes are summed as bytes without sign (int8 less its sign: value + 128), exactly. Integers of 16
 * bits likewise as they are; wider ones and reals in double precision, around the first value.
 */
#ifndef EB_MOMENTS_H
#define EB_MOMENTS_H

#include <stdint.h>
#include <string.h>

#include "observe.h"

enum { EB_LINE = 64, EB_SAMPLED_LINES = 8, EB_MOST_EVERY = 16 };

typedef struct {
  int64_t count, bad; /* values; of them not finite, and in nothing below */
  int64_t zeros, at_low, at_high;
  int64_t low, high, sum; /* of integers of 8 and 16 bits */
  uint64_t squares;
  double real_low, real_high, first, real_sum, real_squares; /* of others, sums less `first` */
  int64_t sampled; /* bytes */
  int64_t line_ends_here;
} eb_moments;

/* ---- Where the values lie -------------------------------------------------------------------- */

typedef struct {
  const uint8_t *at;
  int64_t left; /* runs, this one included */
  int32_t index[EB_AXES];
} eb_walk;

static inline eb_walk eb_walk_from(const eb_tensor *tensor, const void *first) {
  eb_walk walk = {(const uint8_t *)first, tensor->run ? tensor->bytes / tensor->run : 0, {0}};
  return walk;
}

static inline void eb_walk_on(const eb_tensor *tensor, eb_walk *walk) {
  walk->left--;
  for (int axis = tensor->axes - 1; axis >= 0; axis--) {
    walk->at += tensor->stride[axis];
    if (++walk->index[axis] < tensor->count[axis]) return;
    walk->at -= tensor->stride[axis] * tensor->count[axis];
    walk->index[axis] = 0;
  }
}

/* ---- Bytes ------------------------------------------------------------------------------------ */

/* What is looked for among bytes. */
typedef struct {
  uint8_t flip; /* brings a byte as it lies to value + 128 */
  uint8_t zero;
  uint8_t has_zero;
} eb_bytes;

static void eb_bytes_plain(const eb_tensor *tensor, const void *first, eb_bytes of,
                           eb_moments *found) {
  uint32_t low = 255, high = 0;
  for (eb_walk walk = eb_walk_from(tensor, first); walk.left; eb_walk_on(tensor, &walk))
    for (int64_t start = 0; start < tensor->run; start += 32768) {
      const int64_t rest = tensor->run - start, count = rest < 32768 ? rest : 32768;
      uint32_t sum = 0, squares = 0, zeros = 0, at_low = 0, at_high = 0;
      for (int64_t i = 0; i < count; i++) {
        const uint32_t u = walk.at[start + i] ^ of.flip;
        sum += u, squares += u * u;
        zeros += u == of.zero, at_low += u == 0, at_high += u == 255;
        low = u < low ? u : low, high = u > high ? u : high;
      }
      found->sum += sum, found->squares += squares;
      found->zeros += zeros, found->at_low += at_low, found->at_high += at_high;
    }
  found->low = low, found->high = high;
}

#if defined(__x86_64__)
#include <immintrin.h>

#define EB_256 __attribute__((target("avx2,popcnt")))
#define EB_512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,popcnt")))

typedef struct {
  __m256i low, high, sum, squares;
  int64_t zeros, at_low, at_high;
} eb_sums_256;

EB_256 static inline void eb_add_256(eb_sums_256 *s, __m256i u, __m256i zero) {
  const __m256i none = _mm256_setzero_si256(), full = _mm256_set1_epi8(-1);
  const __m256i a = _mm256_unpacklo_epi8(u, none), b = _mm256_unpackhi_epi8(u, none);
  s->low = _mm256_min_epu8(s->low, u), s->high = _mm256_max_epu8(s->high, u);
  s->sum = _mm256_add_epi64(s->sum, _mm256_sad_epu8(u, none));
  s->squares = _mm256_add_epi32(s->squares, _mm256_madd_epi16(a, a));
  s->squares = _mm256_add_epi32(s->squares, _mm256_madd_epi16(b, b));
  s->zeros += __builtin_popcount((unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(u, zero)));
  s->at_low += __builtin_popcount((unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(u, none)));
  s->at_high += __builtin_popcount((unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(u, full)));
}

EB_256 static inline void eb_flush_256(eb_sums_256 *s, eb_moments *found) {
  uint32_t squares[8];
  _mm256_storeu_si256((__m256i *)(void *)squares, s->squares);
  for (int i = 0; i < 8; i++) found->squares += squares[i];
  s->squares = _mm256_setzero_si256();
}

/* The ends of runs, less than a vector each, are done as plain bytes. */
EB_256 static void eb_bytes_256(const eb_tensor *tensor, const void *first, eb_bytes of,
                                eb_moments *found) {
  const __m256i flip = _mm256_set1_epi8((char)of.flip), zero = _mm256_set1_epi8((char)of.zero);
  const __m256i none = _mm256_setzero_si256();
  eb_sums_256 s = {_mm256_set1_epi8(-1), none, none, none, 0, 0, 0};
  uint32_t low = 255, high = 0;
  int waiting = 0;
  for (eb_walk walk = eb_walk_from(tensor, first); walk.left; eb_walk_on(tensor, &walk)) {
    int64_t i = 0;
    for (; i + 32 <= tensor->run; i += 32) {
      const __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)(walk.at + i));
      eb_add_256(&s, _mm256_xor_si256(x, flip), zero);
      if (++waiting == 8192) eb_flush_256(&s, found), waiting = 0; /* 8192 * 4 * 255^2 < 2^32 */
    }
    for (; i < tensor->run; i++) {
      const uint32_t u = walk.at[i] ^ of.flip;
      found->sum += u, found->squares += u * u;
      s.zeros += u == of.zero, s.at_low += u == 0, s.at_high += u == 255;
      low = u < low ? u : low, high = u > high ? u : high;
    }
  }
  eb_flush_256(&s, found);
  uint8_t lows[32], highs[32];
  int64_t sums[4];
  _mm256_storeu_si256((__m256i *)(void *)lows, s.low);
  _mm256_storeu_si256((__m256i *)(void *)highs, s.high);
  _mm256_storeu_si256((__m256i *)(void *)sums, s.sum);
  for (int i = 0; i < 32; i++) low = lows[i] < low ? lows[i] : low;
  for (int i = 0; i < 32; i++) high = highs[i] > high ? highs[i] : high;
  found->sum += sums[0] + sums[1] + sums[2] + sums[3];
  found->low = low, found->high = high;
  found->zeros = s.zeros, found->at_low = s.at_low, found->at_high = s.at_high;
}

typedef struct {
  __m512i low, high, sum, products; /* of u, and of u * (u - 128) */
} eb_sums_512;

EB_512 static inline void eb_add_512(eb_sums_512 *s, __m512i u) {
  const __m512i sign = _mm512_set1_epi8(-128), ones = _mm512_set1_epi8(1);
  s->low = _mm512_min_epu8(s->low, u);
  s->high = _mm512_max_epu8(s->high, u);
  s->sum = _mm512_dpbusd_epi32(s->sum, u, ones);
  s->products = _mm512_dpbusd_epi32(s->products, u, _mm512_xor_si512(u, sign));
}

/* How many bytes of a tensor, as they lie, are `byte`. */
EB_512 static int64_t eb_count_512(const eb_tensor *tensor, const void *first, uint8_t byte) {
  const __m512i wanted = _mm512_set1_epi8((char)byte);
  const int64_t whole = tensor->run & ~(int64_t)63;
  const __mmask64 rest = ((uint64_t)1 << (tensor->run & 63)) - 1;
  int64_t found = 0;
  for (eb_walk walk = eb_walk_from(tensor, first); walk.left; eb_walk_on(tensor, &walk)) {
    for (int64_t i = 0; i < whole; i += 64) {
      const __m512i x = _mm512_loadu_si512(walk.at + i);
      found += __builtin_popcountll(_mm512_cmpeq_epi8_mask(x, wanted));
    }
    const __m512i x = _mm512_maskz_loadu_epi8(rest, walk.at + whole);
    found += __builtin_popcountll(_mm512_mask_cmpeq_epi8_mask(rest, x, wanted));
  }
  return found;
}

EB_512 static inline void eb_flush_512(eb_sums_512 *s, eb_moments *found) {
  const __m512i sum = _mm512_add_epi64(_mm512_cvtepi32_epi64(_mm512_castsi512_si256(s->sum)),
                                       _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(s->sum, 1)));
  const __m256i a = _mm512_castsi512_si256(s->products);
  const __m256i b = _mm512_extracti64x4_epi64(s->products, 1);
  const __m512i products = _mm512_add_epi64(_mm512_cvtepi32_epi64(a), _mm512_cvtepi32_epi64(b));
  const int64_t sums = _mm512_reduce_add_epi64(sum);
  found->sum += sums;
  found->squares += (uint64_t)(_mm512_reduce_add_epi64(products) + 128 * sums);
  s->sum = s->products = _mm512_setzero_si512();
}

EB_512 static inline uint32_t eb_least_512(__m512i x) {
  __m256i y = _mm256_min_epu8(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));
  __m128i z = _mm_min_epu8(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
  z = _mm_min_epu8(z, _mm_srli_epi16(z, 8)); /* even bytes: the less of each pair */
  return (uint32_t)_mm_extract_epi16(_mm_minpos_epu16(_mm_and_si128(z, _mm_set1_epi16(255))), 0);
}

/* Two sets of sums: a product takes longer than it waits for the next one. */
EB_512 static void eb_bytes_512(const eb_tensor *tensor, const void *first, eb_bytes of,
                                eb_moments *found) {
  const __m512i flip = _mm512_set1_epi8((char)of.flip), zero = _mm512_set1_epi8((char)of.zero);
  const __m512i none = _mm512_setzero_si512(), full = _mm512_set1_epi8(-1);
  const int64_t whole = tensor->run & ~(int64_t)63;
  const __mmask64 rest = ((uint64_t)1 << (tensor->run & 63)) - 1;
  eb_sums_512 a = {full, none, none, none}, b = a;
  int64_t zeros = 0, highs = 0;
  int waiting = 0;
  for (eb_walk walk = eb_walk_from(tensor, first); walk.left; eb_walk_on(tensor, &walk)) {
    int64_t i = 0;
    for (; i + 128 <= whole; i += 128) {
      const __m512i u = _mm512_xor_si512(_mm512_loadu_si512(walk.at + i), flip);
      const __m512i v = _mm512_xor_si512(_mm512_loadu_si512(walk.at + i + 64), flip);
      eb_add_512(&a, u), eb_add_512(&b, v);
      zeros += __builtin_popcountll(_mm512_cmpeq_epi8_mask(u, zero));
      zeros += __builtin_popcountll(_mm512_cmpeq_epi8_mask(v, zero));
      highs += __builtin_popcountll(_mm512_cmpeq_epi8_mask(u, full));
      highs += __builtin_popcountll(_mm512_cmpeq_epi8_mask(v, full));
      if (++waiting == 8192) { /* 8192 * 4 * 255 * 128 < 2^30 */
        eb_flush_512(&a, found), eb_flush_512(&b, found), waiting = 0;
      }
    }
    for (; i < tensor->run; i += 64) {
      const __mmask64 which = i < whole ? ~(uint64_t)0 : rest;
      __m512i u = _mm512_xor_si512(_mm512_maskz_loadu_epi8(which, walk.at + i), flip);
      zeros += __builtin_popcountll(_mm512_mask_cmpeq_epi8_mask(which, u, zero));
      a.low = _mm512_mask_min_epu8(a.low, which, a.low, u);
      u = _mm512_maskz_mov_epi8(which, u);
      highs += __builtin_popcountll(_mm512_cmpeq_epi8_mask(u, full));
      const __m512i low = a.low;
      eb_add_512(&a, u);
      a.low = low;
      if (++waiting == 8192) eb_flush_512(&a, found), eb_flush_512(&b, found), waiting = 0;
    }
  }
  a.sum = _mm512_add_epi32(a.sum, b.sum), a.products = _mm512_add_epi32(a.products, b.products);
  eb_flush_512(&a, found); /* both stay below 2^30 */
  found->low = eb_least_512(_mm512_min_epu8(a.low, b.low));
  found->high = 255 - eb_least_512(_mm512_xor_si512(_mm512_max_epu8(a.high, b.high), full));
  found->zeros = zeros, found->at_high = highs;
  if (!found->low) found->at_low = of.zero ? eb_count_512(tensor, first, of.flip) : zeros;
}
#endif

static void eb_bytes_sums(const eb_tensor *tensor, const void *first, int level,
                          eb_moments *found) {
  const int is_signed = !strcmp(tensor->dtype, "int8");
  const int zero = tensor->zero_point + 128 * is_signed;
  const eb_bytes of = {(uint8_t)(is_signed && !tensor->flipped ? 128 : 0), (uint8_t)zero,
                       (uint8_t)(zero >= 0 && zero <= 255)};
#if defined(__x86_64__)
  if (level >= 3)
    eb_bytes_512(tensor, first, of, found);
  else if (level >= 1)
    eb_bytes_256(tensor, first, of, found);
  else
#endif
    eb_bytes_plain(tensor, first, of, found);
  (void)level;
  if (!of.has_zero) found->zeros = 0;
}

/* ---- Other values ----------------------------------------------------------------------------- */

static void eb_words_sums(const eb_tensor *tensor, const void *first, eb_moments *found) {
  found->low = INT16_MAX, found->high = INT16_MIN;
  for (eb_walk walk = eb_walk_from(tensor, first); walk.left; eb_walk_on(tensor, &walk))
    for (int64_t i = 0; i < tensor->run; i += 2) {
      int16_t v;
      memcpy(&v, walk.at + i, 2);
      found->sum += v, found->squares += (uint64_t)((int64_t)v * v);
      found->zeros += v == tensor->zero_point;
      found->at_low += v == INT16_MIN, found->at_high += v == INT16_MAX;
      found->low = v < found->low ? v : found->low, found->high = v > found->high ? v : found->high;
    }
}

typedef enum { EB_I32, EB_I64, EB_F32 } eb_wide;

static inline double eb_value(const uint8_t *at, eb_wide kind) {
  int32_t small;
  int64_t large;
  float real;
  if (kind == EB_I32) return memcpy(&small, at, 4), (double)small;
  if (kind == EB_I64) return memcpy(&large, at, 8), (double)large;
  return memcpy(&real, at, 4), (double)real;
}

static inline void eb_wide_sums(const eb_tensor *tensor, const void *first, eb_wide kind,
                                eb_moments *found) {
  const double least = kind == EB_I32 ? -2147483648.0 : -9223372036854775808.0;
  const double most = kind == EB_I32 ? 2147483647.0 : 9223372036854775807.0;
  int64_t known = 0;
  for (eb_walk walk = eb_walk_from(tensor, first); walk.left; eb_walk_on(tensor, &walk))
    for (int64_t i = 0; i < tensor->run; i += tensor->width) {
      const double v = eb_value(walk.at + i, kind);
      if (!(v - v == 0)) { /* NaN or infinity */
        found->bad++;
        continue;
      }
      if (!known++) found->first = found->real_low = found->real_high = v;
      found->real_sum += v - found->first;
      found->real_squares += (v - found->first) * (v - found->first);
      found->zeros += v == tensor->zero_point;
      if (kind != EB_F32) found->at_low += v == least, found->at_high += v == most;
      found->real_low = v < found->real_low ? v : found->real_low;
      found->real_high = v > found->real_high ? v : found->real_high;
    }
}

/* ---- All of it -------------------------------------------------------------------------------- */

static int64_t eb_lines(const eb_tensor *tensor) {
  return tensor->run ? tensor->bytes / tensor->run * ((tensor->run + EB_LINE - 1) / EB_LINE) : 0;
}

/* One line of so many is in a sample. */
static int64_t eb_every(const eb_tensor *tensor) {
  const int64_t every = eb_lines(tensor) / EB_SAMPLED_LINES;
  return every < 1 ? 1 : every < EB_MOST_EVERY ? every : EB_MOST_EVERY;
}

static int64_t eb_sample_room(const eb_tensor *tensor) {
  return (eb_lines(tensor) / eb_every(tensor) + 1) * EB_LINE;
}

/* Copy each `every`-th line of 64 bytes, from another one on in each frame: after `every` frames
 * all values were among the sampled ones. */
static int64_t eb_sample(const eb_tensor *tensor, const void *first, uint64_t frame, uint8_t *to) {
  const int64_t every = eb_every(tensor), lines = (tensor->run + EB_LINE - 1) / EB_LINE;
  const uint8_t *start = to;
  int64_t line = (int64_t)(frame % (uint64_t)every);
  for (eb_walk walk = eb_walk_from(tensor, first); walk.left; eb_walk_on(tensor, &walk)) {
    for (; line < lines; line += every) {
      const int64_t rest = tensor->run - line * EB_LINE;
      const size_t size = rest < EB_LINE ? (size_t)rest : EB_LINE;
      if (size == EB_LINE)
        memcpy(to, walk.at + line * EB_LINE, EB_LINE);
      else
        memcpy(to, walk.at + line * EB_LINE, size);
      to += size;
    }
    line -= lines;
  }
  return to - start;
}

/* Find the moments of a tensor, and behind them a sample of its values as they lie. */
static void eb_measure(const eb_tensor *tensor, const void *first, int level, uint64_t frame,
                       eb_moments *found) {
  memset(found, 0, sizeof *found);
  found->count = tensor->bytes / tensor->width;
  if (tensor->width == 1)
    eb_bytes_sums(tensor, first, level, found);
  else if (tensor->width == 2)
    eb_words_sums(tensor, first, found);
  else if (tensor->width == 8)
    eb_wide_sums(tensor, first, EB_I64, found);
  else if (tensor->dtype[0] == 'f')
    eb_wide_sums(tensor, first, EB_F32, found);
  else
    eb_wide_sums(tensor, first, EB_I32, found);
  found->sampled = eb_sample(tensor, first, frame, (uint8_t *)(found + 1));
}

#endif
