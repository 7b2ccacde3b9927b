/* Convolution and dense layers for cores with the DSP extension, a row at a time. */
#ifndef EB_CONV_DSP_H
#define EB_CONV_DSP_H

#include "eb_math.h"
#include "eb_window.h"
#include "pixels_dsp.h"

/* Lets nothing below `low` and above `high` remain. */
EB_SHARED void eb_dsp_limit(int8_t *bytes, uint32_t count, const eb_output *output) {
    const uint32_t low = (output->low & 0xffu) * 0x01010101u;
    const uint32_t high = (output->high & 0xffu) * 0x01010101u;
    for (; count >= 4; count -= 4, bytes += 4) {
        uint32_t word = *(eb_word *)(void *)bytes, rest;
        __asm__("ssub8 %1, %0, %2\n\tsel %0, %0, %2\n\tssub8 %1, %3, %0\n\tsel %0, %0, %3"
                : "+r"(word), "=&r"(rest)
                : "r"(low), "r"(high));
        *(eb_word *)(void *)bytes = word;
    }
    for (; count; count--, bytes++) *bytes = (int8_t)eb_limit(*bytes, output->low, output->high);
}

EB_STATIC inline void eb_dsp_limit_row(const eb_conv *conv, int8_t *out) {
    const eb_output *output = &conv->output;
    if (output->low == -128 && output->high == 127) return;
    eb_dsp_limit(out, (uint32_t)conv->out_width * conv->out_channels, output);
}

/* Code that the first round of a loop over words, four a round, leaves out. */
EB_STATIC inline uint32_t eb_dsp_skip(int32_t words, uint32_t bytes) {
    return ((0u - (uint32_t)words) & 3) * bytes;
}

/* Which code computes outputs of one pixel, and of two. */
typedef struct {
    eb_dsp_one_pixel *one;
    eb_dsp_two_pixels *two;
} eb_dsp_code;

/* Outputs of one pixel, or (NULL) of two that lie widened in the scratch memory: a multiple of
   four, for which the weights end at `end`. */
EB_STATIC inline void eb_dsp_four(const eb_conv *conv, const int8_t *pixel, int8_t *scratch,
                                  const int32_t *weights, const int32_t *end,
                                  const eb_line *lines, void *out, int32_t pitch,
                                  const eb_dsp_code code) {
    const int32_t words = conv->depth;
    const uint32_t fraction = conv->output.fraction;
    if (pixel) {
        code.one(pixel, weights, lines, out, end, pixel + 4 * words,
                 eb_dsp_skip(words, EB_ONE_WORD_BYTES), fraction);
    } else {
        const int32_t *pixels = (const int32_t *)(const void *)scratch;
        code.two(pixels, weights, lines, out, end, pixels + 4 * words,
                 eb_dsp_skip(words, EB_TWO_WORD_BYTES), pitch, fraction);
    }
}

/* All outputs of one pixel, or (NULL) of two that lie widened in the scratch memory. pitch: from the
   first one's output to the second's; with 0 the first one's remains. */
typedef void eb_dsp_pixels(const eb_conv *conv, const int8_t *pixel, int8_t *scratch, int8_t *out,
                           int32_t pitch);

/* The last outputs, less than four: filled up, and cut. */
EB_SHARED void eb_dsp_rest(const eb_conv *conv, const int8_t *pixel, int8_t *scratch,
                           int8_t *out, int32_t pitch) {
    const int32_t outputs = conv->out_channels, rest = outputs & 3, whole = outputs - rest;
    const int32_t *weights = (const int32_t *)conv->weights + whole * conv->depth;
    const eb_dsp_code code = {eb_dsp_one, eb_dsp_two};
    eb_line lines[4];
    int8_t bytes[8];
    eb_copy((int8_t *)lines, (const int8_t *)(conv->lines + whole), (uint32_t)rest * sizeof *lines);
    eb_dsp_four(conv, pixel, scratch, weights, weights + 4 * conv->depth, lines, bytes, 4, code);
    if (!pixel) eb_copy(out + pitch + whole, bytes + 4, (uint32_t)rest);
    eb_copy(out + whole, bytes, (uint32_t)rest);
}

/* By lines. */
EB_SHARED void eb_dsp_by_lines(const eb_conv *conv, const int8_t *pixel, int8_t *scratch,
                               int8_t *out, int32_t pitch) {
    const int32_t outputs = conv->out_channels, whole = outputs & ~3;
    const int32_t *weights = (const int32_t *)conv->weights;
    const int32_t *end = weights + whole * conv->depth;
    const eb_dsp_code code = {eb_dsp_one, eb_dsp_two};
    if (whole) eb_dsp_four(conv, pixel, scratch, weights, end, conv->lines, out, pitch, code);
    if (whole != outputs) eb_dsp_rest(conv, pixel, scratch, out, pitch);
}

