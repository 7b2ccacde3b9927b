/* Depthwise convolution for cores with the DSP extension: four channels at a time, two taps a
   product. A table of pointers says where each tap's pixel lies, so that pixels outside of the map
   and dilated windows cost nothing more. */
#ifndef EB_DEPTHWISE_DSP_H
#define EB_DEPTHWISE_DSP_H

#include "conv_dsp.h"

/* Four channels of one window. The sums are in r3 to r6, r1 is the channel's offset from the
   pointers in the table, r2 points to weights. */

/* Two taps: r7 and r8 point to them. */
#define EB_TAPS_LOAD                        \
    "ldr r7, [r7, r1]\n"                    \
    "ldr r8, [r8, r1]\n"                    \
    "pkhbt r9, r7, r8, lsl #16\n"           \
    "pkhtb r8, r8, r7, asr #16\n"           \
    "ldmia.w r2!, {r7, r10, r11, r12}\n"

#define EB_TAPS_FIRST                       \
    EB_TAPS_LOAD                            \
    "sxtb16 lr, r9\n"                       \
    "smuad r3, lr, r7\n"                    \
    "sxtb16 r9, r9, ror #8\n"               \
    "smuad r4, r9, r10\n"                   \
    "sxtb16 lr, r8\n"                       \
    "smuad r5, lr, r11\n"                   \
    "sxtb16 r8, r8, ror #8\n"               \
    "smuad r6, r8, r12\n"

#define EB_TAPS_NEXT                        \
    EB_TAPS_LOAD                            \
    "sxtb16 lr, r9\n"                       \
    "smlad r3, lr, r7, r3\n"                \
    "sxtb16 r9, r9, ror #8\n"               \
    "smlad r4, r9, r10, r4\n"               \
    "sxtb16 lr, r8\n"                       \
    "smlad r5, lr, r11, r5\n"               \
    "sxtb16 r8, r8, ror #8\n"               \
    "smlad r6, r8, r12, r6\n"

#define EB_TAPS_REQUANTIZE(sum)             \
    "ldmia r7!, {r9, r10, r11}\n"           \
    "add " sum ", " sum ", r9\n"            \
    "smmla " sum ", " sum ", r10, r11\n"

/* sp: r4 to r11, lr; 36: table, offset, weights, lines, out, end, fraction, table_end; 68: pixels,
   apart, channels */
#define EB_TAPS_FINISH                      \
    "ldrd r7, r8, [sp, #48]\n"              \
    EB_TAPS_REQUANTIZE("r3")                \
    EB_TAPS_REQUANTIZE("r4")                \
    EB_TAPS_REQUANTIZE("r5")                \
    EB_TAPS_REQUANTIZE("r6")                \
    "ldrd r9, r10, [sp, #56]\n"             \
    "asr r3, r3, r10\n"                     \
    "asr r4, r4, r10\n"                     \
    "asr r5, r5, r10\n"                     \
    "asr r6, r6, r10\n"                     \
    "ssat r3, #8, r3\n"                     \
    "ssat r4, #8, r4\n"                     \
    "ssat r5, #8, r5\n"                     \
    "ssat r6, #8, r6\n"                     \
    "strb r3, [r8], #1\n"                   \
    "strb r4, [r8], #1\n"                   \
    "strb r5, [r8], #1\n"                   \
    "strb r6, [r8], #1\n"                   \
    "strd r7, r8, [sp, #48]\n"              \
    "add r1, r1, #4\n"                      \
    "cmp r1, r9\n"

#define EB_TAPS_ENTER                       \
    ".syntax unified\n"                     \
    "push {r0-r3}\n"                        \
    "push {r4-r11, lr}\n"

