/* Ops value by value on float32, and windows of float32, for cores with a floating-point unit. */
#ifndef EB_REAL_PAIRS_H
#define EB_REAL_PAIRS_H

#include "pool.h"
#include "real_math.h"

enum { EB_REAL_ADD, EB_REAL_SUBTRACT, EB_REAL_MULTIPLY, EB_REAL_DIVIDE, EB_REAL_MAX, EB_REAL_MIN,
       EB_REAL_SLOPE };

typedef struct {
    const float *a, *b;               /* operands that are constants; else NULL */
    int32_t shape[4];                 /* of an output row, sparsest axis first */
    int32_t a_steps[4], b_steps[4];   /* from one value to the next along them; 0 repeats */
    int32_t a_row, b_row;             /* from one row to the next, of what is read whole */
    int32_t function;
} eb_real_pair_t;

EB_STATIC float eb_real_two(int32_t function, float a, float b) {
    switch (function) {
    case EB_REAL_ADD: return a + b;
    case EB_REAL_SUBTRACT: return a - b;
    case EB_REAL_MULTIPLY: return a * b;
    case EB_REAL_DIVIDE: return a / b;
    case EB_REAL_MAX: return a > b ? a : b;
    case EB_REAL_MIN: return a < b ? a : b;
    default: return a >= 0.0f ? a : a * b;
    }
}

/* eb_kernel; see eb_pair. */
EB_STATIC void eb_real_pair(const void *parameters, const int8_t *const *rows, int8_t *out,
                            void *scratch, int32_t step) {
    const eb_real_pair_t *layer = parameters;
    const float *a = layer->a ? layer->a : (const float *)(const void *)rows[0];
    const float *b = layer->b ? layer->b : (const float *)(const void *)rows[layer->a ? 0 : 1];
    const int32_t *n = layer->shape, *sa = layer->a_steps, *sb = layer->b_steps;
    float *to = (float *)(void *)out;
    (void)scratch;
    a += step * layer->a_row, b += step * layer->b_row;
    for (int32_t i = 0; i < n[0]; i++)
        for (int32_t j = 0; j < n[1]; j++)
            for (int32_t k = 0; k < n[2]; k++) {
                const float *x = a + i * sa[0] + j * sa[1] + k * sa[2];
                const float *y = b + i * sb[0] + j * sb[1] + k * sb[2];
                for (int32_t l = 0; l < n[3]; l++, x += sa[3], y += sb[3])
                    *to++ = eb_real_two(layer->function, *x, *y);
            }
}

typedef struct {
    int32_t function; /* eb_real_function */
    float alpha, beta;
    int32_t count; /* values of a row */
} eb_real_unary_t;

/* eb_kernel */
EB_STATIC void eb_real_unary(const void *parameters, const int8_t *const *rows, int8_t *out,
                             void *scratch, int32_t step) {
    const eb_real_unary_t *layer = parameters;
    const float *x = (const float *)(const void *)rows[0];
    float *y = (float *)(void *)out;
    (void)scratch, (void)step;
    for (int32_t i = 0; i < layer->count; i++)
        y[i] = eb_real_of(layer->function, x[i], layer->alpha, layer->beta);
}

typedef struct {
    eb_window_t window;
    int32_t mean;  /* else the largest */
    int32_t count; /* that sums are divided by; 0: of the values within the map */
} eb_real_pool_t;

EB_STATIC void eb_real_pool_row(const eb_real_pool_t *layer, const float *x, float *y) {
    for (int32_t c = 0; c < layer->window.channels; c++) {
        if (layer->mean) y[c] += x[c];
        else if (x[c] > y[c]) y[c] = x[c];
    }
}

/* eb_kernel */
EB_STATIC void eb_real_pool(const void *parameters, const int8_t *const *rows, int8_t *out,
                            void *scratch, int32_t step) {
    const eb_real_pool_t *layer = parameters;
    const eb_window_t *w = &layer->window;
    float *y = (float *)(void *)out;
    int32_t height = 0;
    (void)scratch, (void)step;
    for (int32_t ky = 0; ky < w->kernel_height; ky++) height += rows[ky] != 0;
    for (int32_t x = 0; x < w->out_width; x++, y += w->channels) {
        int32_t first;
        const int32_t columns = eb_pool_columns(w, x, &first);
        const float count = (float)(layer->count ? layer->count : height * columns);
        for (int32_t c = 0; c < w->channels; c++) y[c] = layer->mean ? 0.0f : -EB_REAL_MOST;
        for (int32_t ky = 0; ky < w->kernel_height; ky++)
            for (int32_t kx = 0; rows[ky] && kx < columns; kx++)
                eb_real_pool_row(
                    layer, (const float *)(const void *)rows[ky] + (first + kx) * w->channels, y);
        for (int32_t c = 0; layer->mean && c < w->channels; c++) y[c] /= count;
    }
}

#endif
