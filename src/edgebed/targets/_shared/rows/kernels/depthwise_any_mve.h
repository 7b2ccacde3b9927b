/* Depthwise convolution with Helium for what depthwise_mve.h does not do: windows beyond 4 x 4,
   several outputs of one input channel, fewer than four channels.

   Lanes are four outputs. A tap takes 6 instructions for 4 products, a gather of four bytes among
   them: about 12 cycles with two beats a cycle. */
#ifndef EB_DEPTHWISE_ANY_MVE_H
#define EB_DEPTHWISE_ANY_MVE_H

#include "conv_mve.h"

/* sums += window * weights. The window's taps are `step` bytes apart, the weights four of them;
   `offsets` say where the four lanes' bytes lie. Loads that widen take low registers. */
#define EB_MVE_TAP_SUMS(load)                                                                     \
    __asm__ volatile("vldrw.u32 q3, [%4]\n"                                                       \
                     "vldrw.u32 q0, [%5]\n"                                                       \
                     "dls lr, %2\n"                                                               \
                     "1:\n"                                                                       \
                     "vldrb.s32 q1, [%0, q3]\n"                                                   \
                     "add %0, %0, %3\n" load                                                      \
                     "vmul.i32 q1, q1, q2\n"                                                      \
                     "vadd.i32 q0, q0, q1\n"                                                      \
                     "le lr, 1b\n"                                                                \
                     "vstrw.32 q0, [%5]\n"                                                        \
                     : "+r"(window), "+l"(weights)                                                \
                     : "r"(taps), "r"(step), "r"(offsets), "r"(sums)                              \
                     : "d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7", "lr", "memory")

static inline void eb_mve_tap_sums(const int8_t *window, const int8_t *weights, uint32_t taps,
                                   int32_t step, const uint32_t *offsets, int32_t *sums)
{
    EB_MVE_TAP_SUMS("vldrb.s32 q2, [%1], #4\n");
}

static inline void eb_mve_tap_sums_wide(const int8_t *window, const int8_t *weights, uint32_t taps,
                                        int32_t step, const uint32_t *offsets, int32_t *sums)
{
    EB_MVE_TAP_SUMS("vldrh.s32 q2, [%1], #8\n");
}

/* Bytes of four sums by the line. */
static inline void eb_mve_four_lines(const int32_t *sums, const eb_line *lines,
                                     const eb_output *output, int8_t *out)
{
    static const uint32_t apart[4] = {0, 12, 24, 36};
    int32_t low = output->low, high = output->high, shift = -(int32_t)output->fraction;
    __asm__ volatile("vldrw.u32 q0, [%1]\n"
                     "vldrw.u32 q3, [%2]\n"
                     "vldrw.u32 q1, [%3, q3]\n"
                     "vldrw.u32 q2, [%4, q3]\n"
                     "vmulh.s32 q0, q0, q1\n"
                     "vdup.32 q1, %6\n"
                     "vadd.i32 q0, q0, q2\n"
                     "vdup.32 q2, %7\n"
                     "vshl.s32 q0, %5\n"
                     "vmax.s32 q0, q0, q1\n"
                     "vmin.s32 q0, q0, q2\n"
                     "vstrb.32 q0, [%0]\n"
                     :
                     : "l"(out), "r"(sums), "r"(apart), "r"(&lines->multiplier), "r"(&lines->c),
                       "r"(shift), "r"(low), "r"(high)
                     : "d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7", "memory");
}

/* Four outputs of a window, the first of which is `first`. wide: whether weights are halfwords. */
EB_STATIC void eb_mve_four_outputs(const eb_conv *conv, const int8_t *window,
                                   const int8_t *weights, const eb_line *lines, uint32_t first,
                                   int8_t *out, int32_t wide)
{
    uint32_t taps = (uint32_t)conv->kernel_height * conv->kernel_width, offsets[4];
    int32_t sums[4];
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t channel = (first + i) / conv->depth;
        offsets[i] = channel < conv->in_channels ? channel : 0;
        sums[i] = lines[i].bias;
    }
    if (wide)
        eb_mve_tap_sums_wide(window, weights, taps, conv->in_channels, offsets, sums);
    else
        eb_mve_tap_sums(window, weights, taps, conv->in_channels, offsets, sums);
    if (conv->output.rule == 0) {
        eb_mve_four_lines(sums, lines, &conv->output, out);
        return;
    }
    for (int32_t i = 0; i < 4; i++)
        out[i] = (int8_t)eb_requantize(sums[i], &lines[i], &conv->output);
}

/* All outputs of a window. What is no multiple of four ends with four that overlap the ones
   before; where there are fewer than four, the rest is left out. */
EB_STATIC void eb_mve_all_outputs(const eb_conv *conv, const int8_t *window, int8_t *out,
                                  int32_t wide)
{
    uint32_t outputs = conv->out_channels, first = 0;
    uint32_t group = (4u << wide) * conv->kernel_height * conv->kernel_width;
    const int8_t *weights = conv->weights;
    if (outputs >= 4) {
        for (; first < outputs; first += 4, weights += group) {
            uint32_t from = first + 4 <= outputs ? first : outputs - 4;
            eb_mve_four_outputs(conv, window, weights, conv->lines + from, from, out + from, wide);
        }
        return;
    }
    eb_line lines[4];
    int8_t four[4];
    for (uint32_t i = 0; i < 4; i++)
        lines[i] = conv->lines[i < outputs ? i : 0];
    eb_mve_four_outputs(conv, window, weights, lines, 0, four, wide);
    for (uint32_t i = 0; i < outputs; i++)
        out[i] = four[i];
}

static inline void eb_mve_windows(const eb_conv *conv, const int8_t *const *rows, int8_t *out,
                                  void *scratch, int32_t wide)
{
    eb_mve_absent(conv, rows, scratch, 0, 1);
    for (int32_t x = 0; x < conv->out_width; x++, out += conv->out_channels) {
        eb_mve_collect(conv, rows, x, 1, scratch, 0);
        eb_mve_all_outputs(conv, scratch, out, wide);
    }
}

/* depth: outputs of one input channel. Scratch: one window. */
EB_STATIC void eb_depthwise_any_mve(const void *layer, const int8_t *const *rows, int8_t *out,
                                    void *scratch, int32_t step)
{
    (void)step;
    eb_mve_windows(layer, rows, out, scratch, 0);
}

/* The same for weights that are halfwords. */
EB_STATIC void eb_depthwise_any_wide_mve(const void *layer, const int8_t *const *rows,
                                         int8_t *out, void *scratch, int32_t step)
{
    (void)step;
    eb_mve_windows(layer, rows, out, scratch, 1);
}

#endif
