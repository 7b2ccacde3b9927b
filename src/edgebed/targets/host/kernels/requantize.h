/* From int32 accumulators to stored bytes, sixteen channels at a time; exact in every rule.
 *
 * A stored byte is the int8 value + 128; zero_point, low and high are given in stored bytes.
 *     stored = clamp(f(accumulator) + zero_point, low, high)
 *
 * EB_FIXED         TensorFlow Lite: doubling high multiply, then a rounding shift, ties away.
 * EB_FIXED_SINGLE  the same product rounded once, half up.
 * EB_FLOAT         ONNX Runtime: float32 product, half to even.
 * EB_FLOAT_NARROW  the same where no product leaves +-2^20, so that nothing has to be held back.
 * EB_SHIFT         floor(accumulator / 2^n + 1/2).
 * EB_LINE          what requantize.py makes of EB_FIXED, EB_FIXED_SINGLE and EB_SHIFT where it
 *                  can prove that no lane overflows: one multiply-add, see eb_scale_line.
 * EB_FUSED         the same for layers whose bias requantize.py may move: cheapest of the integers.
 * EB_SNAPPED       any rule as one float32 multiply-add, where snapped.py can prove it exact:
 *                  cheapest of all with a fused multiply-add, see eb_scale_snapped.
 * EB_SNAPPED_KINK  the same with a step at zero, for rules that round ties away from zero.
 * EB_NONE          accumulators are stored as they are, as int32.
 *
 * Use: table points to the layer's table, EB_TABLE_WORDS(rule) int32 for each block of sixteen
 * channels. eb_scale16 turns accumulators into lanes that still carry `fraction` bits below the
 * point; eb_bytes16 (one vector) or eb_bytes64 (four vectors, cheapest) round, clamp and narrow.
 */
#ifndef EB_REQUANTIZE_H
#define EB_REQUANTIZE_H

#include <math.h>

#include "isa.h"

enum { EB_NONE, EB_FIXED, EB_FIXED_SINGLE, EB_FLOAT, EB_SHIFT, EB_LINE, EB_FUSED,
       EB_SNAPPED, EB_SNAPPED_KINK, EB_FLOAT_NARROW };

/* All fields are literals where a layer is called. */
typedef struct {
  int rule;
  int zero_point, low, high; /* in stored bytes, 0..255 */
  int fraction;              /* EB_LINE, EB_FUSED: bits below the point; otherwise 0 */
  int ties;                  /* EB_LINE: negative accumulators need the ties-away correction */
} eb_requantization;

#define EB_TABLE_WORDS(rule)                                                                 \
  ((rule) == EB_LINE ? 96                                                                    \
   : (rule) == EB_SNAPPED_KINK ? 80                                                          \
   : (rule) == EB_NONE ? 0                                                                   \
   : (rule) == EB_FLOAT || (rule) == EB_FLOAT_NARROW || (rule) == EB_SHIFT ? 16              \
                                              : 32)

/* ---- One number at a time: the definitions ------------------------------------------------- */

/* Multipliers are positive, so the doubling high multiply cannot overflow. shift > 0: left. */
EB_INLINE int32_t eb_fixed(int32_t acc, int32_t multiplier, int32_t shift) {
  const int32_t left = (int32_t)((uint32_t)acc << (shift > 0 ? shift : 0));
  const int right = shift > 0 ? 0 : -shift;
  const int64_t high = ((int64_t)left * multiplier + (1 << 30)) >> 31;
  const int64_t half = ((int64_t)1 << right) >> 1;
  return (int32_t)((high + half - (right && high < 0)) >> right);
}

EB_INLINE int32_t eb_fixed_single(int32_t acc, int32_t multiplier, int32_t shift) {
  return (int32_t)(((int64_t)acc * multiplier + ((int64_t)1 << (30 - shift))) >> (31 - shift));
}

