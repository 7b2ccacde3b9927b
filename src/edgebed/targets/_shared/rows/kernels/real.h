/* What needs real numbers: float32 in, float32 out, and means that add in float32. Each operation
   is one that IEEE 754 rounds, in the program's order; cores without an FPU call their compiler's. */
#ifndef EB_REAL_H
#define EB_REAL_H

#include "pool.h"

typedef struct {
    float scale;
    float early;     /* added before rounding */
    int32_t zero;    /* added after rounding */
    int32_t low, high;
    int32_t away;    /* ties away from zero, else to even */
} eb_real_out_t;

/* The nearest integer to steps within 32 bits, ties to even or away from zero. */
EB_STATIC inline int32_t eb_real_nearest(float steps, int32_t away) {
    int32_t whole = (int32_t)steps;
    const float rest = steps - (float)whole;
    if (rest > 0.5f || (rest == 0.5f && (away || (whole & 1)))) whole++;
    if (rest < -0.5f || (rest == -0.5f && (away || (whole & 1)))) whole--;
    return whole;
}

/* The stored byte of a real number; of none, the least. */
EB_STATIC int32_t eb_real_byte(const eb_real_out_t *to, float real) {
    float steps = real / to->scale + to->early;
    if (!(steps > -100000.0f)) steps = -100000.0f;
    if (steps > 100000.0f) steps = 100000.0f;
#if defined(__arm__) && !defined(EB_WITHOUT_FPU)
    if (!to->away) {
        int32_t whole;
        __asm__("vcvtr.s32.f32 %0, %0" : "+t"(steps));
        __asm__("vmov %0, %1" : "=r"(whole) : "t"(steps));
        return eb_limit(whole + to->zero, to->low, to->high);
    }
#endif
    return eb_limit(eb_real_nearest(steps, to->away) + to->zero, to->low, to->high);
}

typedef struct {
    eb_real_out_t to;
    int32_t count; /* values of a row */
} eb_quantize_t;

/* eb_kernel; in place: a byte is smaller than a float. */
EB_STATIC void eb_quantize(const void *parameters, const int8_t *const *rows,
                                                int8_t *out, void *scratch, int32_t step) {
    const eb_quantize_t layer = *(const eb_quantize_t *)parameters; /* `out` may be anything */
    const float *x = (const float *)(const void *)rows[0];
    (void)scratch, (void)step;
    for (int32_t i = layer.count; i > 0; i--) *out++ = (int8_t)eb_real_byte(&layer.to, *x++);
}

typedef struct {
    float scale;
    int32_t zero, count;
} eb_dequantize_t;

EB_STATIC void eb_dequantize(const void *parameters,
                                                  const int8_t *const *rows, int8_t *out,
                                                  void *scratch, int32_t step) {
    const eb_dequantize_t *layer = parameters;
    float *y = (float *)(void *)out;
    (void)scratch, (void)step;
    for (int32_t i = 0; i < layer->count; i++)
        y[i] = (float)(rows[0][i] - layer->zero) * layer->scale;
}

/* Means of real values, added one after the other. */
typedef struct {
    eb_window_t window;
    float scale;
    int32_t zero;
    int32_t count; /* values of a window; 0 where only those within the map count */
    eb_real_out_t to;
} eb_real_mean_t;

EB_STATIC void eb_real_add(const eb_real_mean_t *layer, float *sums, const int8_t *x) {
    for (int32_t c = 0; c < layer->window.channels; c++) {
        float value = (float)(x[c] - layer->zero) * layer->scale;
        EB_ROUNDED(value);
        sums[c] += value;
    }
}

/* eb_kernel; scratch holds a float a channel. Padding is 0.0 and changes no sum. */
EB_STATIC void eb_real_mean(const void *parameters, const int8_t *const *rows,
                                                 int8_t *out, void *scratch, int32_t step) {
    const eb_real_mean_t *layer = parameters;
    const eb_window_t *w = &layer->window;
    float *sums = scratch;
    int32_t height = 0;
    (void)step;
    for (int32_t ky = 0; ky < w->kernel_height; ky++) height += rows[ky] != 0;
    for (int32_t x = 0; x < w->out_width; x++) {
        int32_t first;
        const int32_t columns = eb_pool_columns(w, x, &first);
        const float count = (float)(layer->count ? layer->count : height * columns);
        eb_fill((int8_t *)sums, 0, 4 * (uint32_t)w->channels);
        for (int32_t ky = 0; ky < w->kernel_height; ky++)
            for (int32_t kx = 0; rows[ky] && kx < columns; kx++)
                eb_real_add(layer, sums, rows[ky] + (first + kx) * w->channels);
        for (int32_t c = 0; c < w->channels; c++)
            *out++ = (int8_t)eb_real_byte(&layer->to, sums[c] / count);
    }
}

/* eb_kernel that accumulates a whole map row by row. */
EB_STATIC void eb_real_sums(const void *parameters, const int8_t *const *rows,
                                                 int8_t *out, void *scratch, int32_t step) {
    const eb_real_mean_t *layer = parameters;
    float *sums = (float *)(void *)out;
    (void)scratch;
    if (step == 0) eb_fill(out, 0, 4 * (uint32_t)layer->window.channels);
    for (int32_t x = 0; x < layer->window.in_width; x++)
        eb_real_add(layer, sums, rows[0] + x * layer->window.channels);
}

/* eb_kernel: bytes of the sums. */
EB_STATIC void eb_real_finish(const void *parameters,
                                                   const int8_t *const *rows, int8_t *out,
                                                   void *scratch, int32_t step) {
    const eb_real_mean_t *layer = parameters;
    const float *sums = (const float *)(const void *)rows[0];
    (void)scratch, (void)step;
    for (int32_t c = 0; c < layer->window.channels; c++)
        out[c] = (int8_t)eb_real_byte(&layer->to, sums[c] / (float)layer->count);
}

#endif
