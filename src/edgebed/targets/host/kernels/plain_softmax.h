/* Softmax along an axis whose neighbours lie any number of elements apart. */
#ifndef EB_PLAIN_SOFTMAX_H
#define EB_PLAIN_SOFTMAX_H

#include "plain_gemmlowp.h"

/* All fields are literals where a layer is called. */
typedef struct {
  int count, in_step, out_step;
  int bits;      /* of the result: 8, stored with + 128, or 16 */
  int low, high; /* ends of the result */
} eb_softmax_rule;

/* TensorFlow Lite's int8 kernel on stored bytes. Differences to the largest input are 0 .. -255:
 * their exponentials, with no integer bits, are a table, and so are the terms of the sum. */
EB_INLINE int32_t eb_softmax_most(const uint8_t *x, eb_softmax_rule r) {
  int32_t most = 0;
  for (int i = 0; i < r.count; i++) most = x[i * r.in_step] > most ? x[i * r.in_step] : most;
  return most;
}

EB_INLINE int32_t eb_softmax_share(int32_t grown, int32_t factor, int over, eb_softmax_rule r) {
  const int32_t smallest = -(1 << (r.bits - 1)), largest = (1 << (r.bits - 1)) - 1;
  const int64_t share = (int64_t)eb_rounding_shift(eb_high_multiply(factor, grown), over) + smallest;
  return eb_clamp32(eb_clamp(share, smallest, largest), r.low, r.high) + (r.bits == 8 ? 128 : 0);
}

/* 1 / sum of the exponentials. */
EB_INLINE int32_t eb_softmax_factor(const uint8_t *x, int32_t most, const int32_t *terms,
                                    eb_softmax_rule r, int *over) {
  int32_t total = 0;
  for (int i = 0; i < r.count; i++) total += terms[most - x[i * r.in_step]];
  const int headroom = __builtin_clz((unsigned)total);
  *over = 12 - headroom + 31 - r.bits;
  return eb_reciprocal((int32_t)(((uint32_t)total << headroom) - (1u << 31)));
}

/* Of many inputs, many are equal: there the shares of all differences are a table too. */
#define EB_SOFTMAX(name, type)                                                               \
  EB_INLINE void name(const uint8_t *x, type *out, const int32_t *grown,                     \
                      const int32_t *terms, eb_softmax_rule r) {                             \
    const int32_t most = eb_softmax_most(x, r);                                              \
    int over;                                                                                \
    const int32_t factor = eb_softmax_factor(x, most, terms, r, &over);                      \
    if (r.count < 256) { /* looking up apart from computing lets the compiler vectorise */   \
      int32_t own[256];                                                                      \
      for (int i = 0; i < r.count; i++) own[i] = grown[most - x[i * r.in_step]];             \
      for (int i = 0; i < r.count; i++) own[i] = eb_softmax_share(own[i], factor, over, r);  \
      for (int i = 0; i < r.count; i++) out[i * r.out_step] = (type)own[i];                  \
      return;                                                                                \
    }                                                                                        \
    type shares[256];                                                                        \
    for (int d = 0; d < 256; d++) shares[d] = (type)eb_softmax_share(grown[d], factor, over, r); \
    for (int i = 0; i < r.count; i++) out[i * r.out_step] = shares[most - x[i * r.in_step]]; \
  }

EB_SOFTMAX(eb_softmax_u8, uint8_t)
EB_SOFTMAX(eb_softmax_i16, int16_t)

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
