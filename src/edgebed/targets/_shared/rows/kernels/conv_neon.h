/* Convolution and dense layers with Advanced SIMD: AArch64, with or without dot products, and
   Armv7.

   A step multiplies sixteen inputs of a pixel's window. Before, each row's inputs are copied to
   scratch so that those of neighbouring pixels for the same step lie side by side, sixteen bytes
   each: planes of sixteen channels, for strides one plane for the even and one for the odd columns;
   or, where few channels would leave such planes nearly empty, whole windows. What fills up the sixteen is arbitrary: the weights there are zero. Nothing of the output is written
   before its inputs were copied. */
#ifndef EB_CONV_NEON_H
#define EB_CONV_NEON_H

#include "requantize_neon.h"

#ifndef EB_NEON_DOT
#define EB_NEON_DOT 0
#endif
#if EB_NEON_DOT
enum { EB_PIXELS = 8, EB_OUTPUTS = 8 };
#elif defined(__aarch64__)
enum { EB_PIXELS = 4, EB_OUTPUTS = 4 };
#else
enum { EB_PIXELS = 2, EB_OUTPUTS = 4 };
#endif

/* eb_conv.depth: four times the steps, and */
enum {
    EB_WINDOWS = 1, /* whole windows are collected, not planes */
    EB_TWICE = 2    /* weights beyond a byte: the sum of two sets; half of the steps each */
};

/* What a block of pixels and outputs is computed from, and where it goes. */
typedef struct {
    const int8_t *x;        /* inputs of the first pixel */
    const int32_t *offsets; /* of each step's inputs from there */
    int32_t steps;
    int32_t triples; /* steps are in threes, each sixteen bytes behind the one before */
    const int8_t *weights;
    const eb_line *lines;
    int8_t *out;
    int32_t out_step; /* from a pixel's outputs to the next one's */
    int32_t blocks;   /* of EB_OUTPUTS outputs */
    eb_output output;
} eb_block;

#if EB_NEON_DOT