EB_INLINE int32_t eb_shift(int32_t acc, int32_t right) {
  const int64_t wide = acc;
  if (right > 0) return (int32_t)((wide + ((int64_t)1 << (right - 1))) >> right);
  /* Multiplying must saturate: the clamp comes after. */
  const int64_t limit = (int64_t)1 << 30;
  const int64_t value = wide * ((int64_t)1 << (right < -31 ? 31 : -right));
  return (int32_t)(value > limit ? limit : value < -limit ? -limit : value);
}

/* Half to even by the classic constant: |value| < 2^22 after the clamp, so it is exact. */
EB_INLINE int32_t eb_float(int32_t acc, float scale) {
  const float limit = 1 << 20, magic = 12582912.0f; /* 1.5 * 2^23: the unit is the last bit */
  float value = (float)acc * scale;
  value = value > limit ? limit : value < -limit ? -limit : value;
  value += magic;
  return (int32_t)(value - magic);
}

/* ---- Sixteen at a time --------------------------------------------------------------------- */

/* y = floor(acc * M + C) with M = multiplier * 2^(left - 32 - fraction), as one product:
 * ((acc << left) * multiplier + c) >> 32 keeps `fraction` bits below the point.
 * c holds the zero point, the half that makes floor a rounding, and the second half that the
 * inner rounding of EB_FIXED adds. That one is symmetric about zero: `tie` takes it off twice
 * where the accumulator is negative. If low >= zero_point those lanes are clamped anyway.
 * Words of the table: left[16], multiplier[16], multipliers of the odd lanes at even places[16],
 * c of the even lanes[8 x 2], c of the odd lanes[8 x 2], tie[16]. */
EB_INLINE eb_i32x16 eb_scale_line(eb_i32x16 acc, const int32_t *table, int ties) {
#if EB_ISA >= 5
  const __m512i x = _mm512_sllv_epi32(acc, _mm512_loadu_si512(table));
  const __m512i even = _mm512_add_epi64(_mm512_mul_epi32(x, _mm512_loadu_si512(table + 16)),
                                        _mm512_loadu_si512(table + 48));
  const __m512i odd = _mm512_add_epi64(
      _mm512_mul_epi32(_mm512_shuffle_epi32(x, _MM_PERM_DDBB), _mm512_loadu_si512(table + 32)),
      _mm512_loadu_si512(table + 64));
  __m512i y = _mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB);
  if (ties)
    y = _mm512_mask_sub_epi32(y, _mm512_movepi32_mask(acc), y, _mm512_loadu_si512(table + 80));
  return y;
#elif EB_ISA >= 2
  eb_i32x16 y;
  EB_UNROLL
  for (int half = 0; half < 2; half++) {
    const __m256i *t = (const __m256i *)(table + 8 * half);
    const __m256i a = half ? acc.high : acc.low;
    const __m256i x = _mm256_sllv_epi32(a, _mm256_loadu_si256(t));
    const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(x, _mm256_loadu_si256(t + 2)),
                                          _mm256_loadu_si256(t + 6));
    const __m256i odd = _mm256_add_epi64(
        _mm256_mul_epi32(_mm256_srli_epi64(x, 32), _mm256_loadu_si256(t + 4)),
        _mm256_loadu_si256(t + 8));
    __m256i z = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    if (ties)
      z = _mm256_sub_epi32(
          z, _mm256_and_si256(_mm256_srai_epi32(a, 31), _mm256_loadu_si256(t + 10)));
    if (half)
      y.high = z;
    else
      y.low = z;
  }
  return y;
#else
  for (int i = 0; i < 16; i++) {
    const int32_t x = (int32_t)((uint32_t)acc.lane[i] << table[i]);
    int64_t c;
    memcpy(&c, table + (i % 2 ? 64 : 48) + (i & ~1), sizeof c);
    const int32_t y = (int32_t)(((int64_t)x * table[16 + i] + c) >> 32);
    acc.lane[i] = y - (ties && acc.lane[i] < 0 ? table[80 + i] : 0);
  }
  return acc;
