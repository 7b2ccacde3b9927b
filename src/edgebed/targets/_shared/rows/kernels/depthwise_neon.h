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
    int32_t groups;                /* of EB_ABREAST pixels, or as many as the function does at once */
    int32_t channels;              /* of the layer, at most sixteen */
    int32_t *sums;                 /* for what a rare rule makes of them */
    eb_output output;
} eb_channels;

/* In the order in which they are written, or compilers spill registers. */
#if defined(__aarch64__)
#define EB_TAP_LOW(t, a, b) __asm__ volatile("smull %0.8h, %1.8b, %2.8b" : "=w"(t) : "w"(a), "w"(b))
#define EB_TAP_HIGH(t, a, b) \
    __asm__ volatile("smull2 %0.8h, %1.16b, %2.16b" : "=w"(t) : "w"(a), "w"(b))
#define EB_NEXT_LOW(t, a, b) \
    __asm__ volatile("smlal %0.8h, %1.8b, %2.8b" : "+w"(t) : "w"(a), "w"(b))
#define EB_NEXT_HIGH(t, a, b) \
    __asm__ volatile("smlal2 %0.8h, %1.16b, %2.16b" : "+w"(t) : "w"(a), "w"(b))
#define EB_WIDEN_LOW(sum, t) __asm__ volatile("saddw %0.4s, %0.4s, %1.4h" : "+w"(sum) : "w"(t))
#define EB_WIDEN_HIGH(sum, t) __asm__ volatile("saddw2 %0.4s, %0.4s, %1.8h" : "+w"(sum) : "w"(t))
#else
#define EB_TAP_LOW(t, a, b) __asm__ volatile("vmull.s8 %q0, %e1, %e2" : "=w"(t) : "w"(a), "w"(b))
#define EB_TAP_HIGH(t, a, b) __asm__ volatile("vmull.s8 %q0, %f1, %f2" : "=w"(t) : "w"(a), "w"(b))
#define EB_NEXT_LOW(t, a, b) __asm__ volatile("vmlal.s8 %q0, %e1, %e2" : "+w"(t) : "w"(a), "w"(b))
#define EB_NEXT_HIGH(t, a, b) __asm__ volatile("vmlal.s8 %q0, %f1, %f2" : "+w"(t) : "w"(a), "w"(b))
#define EB_WIDEN_LOW(sum, t) __asm__ volatile("vaddw.s16 %q0, %q0, %e1" : "+w"(sum) : "w"(t))
#define EB_WIDEN_HIGH(sum, t) __asm__ volatile("vaddw.s16 %q0, %q0, %f1" : "+w"(sum) : "w"(t))
#endif

/* Adds two taps of sixteen channels: products of two bytes fit 16 bits in pairs, because no two
   packed weights that meet are -128. */
EB_INLINE void eb_add_taps(int32x4_t acc[4][4], const int32_t p, int8x16_t x, int8x16_t w,
                           int8x16_t y, int8x16_t u) {
    int16x8_t low, high;
    EB_TAP_LOW(low, x, w);
    EB_TAP_HIGH(high, x, w);
    EB_NEXT_LOW(low, y, u);
    EB_NEXT_HIGH(high, y, u);
    EB_WIDEN_LOW(acc[0][p], low);
    EB_WIDEN_HIGH(acc[1][p], low);
    EB_WIDEN_LOW(acc[2][p], high);
    EB_WIDEN_HIGH(acc[3][p], high);
}

EB_INLINE void eb_pixels_abreast(const eb_channels *it, const int8_t *x, int8_t *to,
                                 const int32_t pixels) {
    const eb_line *line = it->lines;
    const int8_t *w = it->weights;
    int32x4_t acc[4][4]; /* four channels, pixel */
#pragma GCC unroll 4
    for (int32_t i = 0; i < 4; i++) {
        acc[i][0] = eb_bias_of(line + 4 * i);
#pragma GCC unroll 4
        for (int32_t p = 1; p < pixels; p++) acc[i][p] = acc[i][0];
    }
#pragma GCC unroll 1
    for (int32_t n = 0; n < it->pairs; n++, w += 32) {
        const int8_t *a = x + it->offsets[2 * n], *b = x + it->offsets[2 * n + 1];
        const int8x16_t u = vld1q_s8(w), v = vld1q_s8(w + 16);
#pragma GCC unroll 4
        for (int32_t p = 0; p < pixels; p++, a += it->step, b += it->step)
            eb_add_taps(acc, p, vld1q_s8(a), u, vld1q_s8(b), v);
    }
    __asm__("" : "+r"(line)); /* rather read twice than kept in the stack */
    if (it->sums) {
#pragma GCC unroll 4
        for (int32_t p = 0; p < pixels; p++)
#pragma GCC unroll 4
            for (int32_t i = 0; i < 4; i++) vst1q_s32(it->sums + 16 * p + 4 * i, acc[i][p]);
        return;
    }
#pragma GCC unroll 4
    for (int32_t i = 0; i < 4; i++) eb_requantize4(acc[i], pixels, line + 4 * i, &it->output);
#pragma GCC unroll 4
    for (int32_t p = 0; p < pixels; p++, to += it->out_step) {
        const int8x16_t y = eb_bytes16(acc[0][p], acc[1][p], acc[2][p], acc[3][p]);
        vst1q_s8(to, eb_clamp16(y, &it->output));
    }
}

EB_INLINE void eb_groups_abreast(const eb_channels *group, const int32_t pixels) {
    const eb_channels it = *group;
    const int8_t *x = it.x;
    int8_t *to = it.out;
#pragma GCC unroll 1
    for (int32_t n = it.groups; n > 0; n--, x += pixels * it.step, to += pixels * it.out_step)
        eb_pixels_abreast(&it, x, to, pixels);
}

static __attribute__((noinline)) void eb_pixels_many(const eb_channels *group) {
    eb_groups_abreast(group, EB_ABREAST);
}
static __attribute__((noinline)) void eb_pixels_one(const eb_channels *group) {
    eb_groups_abreast(group, 1);
}

/* Computes some of `count` pixels; returns how many. Fewer than sixteen channels, and rare rules,
   take a place apart. */
static int32_t eb_pixels_some(eb_channels *group, int32_t count) {
    const int32_t pixels = count >= EB_ABREAST ? EB_ABREAST : 1, step = group->out_step;
    const int32_t apart = group->sums || group->channels < 16;
    int8_t few[16 * EB_ABREAST], *const out = group->out;
    group->groups = apart ? 1 : count / pixels;
    if (apart) group->out = few, group->out_step = 16;
    if (pixels > 1)
        eb_pixels_many(group);
    else
        eb_pixels_one(group);
    if (!apart) return group->groups * pixels;
    if (group->sums)
        eb_requantize_rarely(group->sums, few, pixels, 16, group->lines, &group->output);
    for (int32_t p = 0; p < pixels; p++)
        eb_copy_neon(out + p * step, few + 16 * p, group->channels);
    group->out = out, group->out_step = step;
    return pixels;
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
