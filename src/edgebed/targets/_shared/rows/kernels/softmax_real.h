/* Shares that sum to one, in float32. */
#ifndef EB_SOFTMAX_REAL_H
#define EB_SOFTMAX_REAL_H

#include "real_math.h"

typedef struct {
    float beta;
    int32_t outer, size, inner; /* of a row: `size` values that lie `inner` apart */
} eb_softmax_real_t;

EB_STATIC void eb_softmax_real_line(const eb_softmax_real_t *layer, const float *x, float *y) {
    const int32_t end = layer->size * layer->inner;
    float most = x[0], total = 0.0f;
    for (int32_t i = 0; i < end; i += layer->inner)
        if (x[i] > most) most = x[i];
    for (int32_t i = 0; i < end; i += layer->inner)
        total += y[i] = eb_exp((x[i] - most) * layer->beta);
    for (int32_t i = 0; i < end; i += layer->inner) y[i] /= total;
}

/* eb_kernel */
EB_STATIC void eb_softmax_real(const void *parameters, const int8_t *const *rows, int8_t *out,
                               void *scratch, int32_t step) {
    const eb_softmax_real_t *layer = parameters;
    const int32_t block = layer->size * layer->inner;
    const float *x = (const float *)(const void *)rows[0];
    float *y = (float *)(void *)out;
    (void)scratch, (void)step;
    for (int32_t i = 0; i < layer->outer; i++, x += block, y += block)
        for (int32_t k = 0; k < layer->inner; k++) eb_softmax_real_line(layer, x + k, y + k);
}

#endif