/* In this order, which compilers would else trade for one that spills registers. */
#define EB_DOT(sum, w, x, lane) \
    __asm__ volatile("sdot %0.4s, %1.16b, %2.4b[" #lane "]" : "+w"(sum) : "w"(w), "w"(x))
#define EB_DOT_LANE(lane)                                                                     \
    a = vld1q_s8(w + 32 * (lane));                                                            \
    b = vld1q_s8(w + 32 * (lane) + 16);                                                       \
    _Pragma("GCC unroll 8") for (int32_t p = 0; p < pixels; p++) EB_DOT(low[p], a, v[p], lane); \
    _Pragma("GCC unroll 8") for (int32_t p = 0; p < pixels; p++) EB_DOT(high[p], b, v[p], lane);

EB_INLINE void eb_dot_step(int32x4_t *low, int32x4_t *high, const int8x16_t *v, const int8_t *w,
                           const int32_t pixels) {
    int8x16_t a, b;
    EB_DOT_LANE(0)
    EB_DOT_LANE(1)
    EB_DOT_LANE(2)
    EB_DOT_LANE(3)
}

EB_INLINE void eb_inputs_of(int8x16_t *v, const int8_t *x, const int32_t count) {
#pragma GCC unroll 10
    for (int32_t p = 0; p < count; p++) v[p] = vld1q_s8(x + 16 * p);
}

/* Adds all products of a block. Three neighbouring columns of the kernel share inputs. */
EB_INLINE const int8_t *eb_dot_steps(const eb_block *it, int32x4_t *low, int32x4_t *high,
                                     const int8_t *w, const int32_t pixels) {
    const int32_t *offset = it->offsets;
    int8x16_t v[10];
    if (pixels == 8 && it->triples) {
#pragma GCC unroll 1
        for (int32_t n = it->triples; n; n--, offset += 3, w += 384) {
            eb_inputs_of(v, it->x + *offset, pixels + 2);
            eb_dot_step(low, high, v, w, pixels);
            eb_dot_step(low, high, v + 1, w + 128, pixels);
            eb_dot_step(low, high, v + 2, w + 256, pixels);
        }
        return w;
    }
    if (it->steps & 1) {
        eb_inputs_of(v, it->x + *offset++, pixels);
        eb_dot_step(low, high, v, w, pixels);
        w += 128;
    }
#pragma GCC unroll 1
    for (int32_t n = it->steps >> 1; n; n--, offset += 2, w += 256) {
        eb_inputs_of(v, it->x + offset[0], pixels);
        eb_dot_step(low, high, v, w, pixels);
        eb_inputs_of(v, it->x + offset[1], pixels);
        eb_dot_step(low, high, v, w + 128, pixels);
    }
    return w;
}

/* Lanes are outputs. */
EB_INLINE void eb_block_of(const eb_block *block, const int32_t pixels) {
    const eb_block it = *block;
    const int32_t narrow = it.output.low > -128 || it.output.high < 127;
    const int8_t *w = it.weights;
    const eb_line *line = it.lines;
    int8_t *out = it.out;
#pragma GCC unroll 1
    for (int32_t o = 0; o < it.blocks; o++, line += 8, out += 8) {
        int32x4_t low[8], high[8];
        const eb_line *again = line;
        low[0] = eb_lines_of(line).bias;
        high[0] = eb_lines_of(line + 4).bias;
#pragma GCC unroll 8
        for (int32_t p = 1; p < pixels; p++) low[p] = low[0], high[p] = high[0];
        w = eb_dot_steps(&it, low, high, w, pixels);
        __asm__("" : "+r"(again)); /* rather read twice than kept in the stack */
        int8x16_t y[4];
        eb_requantize4(low, pixels, again, &it.output);
        eb_requantize4(high, pixels, again + 4, &it.output);
#pragma GCC unroll 4
        for (int32_t p = 0; p < pixels; p += 2) {
            const int32_t q = p + 1 < pixels ? p + 1 : p;
            y[p / 2] = eb_bytes16(low[p], high[p], low[q], high[q]);
        }
        if (narrow)
#pragma GCC unroll 4
            for (int32_t p = 0; p < pixels; p += 2) y[p / 2] = eb_clamp16(y[p / 2], &it.output);
        int8_t *to = out;
#pragma GCC unroll 4
        for (int32_t p = 0; p < pixels; p += 2, to += it.out_step) {
            vst1_s8(to, vget_low_s8(y[p / 2]));
            if (p + 1 == pixels) break;
            to += it.out_step;
            vst1_s8(to, vget_high_s8(y[p / 2]));
        }
    }
}

#else

/* Two products of a byte and a byte fit 16 bits, because the packed weights are not -128. In this
   order, which compilers would else trade for one that spills registers. */
#if defined(__aarch64__)
#define EB_MULTIPLY(t, a, b) \
    __asm__ volatile("smull %0.8h, %1.8b, %2.8b" : "=w"(t) : "w"(a), "w"(b))
#define EB_MULTIPLY_HIGH(t, a, b) \
    __asm__ volatile("smlal2 %0.8h, %1.16b, %2.16b" : "+w"(t) : "w"(a), "w"(b))
#define EB_ADD_PAIRS(sum, t) __asm__ volatile("sadalp %0.4s, %1.8h" : "+w"(sum) : "w"(t))
#else
#define EB_MULTIPLY(t, a, b) __asm__ volatile("vmull.s8 %q0, %e1, %e2" : "=w"(t) : "w"(a), "w"(b))
#define EB_MULTIPLY_HIGH(t, a, b) \
    __asm__ volatile("vmlal.s8 %q0, %f1, %f2" : "+w"(t) : "w"(a), "w"(b))
#define EB_ADD_PAIRS(sum, t) __asm__ volatile("vpadal.s16 %q0, %q1" : "+w"(sum) : "w"(t))
#endif

/* A step of `pixels` pixels for 4 / pixels outputs from output i on. */
EB_INLINE void eb_multiply(int32x4_t acc[4][4], const int8x16_t *v, const int8x16_t *u,
                           const int32_t i, const int32_t pixels) {
    int16x8_t t[4];
#pragma GCC unroll 4
    for (int32_t n = 0; n < 4; n++) EB_MULTIPLY(t[n], u[i + n / pixels], v[n % pixels]);
#pragma GCC unroll 4
    for (int32_t n = 0; n < 4; n++) EB_MULTIPLY_HIGH(t[n], u[i + n / pixels], v[n % pixels]);
#pragma GCC unroll 4
    for (int32_t n = 0; n < 4; n++) EB_ADD_PAIRS(acc[n % pixels][i + n / pixels], t[n]);
}

/* Lanes run along the window. */
EB_INLINE void eb_block_of(const eb_block *block, const int32_t pixels) {
    const eb_block it = *block;
    const int8_t *w = it.weights;
    const eb_line *line = it.lines;
    int8_t *out = it.out;
#pragma GCC unroll 1
    for (int32_t o = 0; o < it.blocks; o++, line += 4, out += 4) {
        int32x4_t acc[4][4];
        const int32_t *offset = it.offsets;
#pragma GCC unroll 4
        for (int32_t p = 0; p < pixels; p++)
#pragma GCC unroll 4
            for (int32_t i = 0; i < 4; i++) acc[p][i] = vdupq_n_s32(0);
        int32_t step = it.steps;
#pragma GCC unroll 1
        do {
            const int8_t *x = it.x + *offset++;
            int8x16_t v[4], u[4];
#pragma GCC unroll 4
            for (int32_t p = 0; p < pixels; p++) v[p] = vld1q_s8(x + 16 * p);
#pragma GCC unroll 4
            for (int32_t i = 0; i < 4; i++, w += 16) {
                u[i] = vld1q_s8(w);
                /* Armv7's registers do not hold all weights of a step. */
                if (EB_PIXELS == 2 && (i + 1) % (4 / pixels) == 0)
                    eb_multiply(acc, v, u, i + 1 - 4 / pixels, pixels);
            }
#pragma GCC unroll 4
            for (int32_t i = 0; i < 4 && EB_PIXELS > 2; i += 4 / pixels)
                eb_multiply(acc, v, u, i, pixels);
        } while (--step);
        const int32x4_t bias = eb_lines_of(line).bias;
        int32x4_t y[4];
#pragma GCC unroll 4
        for (int32_t p = 0; p < pixels; p++)
            y[p] = vaddq_s32(eb_sums4(acc[p][0], acc[p][1], acc[p][2], acc[p][3]), bias);
        eb_requantize4(y, pixels, line, &it.output);
        int8_t *to = out;
#pragma GCC unroll 4
        for (int32_t p = 0; p < pixels; p += 2, to += it.out_step) {
            const int32_t q = p + 1 < pixels ? p + 1 : p;
            const int32x2_t two = vreinterpret_s32_s8(eb_clamp8(eb_bytes8(y[p], y[q]), &it.output));
            const int32_t first = vget_lane_s32(two, 0), second = vget_lane_s32(two, 1);
            __builtin_memcpy(to, &first, 4);
            if (q > p) {
                to += it.out_step;
                __builtin_memcpy(to, &second, 4);
            }
        }
    }
}

#endif

static __attribute__((noinline, unused)) void eb_block_8(const eb_block *block) {
    eb_block_of(block, EB_PIXELS < 8 ? EB_PIXELS : 8);
}
static __attribute__((noinline, unused)) void eb_block_4(const eb_block *block) {
    eb_block_of(block, EB_PIXELS < 4 ? EB_PIXELS : 4);
}
static __attribute__((noinline)) void eb_block_2(const eb_block *block) { eb_block_of(block, 2); }
static __attribute__((noinline)) void eb_block_1(const eb_block *block) { eb_block_of(block, 1); }

/* Computes some of `count` pixels; returns how many. */
static int32_t eb_pixels_of(const eb_block *block, int32_t count) {
    if (EB_PIXELS >= 8 && count >= 8) {
        eb_block_8(block);
        return 8;
    }
    if (EB_PIXELS >= 4 && count >= 4) {
        eb_block_4(block);
        return 4;
    }
    if (count >= 2) {
        eb_block_2(block);
        return 2;
    }
    eb_block_1(block);
    return 1;
}

/* Computes all outputs of `count` pixels; the last, incomplete block of outputs in a place apart. */
static __attribute__((noinline)) void eb_outputs_of(const eb_conv *layer, eb_block *block, int8_t *out, int32_t count) {
    const int32_t outputs = layer->out_channels;
    const int32_t rest = outputs % EB_OUTPUTS, full = outputs - rest;
    int8_t few[EB_PIXELS * EB_OUTPUTS];
    eb_line lines[EB_OUTPUTS];
    for (int32_t i = 0; i < EB_OUTPUTS && rest; i++)
        lines[i] = layer->lines[full + (i < rest ? i : 0)];
    while (count > 0) {
        int32_t done = 0;
        block->weights = (const int8_t *)layer->weights;
        block->lines = layer->lines;
        block->blocks = full / EB_OUTPUTS;
        block->out = out;
        block->out_step = outputs;
        if (full) done = eb_pixels_of(block, count);
        if (rest) {
            block->weights += full * block->steps * 16;
            block->lines = lines;
            block->blocks = 1;
            block->out = few;
            block->out_step = EB_OUTPUTS;
            done = eb_pixels_of(block, count);
            for (int32_t p = 0; p < done; p++)
                eb_copy_neon(out + p * outputs + full, few + p * EB_OUTPUTS, rest);
        }
        block->x += 16 * done;
        out += done * outputs;
        count -= done;
    }
}

/* Sixteen bytes each from `count` places. */
EB_INLINE int8_t *eb_gather_neon(int8_t *to, const int8_t *from, int32_t step, int32_t count) {
#pragma GCC unroll 1
    for (; count >= 4; count -= 4, from += 4 * step, to += 64) {
        const int8x16_t a = vld1q_s8(from), b = vld1q_s8(from + step);
        const int8x16_t c = vld1q_s8(from + 2 * step), d = vld1q_s8(from + 3 * step);
        vst1q_s8(to, a);
        vst1q_s8(to + 16, b);
        vst1q_s8(to + 32, c);
        vst1q_s8(to + 48, d);
    }
#pragma GCC unroll 1
    for (; count > 0; count--, from += step, to += 16) vst1q_s8(to, vld1q_s8(from));
    return to;
}

/* Every stride-th pixel of a row: so many zero points before the first, pixels inside of the row,
   and zero points behind. */
typedef struct {
    int32_t before, inside, after, first; /* number of the first pixel */
} eb_phase;

EB_INLINE eb_phase eb_phase_of(const eb_conv *layer, int32_t at, int32_t count) {
    const int32_t stride = layer->stride, width = layer->in_width;
    eb_phase phase = {0, 0, 0, at};
    for (; phase.first < 0 && phase.before < count; phase.before++) phase.first += stride;
    if (phase.first < width) phase.inside = (width - 1 - phase.first) / stride + 1;
    if (phase.inside > count - phase.before) phase.inside = count - phase.before;
    phase.after = count - phase.before - phase.inside;
    return phase;
}

/* A plane: sixteen channels of every stride-th pixel. Where there are fewer, sixteen bytes are read
   all the same, unless the row ends before. */
EB_INLINE void eb_plane_neon(const eb_conv *layer, const int8_t *row, int32_t channel,
                             const eb_phase *phase, int8_t *to) {
    const int32_t channels = layer->in_channels, step = layer->stride * channels;
    const int32_t bytes = layer->in_width * channels;
    const int32_t from = phase->first * channels + channel;
    int32_t whole = phase->inside;
    to = eb_fill_neon(to, layer->zero_point, 16 * phase->before);
    if (channels - channel < 16)
        while (whole > 0 && from + (whole - 1) * step + 16 > bytes) whole--;
    to = eb_gather_neon(to, row + from, step, whole);
    for (; whole < phase->inside; whole++, to += 16)
        eb_copy_neon(to, row + from + whole * step, channels - channel);
    eb_fill_neon(to, layer->zero_point, 16 * phase->after);
}

/* Copies all planes and notes where each step's inputs lie. */
static void eb_planes_neon(const eb_conv *layer, const int8_t *const *rows, int32_t *offset,
                           int8_t *to) {
    const int32_t stride = layer->stride;
    const int32_t reach = (layer->kernel_width - 1) * layer->dilation;
    const int32_t phases = reach + 1 < stride ? reach + 1 : stride;
    const int32_t columns = layer->out_width + reach / stride;
    const int32_t plane = 16 * columns, groups = (layer->in_channels + 15) >> 4;
    const int32_t width = layer->kernel_width, all = layer->kernel_height * groups * width;
    for (int32_t kx = 0, x = 0; kx < width; kx++, x += layer->dilation)
        offset[kx] = x % stride * plane + x / stride * 16;
    for (int32_t n = width; n < all; n++) offset[n] = offset[n - width] + phases * plane;
    for (int32_t n = 0; n < phases; n++) {
        const eb_phase phase = eb_phase_of(layer, n - layer->pad, columns);
        int8_t *put = to + n * plane;
        for (int32_t ky = 0; ky < layer->kernel_height; ky++)
            for (int32_t c = 0; c < layer->in_channels; c += 16, put += phases * plane)
                if (rows[ky])
                    eb_plane_neon(layer, rows[ky], c, &phase, put);
                else
                    eb_fill_neon(put, layer->zero_point, plane);
    }
}

/* Copies the windows of all pixels, each behind the other, and from there to steps. */
static void eb_windows_neon(const eb_conv *layer, const int8_t *const *rows, int32_t steps,
                            int8_t *to) {
    const int32_t joined = layer->dilation == 1, channels = layer->in_channels;
    const int32_t run = joined ? layer->kernel_width * channels : channels;
    const int32_t runs = joined ? 1 : layer->kernel_width;
    const int32_t step = layer->stride * channels, each = 16 * steps + 16;
    const int32_t count = layer->out_width, size = eb_bordered_bytes(layer);
    int8_t *const windows = to + 16 * steps * count;
    int8_t *const bordered = windows + each * count;
    const int8_t *from = bordered;
    int8_t *put = windows;
    eb_bordered_rows(layer, rows, bordered);
    for (int32_t ky = 0; ky < layer->kernel_height; ky++, from += size)
#pragma GCC unroll 1
        for (int32_t n = 0; n < runs; n++, put += run) {
            const int8_t *get = from + n * layer->dilation * channels;
#pragma GCC unroll 1
            for (int32_t i = 0; i < run; i += 16)
#pragma GCC unroll 4
                for (int32_t p = 0; p < count; p++)
                    vst1q_s8(put + p * each + i, vld1q_s8(get + p * step + i));
        }
#pragma GCC unroll 1
    for (int32_t k = 0; k < steps; k++) to = eb_gather_neon(to, windows + 16 * k, each, count);
}

/* eb_kernel for convolutions; the output may lie on the input of a 1x1 kernel. */
static void eb_conv_neon(const void *parameters, const int8_t *const *rows, int8_t *out,
                         void *scratch, int32_t number) {
    const eb_conv *layer = (const eb_conv *)parameters;
    const int32_t all = layer->depth >> 2;
    const int32_t steps = layer->depth & EB_TWICE ? all / 2 : all;
    int32_t *const offsets = (int32_t *)scratch;
    int8_t *const inputs = (int8_t *)scratch + ((4 * all + 15) & ~15);
    eb_block block;
    (void)number;
    block.offsets = offsets;
    block.steps = all;
    block.triples = 0;
    block.output = layer->output;
    if (layer->kernel_width == 3 && layer->stride == 1 && layer->dilation == 1 &&
        !(layer->depth & EB_WINDOWS))
        block.triples = all / 3;
    block.x = inputs;
    if (layer->depth & EB_WINDOWS) {
#pragma GCC unroll 1
        for (int32_t k = 0; k < steps; k++) offsets[k] = k * 16 * layer->out_width;
        eb_windows_neon(layer, rows, steps, inputs);
    } else {
        eb_planes_neon(layer, rows, offsets, inputs);
    }
    for (int32_t k = steps; k < all; k++) offsets[k] = offsets[k - steps];
    eb_outputs_of(layer, &block, out, layer->out_width);
}

#endif
