/* Depthwise convolution 3x3 with stride 1 for cores with the DSP extension: two neighbouring pixels
   share their columns. A table of pointers says where pixels lie, as in depthwise_dsp.h. */
#ifndef EB_DEPTHWISE_COUPLES_DSP_H
#define EB_DEPTHWISE_COUPLES_DSP_H

#include "conv_dsp.h"

/* Two words of four channels: the halves of `low` are channels 0 and 1 of both, of `high` channels 2
   and 3. */
#define EB_COUPLE_LOAD(at, low, high)            \
    "ldrd r8, r9, [r0, #" at "]\n"               \
    "ldr r8, [r8, r1]\n"                         \
    "ldr r9, [r9, r1]\n"                         \
    "pkhbt " low ", r8, r9, lsl #16\n"           \
    "pkhtb " high ", r9, r8, asr #16\n"

/* One channel of both pixels. r2 to r5: the upper two rows of columns 0 to 3; r6, r7: the lowest row
   of columns 0 and 1, 2 and 3. r0: line, r1: weights, r8: output. */
#define EB_COUPLE_CHANNEL(turn)                  \
    "ldr r9, [r0], #4\n"                         \
    "ldrd r12, lr, [r1], #8\n"                   \
    "sxtb16 r11, r3" turn "\n"                   \
    "smlad r10, r11, r12, r9\n"                  \
    "smlad r9, r11, lr, r9\n"                    \
    "sxtb16 r11, r2" turn "\n"                   \
    "smlad r9, r11, r12, r9\n"                   \
    "sxtb16 r11, r4" turn "\n"                   \
    "smlad r10, r11, lr, r10\n"                  \
    "ldrd r12, lr, [r1], #8\n"                   \
    "smlad r9, r11, r12, r9\n"                   \
    "sxtb16 r11, r5" turn "\n"                   \
    "smlad r10, r11, r12, r10\n"                 \
    "sxtb16 r11, r6" turn "\n"                   \
    "smlad r9, r11, lr, r9\n"                    \
    "smlatb r10, r11, lr, r10\n"                 \
    "ldr r12, [r1], #4\n"                        \
    "sxtb16 r11, r7" turn "\n"                   \
    "smlabt r9, r11, r12, r9\n"                  \
    "smlad r10, r11, r12, r10\n"                 \
    "ldrd r12, lr, [r0], #8\n"                   \
    "smmla r9, r9, r12, lr\n"                    \
    "smmla r10, r10, r12, lr\n"                  \
    "ldrd r12, lr, [sp, #92]\n"                  \
    "asr.w r9, r9, r12\n"                        \
    "asr.w r10, r10, r12\n"                      \
    "ssat r9, #8, r9\n"                          \
    "ssat r10, #8, r10\n"                        \
    "strb r10, [r8, lr]\n"                       \
    "strb r9, [r8], #1\n"

/* Channels from `offset` to `end`, a multiple of four, of so many pairs of pixels, which lie `apart`
   bytes one from the other, and their outputs too. pitch: from the first pixel's output to the
   second's; with 0 only the first one's remains. */
