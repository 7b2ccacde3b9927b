/* Vectors brought to length one: TensorFlow Lite Micro's fixed point. */
#ifndef EB_NORMALIZE_H
#define EB_NORMALIZE_H

#include "rules.h"

typedef struct {
    int32_t outer, size, inner; /* of a row: `size` values that lie `inner` apart */
    int32_t zero_point, low, high;
} eb_normalize_t;

/* x * 2^left within int32. */
EB_STATIC int32_t eb_normalize_left(int32_t x, int32_t left) {
    const int32_t most = INT32_MAX >> left;
    if (x > most) return INT32_MAX;
    return x < -most - 1 ? INT32_MIN : (int32_t)((uint32_t)x << left);
}

/* 1 / sqrt(x) = the result / 2^31 * 2^shift, for x >= 0; 0 counts as 1. Five Newton steps. */
EB_STATIC int32_t eb_normalize_root(int32_t x, int32_t *shift) {
    int32_t right = 11, root = 1 << 28;
    *shift = 0;
    if (x <= 1) return INT32_MAX;
    for (; x >= 1 << 29; x >>= 2) right++;
    for (; x < 1 << 27; x <<= 2) right--;
    const int32_t half = eb_rules_shift(x >> 1, 1);
    for (int32_t i = 0; i < 5; i++) {
        const int32_t square = eb_rules_rounded(root, root);
        const int32_t cube = eb_normalize_left(eb_rules_rounded(square, root), 6);
        const int32_t next = eb_rules_rounded(root, 3 << 27) - eb_rules_rounded(half, cube);
        root = eb_normalize_left(next, 3);
    }
    root = eb_rules_rounded(root, 1518500250);
    if (right < 0) return (int32_t)((uint32_t)root << -right);
    *shift = -right;
    return root;
}

EB_STATIC void eb_normalize_line(const eb_normalize_t *layer, const int8_t *x, int8_t *out) {
    const int32_t end = layer->size * layer->inner;
    int32_t squares = 0, shift;
    for (int32_t i = 0; i < end; i += layer->inner) {
        const int32_t value = x[i] - layer->zero_point;
        squares += value * value;
    }
    const int32_t root = eb_normalize_root(squares, &shift);
    for (int32_t i = 0; i < end; i += layer->inner) {
        const int32_t y = eb_rules_twice(x[i] - layer->zero_point, root, shift + 7);
        out[i] = (int8_t)eb_limit(y, layer->low, layer->high);
    }
}

/* eb_kernel */
EB_STATIC void eb_normalize(const void *parameters, const int8_t *const *rows, int8_t *out,
                            void *scratch, int32_t step) {
    const eb_normalize_t *layer = parameters;
    const int32_t block = layer->size * layer->inner;
    const int8_t *x = rows[0];
    (void)scratch, (void)step;
    for (int32_t i = 0; i < layer->outer; i++, x += block, out += block)
        for (int32_t k = 0; k < layer->inner; k++) eb_normalize_line(layer, x + k, out + k);
}

#endif
