/* Softmax along an axis whose neighbours lie any number of elements apart. */
#ifndef EB_PLAIN_SOFTMAX_H
#define EB_PLAIN_SOFTMAX_H

#include "plain_gemmlowp.h"

/* All fields are literals where a layer is called. */
typedef struct {
  int count, in_step, out_step;
  int32_t multiplier, left, least; /* of scaled differences; below the least one exp counts 0 */
  int bits;                        /* of the result: 8, stored with + 128, or 16 */
  int low, high;                   /* ends of the result */
} eb_softmax_rule;

EB_INLINE int32_t eb_softmax_share(int32_t difference, int32_t factor, int over,
                                   eb_softmax_rule r) {
  const int32_t smallest = -(1 << (r.bits - 1)), largest = (1 << (r.bits - 1)) - 1;
  if (difference < r.least) return smallest;
  const int32_t scaled = eb_high_multiply(difference * (1 << r.left), r.multiplier);
  const int32_t grown = eb_exp_negative(scaled, 5);
  const int64_t share = (int64_t)eb_rounding_shift(eb_high_multiply(factor, grown), over) + smallest;
  return eb_clamp(share, smallest, largest);
}

/* TensorFlow Lite's int8 kernel; x are stored bytes. */
EB_INLINE int32_t eb_softmax_factor(const uint8_t *x, int32_t most, eb_softmax_rule r, int *over) {
  int32_t total = 0;
  for (int i = 0; i < r.count; i++) {
    const int32_t difference = x[i * r.in_step] - most;
    if (difference < r.least) continue;
    const int32_t scaled = eb_high_multiply(difference * (1 << r.left), r.multiplier);
    total += eb_rounding_shift(eb_exp_negative(scaled, 5), 12);
  }
  const int headroom = __builtin_clz((unsigned)total);
  *over = 12 - headroom + 31 - r.bits;
  return eb_reciprocal((int32_t)(((uint32_t)total << headroom) - (1u << 31)));
}

EB_INLINE int32_t eb_softmax_most(const uint8_t *x, eb_softmax_rule r) {
  int32_t most = 0;
  for (int i = 0; i < r.count; i++) most = x[i * r.in_step] > most ? x[i * r.in_step] : most;
  return most;
}

EB_INLINE void eb_softmax_u8(const uint8_t *x, uint8_t *out, eb_softmax_rule r) {
  const int32_t most = eb_softmax_most(x, r);
  int over;
  const int32_t factor = eb_softmax_factor(x, most, r, &over);
  for (int i = 0; i < r.count; i++)
    out[i * r.out_step] = (uint8_t)(
        eb_clamp32(eb_softmax_share(x[i * r.in_step] - most, factor, over, r), r.low, r.high) + 128);
}

EB_INLINE void eb_softmax_i16(const uint8_t *x, int16_t *out, eb_softmax_rule r) {
  const int32_t most = eb_softmax_most(x, r);
  int over;
  const int32_t factor = eb_softmax_factor(x, most, r, &over);
  for (int i = 0; i < r.count; i++)
    out[i * r.out_step] = (int16_t)eb_clamp32(
        eb_softmax_share(x[i * r.in_step] - most, factor, over, r), r.low, r.high);
}

/* In real numbers, in place: x holds `count` neighbouring values. */
EB_INLINE void eb_softmax_real(float *x, int count, float beta, int logarithm) {
  float most = x[0], total = 0;
  for (int i = 1; i < count; i++) most = x[i] > most ? x[i] : most;
  for (int i = 0; i < count; i++) {
    x[i] = (x[i] - most) * beta;
    if (!logarithm) x[i] = expf(x[i]);
    total += logarithm ? expf(x[i]) : x[i];
  }
  const float shift = logarithm ? logf(total) : 0;
  for (int i = 0; i < count; i++) x[i] = logarithm ? x[i] - shift : x[i] / total;
}

#endif
