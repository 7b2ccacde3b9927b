/* Requantisation, copies and borders for the Advanced SIMD kernels, AArch64 and Armv7. */
#ifndef EB_REQUANTIZE_NEON_H
#define EB_REQUANTIZE_NEON_H

#include "eb.h"

#include <arm_neon.h>

#define EB_INLINE static inline __attribute__((always_inline, unused))

/* The lines of four channels, and half of each multiplier: sqdmulh doubles, and the multiplier is
   even, so that its high word is the exact floor of acc * multiplier / 2^32. */
typedef struct {
    int32x4_t bias, half, c;
} eb_lines4;

EB_INLINE eb_lines4 eb_lines_of(const eb_line *line) {
    const int32x4x3_t all = vld3q_s32(&line->bias);
    const eb_lines4 lines = {all.val[0], vshrq_n_s32(all.val[1], 1), all.val[2]};
    return lines;
}

/* acc includes the bias; down: minus the fraction. */
EB_INLINE int32x4_t eb_requantize4(int32x4_t acc, const eb_lines4 *lines, int32x4_t down) {
    return vshlq_s32(vaddq_s32(vqdmulhq_s32(acc, lines->half), lines->c), down);
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
