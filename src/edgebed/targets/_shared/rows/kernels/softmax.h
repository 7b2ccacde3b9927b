/* Shares that sum to one: TensorFlow Lite's fixed point on bytes. */
#ifndef EB_SOFTMAX_H
#define EB_SOFTMAX_H

#include "rules.h"

typedef struct {
    const int32_t *grown;       /* exp of minus 0, 1, 2 ... input steps, 31 bits; 0 behind them */
    int32_t entries;
    int32_t outer, size, inner; /* of a row: `size` values that lie `inner` apart */
    int32_t low, high;
} eb_softmax_t;

/* 1 / (1 + a), 31 bits; gemmlowp's three Newton steps. */
EB_STATIC EB_SMALL int32_t eb_softmax_reciprocal(int32_t a) {
    const int32_t half = (int32_t)(((uint32_t)a + 0x80000000u) >> 1);
    int32_t x = 1515870810 + eb_rules_rounded(half, -1010580540);
    for (int32_t i = 0; i < 3; i++) {
        const int32_t rest = (1 << 29) - eb_rules_rounded(half, x);
        x += (int32_t)((uint32_t)eb_rules_rounded(x, rest) << 2);
    }
    return x >= 1 << 30 ? INT32_MAX : x < -(1 << 30) ? INT32_MIN : (int32_t)((uint32_t)x << 1);
}

EB_STATIC int32_t eb_softmax_exp(const eb_softmax_t *layer, int32_t steps) {
    return steps < layer->entries ? layer->grown[steps] : 0;
}

EB_STATIC EB_SMALL void eb_softmax_line(const eb_softmax_t *layer, const int8_t *x, int8_t *out) {
    const int32_t end = layer->size * layer->inner;
    int32_t most = -128, headroom = 0;
    uint32_t total = 0;
    for (int32_t i = 0; i < end; i += layer->inner)
        if (x[i] > most) most = x[i];
    for (int32_t i = 0; i < end; i += layer->inner)
        total += (uint32_t)eb_rules_shift(eb_softmax_exp(layer, most - x[i]), 12);
    while (!(total >> 31)) total <<= 1, headroom++;
    const int32_t factor = eb_softmax_reciprocal((int32_t)(total - 0x80000000u));
    for (int32_t i = 0; i < end; i += layer->inner) {
        const int32_t share = eb_rules_rounded(factor, eb_softmax_exp(layer, most - x[i]));
        const int32_t right = 12 - headroom + 31 - 8;
        const int32_t y = right > 31 ? 0 : eb_rules_shift(share, right); /* less than one half */
        out[i] = (int8_t)eb_limit(y - 128, layer->low, layer->high);
    }
}

/* eb_kernel */
EB_STATIC EB_SMALL void eb_softmax(const void *parameters, const int8_t *const *rows, int8_t *out,
                          void *scratch, int32_t step) {
    const eb_softmax_t *layer = parameters;
    const int32_t block = layer->size * layer->inner;
    const int8_t *x = rows[0];
    (void)scratch, (void)step;
    for (int32_t i = 0; i < layer->outer; i++, x += block, out += block)
        for (int32_t k = 0; k < layer->inner; k++) eb_softmax_line(layer, x + k, out + k);
}

#endif
