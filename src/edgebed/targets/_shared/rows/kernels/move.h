/* Copies of values into another order. */
#ifndef EB_MOVE_H
#define EB_MOVE_H

#include "eb_math.h"

typedef struct {
    int32_t shape[5], strides[5]; /* of the output, sparsest axis first; steps in the input */
    int32_t offset;               /* of the first value in the input */
    int32_t size;                 /* bytes of a value */
} eb_move_t;

/* Copies `count` values that lie so many bytes apart. */
#define EB_MOVE_LINE(name, type)                                                                 \
    EB_STATIC void name(const int8_t *from, int32_t from_step, int8_t *to, int32_t to_step,      \
                        int32_t count) {                                                         \
        for (; count >= 2; count -= 2, from += 2 * from_step, to += 2 * to_step) {               \
            const type first = *(const type *)(const void *)from;                                \
            const type second = *(const type *)(const void *)(from + from_step);                 \
            *(type *)(void *)to = first;                                                         \
            *(type *)(void *)(to + to_step) = second;                                            \
        }                                                                                        \
        if (count) *(type *)(void *)to = *(const type *)(const void *)from;                      \
    }

typedef int32_t __attribute__((may_alias)) eb_move_value;
EB_MOVE_LINE(eb_move_bytes, int8_t)
EB_MOVE_LINE(eb_move_words, eb_move_value)

EB_STATIC void eb_move_line(int32_t size, const int8_t *from, int32_t from_step, int8_t *to,
                            int32_t to_step, int32_t count) {
    if (from_step == size && to_step == size) {
        eb_copy(to, from, (uint32_t)(count * size));
    } else if (size == 1) {
        eb_move_bytes(from, from_step, to, to_step, count);
    } else if (size == 4) {
        eb_move_words(from, from_step, to, to_step, count);
    } else {
        for (; count; count--, from += from_step, to += to_step)
            eb_copy(to, from, (uint32_t)size);
    }
}

/* The last two axes: along the longer one line by line, unless lines of the last have no gap. */
EB_STATIC void eb_move_plane(const eb_move_t *layer, const int8_t *from, int8_t *to) {
    const int32_t size = layer->size, across = size * layer->shape[4];
    const int32_t rows = layer->shape[3], row_step = layer->strides[3] * size;
    const int32_t columns = layer->shape[4], step = layer->strides[4] * size;
    if (columns < rows && step != size) {
        for (int32_t i = 0; i < columns; i++)
            eb_move_line(size, from + i * step, row_step, to + i * size, across, rows);
    } else {
        for (int32_t i = 0; i < rows; i++, from += row_step, to += across)
            eb_move_line(size, from, step, to, size, columns);
    }
}

EB_STATIC void eb_move(const void *parameters, const int8_t *const *rows, int8_t *out,
                       void *scratch, int32_t step) {
    const eb_move_t *layer = parameters;
    const int32_t *n = layer->shape, *s = layer->strides, size = layer->size;
    const int32_t plane = n[3] * n[4] * size;
    int8_t *to = out;
    (void)scratch, (void)step;
    for (int32_t a = 0; a < n[0]; a++)
        for (int32_t b = 0; b < n[1]; b++)
            for (int32_t c = 0; c < n[2]; c++, to += plane) {
                const int32_t at = layer->offset + a * s[0] + b * s[1] + c * s[2];
                eb_move_plane(layer, rows[0] + at * size, to);
            }
}

#endif
