/* Requantisation, copies and borders for the Advanced SIMD kernels, AArch64 and Armv7. */
#ifndef EB_REQUANTIZE_NEON_H
#define EB_REQUANTIZE_NEON_H

#include "eb.h"

#include <arm_neon.h>

#define EB_INLINE static inline __attribute__((always_inline, unused))

/* Of four channels; as eb_line has them. */
typedef struct {
    int32x4_t bias, multiplier, c;
} eb_lines4;

EB_INLINE eb_lines4 eb_lines_of(const eb_line *line) {
    const int32x4x3_t all = vld3q_s32(&line->bias);
    const eb_lines4 lines = {all.val[0], all.val[1], all.val[2]};
    return lines;
}

EB_INLINE int32x4_t eb_bias_of(const eb_line *line) {
    int32x4_t bias = eb_lines_of(line).bias;
#if !defined(__aarch64__)
    __asm__("" : "+w"(bias)); /* or sums take the places of three vectors each, and spill */
#endif
    return bias;
}

/* TensorFlow Lite's two roundings: ties up, then away from zero. */
EB_INLINE int32x4_t eb_rounded_twice(int32x4_t acc, const eb_lines4 *lines) {
    const int32x4_t none = vdupq_n_s32(0), right = vminq_s32(lines->c, none);
    const int32x4_t left = vshlq_s32(acc, vmaxq_s32(lines->c, none));
    const int32x4_t product = vqrdmulhq_s32(left, lines->multiplier);
    const int32x4_t negative = vshrq_n_s32(vandq_s32(product, right), 31);
    return vrshlq_s32(vqaddq_s32(product, negative), right);
}

EB_INLINE int32x4_t eb_rounded_once(int32x4_t acc, const eb_lines4 *lines) {
    const int32x4_t right = vsubq_s32(lines->c, vdupq_n_s32(31));
    const int64x2_t low = vmull_s32(vget_low_s32(acc), vget_low_s32(lines->multiplier));
    const int64x2_t high = vmull_s32(vget_high_s32(acc), vget_high_s32(lines->multiplier));
    return vcombine_s32(vqmovn_s64(vrshlq_s64(low, vmovl_s32(vget_low_s32(right)))),
                        vqmovn_s64(vrshlq_s64(high, vmovl_s32(vget_high_s32(right)))));
}

EB_INLINE int32x4_t eb_rounded_real(int32x4_t acc, const eb_lines4 *lines) {
    float32x4_t y = vmulq_f32(vcvtq_f32_s32(acc), vreinterpretq_f32_s32(lines->multiplier));
    y = vminq_f32(vmaxq_f32(y, vdupq_n_f32(-1024.0f)), vdupq_n_f32(1024.0f));
    /* 1.5 * 2^23: its unit is one, so that the sum is rounded to the nearest even. */
    y = vaddq_f32(y, vdupq_n_f32(12582912.0f));
    return vsubq_s32(vreinterpretq_s32_f32(y), vdupq_n_s32(0x4b400000));
}

/* Rules that few layers have: kernels store sums for them instead of outputs. */
EB_INLINE int32_t eb_is_rare(const eb_output *output) { return output->rule && output->rule != 3; }

/* Turns the sums of `count` pixels, as many as their outputs, into bytes where they are. `lines`
   and `outputs` are multiples of four. */
static __attribute__((noinline, unused)) void eb_requantize_rarely(
    const int32_t *sums, int8_t *out, int32_t count, int32_t outputs, const eb_line *lines,
    const eb_output *output) {
    for (int32_t p = 0; p < count; p++)
        for (int32_t o = 0; o < outputs; o += 4, sums += 4) {
            const eb_lines4 four = eb_lines_of(lines + o);
            const int32x4_t acc = vld1q_s32(sums);
            int32x4_t y = output->rule == 1   ? eb_rounded_twice(acc, &four)
                          : output->rule == 2 ? eb_rounded_once(acc, &four)
                                              : eb_rounded_real(acc, &four);
            y = vqaddq_s32(y, vdupq_n_s32(output->zero_point));
            y = vmaxq_s32(y, vdupq_n_s32(output->low));
            y = vminq_s32(y, vdupq_n_s32(output->high));
            for (int32_t i = 0; i < 4; i++, y = vextq_s32(y, y, 1))
                *out++ = (int8_t)vgetq_lane_s32(y, 0);
        }
}

/* Turns `count` vectors of four channels' sums, which include the bias, into outputs. Rule 0: the
   multiplier is even, so that sqdmulh by its half gives the exact floor of the product / 2^32. */