#endif
}

/* ((acc * multiplier) >> 32) + c. The multiplier is rounded and the bias moved so that this gives
 * what the rule defines for every accumulator the layer can have: requantize.py proves it.
 * Words of the table: multiplier[16], c[16]. */
EB_INLINE eb_i32x16 eb_scale_fused(eb_i32x16 acc, const int32_t *table) {
#if EB_ISA >= 5
  const __m512i even = _mm512_mul_epi32(acc, _mm512_loadu_si512(table));
  const __m512i odd = _mm512_mul_epi32(_mm512_shuffle_epi32(acc, _MM_PERM_DDBB),
                                       _mm512_loadu_si512(table + 1));
  return _mm512_add_epi32(_mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB),
                          _mm512_loadu_si512(table + 16));
#elif EB_ISA >= 2
  eb_i32x16 y = acc;
  EB_UNROLL
  for (int half = 0; half < 2; half++) {
    const int32_t *t = table + 8 * half;
    const __m256i x = half ? acc.high : acc.low;
    const __m256i even = _mm256_mul_epi32(x, _mm256_loadu_si256((const __m256i *)t));
    const __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(x, 32),
                                         _mm256_loadu_si256((const __m256i *)(t + 1)));
    const __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    const __m256i z = _mm256_add_epi32(high, _mm256_loadu_si256((const __m256i *)(t + 16)));
    if (half)
      y.high = z;
    else
      y.low = z;
  }
  return y;
#else
  for (int i = 0; i < 16; i++)
    acc.lane[i] = (int32_t)(((int64_t)acc.lane[i] * table[i]) >> 32) + table[16 + i];
  return acc;
#endif
}

EB_INLINE eb_i32x16 eb_scale_float(eb_i32x16 acc, const int32_t *table, int narrow) {
#if EB_ISA >= 5
  /* Beyond int32 the conversion answers INT32_MIN: right below, wrong above, hence the minimum. */
  __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(acc), _mm512_loadu_ps((const float *)table));
  if (!narrow) value = _mm512_min_ps(value, _mm512_set1_ps(1 << 20));
  return _mm512_cvtps_epi32(value);
#elif EB_ISA >= 2
  const __m256 limit = _mm256_set1_ps(1 << 20);
  __m256 low = _mm256_mul_ps(_mm256_cvtepi32_ps(acc.low), _mm256_loadu_ps((const float *)table));
  __m256 high =
      _mm256_mul_ps(_mm256_cvtepi32_ps(acc.high), _mm256_loadu_ps((const float *)(table + 8)));
  if (!narrow) low = _mm256_min_ps(low, limit), high = _mm256_min_ps(high, limit);
  return (eb_i32x16){_mm256_cvtps_epi32(low), _mm256_cvtps_epi32(high)};
#else
  (void)narrow;
  for (int i = 0; i < 16; i++) {
    float scale;
    memcpy(&scale, table + i, sizeof scale);
    acc.lane[i] = eb_float(acc.lane[i], scale);
  }
  return acc;
#endif
}

/* fma(acc, slope, magic + n): between 2^23 and 2^24 a float32 is an integer, so the multiply-add
 * rounds to one, half to even, and its bits less those of the magic number are that integer. The
 * bias was moved so that this gives what the rule defines for every accumulator the layer can have;
 * with a kink negative ones, which are those below `zero`, are moved on and have another n:
 * snapped.py. Words of the table: slope[16], magic + n[16]; with a kink also zero[16],
 * further move[16], the other magic + n[16]. */
enum { EB_MAGIC = 0x4B400000 }; /* the bits of 1.5 * 2^23 */

