/* uint8 values as int8 values less 128, and back. */
#ifndef EB_FLIP_H
#define EB_FLIP_H

#include "eb_math.h"

typedef struct {
    int32_t count; /* values in a row */
} eb_flip_t;

static void eb_flip(const void *parameters, const int8_t *const *rows, int8_t *out, void *scratch,
                    int32_t step) {
    const eb_flip_t *layer = parameters;
    const int8_t *from = rows[0];
    int32_t count = layer->count;
    (void)scratch, (void)step;
    if (EB_UNALIGNED || (((uintptr_t)out | (uintptr_t)from) & 3) == 0)
        for (; count >= 4; count -= 4, from += 4, out += 4)
            *(eb_word *)(void *)out = *(const eb_word *)(const void *)from ^ 0x80808080u;
    for (; count; count--) *out++ = (int8_t)(*from++ ^ -128);
}

#endif
