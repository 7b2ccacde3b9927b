/* Copies of values into another order. */
#ifndef EB_MOVE_H
#define EB_MOVE_H

#include "eb.h"

typedef struct {
    int32_t shape[5], strides[5]; /* of the output, sparsest axis first; steps in the input */
    int32_t offset;               /* of the first value in the input */
    int32_t size;                 /* bytes of a value */
} eb_move_t;

static void eb_move_line(const eb_move_t *layer, const int8_t *from, int8_t *to) {
    const int32_t size = layer->size, step = layer->strides[4] * size;
    for (int32_t i = 0; i < layer->shape[4]; i++, from += step, to += size)
        for (int32_t b = 0; b < size; b++) to[b] = from[b];
}

static void eb_move(const void *parameters, const int8_t *const *rows, int8_t *out, void *scratch,
                    int32_t step) {
    const eb_move_t *layer = parameters;
    const int32_t *n = layer->shape, *s = layer->strides;
    const int32_t size = layer->size;
    int8_t *to = out;
    (void)scratch, (void)step;
    for (int32_t a = 0; a < n[0]; a++)
        for (int32_t b = 0; b < n[1]; b++)
            for (int32_t c = 0; c < n[2]; c++)
                for (int32_t d = 0; d < n[3]; d++, to += n[4] * size) {
                    const int32_t at = a * s[0] + b * s[1] + c * s[2] + d * s[3];
                    eb_move_line(layer, rows[0] + (layer->offset + at) * size, to);
                }
}

#endif