#if EB_ISA >= 2 && EB_ISA < 5
EB_INLINE __m256i eb_snap8(__m256i acc, const int32_t *t, int kink) {
  const __m256 slope = _mm256_loadu_ps((const float *)t);
  __m256 start = _mm256_loadu_ps((const float *)(t + 16));
  if (kink) {
    const __m256i further = _mm256_loadu_si256((const __m256i *)(t + 48));
    const __m256 other = _mm256_loadu_ps((const float *)(t + 64));
    const __m256i zero = _mm256_loadu_si256((const __m256i *)(t + 32));
    const __m256i below = _mm256_cmpgt_epi32(zero, acc);
    acc = _mm256_add_epi32(acc, _mm256_and_si256(below, further));
    start = _mm256_blendv_ps(start, other, _mm256_castsi256_ps(below));
  }
  const __m256 sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc), slope, start);
  return _mm256_sub_epi32(_mm256_castps_si256(sum), _mm256_set1_epi32(EB_MAGIC));
}
#endif

EB_INLINE eb_i32x16 eb_scale_snapped(eb_i32x16 acc, const int32_t *table, int kink) {
#if EB_ISA >= 5
  const __m512 slope = _mm512_loadu_ps((const float *)table);
  __m512 start = _mm512_loadu_ps((const float *)(table + 16));
  if (kink) {
    const __mmask16 below = _mm512_cmplt_epi32_mask(acc, _mm512_loadu_si512(table + 32));
    acc = _mm512_mask_add_epi32(acc, below, acc, _mm512_loadu_si512(table + 48));
    start = _mm512_mask_loadu_ps(start, below, (const float *)(table + 64));
  }
  const __m512 sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc), slope, start);
  return _mm512_sub_epi32(_mm512_castps_si512(sum), _mm512_set1_epi32(EB_MAGIC));
#elif EB_ISA >= 2
  return (eb_i32x16){eb_snap8(acc.low, table, kink), eb_snap8(acc.high, table + 8, kink)};
#else
  /* A multiply-add may be a function call here: layers give the integer forms instead. */
  for (int i = 0; i < 16; i++) {
    const int below = kink && acc.lane[i] < table[32 + i];
    float slope, start;
    memcpy(&slope, table + i, sizeof slope);
    memcpy(&start, table + (below ? 64 : 16) + i, sizeof start);
    const float sum = fmaf((float)(acc.lane[i] + (below ? table[48 + i] : 0)), slope, start);
    memcpy(acc.lane + i, &sum, sizeof sum);
    acc.lane[i] -= EB_MAGIC;
  }
  return acc;
#endif
}

/* The rules that EB_LINE stands in for, for the layers it cannot take. */
EB_INLINE eb_i32x16 eb_scale_lanes(eb_i32x16 acc, const int32_t *table, int rule) {
  int32_t lane[16];
  eb_store_i32x16(lane, acc);
  for (int i = 0; i < 16; i++)
    lane[i] = rule == EB_FIXED          ? eb_fixed(lane[i], table[i], table[16 + i])
              : rule == EB_FIXED_SINGLE ? eb_fixed_single(lane[i], table[i], table[16 + i])
                                        : eb_shift(lane[i], table[i]);
  return eb_load_i32x16(lane);
}

/* Sixteen accumulators, bias included, to lanes for eb_bytes16 or eb_bytes64. */
EB_INLINE eb_i32x16 eb_scale16(eb_i32x16 acc, const int32_t *table, eb_requantization r) {
  if (r.rule == EB_NONE) return acc;
  if (r.rule == EB_LINE) return eb_scale_line(acc, table, r.ties);
  if (r.rule == EB_FUSED) return eb_scale_fused(acc, table);
  if (r.rule == EB_SNAPPED || r.rule == EB_SNAPPED_KINK)
    return eb_scale_snapped(acc, table, r.rule == EB_SNAPPED_KINK);
  if (r.rule == EB_FLOAT_NARROW)
    return eb_add_i32x16(eb_scale_float(acc, table, 1), eb_set1_i32x16(r.zero_point));
  acc = r.rule == EB_FLOAT ? eb_scale_float(acc, table, 0) : eb_scale_lanes(acc, table, r.rule);
  /* 2^20 is far outside a byte and keeps the addition from wrapping. */
  acc = eb_min_i32x16(acc, eb_set1_i32x16(1 << 20));
  return eb_add_i32x16(eb_max_i32x16(acc, eb_set1_i32x16(-(1 << 20))),
                       eb_set1_i32x16(r.zero_point));
}

