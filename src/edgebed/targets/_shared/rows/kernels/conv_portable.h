/* Convolution and dense layers for any core, with any of the requantisation rules. */
#ifndef EB_CONV_PORTABLE_H
#define EB_CONV_PORTABLE_H

#include "eb_byte.h"
#include "eb_math.h"
#include "eb_window.h"

/* Keeps a loop rolled on cores with eight registers, where more would not fit, and on those whose own
   kernels leave it only the smallest layers. */
#if (defined(__thumb__) && !defined(__thumb2__)) || EB_DSP
#define EB_ROLLED(counter) EB_HIDE(counter)
#else
#define EB_ROLLED(counter)
#endif

/* The sums of a window with the weights of two outputs, which share the loads of the window. */
#define EB_CONV_DOT(name, weight)                                                               \
    EB_STATIC __attribute__((noinline)) int32_t name(const int8_t *window, const weight *first, \
                                                     const weight *second, int32_t depth,       \
                                                     int32_t *other) {                          \
        int32_t sum = 0, more = 0;                                                              \
        window += depth, first += depth, second += depth;                                       \
        for (int32_t k = -depth; k; k++) {                                                      \
            const int32_t value = window[k];                                                    \
            sum += value * first[k];                                                            \
            more += value * second[k];                                                          \
            EB_ROLLED(k);                                                                       \
        }                                                                                       \
        *other = more;                                                                          \
        return sum;                                                                             \
    }

/* All outputs of one window of `depth` bytes; the last one may be computed twice. */
#define EB_CONV_PIXEL(name, weight, dot)                                                        \
    EB_CONV_DOT(dot, weight)                                                                    \
    EB_STATIC void name(const eb_conv *conv, const int8_t *window, int32_t depth, int8_t *out) {\
        const weight *weights = (const weight *)conv->weights;                                  \
        const int32_t outputs = conv->out_channels;                                             \
        const eb_line *line = conv->lines;                                                      \
        for (int32_t o = 0; o < outputs; o += 2, weights += 2 * depth, line += 2) {             \
            const int32_t both = o + 1 < outputs;                                               \
            int32_t other;                                                                      \
            const int32_t sum = dot(window, weights, both ? weights + depth : weights, depth,   \
                                    &other);                                                    \
            out[o] = eb_byte(sum + line[0].bias, line, &conv->output);                          \
            if (!both) break;                                                                   \
            out[o + 1] = eb_byte(other + line[1].bias, line + 1, &conv->output);                \
        }                                                                                       \
    }

typedef void eb_conv_pixel(const eb_conv *conv, const int8_t *window, int32_t depth, int8_t *out);

EB_STATIC void eb_conv_row(const eb_conv *conv, const int8_t *const *rows, int8_t *out,
                           int8_t *scratch, eb_conv_pixel *pixel) {
    const int32_t depth = conv->kernel_height * conv->kernel_width * conv->in_channels;
    for (int32_t x = 0; x < conv->out_width; x++, out += conv->out_channels) {
        const int8_t *window = eb_pixel(conv, rows, x, out);
        if (!window) {
            eb_gather(conv, rows, x, scratch);
            window = scratch;
        }
        pixel(conv, window, depth, out);
    }
}

/* Weights int8, out_channels x kernel_height x kernel_width x in_channels. */
EB_CONV_PIXEL(eb_conv_pixel_bytes, int8_t, eb_conv_dot_bytes)

EB_STATIC void eb_conv_portable(const void *layer, const int8_t *const *rows, int8_t *out,
                                void *scratch, int32_t step) {
    (void)step;
    eb_conv_row((const eb_conv *)layer, rows, out, (int8_t *)scratch, eb_conv_pixel_bytes);
}

/* Weights int16: unsigned bytes less their zero point. */
EB_CONV_PIXEL(eb_conv_pixel_wide, int16_t, eb_conv_dot_wide)

EB_STATIC void eb_conv_portable_wide(const void *layer, const int8_t *const *rows, int8_t *out,
                                     void *scratch, int32_t step) {
    (void)step;
    eb_conv_row((const eb_conv *)layer, rows, out, (int8_t *)scratch, eb_conv_pixel_wide);
}

#endif
