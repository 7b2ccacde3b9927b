/* Convolution for cores with the DSP extension with weights beyond a byte (unsigned bytes less their
   zero point): the sum of two sets, for which every kernel row is there twice. */
#ifndef EB_CONV_TWICE_DSP_H
#define EB_CONV_TWICE_DSP_H

#include "conv_dsp.h"
#include "conv_rules_dsp.h"

enum { EB_DSP_TWICE_ROWS = 8 };

EB_STATIC void eb_dsp_twice(const void *layer, const int8_t *const *rows, int8_t *out,
                            void *scratch, eb_dsp_pixels *pixels) {
    eb_conv conv = *(const eb_conv *)layer;
    const int8_t *again[2 * EB_DSP_TWICE_ROWS];
    const int32_t height = conv.kernel_height;
    for (int32_t i = 0; i < height; i++) again[i] = again[height + i] = rows[i];
    conv.kernel_height = (uint8_t)(2 * height);
    eb_dsp_row(&conv, again, out, (int8_t *)scratch, pixels);
}

/* As eb_conv_dsp, with 2 * kernel_height rows of weights, for at most eight rows. */
EB_STATIC void eb_conv_twice_dsp(const void *layer, const int8_t *const *rows, int8_t *out,
                                 void *scratch, int32_t step) {
    (void)step;
    eb_dsp_twice(layer, rows, out, scratch, eb_dsp_by_lines);
}

/* The same, with any rule. */
EB_STATIC void eb_conv_rules_twice_dsp(const void *layer, const int8_t *const *rows, int8_t *out,
                                       void *scratch, int32_t step) {
    (void)step;
    eb_dsp_twice(layer, rows, out, scratch, eb_dsp_pixels_by_rules);
}

#endif