/* Bytes of a kernel row, filled up to words. */
EB_STATIC inline int32_t eb_dsp_pitch(const eb_conv *conv) {
    return (conv->kernel_width * conv->in_channels + 3) & ~3;
}

/* Whether a window, with what its last word reads beyond it, lies inside of the map. */
EB_STATIC inline int32_t eb_dsp_inside(const eb_conv *conv, int32_t first) {
    const int32_t depth = conv->in_channels, end = conv->in_width * depth;
    if (conv->dilation != 1 && conv->kernel_width != 1) return 0;
    return first >= 0 && first * depth + eb_dsp_pitch(conv) <= end;
}

/* Widens the windows of output columns x and x + 1 into the scratch memory. Copies of windows lie
   in its second half, where what is still to be read stays ahead of what is written. */
EB_SHARED void eb_dsp_widen_windows(const eb_conv *conv, const int8_t *const *rows, int32_t x,
                                    int8_t *scratch) {
    const int32_t first = x * conv->stride - conv->pad, apart = conv->stride * conv->in_channels;
    const int32_t words = conv->depth, pitch = eb_dsp_pitch(conv);
    int32_t *to = (int32_t *)(void *)scratch;
    if (first < 0 || !eb_dsp_inside(conv, first + conv->stride)) {
        int8_t *copy = scratch + 12 * words;
        eb_gather_rows(conv, rows, x, copy, pitch);
        eb_gather_rows(conv, rows, x + 1, copy + 4 * words, pitch);
        eb_dsp_widen(to, copy, copy + 4 * words, words);
        return;
    }
    for (int32_t i = 0; i < conv->kernel_height; i++) {
        if (rows[i]) {
            const int8_t *one = rows[i] + first * conv->in_channels;
            to = eb_dsp_widen(to, one, one + apart, pitch / 4);
        } else {
            int8_t *outside = scratch + 16 * words;
            eb_fill(outside, conv->zero_point, (uint32_t)pitch);
            to = eb_dsp_widen(to, outside, outside, pitch / 4);
        }
    }
}

/* The last pixel of an odd width. */
EB_SHARED void eb_dsp_last(const eb_conv *conv, const int8_t *const *rows, int32_t x,
                           int8_t *scratch, int8_t *out, eb_dsp_pixels *pixels) {
    const int8_t *pixel = eb_pixel(conv, rows, x, out);
    if (!pixel || !eb_dsp_inside(conv, x * conv->stride)) {
        eb_gather_rows(conv, rows, x, scratch, eb_dsp_pitch(conv));
        pixel = scratch;
    }
    pixels(conv, pixel, scratch, out, 0);
}

EB_SHARED void eb_dsp_row(const eb_conv *conv, const int8_t *const *rows, int8_t *out,
                          int8_t *scratch, eb_dsp_pixels *pixels) {
    const int32_t width = conv->out_width;
    int8_t *at = out;
    int32_t x = 0;
    for (; x + 1 < width; x += 2, at += 2 * conv->out_channels) {
        eb_dsp_widen_windows(conv, rows, x, scratch);
        pixels(conv, 0, scratch, at, conv->out_channels);
    }
    if (x < width) eb_dsp_last(conv, rows, x, scratch, at, pixels);
    eb_dsp_limit_row(conv, out);
}

/* Weights: for every four outputs, and four inputs of a kernel row (filled up with zeros): for
   inputs 0 and 2, then for 1 and 3: the pair of halfwords of the first two outputs, then of the
   others. eb_conv.depth: words of input of a window. */
EB_STATIC void eb_conv_dsp(const void *layer, const int8_t *const *rows, int8_t *out,
                           void *scratch, int32_t step) {
    (void)step;
    eb_dsp_row((const eb_conv *)layer, rows, out, (int8_t *)scratch, eb_dsp_by_lines);
}

/* Dense on one vector whose length is a multiple of four; weights as above. */
EB_STATIC void eb_dense_dsp(const void *layer, const int8_t *const *rows, int8_t *out,
                            void *scratch, int32_t step) {
    const eb_conv *conv = (const eb_conv *)layer;
    (void)step;
    eb_dsp_by_lines(conv, rows[0], (int8_t *)scratch, out, 0);
    eb_dsp_limit_row(conv, out);
}

#endif
