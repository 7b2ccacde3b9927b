/* Convolution and dense layers for cores with the DSP extension, where a channel's requantisation has
   no form of one multiplication: sums first, and then the rule. */
#ifndef EB_CONV_RULES_DSP_H
#define EB_CONV_RULES_DSP_H

#include "conv_dsp.h"
#include "rules.h"

enum { EB_DSP_SUMS = 64 };

/* Rule 3 of eb.h; twice_zero = 2 * zero_point + 1. */
EB_STATIC inline int32_t eb_dsp_short(int32_t sum, int32_t multiplier, int32_t c,
                                      int32_t twice_zero) {
    int32_t y;
    __asm__("smmulr %0, %1, %2" : "=r"(y) : "r"(sum * 2), "r"(multiplier));
    y = ((y + (sum >> 31)) >> c) + twice_zero;
    __asm__("ssat %0, #8, %1, asr #1" : "=r"(y) : "r"(y));
    return y;
}

#ifndef EB_WITHOUT_FPU
/* Rule 4 of eb.h, without limits. */
EB_STATIC inline int32_t eb_dsp_float(int32_t sum, int32_t multiplier, int32_t zero_point) {
    union {
        int32_t bits;
        float value;
    } factor, y;
    factor.bits = multiplier;
    y.value = (float)sum * factor.value;
    __asm__("vcvtr.s32.f32 %0, %0" : "+t"(y.value)); /* half to even, within 32 bits */
    __asm__("qadd %0, %1, %2" : "=r"(y.bits) : "r"(y.bits), "r"(zero_point));
    __asm__("ssat %0, #8, %1" : "=r"(y.bits) : "r"(y.bits));
    return y.bits;
}
#endif

/* The byte of a sum by a rule, without the limits of rules 3 and 4. */
EB_STATIC inline __attribute__((always_inline)) int8_t eb_dsp_rule_byte(
    int32_t sum, const eb_line *line, const eb_output *output, const int32_t rule) {
    const int32_t zero_point = output->zero_point;
    if (rule == 3)
        return (int8_t)eb_dsp_short(sum, line->multiplier, line->c, 2 * zero_point + 1);
#ifndef EB_WITHOUT_FPU
    if (rule == 4) return (int8_t)eb_dsp_float(sum, line->multiplier, zero_point);
#endif
    return (int8_t)eb_requantize(sum, line, output);
}

EB_STATIC inline __attribute__((always_inline)) void eb_dsp_rule_bytes(
    const int32_t *sums, const eb_line *line, const eb_output *output, int32_t count,
    int32_t pixels, int8_t *out, int32_t pitch, const int32_t rule) {
    const eb_output kept = *output;
    if (pixels == 2) {
        for (; count; count--, line++, out++, sums += 2) {
            /* With pitch 0 the first one's remains. */
            out[pitch] = eb_dsp_rule_byte(sums[1], line, &kept, rule);
            *out = eb_dsp_rule_byte(*sums, line, &kept, rule);
        }
    } else {
        for (; count; count--, line++) *out++ = eb_dsp_rule_byte(*sums++, line, &kept, rule);
    }
}

/* Bytes of sums: of each output, of as many pixels, whose outputs lie `pitch` bytes apart. */
EB_SHARED void eb_dsp_by_rule(const int32_t *sums, const eb_line *line, const eb_output *output,
                              int32_t count, int32_t pixels, int8_t *out, int32_t pitch) {
    if (output->rule == 3) eb_dsp_rule_bytes(sums, line, output, count, pixels, out, pitch, 3);
    else if (output->rule == 4) eb_dsp_rule_bytes(sums, line, output, count, pixels, out, pitch, 4);
    else eb_dsp_rule_bytes(sums, line, output, count, pixels, out, pitch, 0);
}

/* Sums of up to four outputs, filled up to four. */
EB_SHARED void eb_dsp_rest_sums(const eb_conv *conv, const int8_t *pixel, int8_t *scratch,
                                const int32_t *weights, const eb_line *lines, int32_t rest,
                                int32_t *sums) {
    const eb_dsp_code code = {eb_dsp_one_sums, eb_dsp_two_sums};
    eb_line last[4];
    eb_copy((int8_t *)last, (const int8_t *)lines, (uint32_t)rest * sizeof *last);
    eb_dsp_four(conv, pixel, scratch, weights, weights + 4 * conv->depth, last, sums, 0, code);
}

/* At most so many sums at a time, a multiple of eight. */
EB_STATIC inline void eb_dsp_by_rules(const eb_conv *conv, const int8_t *pixel, int8_t *scratch,
                                      int8_t *out, int32_t pitch, int32_t *sums,
                                      int32_t most) {
    const int32_t outputs = conv->out_channels, pixels = pixel ? 1 : 2;
    const int32_t *weights = (const int32_t *)conv->weights;
    const eb_line *lines = conv->lines;
    const eb_dsp_code code = {eb_dsp_one_sums, eb_dsp_two_sums};
    for (int32_t left = outputs, count; left; left -= count, lines += count, out += count) {
        const int32_t fours = left < 4 ? 1 : eb_limit(left / 4, 1, most / 4 / pixels);
        const int32_t *end = weights + 4 * fours * conv->depth;
        if (left < 4) {
            count = left;
            eb_dsp_rest_sums(conv, pixel, scratch, weights, lines, count, sums);
        } else {
            count = 4 * fours;
            eb_dsp_four(conv, pixel, scratch, weights, end, lines, sums, 0, code);
        }
        weights = end;
        eb_dsp_by_rule(sums, lines, &conv->output, count, pixels, out, pitch);
    }
}

EB_SHARED void eb_dsp_pixels_by_rules(const eb_conv *conv, const int8_t *pixel, int8_t *scratch,
                                      int8_t *out, int32_t pitch) {
    int32_t *sums = (int32_t *)(void *)(scratch + 20 * (int32_t)conv->depth);
    eb_dsp_by_rules(conv, pixel, scratch, out, pitch, sums, EB_DSP_SUMS);
}

/* As eb_conv_dsp, with any rule. Sums lie behind the scratch memory of that. */
EB_STATIC void eb_conv_rules_dsp(const void *layer, const int8_t *const *rows, int8_t *out,
                                 void *scratch, int32_t step) {
    (void)step;
    eb_dsp_row((const eb_conv *)layer, rows, out, (int8_t *)scratch, eb_dsp_pixels_by_rules);
}

/* As eb_dense_dsp, with any rule, and without scratch memory. */
EB_STATIC void eb_dense_rules_dsp(const void *layer, const int8_t *const *rows, int8_t *out,
                                  void *scratch, int32_t step) {
    const eb_conv *conv = (const eb_conv *)layer;
    int32_t sums[8];
    (void)step;
    eb_dsp_by_rules(conv, rows[0], (int8_t *)scratch, out, 0, sums, 8);
    eb_dsp_limit_row(conv, out);
}

#endif
