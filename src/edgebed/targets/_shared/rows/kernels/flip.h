/* uint8 values as int8 values less 128, and back. */
#ifndef EB_FLIP_H
#define EB_FLIP_H

#include "eb.h"

typedef struct {
    int32_t count; /* values in a row */
} eb_flip_t;

static void eb_flip(const void *parameters, const int8_t *const *rows, int8_t *out, void *scratch,
                    int32_t step) {
    const eb_flip_t *layer = parameters;
    (void)scratch, (void)step;
    for (int32_t i = 0; i < layer->count; i++) out[i] = (int8_t)(rows[0][i] ^ -128);
}

#endif
