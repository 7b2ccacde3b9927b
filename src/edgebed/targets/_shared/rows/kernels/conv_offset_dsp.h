/* Convolution and dense layers for cores with the DSP extension with weights beyond a byte: unsigned
   bytes less their zero point. They are a byte plus an offset that all have in common, so what is
   added is the offset times the sum of the window's inputs; that sum stands, in parts, behind the
   inputs. */
#ifndef EB_CONV_OFFSET_DSP_H
#define EB_CONV_OFFSET_DSP_H

#include "conv_dsp.h"
#include "conv_rules_dsp.h"

/* Words of inputs, four each, whose sum fits 16 bits. */
enum { EB_DSP_PART = 63 };

/* Puts the sums of parts of two widened windows of `words` words behind them, filled up with zeros
   to `all` words. */
EB_SHARED void eb_dsp_add_sums(int32_t *pixels, int32_t words, int32_t all) {
    const int32_t *at = pixels;
    int16_t *to = (int16_t *)(void *)(pixels + 4 * words);
    const int32_t ones = 0x00010001;
    for (int32_t word = words; word < all; word++, to += 8) {
        for (int32_t slot = 0; slot < 4; slot++) {
            int32_t first = 0, second = 0;
            for (int32_t i = eb_limit(words, 0, EB_DSP_PART); i; i--, words--, at += 4) {
                __asm__("smlad %0, %1, %2, %0" : "+r"(first) : "r"(at[0]), "r"(ones));
                __asm__("smlad %0, %1, %2, %0" : "+r"(second) : "r"(at[1]), "r"(ones));
                __asm__("smlad %0, %1, %2, %0" : "+r"(first) : "r"(at[2]), "r"(ones));
                __asm__("smlad %0, %1, %2, %0" : "+r"(second) : "r"(at[3]), "r"(ones));
            }
            to[(slot & 1) * 4 + slot / 2] = (int16_t)first;
            to[(slot & 1) * 4 + slot / 2 + 2] = (int16_t)second;
        }
    }
}

EB_STATIC void eb_dsp_offset_row(const eb_conv *conv, const int8_t *const *rows, int8_t *out,
                                 int8_t *scratch, eb_dsp_pixels *pixels) {
    const int32_t words = conv->kernel_height * (eb_dsp_pitch(conv) / 4), width = conv->out_width;
    int8_t *at = out;
    for (int32_t x = 0; x < width; x += 2, at += 2 * conv->out_channels) {
        /* The last of an odd number has a neighbour whose outputs are not kept. */
        eb_dsp_widen_windows(conv, rows, x, scratch);
        eb_dsp_add_sums((int32_t *)(void *)scratch, words, conv->depth);
        pixels(conv, 0, scratch, at, x + 1 < width ? conv->out_channels : 0);
    }
    eb_dsp_limit_row(conv, out);
}

/* Weights as those of eb_conv_dsp, less the offset; and the offset for each of the inputs behind. */
EB_STATIC void eb_conv_offset_dsp(const void *layer, const int8_t *const *rows, int8_t *out,
                                  void *scratch, int32_t step) {
    (void)step;
    eb_dsp_offset_row((const eb_conv *)layer, rows, out, (int8_t *)scratch, eb_dsp_by_lines);
}

/* The same, with any rule. */
EB_STATIC void eb_conv_rules_offset_dsp(const void *layer, const int8_t *const *rows, int8_t *out,
                                        void *scratch, int32_t step) {
    (void)step;
    eb_dsp_offset_row((const eb_conv *)layer, rows, out, (int8_t *)scratch, eb_dsp_pixels_by_rules);
}

#endif
