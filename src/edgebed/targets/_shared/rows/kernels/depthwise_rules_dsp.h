/* Depthwise convolution for cores with the DSP extension, where a channel's requantisation has no form
   of one multiplication: sums first, and then the rule. */
#ifndef EB_DEPTHWISE_RULES_DSP_H
#define EB_DEPTHWISE_RULES_DSP_H

#include "conv_rules_dsp.h"
#include "depthwise_dsp.h"

#define EB_TAPS_ADD_BIAS(sum)    \
    "ldr r9, [r7], #12\n"        \
    "add " sum ", " sum ", r9\n"

#define EB_TAPS_SUMS                 \
    "ldrd r7, r8, [sp, #48]\n"       \
    EB_TAPS_ADD_BIAS("r3")           \
    EB_TAPS_ADD_BIAS("r4")           \
    EB_TAPS_ADD_BIAS("r5")           \
    EB_TAPS_ADD_BIAS("r6")           \
    "stmia r8!, {r3-r6}\n"           \
    "strd r7, r8, [sp, #48]\n"       \
    "ldr r9, [sp, #56]\n"            \
    "add r1, r1, #4\n"               \
    "cmp r1, r9\n"

/* As eb_dsp_any, for one window; writes sums. */
EB_NAKED void eb_dsp_any_sums(const int8_t *const *table EB_UNUSED, int32_t offset EB_UNUSED,
                              const int32_t *weights EB_UNUSED, const eb_line *lines EB_UNUSED,
                              int32_t *sums EB_UNUSED, int32_t end EB_UNUSED,
                              uint32_t fraction EB_UNUSED,
                              const int8_t *const *table_end EB_UNUSED) {
    __asm__(EB_TAPS_ENTER
            EB_TAPS_LOOP
            EB_TAPS_SUMS
            "bne 1b\n"
            EB_TAPS_RETURN);
}

/* All channels of a window; sums lie behind the pixel that stands for those outside. */
EB_SHARED void eb_dsp_channels_by_rules(const eb_conv *conv, const int8_t **table, int32_t taps,
                                        int8_t *out) {
    const int32_t channels = conv->in_channels, whole = channels & ~3;
    const int8_t *const *end = (const int8_t *const *)table + ((taps + 1) & ~1);
    int32_t *sums = (int32_t *)(void *)((int8_t *)(table + taps + 1) + ((channels + 3) & ~3));
    const int32_t *weights = (const int32_t *)conv->weights;
    for (int32_t c = 0, count; c < channels; c += count) {
        count = eb_limit(whole - c, 0, EB_DSP_SUMS);
        if (!count) c = channels - 4, count = 4; /* the last four overlap others */
        const eb_line *lines = conv->lines + c;
        eb_dsp_any_sums((const int8_t *const *)table, c, weights, lines, sums, c + count, 0, end);
        eb_dsp_by_rule(sums, lines, &conv->output, count, 1, out + c, 0);
        weights += count / 4 * conv->depth;
    }
}

/* As eb_depthwise_dsp, with any rule. */
EB_STATIC void eb_depthwise_rules_dsp(const void *layer, const int8_t *const *rows, int8_t *out,
                                      void *scratch, int32_t step) {
    const eb_conv *conv = (const eb_conv *)layer;
    const int32_t taps = conv->kernel_height * conv->kernel_width;
    const int8_t **table = (const int8_t **)scratch;
    int8_t *outside = (int8_t *)(table + taps + 1), *at = out;
    (void)step;
    eb_fill(outside, conv->zero_point, conv->in_channels);
    for (int32_t x = 0; x < conv->out_width; x++, at += conv->in_channels) {
        eb_dsp_point(conv, rows, x * conv->stride - conv->pad, table, outside);
        eb_dsp_channels_by_rules(conv, table, taps, at);
    }
    eb_dsp_limit_row(conv, out);
}

#endif
