/* Tensors put together, taken apart and surrounded. Sizes are in bytes. */
#ifndef EB_PARTS_H
#define EB_PARTS_H

#include "eb_math.h"

typedef struct {
    const int32_t *sizes; /* of a part of each operand */
    int32_t operands, outer;
} eb_concat_t;

/* eb_kernel: a part of each operand in turn; of those only that have the row. */
EB_STATIC void eb_concat(const void *parameters, const int8_t *const *rows, int8_t *out,
                         void *scratch, int32_t step) {
    const eb_concat_t *layer = parameters;
    (void)scratch, (void)step;
    for (int32_t i = 0; i < layer->outer; i++)
        for (int32_t k = 0; k < layer->operands; k++) {
            const int32_t size = layer->sizes[k];
            if (!rows[k]) continue;
            eb_copy(out, rows[k] + i * size, (uint32_t)size);
            out += size;
        }
}

typedef struct {
    int32_t offset;              /* of the first value taken */
    int32_t columns, pixel_step; /* taken, and from one to the next */
    int32_t values, value_step;
    int32_t size;                /* of what is copied at once */
} eb_slice_t;

/* eb_kernel: some columns and channels of a row. */
EB_STATIC void eb_slice(const void *parameters, const int8_t *const *rows, int8_t *out,
                        void *scratch, int32_t step) {
    const eb_slice_t *layer = parameters;
    const int8_t *pixel = rows[0] + layer->offset;
    (void)scratch, (void)step;
    for (int32_t x = 0; x < layer->columns; x++, pixel += layer->pixel_step) {
        const int8_t *at = pixel;
        for (int32_t i = 0; i < layer->values; i++, at += layer->value_step, out += layer->size)
            eb_copy(out, at, (uint32_t)layer->size);
    }
}

typedef struct {
    int32_t left, columns, right; /* bytes of new pixels, old pixels, bytes of new pixels */
    int32_t before, size, after;  /* within an old pixel */
    int32_t value, wide;          /* of one byte, or four alike */
} eb_pad_t;

EB_STATIC int8_t *eb_pad_fill(const eb_pad_t *layer, int8_t *out, int32_t size) {
    if (!layer->wide) eb_fill(out, layer->value, (uint32_t)size);
    else
        for (int32_t i = 0; i < size; i += 4) *(eb_word *)(void *)(out + i) = (uint32_t)layer->value;
    return out + size;
}

/* eb_kernel: a row between new values; all new where the row lies outside of the map. */
EB_STATIC void eb_pad(const void *parameters, const int8_t *const *rows, int8_t *out,
                      void *scratch, int32_t step) {
    const eb_pad_t *layer = parameters;
    const int32_t pixel = layer->before + layer->size + layer->after;
    const int8_t *x = rows[0];
    (void)scratch, (void)step;
    if (!x) {
        eb_pad_fill(layer, out, layer->left + layer->columns * pixel + layer->right);
        return;
    }
    out = eb_pad_fill(layer, out, layer->left);
    for (int32_t i = 0; i < layer->columns; i++, x += layer->size) {
        out = eb_pad_fill(layer, out, layer->before);
        eb_copy(out, x, (uint32_t)layer->size);
        out = eb_pad_fill(layer, out + layer->size, layer->after);
    }
    eb_pad_fill(layer, out, layer->right);
}

typedef struct {
    int32_t columns, block; /* of the output, and bytes of a block's row */
    int32_t rows;
} eb_fold_t;

/* eb_kernel: squares of pixels become pixels (space to depth). */
EB_STATIC void eb_fold(const void *parameters, const int8_t *const *rows, int8_t *out,
                       void *scratch, int32_t step) {
    const eb_fold_t *layer = parameters;
    (void)scratch, (void)step;
    for (int32_t x = 0; x < layer->columns; x++)
        for (int32_t y = 0; y < layer->rows; y++, out += layer->block)
            eb_copy(out, rows[y] + x * layer->block, (uint32_t)layer->block);
}

typedef struct {
    const uint16_t *index[3]; /* in the input, for each index of the output; NULL: the same */
    int32_t shape[3], steps[3];
    int32_t size; /* of a value */
} eb_pick_t;

EB_STATIC int32_t eb_pick_at(const eb_pick_t *layer, int32_t axis, int32_t i) {
    return (layer->index[axis] ? layer->index[axis][i] : i) * layer->steps[axis];
}

/* eb_kernel: chosen indices of three axes, all at once. */
EB_STATIC void eb_pick(const void *parameters, const int8_t *const *rows, int8_t *out,
                       void *scratch, int32_t step) {
    const eb_pick_t *layer = parameters;
    const int32_t *n = layer->shape;
    (void)scratch, (void)step;
    for (int32_t i = 0; i < n[0]; i++)
        for (int32_t j = 0; j < n[1]; j++)
            for (int32_t k = 0; k < n[2]; k++, out += layer->size) {
                const int32_t at =
                    eb_pick_at(layer, 0, i) + eb_pick_at(layer, 1, j) + eb_pick_at(layer, 2, k);
                eb_copy(out, rows[0] + at, (uint32_t)layer->size);
            }
}

typedef struct {
    const void *values;
    int32_t size;
} eb_constant_t;

/* eb_kernel */
EB_STATIC void eb_constant(const void *parameters, const int8_t *const *rows, int8_t *out,
                           void *scratch, int32_t step) {
    const eb_constant_t *layer = parameters;
    (void)rows, (void)scratch, (void)step;
    eb_copy(out, layer->values, (uint32_t)layer->size);
}

#endif
