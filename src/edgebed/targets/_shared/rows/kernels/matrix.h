/* Products of two activations, and where the largest value is. */
#ifndef EB_MATRIX_H
#define EB_MATRIX_H

#include "rules.h"

typedef struct {
    int32_t batches, rows, depth, columns;
    int32_t a_batch, a_row, a_depth; /* steps of the first operand */
    int32_t b_batch, b_depth, b_column;
    int32_t out_batch, out_row, out_column;
    int32_t a_zero, b_zero;
    eb_line line;
    eb_output output;
} eb_matmul_t;

/* eb_kernel: rows x depth times depth x columns, for every batch. */
EB_STATIC void eb_matmul(const void *parameters, const int8_t *const *rows, int8_t *out,
                         void *scratch, int32_t step) {
    const eb_matmul_t *layer = parameters;
    const int32_t az = layer->a_zero, bz = layer->b_zero;
    (void)scratch, (void)step;
    for (int32_t n = 0; n < layer->batches; n++)
        for (int32_t i = 0; i < layer->rows; i++)
            for (int32_t j = 0; j < layer->columns; j++) {
                const int8_t *a = rows[0] + n * layer->a_batch + i * layer->a_row;
                const int8_t *b = rows[1] + n * layer->b_batch + j * layer->b_column;
                int32_t sum = layer->line.bias;
                for (int32_t k = 0; k < layer->depth; k++)
                    sum += (a[k * layer->a_depth] - az) * (b[k * layer->b_depth] - bz);
                out[n * layer->out_batch + i * layer->out_row + j * layer->out_column] =
                    (int8_t)eb_requantize(sum, &layer->line, &layer->output);
            }
}

typedef struct {
    int32_t kept[6];      /* three sizes, then the steps in the input, in values */
    int32_t size, inner;  /* values compared, and the step from one to the next */
    int32_t last, least;  /* of equal ones the last; look for the least */
    int32_t real, wide;   /* float32 values; 64-bit results */
} eb_argmax_t;

/* A value as an integer of the same order. */
EB_STATIC int32_t eb_argmax_value(const eb_argmax_t *layer, const int8_t *x, int32_t at) {
    if (!layer->real) return x[at];
    const int32_t bits = ((const int32_t *)(const void *)x)[at];
    return bits < 0 ? -(bits & INT32_MAX) : bits;
}

EB_STATIC int32_t eb_argmax_better(const eb_argmax_t *layer, const int8_t *x, int32_t at,
                                   int32_t best) {
    const int32_t a = eb_argmax_value(layer, x, at), b = eb_argmax_value(layer, x, best);
    return (layer->least ? a < b : a > b) || (layer->last && a == b);
}

/* eb_kernel */
EB_STATIC void eb_argmax(const void *parameters, const int8_t *const *rows, int8_t *out,
                         void *scratch, int32_t step) {
    const eb_argmax_t *layer = parameters;
    const int32_t *n = layer->kept, *s = layer->kept + 3;
    int32_t *y = (int32_t *)(void *)out;
    (void)scratch, (void)step;
    for (int32_t a = 0; a < n[0]; a++)
        for (int32_t b = 0; b < n[1]; b++)
            for (int32_t c = 0; c < n[2]; c++) {
                const int32_t first = a * s[0] + b * s[1] + c * s[2];
                const int8_t *x = rows[0] + first * (layer->real ? 4 : 1);
                int32_t best = 0;
                for (int32_t k = 1; k < layer->size; k++)
                    if (eb_argmax_better(layer, x, k * layer->inner, best * layer->inner)) best = k;
                *y++ = best;
                if (layer->wide) *y++ = 0;
            }
}

#endif
