/* Convolution and dense layers for any core, with any of the requantisation rules. */
#ifndef EB_CONV_PORTABLE_H
#define EB_CONV_PORTABLE_H

#include "eb_math.h"
#include "eb_window.h"
#include "rules.h"

/* All outputs of one window of `depth` bytes. Two outputs share the loads of the window; the last
   one may be computed twice. */
#define EB_CONV_PIXEL(name, weight)                                                            \
    EB_STATIC void name(const eb_conv *conv, const int8_t *window, uint32_t depth, int8_t *out) { \
        const weight *weights = (const weight *)conv->weights;                                 \
        const int32_t outputs = conv->out_channels;                                            \
        for (int32_t o = 0; o < outputs; o += 2, weights += 2 * depth) {                       \
            const int32_t both = o + 1 < outputs;                                              \
            const weight *second = both ? weights + depth : weights;                           \
            const eb_line *line = conv->lines + o;                                             \
            int32_t sum = 0, other = 0;                                                        \
            for (uint32_t k = 0; k < depth; k++) {                                             \
                const int32_t value = window[k];                                               \
                sum += value * weights[k];                                                     \
                other += value * second[k];                                                    \
            }                                                                                  \
            out[o] = (int8_t)eb_requantize(sum + line->bias, line, &conv->output);             \
            if (!both) break;                                                                  \
            line++;                                                                            \
            out[o + 1] = (int8_t)eb_requantize(other + line->bias, line, &conv->output);       \
        }                                                                                      \
    }

typedef void eb_conv_pixel(const eb_conv *conv, const int8_t *window, uint32_t depth, int8_t *out);

EB_STATIC void eb_conv_row(const eb_conv *conv, const int8_t *const *rows, int8_t *out,
                           int8_t *scratch, eb_conv_pixel *pixel) {
    const uint32_t depth = (uint32_t)conv->kernel_height * conv->kernel_width * conv->in_channels;
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
EB_CONV_PIXEL(eb_conv_pixel_bytes, int8_t)

EB_STATIC void eb_conv_portable(const void *layer, const int8_t *const *rows, int8_t *out,
                                void *scratch, int32_t step) {
    (void)step;
    eb_conv_row((const eb_conv *)layer, rows, out, (int8_t *)scratch, eb_conv_pixel_bytes);
}

/* Weights int16: unsigned bytes less their zero point. */
EB_CONV_PIXEL(eb_conv_pixel_wide, int16_t)

EB_STATIC void eb_conv_portable_wide(const void *layer, const int8_t *const *rows, int8_t *out,
                                     void *scratch, int32_t step) {
    (void)step;
    eb_conv_row((const eb_conv *)layer, rows, out, (int8_t *)scratch, eb_conv_pixel_wide);
}

#endif
