/* Depthwise convolution with Advanced SIMD, AArch64 and Armv7: lanes are sixteen channels. */
#ifndef EB_DEPTHWISE_NEON_H
#define EB_DEPTHWISE_NEON_H

#include "requantize_neon.h"

#if defined(__aarch64__)
enum { EB_ABREAST = 4 };
#else
enum { EB_ABREAST = 2 };
#endif

/* Sixteen channels of neighbouring pixels. */
typedef struct {
    const int8_t *x;        /* inputs of the first pixel */
    const int32_t *offsets; /* of each tap's inputs from there */
    const int8_t *weights;  /* sixteen for each tap */
    const eb_line *lines;
    int8_t *out;
    int32_t pairs, step, out_step; /* of taps; from a pixel to the next one in bytes */
    int32_t channels;              /* to store, at most sixteen */
    int32_t *sums;                 /* for what a rare rule makes of them */
    eb_output output;
} eb_channels;

/* Adds two taps of sixteen channels: products of two bytes fit 16 bits in pairs, because packed
   weights are not -128. */
EB_INLINE void eb_add_taps(int32x4_t acc[4][4], const int32_t p, int8x16_t x, int8x16_t w,
                           int8x16_t y, int8x16_t u) {
    int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(w));
    int16x8_t high = vmull_s8(vget_high_s8(x), vget_high_s8(w));
    low = vmlal_s8(low, vget_low_s8(y), vget_low_s8(u));
    high = vmlal_s8(high, vget_high_s8(y), vget_high_s8(u));
    acc[0][p] = vaddw_s16(acc[0][p], vget_low_s16(low));
    acc[1][p] = vaddw_s16(acc[1][p], vget_high_s16(low));
    acc[2][p] = vaddw_s16(acc[2][p], vget_low_s16(high));
    acc[3][p] = vaddw_s16(acc[3][p], vget_high_s16(high));
}

EB_INLINE void eb_pixels_abreast(const eb_channels *group, const int32_t pixels) {
    const eb_channels it = *group;
    const eb_line *line = it.lines;
    const int8_t *w = it.weights;
    int32x4_t acc[4][4]; /* four channels, pixel */
    int8x16_t y[4];
#pragma GCC unroll 4
    for (int32_t i = 0; i < 4; i++) {
        acc[i][0] = eb_lines_of(line + 4 * i).bias;
#pragma GCC unroll 4
        for (int32_t p = 1; p < pixels; p++) acc[i][p] = acc[i][0];
    }
#pragma GCC unroll 1
    for (int32_t n = 0; n < it.pairs; n++, w += 32) {
        const int8_t *a = it.x + it.offsets[2 * n], *b = it.x + it.offsets[2 * n + 1];
        const int8x16_t u = vld1q_s8(w), v = vld1q_s8(w + 16);
#pragma GCC unroll 4
        for (int32_t p = 0; p < pixels; p++, a += it.step, b += it.step)
            eb_add_taps(acc, p, vld1q_s8(a), u, vld1q_s8(b), v);
    }
    __asm__("" : "+r"(line)); /* rather read twice than kept in the stack */
    if (it.sums) {
#pragma GCC unroll 4
        for (int32_t p = 0; p < pixels; p++)
#pragma GCC unroll 4
            for (int32_t i = 0; i < 4; i++) vst1q_s32(it.sums + 16 * p + 4 * i, acc[i][p]);
        return;
    }
#pragma GCC unroll 4
    for (int32_t i = 0; i < 4; i++) eb_requantize4(acc[i], pixels, line + 4 * i, &it.output);
#pragma GCC unroll 4
    for (int32_t p = 0; p < pixels; p++)
        y[p] = eb_clamp16(eb_bytes16(acc[0][p], acc[1][p], acc[2][p], acc[3][p]), &it.output);
    int8_t *to = it.out;
    if (it.channels == 16) {
#pragma GCC unroll 4
        for (int32_t p = 0; p < pixels; p++, to += it.out_step) vst1q_s8(to, y[p]);
    } else {
        int8_t few[64];
#pragma GCC unroll 4
        for (int32_t p = 0; p < pixels; p++) vst1q_s8(few + 16 * p, y[p]);
#pragma GCC unroll 1
        for (int32_t p = 0; p < pixels; p++, to += it.out_step)
            eb_copy_neon(to, few + 16 * p, it.channels);
    }
}

static __attribute__((noinline)) void eb_pixels_many(const eb_channels *group) {
    eb_pixels_abreast(group, EB_ABREAST);
}
static __attribute__((noinline)) void eb_pixels_one(const eb_channels *group) {
    eb_pixels_abreast(group, 1);
}

/* Computes some of `count` pixels; returns how many. */
static int32_t eb_pixels_some(const eb_channels *group, int32_t count) {
    const int32_t done = count >= EB_ABREAST ? EB_ABREAST : 1;
    int8_t few[16 * EB_ABREAST];
    if (done > 1)
        eb_pixels_many(group);
    else
        eb_pixels_one(group);
    if (group->sums) {
        eb_requantize_rarely(group->sums, few, done, 16, group->lines, &group->output);
        for (int32_t p = 0; p < done; p++)
            eb_copy_neon(group->out + p * group->out_step, few + 16 * p, group->channels);
    }
    return done;
}

static void eb_tap_offsets(const eb_conv *layer, int32_t taps, int32_t *offset) {
    const int32_t size = eb_bordered_bytes(layer), apart = layer->dilation * layer->in_channels;
    for (int32_t n = 0, x = 0, y = 0; n < taps; n++) {
        offset[n] = y * size + x * apart;
        if (++x < layer->kernel_width) continue;
        x = 0;
        if (++y == layer->kernel_height) y = 0; /* the second set of weights, or one of zeros */
    }
}

/* eb_kernel for depthwise convolutions with as many outputs as inputs. The last sixteen
   channels may overlap those before. eb_conv.depth: pairs of taps. */
static void eb_depthwise_neon(const void *parameters, const int8_t *const *rows, int8_t *out,
                              void *scratch, int32_t number) {
    const eb_conv *layer = (const eb_conv *)parameters;
    const int32_t channels = layer->in_channels, taps = 2 * layer->depth;
    int8_t *const inputs = (int8_t *)scratch + ((4 * taps + 15) & ~15);
    eb_line lines[16];
    int32_t sums[16 * EB_ABREAST];
    eb_channels group;
    (void)number;
    eb_tap_offsets(layer, taps, (int32_t *)scratch);
    eb_bordered_rows(layer, rows, inputs);
    group.offsets = (const int32_t *)scratch;
    group.weights = (const int8_t *)layer->weights;
    group.pairs = layer->depth;
    group.step = layer->stride * channels;
    group.out_step = channels;
    group.channels = channels < 16 ? channels : 16;
    group.sums = eb_is_rare(&layer->output) ? sums : 0;
    group.output = layer->output;
    for (int32_t n = 0; n < 16 && channels < 16; n++)
        lines[n] = layer->lines[n < channels ? n : 0];
    for (int32_t done = 0; done < channels; done += 16, group.weights += 16 * taps) {
        const int32_t last = channels - group.channels;
        const int32_t c = done < last ? done : last;
        group.lines = channels < 16 ? lines : layer->lines + c;
        group.x = inputs + c;
        group.out = out + c;
        for (int32_t left = layer->out_width; left > 0;) {
            const int32_t count = eb_pixels_some(&group, left);
            left -= count;
            group.x += count * group.step;
            group.out += count * channels;
        }
    }
}

#endif