/* One scaled vector to sixteen stored bytes. */
EB_INLINE eb_u8x16 eb_bytes16(eb_i32x16 a, eb_requantization r) {
#if EB_ISA >= 5
  if (r.fraction) a = _mm512_srai_epi32(a, (unsigned)r.fraction);
  a = _mm512_max_epi32(a, _mm512_set1_epi32(r.low));
  if (r.high < 255) a = _mm512_min_epi32(a, _mm512_set1_epi32(r.high));
  return _mm512_cvtusepi32_epi8(a);
#elif EB_ISA >= 2
  if (r.fraction)
    a = (eb_i32x16){_mm256_srai_epi32(a.low, r.fraction), _mm256_srai_epi32(a.high, r.fraction)};
  /* Packing works within 128-bit halves; the permutation restores the order. */
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a.low, a.high), 0xD8);
  __m128i bytes =
      _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  if (r.low > 0) bytes = _mm_max_epu8(bytes, _mm_set1_epi8((char)r.low));
  if (r.high < 255) bytes = _mm_min_epu8(bytes, _mm_set1_epi8((char)r.high));
  return bytes;
#else
  eb_u8x16 bytes;
  for (int i = 0; i < 16; i++) {
    const int32_t value = a.lane[i] >> r.fraction;
    bytes.lane[i] = (uint8_t)(value < r.low ? r.low : value > r.high ? r.high : value);
  }
  return bytes;
#endif
}

/* Four scaled vectors to 64 stored bytes in their order. */
EB_INLINE eb_u8x64 eb_bytes64(eb_i32x16 a, eb_i32x16 b, eb_i32x16 c, eb_i32x16 d,
                              eb_requantization r) {
#if EB_ISA >= 5
  if (r.fraction > 8) {
    const unsigned extra = (unsigned)r.fraction - 8;
    a = _mm512_srai_epi32(a, extra), b = _mm512_srai_epi32(b, extra);
    c = _mm512_srai_epi32(c, extra), d = _mm512_srai_epi32(d, extra);
  }
  __m512i ab, cd;
  if (r.fraction) { /* 16 bits, saturated without sign, hold the byte and at most 8 bits below */
    const unsigned below = r.fraction > 8 ? 8 : (unsigned)r.fraction;
    ab = _mm512_srli_epi16(_mm512_packus_epi32(a, b), below);
    cd = _mm512_srli_epi16(_mm512_packus_epi32(c, d), below);
  } else {
    ab = _mm512_packs_epi32(a, b), cd = _mm512_packs_epi32(c, d);
  }
  /* Packing worked within 128-bit quarters: gather each vector's four pieces. */
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(ab, cd));
  if (r.low > 0) bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8((char)r.low));
  if (r.high < 255) bytes = _mm512_min_epu8(bytes, _mm512_set1_epi8((char)r.high));
  return bytes;
#else
  return (eb_u8x64){{eb_bytes16(a, r), eb_bytes16(b, r), eb_bytes16(c, r), eb_bytes16(d, r)}};
#endif
}

/* Requantise sixteen accumulators and store the first n bytes. */
EB_INLINE void eb_requantize16(uint8_t *to, eb_i32x16 acc, const int32_t *table,
                               eb_requantization r, int n) {
  eb_store_first_u8x16(to, eb_bytes16(eb_scale16(acc, table, r), r), n);
}

#endif