/* On to the next pixel, or return. r7 to r9: lines, out, end. */
#define EB_TAPS_LEAVE                       \
    "ldr r3, [sp, #68]\n"                   \
    "subs r3, r3, #1\n"                     \
    "beq 3f\n"                              \
    "str r3, [sp, #68]\n"                   \
    "ldrd r4, r2, [sp, #40]\n"              \
    "ldrd r5, r6, [sp, #72]\n"              \
    "sub r3, r9, r4\n"                      \
    "add r1, r4, r5\n"                      \
    "str r1, [sp, #40]\n"                   \
    "add r9, r9, r5\n"                      \
    "str r9, [sp, #56]\n"                   \
    "sub r8, r8, r3\n"                      \
    "add r8, r8, r6\n"                      \
    "add r3, r3, r3, lsl #1\n"              \
    "sub r7, r7, r3, lsl #2\n"              \
    "strd r7, r8, [sp, #48]\n"              \
    "b.w 1b\n"                              \
    "3:\n" EB_TAPS_RETURN

#define EB_TAPS_RETURN                      \
    "pop {r4-r11, lr}\n"                    \
    "add sp, sp, #16\n"                     \
    "bx lr\n"

/* Channels from `offset` to `end`, a multiple of four, of so many windows. They lie `apart` bytes
   one from the other, their outputs `channels` bytes. */
typedef void eb_dsp_taps(const int8_t *const *table, int32_t offset, const int32_t *weights,
                         const eb_line *lines, int8_t *out, int32_t end, uint32_t fraction,
                         const int8_t *const *table_end, int32_t pixels, int32_t apart,
                         int32_t channels);

/* Nine taps. */
EB_NAKED void eb_dsp_nine(const int8_t *const *table EB_UNUSED, int32_t offset EB_UNUSED,
                          const int32_t *weights EB_UNUSED, const eb_line *lines EB_UNUSED,
                          int8_t *out EB_UNUSED, int32_t end EB_UNUSED,
                          uint32_t fraction EB_UNUSED,
                          const int8_t *const *table_end EB_UNUSED, int32_t pixels EB_UNUSED,
                          int32_t apart EB_UNUSED, int32_t channels EB_UNUSED) {
    __asm__(EB_TAPS_ENTER
            "1:\n"
            "ldrd r7, r8, [r0]\n" EB_TAPS_FIRST
            "ldrd r7, r8, [r0, #8]\n" EB_TAPS_NEXT
            "ldrd r7, r8, [r0, #16]\n" EB_TAPS_NEXT
            "ldrd r7, r8, [r0, #24]\n" EB_TAPS_NEXT
            "ldr r7, [r0, #32]\n"
            "ldr r7, [r7, r1]\n"
            "ldrd r10, r11, [r2], #8\n"
            "sxtb16 r8, r7\n"
            "sxtb16 r9, r7, ror #8\n"
            "smlabb r3, r8, r10, r3\n"
            "smlabb r4, r9, r11, r4\n"
            "smlatt r5, r8, r10, r5\n"
            "smlatt r6, r9, r11, r6\n"
            EB_TAPS_FINISH
            "bne.w 1b\n"
            EB_TAPS_LEAVE);
}

#define EB_TAPS_LOOP                        \
    "1:\n"                                  \
    "ldr r0, [sp, #36]\n"                   \
    "mov r3, #0\n"                          \
    "mov r4, #0\n"                          \
    "mov r5, #0\n"                          \
    "mov r6, #0\n"                          \
    "2:\n"                                  \
    "ldrd r7, r8, [r0], #8\n" EB_TAPS_NEXT  \
    "ldr r7, [sp, #64]\n"                   \
    "cmp r0, r7\n"                          \
    "bne 2b\n"

/* Any number of taps; an odd one is followed by one whose weights are 0. */
EB_NAKED void eb_dsp_any(const int8_t *const *table EB_UNUSED, int32_t offset EB_UNUSED,
                         const int32_t *weights EB_UNUSED, const eb_line *lines EB_UNUSED,
                         int8_t *out EB_UNUSED, int32_t end EB_UNUSED, uint32_t fraction EB_UNUSED,
                         const int8_t *const *table_end EB_UNUSED, int32_t pixels EB_UNUSED,
                         int32_t apart EB_UNUSED, int32_t channels EB_UNUSED) {
    __asm__(EB_TAPS_ENTER
            EB_TAPS_LOOP
            EB_TAPS_FINISH
            "bne.w 1b\n"
            EB_TAPS_LEAVE);
}