EB_NAKED void eb_dsp_couples(const int8_t *const *table EB_UNUSED, int32_t offset EB_UNUSED,
                             const int32_t *weights EB_UNUSED, const eb_line *lines EB_UNUSED,
                             int8_t *out EB_UNUSED, int32_t end EB_UNUSED,
                             uint32_t fraction EB_UNUSED, int32_t pitch EB_UNUSED,
                             int32_t pairs EB_UNUSED, int32_t apart EB_UNUSED) {
    /* sp: six words of channels 2 and 3, the current offset and weights, r4 to r11, lr; 68: table,
       offset, weights, lines, out, end, fraction, pitch, pairs, apart. The flag Z says that channels
       0 and 1 are not yet done. */
    __asm__(".syntax unified\n"
            "push {r0-r3}\n"
            "push {r4-r11, lr}\n"
            "sub sp, sp, #32\n"
            "strd r1, r2, [sp, #24]\n"
            "1:\n"
            EB_COUPLE_LOAD("0", "r2", "r10")
            EB_COUPLE_LOAD("8", "r3", "r11")
            "strd r10, r11, [sp]\n"
            EB_COUPLE_LOAD("16", "r4", "r10")
            EB_COUPLE_LOAD("24", "r5", "r11")
            "strd r10, r11, [sp, #8]\n"
            EB_COUPLE_LOAD("32", "r6", "r10")
            EB_COUPLE_LOAD("40", "r7", "r11")
            "strd r10, r11, [sp, #16]\n"
            "ldr r1, [sp, #28]\n"
            "ldrd r0, r8, [sp, #80]\n"
            "cmp r8, r8\n"
            "2:\n"
            EB_COUPLE_CHANNEL("")
            EB_COUPLE_CHANNEL(", ror #8")
            "bne.w 3f\n"
            "ldmia sp, {r2-r7}\n"
            "cmp r8, #0\n"
            "b.w 2b\n"
            "3:\n"
            "ldr r9, [sp, #24]\n"
            "add r9, r9, #4\n"
            "strd r9, r1, [sp, #24]\n"
            "strd r0, r8, [sp, #80]\n"
            "ldr r10, [sp, #88]\n"
            "ldr r0, [sp, #68]\n"
            "mov r1, r9\n"
            "cmp r9, r10\n"
            "bne.w 1b\n"
            /* on to the next pair */
            "ldr r3, [sp, #100]\n"
            "subs r3, r3, #1\n"
            "beq.w 4f\n"
            "str r3, [sp, #100]\n"
            "ldrd r4, r2, [sp, #72]\n"
            "ldr r5, [sp, #104]\n"
            "sub r6, r9, r4\n"
            "add r1, r4, r5\n"
            "str r1, [sp, #72]\n"
            "strd r1, r2, [sp, #24]\n"
            "add r9, r9, r5\n"
            "str r9, [sp, #88]\n"
            "ldrd r7, r8, [sp, #80]\n"
            "sub r8, r8, r6\n"
            "add r8, r8, r5\n"
            "add r6, r6, r6, lsl #1\n"
            "sub r7, r7, r6, lsl #2\n"
            "strd r7, r8, [sp, #80]\n"
            "b.w 1b\n"
            "4:\n"
            "add sp, sp, #32\n"
            "pop {r4-r11, lr}\n"
            "add sp, sp, #16\n"
            "bx lr\n");
}

/* Points to the pixels below two windows: columns 0 to 3 of rows 0 and 1, column by column, then of
   row 2. */
EB_SHARED void eb_dsp_point_couple(const eb_conv *conv, const int8_t *const *rows, int32_t first,
                                   const int8_t **table, const int8_t *outside) {
    for (int32_t j = 0; j < 4; j++, first++) {
        const int32_t inside = first >= 0 && first < conv->in_width;
        const int32_t at = first * conv->in_channels;
        table[2 * j] = inside && rows[0] ? rows[0] + at : outside;
        table[2 * j + 1] = inside && rows[1] ? rows[1] + at : outside;
        table[8 + j] = inside && rows[2] ? rows[2] + at : outside;
        EB_HIDE(j);
    }
}

/* 3x3, stride 1. Weights int16, for every channel: rows 0 and 1 of each column, then row 2 of
   columns 0 and 1, of 1 and 2; in fours as
   in depthwise_dsp.h. eb_conv.depth: words of four channels. */
EB_STATIC void eb_depthwise_couples_dsp(const void *layer, const int8_t *const *rows, int8_t *out,
                                        void *scratch, int32_t step) {
    const eb_conv *conv = (const eb_conv *)layer;
    const int32_t channels = conv->in_channels, whole = channels & ~3, last = channels - 4;
    const int32_t *weights = (const int32_t *)conv->weights;
    const uint32_t fraction = conv->output.fraction;
    const int8_t **table = (const int8_t **)scratch;
    int8_t *outside = (int8_t *)(table + 12), *at = out;
    const int32_t present = rows[0] && rows[1] && rows[2];
    int32_t pairs;
    (void)step;
    eb_fill(outside, conv->zero_point, conv->in_channels);
    for (int32_t x = 0; x < conv->out_width; x += 2 * pairs, at += 2 * pairs * channels) {
        const int32_t first = x - conv->pad, left = conv->out_width - x;
        const int32_t pitch = left == 1 ? 0 : channels, room = conv->in_width - 2 - first;
        pairs = 1;
        if (present && first >= 0 && left > 1 && room > 3)
            pairs = left < room ? left >> 1 : room >> 1;
        eb_dsp_point_couple(conv, rows, first, table, outside);
        eb_dsp_couples(table, 0, weights, conv->lines, at, whole, fraction, pitch, pairs,
                       2 * channels);
        if (whole == channels) continue;
        eb_dsp_couples(table, last, weights + (whole / 4) * conv->depth, conv->lines + last,
                       at + last, channels, fraction, pitch, pairs, 2 * channels);
    }
    eb_dsp_limit_row(conv, out);
}

#endif