EB_INLINE void eb_requantize4(int32x4_t *acc, const int32_t count, const eb_line *line,
                              const eb_output *output) {
    const eb_lines4 lines = eb_lines_of(line);
    if (!output->rule) {
        const int32x4_t half = vshrq_n_s32(lines.multiplier, 1);
        const int32x4_t down = vdupq_n_s32(-(int32_t)output->fraction);
#pragma GCC unroll 8
        for (int32_t p = 0; p < count; p++)
            acc[p] = vshlq_s32(vaddq_s32(vqdmulhq_s32(acc[p], half), lines.c), down);
        return;
    }
    const int32x4_t down = vnegq_s32(lines.c), twice = vdupq_n_s32(2 * output->zero_point);
#pragma GCC unroll 8
    for (int32_t p = 0; p < count; p++) {
        const int32x4_t product = vqrdmulhq_s32(acc[p], lines.multiplier);
        acc[p] = vrhaddq_s32(vshlq_s32(vsraq_n_s32(product, acc[p], 31), down), twice);
    }
}

EB_INLINE int8x8_t eb_bytes8(int32x4_t a, int32x4_t b) {
    return vqmovn_s16(vcombine_s16(vqmovn_s32(a), vqmovn_s32(b)));
}

EB_INLINE int8x16_t eb_bytes16(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d) {
    return vcombine_s8(eb_bytes8(a, b), eb_bytes8(c, d));
}

EB_INLINE int8x8_t eb_clamp8(int8x8_t y, const eb_output *output) {
    return vmin_s8(vmax_s8(y, vdup_n_s8(output->low)), vdup_n_s8(output->high));
}

EB_INLINE int8x16_t eb_clamp16(int8x16_t y, const eb_output *output) {
    return vminq_s8(vmaxq_s8(y, vdupq_n_s8(output->low)), vdupq_n_s8(output->high));
}

EB_INLINE int32x4_t eb_sums4(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d) {
#if defined(__aarch64__)
    return vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
#else
    const int32x2_t e = vadd_s32(vget_low_s32(a), vget_high_s32(a));
    const int32x2_t f = vadd_s32(vget_low_s32(b), vget_high_s32(b));
    const int32x2_t g = vadd_s32(vget_low_s32(c), vget_high_s32(c));
    const int32x2_t h = vadd_s32(vget_low_s32(d), vget_high_s32(d));
    return vcombine_s32(vpadd_s32(e, f), vpadd_s32(g, h));
#endif
}

/* Copies `size` bytes and touches no others. The last vector may overlap the one before. */
static __attribute__((noinline)) void eb_copy_neon(int8_t *to, const int8_t *from, int32_t size) {
    int32_t i = 0;
#pragma GCC unroll 1
    for (; i + 64 <= size; i += 64) {
        const int8x16_t a = vld1q_s8(from + i), b = vld1q_s8(from + i + 16);
        const int8x16_t c = vld1q_s8(from + i + 32), d = vld1q_s8(from + i + 48);
        vst1q_s8(to + i, a);
        vst1q_s8(to + i + 16, b);
        vst1q_s8(to + i + 32, c);
        vst1q_s8(to + i + 48, d);
    }
#pragma GCC unroll 1
    for (; i + 16 <= size; i += 16) vst1q_s8(to + i, vld1q_s8(from + i));
    if (i == size) return;
    if (size >= 16) {
        vst1q_s8(to + size - 16, vld1q_s8(from + size - 16));
    } else if (size >= 8) {
        const int8x8_t a = vld1_s8(from), b = vld1_s8(from + size - 8);
        vst1_s8(to, a);
        vst1_s8(to + size - 8, b);
    } else {
#pragma GCC unroll 1
        for (; i < size; i++) to[i] = from[i];
    }
}

/* Writes up to 15 bytes more than `size`; returns where those end. */
EB_INLINE int8_t *eb_fill_neon(int8_t *to, int8_t value, int32_t size) {
    const int8x16_t many = vdupq_n_s8(value);
#pragma GCC unroll 1
    for (int32_t i = 0; i < size; i += 16) vst1q_s8(to + i, many);
    return to + size;
}

/* Bytes of a row with its borders, as far as the kernel sees it. */
EB_INLINE int32_t eb_bordered_bytes(const eb_conv *layer) {
    const int32_t reach = (layer->kernel_width - 1) * layer->dilation + 1;
    return ((layer->out_width - 1) * layer->stride + reach) * layer->in_channels;
}

/* Copies the rows of the kernel's window one behind the other, with borders; writes up to 15 bytes
   behind them. */
static __attribute__((noinline, unused)) void eb_bordered_rows(
    const eb_conv *layer, const int8_t *const *rows, int8_t *to) {
    const int32_t size = eb_bordered_bytes(layer);
    const int32_t border = layer->pad * layer->in_channels;
    const int32_t left = border < size ? border : size;
    const int32_t have = layer->in_width * layer->in_channels;
    const int32_t inner = size - left < have ? size - left : have;
    for (int32_t ky = 0; ky < layer->kernel_height; ky++, to += size) {
        if (!rows[ky]) {
            eb_fill_neon(to, layer->zero_point, size);
            continue;
        }
        eb_fill_neon(to, layer->zero_point, left);
        eb_copy_neon(to + left, rows[ky], inner);
        eb_fill_neon(to + left + inner, layer->zero_point, size - left - inner);
    }
}

#endif
