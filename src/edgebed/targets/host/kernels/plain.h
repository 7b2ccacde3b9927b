/* One number at a time: what generated loops call where no special kernel exists. */
#ifndef EB_PLAIN_H
#define EB_PLAIN_H

#include <math.h>

#include "requantize.h"

/* A literal of this layer for each instruction set. */
#if EB_ISA >= 5
#define EB_PICK(avx512, avxvnni, avx2, portable) avx512
#elif EB_ISA >= 3
#define EB_PICK(avx512, avxvnni, avx2, portable) avxvnni
#elif EB_ISA >= 2
#define EB_PICK(avx512, avxvnni, avx2, portable) avx2
#else
#define EB_PICK(avx512, avxvnni, avx2, portable) portable
#endif

EB_INLINE int32_t eb_clamp(int64_t value, int32_t low, int32_t high) {
  return (int32_t)(value < low ? low : value > high ? high : value);
}

EB_INLINE int32_t eb_clamp32(int32_t value, int32_t low, int32_t high) {
  return value < low ? low : value > high ? high : value;
}

/* Nearest, half to even. The sum with 1.5 * 2^23 has no bits below the point; larger values are
 * rounded by the library. */
EB_INLINE float eb_round(float value) {
  const float magic = 12582912.0f;
  if (value < 4194304.0f && value > -4194304.0f) return (value + magic) - magic;
  return rintf(value);
}

/* clamp(round(value) + zero), where value may lie far outside; NaN becomes low. */
EB_INLINE int32_t eb_to_integer(float value, int32_t zero, int32_t low, int32_t high) {
  const float least = (float)((int64_t)low - zero), most = (float)((int64_t)high - zero);
  value = value > least ? value : least;
  value = value < most ? value : most;
  if (low >= -(1 << 16) && high <= 1 << 16 && zero >= -(1 << 16) && zero <= 1 << 16) {
    const float magic = 12582912.0f; /* both ends are integers: rounding last changes nothing */
    return (int32_t)((value + magic) - magic) + zero;
  }
  return eb_clamp((int64_t)rintf(value) + zero, low, high);
}

/* A real number as an integer of a scale. */
EB_INLINE int32_t eb_quantise(float real, float scale, int32_t zero, int32_t low, int32_t high) {
  return eb_to_integer(real / scale, zero, low, high);
}

/* The same rounded half away from zero, in double precision as the quotient is exact there. */
EB_INLINE int64_t eb_quantise_away(float real, float scale, int64_t zero, int64_t low,
                                   int64_t high) {
  const double steps = (double)(real / scale);
  const double whole = trunc(steps + copysign(0.5, steps)) + (double)zero;
  return whole <= (double)low ? low : whole >= (double)high ? high : (int64_t)whole;
}

/* The integer part of a real number, limited; NaN becomes 0. */
EB_INLINE int64_t eb_truncate(float real, int64_t low, int64_t high) {
  const double whole = trunc((double)real);
  if (whole != whole) return 0;
  return whole <= (double)low ? low : whole >= (double)high ? high : (int64_t)whole;
}

/* total / count, cut towards zero or rounded half away from it; eb_divide_up: half up. */
EB_INLINE int64_t eb_divide(int64_t total, int64_t count, int away) {
  const int64_t half = away ? count / 2 : 0;
  return total < 0 ? -((-total + half) / count) : (total + half) / count;
}

EB_INLINE int64_t eb_divide_up(int64_t total, int64_t count) {
  const int64_t moved = total + count / 2, whole = moved / count;
  return whole - (moved % count < 0);
}

/* |-128| becomes 127. */
EB_INLINE int32_t eb_magnitude(int32_t value) {
  return value == -128 ? 127 : value < 0 ? -value : value;
}

/* 48-bit sums of 16-bit activations: the multiplier is cut to 16 bits, one rounding. */
EB_INLINE int64_t eb_fixed_wide(int64_t acc, int32_t multiplier, int32_t shift) {
  const int64_t reduced = multiplier < 0x7FFF0000 ? (multiplier + (1 << 15)) >> 16 : 0x7FFF;
  const int total = 15 - shift;
  return (acc * reduced + ((int64_t)1 << (total - 1))) >> total;
}

#endif