/* Points to the pixels of the window whose first column is `first`; all are `outside` where the
   map ends. */
EB_SHARED void eb_dsp_point(const eb_conv *conv, const int8_t *const *rows, int32_t first,
                            const int8_t **table, const int8_t *outside) {
    for (int32_t i = 0; i < conv->kernel_height; i++) {
        int32_t column = first;
        for (int32_t j = 0; j < conv->kernel_width; j++, column += conv->dilation) {
            const int32_t inside = rows[i] && column >= 0 && column < conv->in_width;
            *table++ = inside ? rows[i] + column * conv->in_channels : outside;
            EB_HIDE(j);
        }
    }
    *table = outside;
}

/* All channels of windows that share a table; the last four overlap others where their number is
   no multiple. */
EB_SHARED void eb_dsp_channels(const eb_conv *conv, const int8_t *const *table, int32_t pixels,
                               int8_t *out, eb_dsp_taps *taps) {
    const int32_t channels = conv->in_channels, whole = channels & ~3, last = channels - 4;
    const int32_t apart = conv->stride * channels;
    const int32_t *weights = (const int32_t *)conv->weights;
    const int8_t *const *end = table + ((conv->kernel_height * conv->kernel_width + 1) & ~1);
    const uint32_t fraction = conv->output.fraction;
    taps(table, 0, weights, conv->lines, out, whole, fraction, end, pixels, apart, channels);
    if (whole == channels) return;
    weights += (whole / 4) * conv->depth;
    taps(table, last, weights, conv->lines + last, out + last, channels, fraction, end, pixels,
         apart, channels);
}

/* How many windows from the one at column `first` on lie inside of the map, at most `most`. */
EB_STATIC inline int32_t eb_dsp_windows(const eb_conv *conv, int32_t first, int32_t most) {
    const int32_t room = conv->in_width - 1 - (conv->kernel_width - 1) * conv->dilation - first;
    if (first < 0 || room < 0) return 0;
    const int32_t count = room / conv->stride + 1;
    return count < most ? count : most;
}

EB_SHARED void eb_dsp_depthwise(const eb_conv *conv, const int8_t *const *rows, int8_t *out,
                                void *scratch, eb_dsp_taps *taps) {
    const int8_t **table = (const int8_t **)scratch;
    int8_t *outside = (int8_t *)(table + conv->kernel_height * conv->kernel_width + 1), *at = out;
    int32_t present = 1, count;
    for (int32_t i = 0; i < conv->kernel_height; i++) {
        present &= rows[i] != 0;
        EB_HIDE(i);
    }
    eb_fill(outside, conv->zero_point, conv->in_channels);
    for (int32_t x = 0; x < conv->out_width; x += count, at += count * conv->in_channels) {
        const int32_t first = x * conv->stride - conv->pad;
        count = present ? eb_dsp_windows(conv, first, conv->out_width - x) : 0;
        if (!count) count = 1;
        eb_dsp_point(conv, rows, first, table, outside);
        eb_dsp_channels(conv, table, count, at, taps);
    }
    eb_dsp_limit_row(conv, out);
}

/* 3x3. Weights int16, for every four channels, for taps 0 and 1, 2 and 3, 4 and 5, 6 and 7: pairs
   of each channel; then of tap 8: channels 0, 2, 1, 3. eb_conv.depth: words of four channels. */
EB_STATIC void eb_depthwise_nine_dsp(const void *layer, const int8_t *const *rows, int8_t *out,
                                     void *scratch, int32_t step) {
    (void)step;
    eb_dsp_depthwise((const eb_conv *)layer, rows, out, scratch, eb_dsp_nine);
}

/* Any kernel. Weights int16, for every four channels, for every two taps: pairs of each channel. */
EB_STATIC void eb_depthwise_dsp(const void *layer, const int8_t *const *rows, int8_t *out,
                                void *scratch, int32_t step) {
    (void)step;
    eb_dsp_depthwise((const eb_conv *)layer, rows, out, scratch, eb_dsp_any);
}

#endif
