/* Sums of products for any element type, one output pixel and up to EB_PLAIN_BLOCK channels at a
 * time: float32 layers, 16-bit activations, and whatever the byte kernels do not take.
 *
 *     sums[o] = bias[o] + sum over ky, kx, i of x[ky][kx][i] * w[ky][kx][i][o]
 *
 * Weights lie with the output channels last, so the innermost loop runs over a literal number of
 * neighbouring numbers and compilers turn it into vectors.
 */
#ifndef EB_PLAIN_CONV_H
#define EB_PLAIN_CONV_H

#include "plain.h"

enum { EB_PLAIN_BLOCK = 64 };

/* All fields are literals where a layer is called; strides count elements. */
typedef struct {
  int kernel_h, kernel_w, inputs, outputs; /* of one group */
  int step_y, step_x;                      /* from one tap's input to the next one's */
} eb_plain_window;

#define EB_PLAIN_SUMS(name, input, weight, number)                                           \
  EB_INLINE void name##_block(const input *x, const weight *w, const number *bias,           \
                              number *sums, eb_plain_window s, int count) {                  \
    number acc[EB_PLAIN_BLOCK];                                                              \
    for (int o = 0; o < count; o++) acc[o] = bias[o];                                        \
    for (int ky = 0; ky < s.kernel_h; ky++)                                                  \
      for (int kx = 0; kx < s.kernel_w; kx++)                                                \
        for (int i = 0; i < s.inputs; i++) {                                                 \
          const number value = x[ky * s.step_y + kx * s.step_x + i];                         \
          const weight *row = w + ((ky * s.kernel_w + kx) * s.inputs + i) * s.outputs;       \
          for (int o = 0; o < count; o++) acc[o] += value * row[o];                          \
        }                                                                                    \
    for (int o = 0; o < count; o++) sums[o] = acc[o];                                        \
  }                                                                                          \
  EB_INLINE void name(const input *x, const weight *w, const number *bias, number *sums,     \
                      eb_plain_window s) {                                                   \
    int o = 0;                                                                               \
    for (; o + EB_PLAIN_BLOCK <= s.outputs; o += EB_PLAIN_BLOCK)                             \
      name##_block(x, w + o, bias + o, sums + o, s, EB_PLAIN_BLOCK);                         \
    if (s.outputs % EB_PLAIN_BLOCK)                                                          \
      name##_block(x, w + o, bias + o, sums + o, s, s.outputs % EB_PLAIN_BLOCK);             \
  }                                                                                          \
  /* One filter a channel: outputs = inputs, and w is w[ky][kx][o]. */                       \
  EB_INLINE void name##_each(const input *x, const weight *w, const number *bias,            \
                             number *sums, eb_plain_window s) {                              \
    for (int o = 0; o < s.outputs; o++) sums[o] = bias[o];                                   \
    for (int ky = 0; ky < s.kernel_h; ky++)                                                  \
      for (int kx = 0; kx < s.kernel_w; kx++)                                                \
        for (int o = 0; o < s.outputs; o++)                                                  \
          sums[o] += (number)x[ky * s.step_y + kx * s.step_x + o] *                          \
                     w[(ky * s.kernel_w + kx) * s.outputs + o];                              \
  }

EB_PLAIN_SUMS(eb_sums_u8, uint8_t, int16_t, int32_t)
EB_PLAIN_SUMS(eb_sums_i16, int16_t, int16_t, int64_t)
EB_PLAIN_SUMS(eb_sums_f32, float, float, float)

#endif
