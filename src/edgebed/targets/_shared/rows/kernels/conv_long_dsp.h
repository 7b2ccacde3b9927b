/* Convolution and dense layers for cores with the DSP extension with so many or so large weights
   that 256 times a sum may not fit 32 bits: the sums of parts of a window, added. */
#ifndef EB_CONV_LONG_DSP_H
#define EB_CONV_LONG_DSP_H

#include "conv_more_dsp.h"

/* Words of inputs of a part: no weights of a byte are too large for so few, and they leave room for
   sums behind. */
enum { EB_DSP_LONG = 63 };

/* Sums of up to four outputs, with their bias. */
EB_STATIC void eb_dsp_long_sums(const eb_conv *conv, const int8_t *pixel, int8_t *scratch,
                                const int32_t *weights, const eb_line *lines, int32_t count,
                                int32_t *sums) {
    const eb_dsp_code code = {eb_dsp_one_sums, eb_dsp_two_sums};
    const int32_t words = conv->depth, pixels = pixel ? 1 : 2;
    eb_conv part = *conv;
    int32_t some[8];
    eb_line none[4];
    eb_fill((int8_t *)some, 0, sizeof some);
    eb_fill((int8_t *)none, 0, sizeof none);
    for (int32_t i = 0; i < 8; i++) sums[i] = i < count * pixels ? lines[i / pixels].bias : 0;
    for (int32_t at = 0; at < words; at += EB_DSP_LONG, weights += 4 * EB_DSP_LONG) {
        part.depth = (uint16_t)eb_limit(words - at, 0, EB_DSP_LONG);
        eb_dsp_four(&part, pixel ? pixel + 4 * at : 0, scratch + 16 * at, weights,
                    weights + 4 * part.depth, none, some, 0, code);
        for (int32_t i = 0; i < 8; i++) sums[i] += some[i];
    }
}

EB_SHARED void eb_dsp_by_parts(const eb_conv *conv, const int8_t *pixel, int8_t *scratch,
                               int8_t *out, int32_t pitch) {
    const int32_t outputs = conv->out_channels;
    const int32_t *weights = (const int32_t *)conv->weights;
    for (int32_t o = 0; o < outputs; o += 4, weights += 4 * conv->depth) {
        const int32_t count = eb_limit(outputs - o, 0, 4);
        int32_t sums[8];
        eb_dsp_long_sums(conv, pixel, scratch, weights, conv->lines + o, count, sums);
        eb_dsp_by_rule(sums, conv->lines + o, &conv->output, count, pixel ? 1 : 2, out + o, pitch);
    }
}

/* As eb_conv_more_dsp, with any rule. */
EB_STATIC void eb_conv_long_dsp(const void *layer, const int8_t *const *rows, int8_t *out,
                                void *scratch, int32_t step) {
    (void)step;
    eb_dsp_more_row((const eb_conv *)layer, rows, out, (int8_t *)scratch, eb_dsp_by_parts);
}

#endif
