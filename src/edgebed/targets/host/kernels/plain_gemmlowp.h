/* Fixed-point functions on int32 fractions, bit for bit those of edgebed.program.ops._gemmlowp.
 * A number with i integer bits has 31 - i bits behind the point. */
#ifndef EB_PLAIN_GEMMLOWP_H
#define EB_PLAIN_GEMMLOWP_H

#include "plain.h"

/* 2ab / 2^32, nearest, ties up; saturates where both are -2^31. */
EB_INLINE int32_t eb_high_multiply(int32_t a, int32_t b) {
  const int64_t high = ((int64_t)a * b + (1 << 30)) >> 31;
  return (int32_t)(high > INT32_MAX ? INT32_MAX : high);
}

/* x / 2^exponent, nearest, ties away from zero. */
EB_INLINE int32_t eb_rounding_shift(int32_t x, int exponent) {
  const int64_t mask = ((int64_t)1 << exponent) - 1, threshold = (mask >> 1) + (x < 0);
  return (int32_t)(((int64_t)x >> exponent) + (((int64_t)x & mask) > threshold));
}

/* x * 2^exponent, saturated. */
EB_INLINE int32_t eb_saturating_left(int32_t x, int exponent) {
  return eb_clamp((int64_t)x * ((int64_t)1 << exponent), INT32_MIN, INT32_MAX);
}

/* exp(a) with no integer bits, for a <= 0 with `bits` (at most 5) integer bits. */
EB_INLINE int32_t eb_exp_negative(int32_t a, int bits) {
  static const int32_t factors[7] = {1672461947, 1302514674, 790015084, 290630308,
                                     39332535,   720401,     242};
  const int fraction = 31 - bits;
  const int32_t quarter = (int32_t)1 << (fraction - 2);
  const int32_t low = (a & (quarter - 1)) - quarter;
  const int32_t x = (int32_t)((uint32_t)low << bits) + (1 << 28);
  const int32_t x2 = eb_high_multiply(x, x), x3 = eb_high_multiply(x2, x);
  const int32_t x4 = eb_high_multiply(x2, x2);
  const int32_t tail = eb_high_multiply(eb_rounding_shift(x4, 2) + x3, 715827883) + x2;
  int32_t result = 1895147668 + eb_high_multiply(x + eb_rounding_shift(tail, 1), 1895147668);
  const int32_t rest = low - a;
  for (int exponent = -2; exponent < bits; exponent++)
    if ((rest >> (fraction + exponent)) & 1)
      result = eb_high_multiply(result, factors[exponent + 2]);
  return a == 0 ? INT32_MAX : result;
}

/* 1 / (1 + a), no integer bits, for 0 <= a <= 1: three Newton steps for 2 / (1 + a). */
EB_INLINE int32_t eb_reciprocal(int32_t a) {
  const int32_t half = (int32_t)(((int64_t)a + INT32_MAX + 1) >> 1);
  int32_t x = 1515870810 + eb_high_multiply(half, -1010580540);
  for (int i = 0; i < 3; i++) {
    const int32_t rest = (1 << 29) - eb_high_multiply(half, x);
    x = x + eb_saturating_left(eb_high_multiply(x, rest), 2);
  }
  return eb_saturating_left(x, 1);
}

/* multiplier / 2^31 * 2^shift = 1 / sqrt(x), as TensorFlow Lite's GetInvSqrtQuantizedMultiplierExp;
 * 0 counts as 1. */
EB_INLINE int32_t eb_inverse_root(int32_t x, int32_t *shift) {
  *shift = 0;
  if (x <= 1) return INT32_MAX;
  int right = 11;
  for (; x >= 1 << 29; right++) x /= 4;
  const int pairs = (__builtin_clz((unsigned)x) - 1) / 2 - 1;
  right -= pairs;
  x = (int32_t)((uint32_t)x << (2 * pairs)) >> 1;
  const int32_t half = eb_rounding_shift(x, 1);
  int32_t root = 1 << 28;
  for (int i = 0; i < 5; i++) {
    const int32_t square = eb_high_multiply(root, root);
    const int32_t cube = eb_saturating_left(eb_high_multiply(square, root), 6);
    root = eb_saturating_left(
        eb_high_multiply(root, 3 << 27) - eb_high_multiply(half, cube), 3);
  }
  root = eb_high_multiply(root, 1518500250); /* sqrt(1/2) */
  if (right < 0) root = (int32_t)((uint32_t)root << -right), right = 0;
  *shift = -right;
  return root;
}

#endif
