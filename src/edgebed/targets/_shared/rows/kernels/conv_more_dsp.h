/* Convolution and dense layers for cores with the DSP extension whose weights do not fit pairs of
   outputs in a halfword as they are. Inputs behind the window make up for what is missing:

   - Weights beyond a byte, unsigned ones less their zero point, are a byte plus an offset that all
     have in common. What is missing is the offset times the sum of the window's inputs; that sum
     stands, in parts, behind the inputs.
   - 256 * w[o] + w[o + 1] overflows where w[o] is -128 and w[o + 1] is negative: quantisers that use
     the full range write a few such weights. There w[o] is -127 instead, and a copy of the input,
     with the weight -1, stands behind. */
#ifndef EB_CONV_MORE_DSP_H
#define EB_CONV_MORE_DSP_H

#include "conv_dsp.h"
#include "conv_rules_dsp.h"

/* Words of inputs, four each, whose sum fits 16 bits. */
enum { EB_DSP_PART = 63 };

/* What stands behind a window: words of sums, and copies of these bytes of it, a multiple of four. */
typedef struct {
    uint16_t sums, copies, from[];
} eb_dsp_more;

EB_STATIC inline const eb_dsp_more *eb_dsp_more_of(const eb_conv *conv) {
    const int32_t outputs = (conv->out_channels + 3) & ~3;
    return (const eb_dsp_more *)(const void *)((const int32_t *)conv->weights +
                                               outputs * conv->depth);
}

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

/* Where a byte of the first of two windows lies when they are widened, in halfwords. */
EB_STATIC inline uint32_t eb_dsp_widened(uint32_t byte) {
    return (byte & ~3u) * 2 + (byte & 1) * 4 + (byte >> 1 & 1);
}

/* Copies inputs of two widened windows to `to`, behind them. */
EB_STATIC void eb_dsp_add_copies(const int16_t *pixels, const eb_dsp_more *more, int16_t *to) {
    for (uint32_t i = 0; i < more->copies; i++) {
        const int16_t *from = pixels + eb_dsp_widened(more->from[i]);
        int16_t *at = to + eb_dsp_widened(i);
        at[0] = from[0];
        at[2] = from[2];
    }
}

EB_SHARED void eb_dsp_more_row(const eb_conv *conv, const int8_t *const *rows, int8_t *out,
                               int8_t *scratch, eb_dsp_pixels *pixels) {
    const eb_dsp_more *more = eb_dsp_more_of(conv);
    const int32_t pitch = eb_dsp_pitch(conv), words = conv->kernel_height * (pitch / 4);
    const int32_t width = conv->out_width, all = words + more->sums;
    int32_t *wide = (int32_t *)(void *)scratch;
    int8_t *at = out;
    for (int32_t x = 0; x < width; x += 2, at += 2 * conv->out_channels) {
        const int32_t both = x + 1 < width;
        if (!both && !more->sums) {
            eb_gather_rows(conv, rows, x, scratch, pitch);
            for (int32_t i = 0; i < more->copies; i++)
                scratch[4 * words + i] = scratch[more->from[i]];
            pixels(conv, scratch, scratch, at, 0);
            break;
        }
        /* The last of an odd number has a neighbour whose outputs are not kept. */
        eb_dsp_widen_windows(conv, rows, x, scratch);
        eb_dsp_add_sums(wide, words, all);
        eb_dsp_add_copies((const int16_t *)(void *)wide, more, (int16_t *)(void *)(wide + 4 * all));
        pixels(conv, 0, scratch, at, both ? conv->out_channels : 0);
    }
    eb_dsp_limit_row(conv, out);
}

/* Weights as those of eb_conv_dsp, also for the inputs behind; and then an eb_dsp_more. */
EB_STATIC void eb_conv_more_dsp(const void *layer, const int8_t *const *rows, int8_t *out,
                                void *scratch, int32_t step) {
    (void)step;
    eb_dsp_more_row((const eb_conv *)layer, rows, out, (int8_t *)scratch, eb_dsp_by_lines);
}

/* The same, with any rule. */
EB_STATIC void eb_conv_rules_more_dsp(const void *layer, const int8_t *const *rows, int8_t *out,
                                      void *scratch, int32_t step) {
    (void)step;
    eb_dsp_more_row((const eb_conv *)layer, rows, out, (int8_t *)scratch, eb_dsp_pixels_by_rules);
}

#endif
