/* Depthwise convolution for any core, with any of the requantisation rules. */
#ifndef EB_DEPTHWISE_PORTABLE_H
#define EB_DEPTHWISE_PORTABLE_H

#include "eb_byte.h"
#include "eb_math.h"
#include "eb_window.h"

/* All outputs of one window of `taps` pixels. eb_conv.depth: outputs of one input channel. */
#define EB_DEPTHWISE_PIXEL(name, weight)                                                        \
    EB_STATIC void name(const eb_conv *conv, const int8_t *window, uint32_t taps, int8_t *out) {\
        const weight *weights = (const weight *)conv->weights;                                  \
        const eb_line *line = conv->lines;                                                      \
        const int32_t channels = conv->in_channels;                                             \
        for (const int8_t *end = window + channels; window != end; window++) {                  \
            for (uint32_t copy = conv->depth; copy; copy--, line++) {                           \
                const int8_t *value = window;                                                   \
                int32_t sum = line->bias;                                                       \
                for (const weight *last = weights + taps; weights != last;) {                   \
                    sum += *value * *weights++;                                                 \
                    value += channels;                                                          \
                }                                                                               \
                *out++ = eb_byte(sum, line, &conv->output);                                     \
            }                                                                                   \
        }                                                                                       \
    }

typedef void eb_depthwise_pixel(const eb_conv *conv, const int8_t *window, uint32_t taps,
                                int8_t *out);

EB_STATIC void eb_depthwise_row(const eb_conv *conv, const int8_t *const *rows, int8_t *out,
                                int8_t *scratch, eb_depthwise_pixel *pixel) {
    const uint32_t taps = (uint32_t)conv->kernel_height * conv->kernel_width;
    for (int32_t x = 0; x < conv->out_width; x++, out += conv->out_channels) {
        eb_gather(conv, rows, x, scratch);
        pixel(conv, scratch, taps, out);
    }
}

/* Weights int8, out_channels x kernel_height x kernel_width. */
EB_DEPTHWISE_PIXEL(eb_depthwise_pixel_bytes, int8_t)

EB_STATIC void eb_depthwise_portable(const void *layer, const int8_t *const *rows, int8_t *out,
                                     void *scratch, int32_t step) {
    (void)step;
    eb_depthwise_row((const eb_conv *)layer, rows, out, (int8_t *)scratch,
                     eb_depthwise_pixel_bytes);
}

/* Weights int16: unsigned bytes less their zero point. */
EB_DEPTHWISE_PIXEL(eb_depthwise_pixel_wide, int16_t)

EB_STATIC void eb_depthwise_portable_wide(const void *layer, const int8_t *const *rows,
                                          int8_t *out, void *scratch, int32_t step) {
    (void)step;
    eb_depthwise_row((const eb_conv *)layer, rows, out, (int8_t *)scratch,
                     eb_depthwise_pixel_wide);
}

#endif
