/* Shares that sum to one, in float32. */
#ifndef EB_SOFTMAX_REAL_H
#define EB_SOFTMAX_REAL_H

#include "eb_math.h"

typedef struct {
    float beta;
    int32_t outer, size, inner; /* of a row: `size` values that lie `inner` apart */
} eb_softmax_real_t;

/* exp(x) for x <= 0, within two units of the last place. */
EB_STATIC float eb_exp(float x) {
    union {
        uint32_t bits;
        float value;
    } power;
    if (!(x > -87.0f)) return 0.0f;
    const int32_t n = (int32_t)(x * 1.44269504f - 0.5f);
    const float r = (x - (float)n * 0.693359375f) + (float)n * 2.12194440e-4f;
    float y = 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    power.bits = (uint32_t)(n + 127) << 23;
    return y * power.value;
}

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
