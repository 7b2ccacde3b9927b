/* One value for many, along any axes. */
#ifndef EB_REDUCE_H
#define EB_REDUCE_H

#include "steps.h"

typedef struct {
    const eb_steps_t *finish;
    int32_t kept[6], reduced[6]; /* three sizes, then the steps in the input */
    int32_t function;            /* 0: sum, 1: largest, 2: least */
} eb_reduce_t;

EB_STATIC int32_t eb_reduce_one(const eb_reduce_t *layer, const int8_t *x) {
    const int32_t *n = layer->reduced, *s = layer->reduced + 3;
    int32_t found = layer->function ? *x : 0;
    for (int32_t a = 0; a < n[0]; a++)
        for (int32_t b = 0; b < n[1]; b++) {
            const int8_t *at = x + a * s[0] + b * s[1];
            for (int32_t c = 0; c < n[2]; c++, at += s[2]) {
                if (layer->function == 0) found += *at;
                else if (layer->function == 1) found = *at > found ? *at : found;
                else found = *at < found ? *at : found;
            }
        }
    return found;
}

EB_STATIC void eb_reduce(const void *parameters, const int8_t *const *rows, int8_t *out,
                      void *scratch, int32_t step) {
    const eb_reduce_t *layer = parameters;
    const int32_t *n = layer->kept, *s = layer->kept + 3;
    (void)scratch, (void)step;
    for (int32_t a = 0; a < n[0]; a++)
        for (int32_t b = 0; b < n[1]; b++)
            for (int32_t c = 0; c < n[2]; c++) {
                const int8_t *x = rows[0] + a * s[0] + b * s[1] + c * s[2];
                *out++ = (int8_t)eb_step_byte(layer->finish, eb_reduce_one(layer, x));
            }
}

#endif
