/* Maxima and means over windows, and sums row by row for means of whole maps. */
#ifndef EB_POOL_H
#define EB_POOL_H

#include "eb_math.h"
#include "steps.h"

typedef struct {
    int32_t in_width, out_width, channels;
    int32_t kernel_height, kernel_width, stride, pad;
} eb_window_t;

/* First and number of the window's columns that lie in the map. */
EB_STATIC inline int32_t eb_pool_columns(const eb_window_t *w, int32_t x, int32_t *first) {
    int32_t left = x * w->stride - w->pad, end = left + w->kernel_width;
    if (left < 0) left = 0;
    if (end > w->in_width) end = w->in_width;
    *first = left;
    return end - left;
}

/* out = max(out, x), byte by byte. */
EB_STATIC void eb_pool_max(int8_t *out, const int8_t *x, int32_t count) {
#if EB_DSP && defined(__GNUC__)
    for (; count >= 4; count -= 4, out += 4, x += 4) {
        const uint32_t a = *(const eb_word *)(const void *)out, b = *(const eb_word *)(const void *)x;
        uint32_t most;
        __asm__("ssub8 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(most) : "r"(a), "r"(b) : "cc");
        *(eb_word *)(void *)out = most;
    }
#endif
#if EB_MVE
    __asm__ volatile("wlstp.8 lr, %2, 2f\n"
                     "1:\n"
                     "vldrb.u8 q0, [%1], #16\n"
                     "vldrb.u8 q1, [%0]\n"
                     "vmax.s8 q1, q1, q0\n"
                     "vstrb.8 q1, [%0], #16\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     : "+r"(out), "+r"(x)
                     : "r"(count)
                     : "d0", "d1", "d2", "d3", "lr", "memory");
    count = 0;
#endif
    for (; count > 0; count--, out++, x++)
        if (*x > *out) *out = *x;
}

/* eb_kernel: the largest value of each window. */
EB_STATIC void eb_max_pool(const void *parameters, const int8_t *const *rows,
                                                int8_t *out, void *scratch, int32_t step) {
    const eb_window_t *w = parameters;
    (void)scratch, (void)step;
    for (int32_t x = 0; x < w->out_width; x++, out += w->channels) {
        int32_t first, begun = 0;
        const int32_t columns = eb_pool_columns(w, x, &first);
        for (int32_t ky = 0; ky < w->kernel_height; ky++) {
            if (!rows[ky]) continue;
            const int8_t *at = rows[ky] + first * w->channels;
            for (int32_t kx = 0; kx < columns; kx++, at += w->channels) {
                if (begun) eb_pool_max(out, at, w->channels);
                else eb_copy(out, at, (uint32_t)w->channels);
                begun = 1;
            }
        }
    }
}

/* sums += x. */
EB_STATIC void eb_pool_add(int32_t *sums, const int8_t *x, int32_t count) {
#if EB_DSP && defined(__GNUC__)
    for (; count >= 4; count -= 4, sums += 4, x += 4) {
        const uint32_t word = *(const eb_word *)(const void *)x;
        int32_t a = sums[0], b = sums[1], c = sums[2], d = sums[3];
        __asm__("sxtab %0, %0, %1" : "+r"(a) : "r"(word));
        __asm__("sxtab %0, %0, %1, ror #8" : "+r"(b) : "r"(word));
        __asm__("sxtab %0, %0, %1, ror #16" : "+r"(c) : "r"(word));
        __asm__("sxtab %0, %0, %1, ror #24" : "+r"(d) : "r"(word));
        sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
    }
#endif
#if EB_MVE
    __asm__ volatile("wlstp.32 lr, %2, 2f\n"
                     "1:\n"
                     "vldrb.s32 q0, [%1], #4\n"
                     "vldrw.u32 q1, [%0]\n"
                     "vadd.i32 q1, q1, q0\n"
                     "vstrw.32 q1, [%0], #16\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     : "+r"(sums), "+l"(x) /* loads that widen take low registers */
                     : "r"(count)
                     : "d0", "d1", "d2", "d3", "lr", "memory");
    count = 0;
#endif
    for (; count > 0; count--) *sums++ += *x++;
}

/* Means of windows. */
typedef struct {
    eb_window_t window;
    const eb_steps_t *finish; /* from a sum to a byte, by the number of values less 1 */
    int32_t in_height, row_stride, row_pad;
} eb_mean_t;

/* How many rows of step's window lie in the map. */
EB_STATIC int32_t eb_mean_rows(const eb_mean_t *layer, int32_t step) {
    int32_t top = step * layer->row_stride - layer->row_pad;
    int32_t end = top + layer->window.kernel_height;
    if (top < 0) top = 0;
    return (end > layer->in_height ? layer->in_height : end) - top;
}

/* eb_kernel; scratch holds a sum a channel. */
EB_STATIC void eb_mean(const void *parameters, const int8_t *const *rows,
                                            int8_t *out, void *scratch, int32_t step) {
    const eb_mean_t *layer = parameters;
    const eb_window_t *w = &layer->window;
    const int32_t height = eb_mean_rows(layer, step);
    int32_t *sums = scratch;
    for (int32_t x = 0; x < w->out_width; x++) {
        int32_t first;
        const int32_t columns = eb_pool_columns(w, x, &first);
        const int32_t count = height * columns;
        eb_fill((int8_t *)sums, 0, 4 * (uint32_t)w->channels);
        for (int32_t ky = 0; ky < w->kernel_height; ky++) {
            if (!rows[ky]) continue;
            const int8_t *at = rows[ky] + first * w->channels;
            for (int32_t kx = 0; kx < columns; kx++, at += w->channels)
                eb_pool_add(sums, at, w->channels);
        }
        for (int32_t c = 0; c < w->channels; c++)
            *out++ = (int8_t)eb_step_byte(&layer->finish[count - 1], sums[c]);
    }
}

/* Sums of a whole map, one row a step. */
typedef struct {
    int32_t width, channels;
} eb_sums_t;

/* eb_kernel that accumulates: int32 sums of each channel. */
EB_STATIC void eb_sums(const void *parameters, const int8_t *const *rows,
                                            int8_t *out, void *scratch, int32_t step) {
    const eb_sums_t *layer = parameters;
    int32_t *sums = (int32_t *)(void *)out;
    (void)scratch;
    if (step == 0) eb_fill(out, 0, 4 * (uint32_t)layer->channels);
    const int8_t *x = rows[0];
    for (int32_t i = 0; i < layer->width; i++, x += layer->channels)
        eb_pool_add(sums, x, layer->channels);
}

typedef struct {
    const eb_steps_t *finish;
    int32_t count; /* values of a row */
} eb_finish_t;

/* eb_kernel: bytes of int32 sums. */
EB_STATIC void eb_finish(const void *parameters, const int8_t *const *rows,
                                              int8_t *out, void *scratch, int32_t step) {
    const eb_finish_t *layer = parameters;
    const int32_t *sums = (const int32_t *)(const void *)rows[0];
    (void)scratch, (void)step;
    for (int32_t i = 0; i < layer->count; i++)
        out[i] = (int8_t)eb_step_byte(layer->finish, sums[i]);
}

#endif
