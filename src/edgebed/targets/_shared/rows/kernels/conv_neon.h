/* Convolution and dense layers with Advanced SIMD: AArch64, with or without dot products, and
   Armv7.

   A step multiplies sixteen inputs of a pixel's window. Before, each row's inputs are copied to
   scratch so that those of neighbouring pixels for the same step lie side by side, sixteen bytes
   each: planes of sixteen channels, for strides one plane for the even and one for the odd columns;
   or, where few channels would leave such planes nearly empty, whole windows. What fills up the sixteen is arbitrary: the weights there are zero. Nothing of the output is written
   before its inputs were copied. */
#ifndef EB_CONV_NEON_H
#define EB_CONV_NEON_H

#include "inputs_neon.h"
#include "requantize_neon.h"

#ifndef EB_NEON_DOT
#define EB_NEON_DOT 0
#endif
enum {
    EB_PIXELS = EB_NEON_DOT ? 8 : sizeof(void *) == 8 ? 4 : 2,
    EB_OUTPUTS = EB_NEON_DOT ? 8 : 4
};

/* eb_conv.depth: eight times the steps, and */
enum {
    EB_WINDOWS = 1, /* whole windows are collected, not planes */
    EB_TWICE = 2,   /* weights beyond a byte: the sum of two sets; half of the steps each */
    EB_GATHERED = 4 /* windows are collected with a table that lies behind the weights */
};

/* What blocks of pixels and outputs are computed from, and where they go. */
typedef struct {
    const int8_t *x;        /* inputs of the first pixel */
    const int32_t *offsets; /* of each step's inputs from there */
    int32_t steps;
    int32_t triples; /* steps are in threes, each sixteen bytes behind the one before, */
    int32_t triple_step; /* and so many bytes between their first ones */
    int32_t is_short;    /* the last step's last four inputs have no weights */
    const int8_t *weights;
    int32_t weight_step; /* from a block of outputs to the next one, in bytes */
    const int8_t *sums_of_weights; /* 0, or of the kernel's rows above each, for rows outside */
    int32_t above, below, row_step;
    int32_t zero_point;
    const eb_line *lines;
    int8_t *out;
    int32_t out_step; /* from a pixel's outputs to the next one's */
    int32_t groups;   /* of EB_PIXELS pixels, or as many as the function does at once */
    int32_t blocks;   /* of EB_OUTPUTS outputs */
    int32_t *sums;    /* for what a rare rule makes of them; then there is one block */
    eb_output output;
} eb_block;

/* What four sums begin with: rows outside of the map hold zero points. */
EB_INLINE int32x4_t eb_start_of(const eb_block *it, const eb_line *line, int32_t output) {
    const int32x4_t bias = eb_bias_of(line);
    const int8_t *from = it->sums_of_weights;
    if (__builtin_expect(!from, 1)) return bias;
    from += 4 * output;
    int32x4_t sum = vreinterpretq_s32_s8(vld1q_s8(from + it->above));
    sum = vaddq_s32(sum, vreinterpretq_s32_s8(vld1q_s8(from + it->row_step)));
    sum = vsubq_s32(sum, vreinterpretq_s32_s8(vld1q_s8(from + it->below)));
    return vmlaq_s32(bias, sum, vdupq_n_s32(it->zero_point));
}

#if EB_NEON_DOT

#include "dot_neon.h"

#else

/* Two products of a byte and a byte fit 16 bits, because no two packed weights that meet are -128.
   In this order, which compilers would else trade for one that spills registers. */
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
EB_INLINE void eb_outputs4(const eb_block *it, const int8_t *x, int32_t o, int8_t *to,
                           const int32_t pixels) {
    const int8_t *w = it->weights + o * (intptr_t)it->weight_step;
    const eb_line *line = it->lines + 4 * o;
    const int32_t *offset = it->offsets;
    int32x4_t acc[4][4], y[4];
#pragma GCC unroll 4
    for (int32_t p = 0; p < pixels; p++)
#pragma GCC unroll 4
        for (int32_t i = 0; i < 4; i++) acc[p][i] = vdupq_n_s32(0);
    int32_t step = it->steps;
#pragma GCC unroll 1
    do {
        const int8_t *inputs = x + *offset++;
        int8x16_t v[4], u[4];
#pragma GCC unroll 4
        for (int32_t p = 0; p < pixels; p++) v[p] = vld1q_s8(inputs + 16 * p);
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
    const int32x4_t start = eb_start_of(it, line, 4 * o);
#pragma GCC unroll 4
    for (int32_t p = 0; p < pixels; p++)
        y[p] = vaddq_s32(eb_sums4(acc[p][0], acc[p][1], acc[p][2], acc[p][3]), start);
    if (it->sums) {
#pragma GCC unroll 4
        for (int32_t p = 0; p < pixels; p++) vst1q_s32(it->sums + 4 * p, y[p]);
        return;
    }
    eb_requantize4(y, pixels, line, &it->output);
#pragma GCC unroll 4
    for (int32_t p = 0; p < pixels; p += 2, to += it->out_step) {
        const int32_t q = p + 1 < pixels ? p + 1 : p;
        const int32x2_t two = vreinterpret_s32_s8(eb_clamp8(eb_bytes8(y[p], y[q]), &it->output));
        const int32_t first = vget_lane_s32(two, 0), second = vget_lane_s32(two, 1);
        __builtin_memcpy(to, &first, 4);
        if (q > p) {
            to += it->out_step;
            __builtin_memcpy(to, &second, 4);
        }
    }
}

#endif

EB_INLINE void eb_block_of(const eb_block *block, const int32_t pixels) {
    const eb_block it = *block;
    const int8_t *x = it.x;
    int8_t *out = it.out;
#pragma GCC unroll 1
    for (int32_t n = it.groups; n > 0; n--, x += 16 * pixels, out += pixels * it.out_step)
#pragma GCC unroll 1
        for (int32_t o = 0; o < it.blocks; o++)
#if EB_NEON_DOT
            eb_outputs8(&it, x, o, out + 8 * o, pixels);
#else
            eb_outputs4(&it, x, o, out + 4 * o, pixels);
#endif
}

static __attribute__((noinline, unused)) void eb_block_8(const eb_block *block) {
    eb_block_of(block, EB_PIXELS < 8 ? EB_PIXELS : 8);
}
static __attribute__((noinline, unused)) void eb_block_4(const eb_block *block) {
    eb_block_of(block, EB_PIXELS < 4 ? EB_PIXELS : 4);
}
static __attribute__((noinline)) void eb_block_2(const eb_block *block) { eb_block_of(block, 2); }
static __attribute__((noinline)) void eb_block_1(const eb_block *block) { eb_block_of(block, 1); }

/* Computes some of `count` pixels; returns how many. */
static int32_t eb_pixels_of(eb_block *block, int32_t count) {
    const int32_t many = block->groups; /* at most so many groups */
    int32_t pixels = count > 1 ? 2 : 1;
    if (EB_PIXELS >= 4 && count >= 4) pixels = 4;
    if (EB_PIXELS >= 8 && count >= 8) pixels = 8;
    if (block->groups > count / pixels) block->groups = count / pixels;
    const int32_t done = block->groups * pixels;
    if (EB_PIXELS >= 8 && pixels == 8)
        eb_block_8(block);
    else if (EB_PIXELS >= 4 && pixels == 4)
        eb_block_4(block);
    else if (pixels == 2)
        eb_block_2(block);
    else
        eb_block_1(block);
    block->groups = many;
    return done;
}

/* Computes one block of outputs of some of `count` pixels in a place apart: an incomplete one, or
   by a rare rule. Returns how many. */
static __attribute__((noinline)) int32_t eb_outputs_apart(const eb_conv *layer, eb_block block,
                                                          int8_t *out, int32_t o, int32_t count) {
    const int32_t left = layer->out_channels - o, outputs = left < EB_OUTPUTS ? left : EB_OUTPUTS;
    int8_t few[EB_PIXELS * EB_OUTPUTS];
    int32_t sums[EB_PIXELS * EB_OUTPUTS];
    eb_line lines[EB_OUTPUTS];
    for (int32_t i = 0; i < EB_OUTPUTS; i++) lines[i] = layer->lines[o + (i < outputs ? i : 0)];
    block.weights += o / EB_OUTPUTS * (intptr_t)block.weight_step;
    if (block.sums_of_weights) block.sums_of_weights += 4 * o;
    block.lines = lines;
    block.groups = block.blocks = 1;
    block.out = few;
    block.out_step = EB_OUTPUTS;
    block.sums = eb_is_rare(&layer->output) ? sums : 0;
    const int32_t done = eb_pixels_of(&block, count);
    if (block.sums)
        eb_requantize_rarely(sums, few, done, EB_OUTPUTS, lines, &layer->output);
    for (int32_t p = 0; p < done; p++)
        eb_copy_neon(out + p * layer->out_channels + o, few + p * EB_OUTPUTS, outputs);
    return done;
}

/* Computes all outputs of `count` pixels. */
static __attribute__((noinline)) void eb_outputs_of(const eb_conv *layer, eb_block *block,
                                                    int8_t *out, int32_t count) {
    const int32_t outputs = layer->out_channels;
    block->lines = layer->lines;
    block->blocks = eb_is_rare(&layer->output) ? 0 : outputs / EB_OUTPUTS;
    block->out_step = outputs;
    block->sums = 0;
    const int32_t whole = block->blocks * EB_OUTPUTS == outputs;
    while (count > 0) {
        int32_t done = 0;
        block->out = out;
        block->groups = whole ? count : 1;
        if (block->blocks) done = eb_pixels_of(block, count);
        for (int32_t o = block->blocks * EB_OUTPUTS; o < outputs; o += EB_OUTPUTS)
            done = eb_outputs_apart(layer, *block, out, o, count);
        block->x += 16 * done;
        out += done * outputs;
        count -= done;
    }
}

/* Leaves rows of the kernel out that lie above or below the map. Returns the first one inside. */
static int32_t eb_rows_inside(const eb_conv *layer, const int8_t *const *rows, eb_block *block,
                              int32_t *count) {
    const int32_t height = layer->kernel_height, outputs = layer->out_channels;
    const int32_t blocks = (outputs + EB_OUTPUTS - 1) / EB_OUTPUTS;
    const int32_t each = block->steps / height; /* steps of a row */
    int32_t first = 0, last = height;
    while (first < height && !rows[first]) first++;
    while (last > first && !rows[last - 1]) last--;
    *count = height;
    if (first == last || last - first == height) return 0;
    block->row_step = 4 * EB_OUTPUTS * blocks;
    block->above = first * block->row_step;
    block->below = last * block->row_step;
    block->row_step *= height; /* the sums of all rows */
    block->zero_point = layer->zero_point;
    block->sums_of_weights = block->weights + blocks * (intptr_t)block->weight_step;
    block->weights += first * each * 16 * EB_OUTPUTS;
    block->steps = (last - first) * each;
    *count = last - first;
    return first;
}

EB_INLINE int32_t eb_window_bytes(const eb_conv *layer) {
    return layer->kernel_height * layer->kernel_width * layer->in_channels;
}

/* The table behind the weights, or 0. */
EB_INLINE const int8_t *eb_table_of(const eb_conv *layer, const eb_block *block) {
    const int32_t blocks = (layer->out_channels + EB_OUTPUTS - 1) / EB_OUTPUTS;
    if (!(layer->depth & EB_GATHERED)) return 0;
    return block->weights + blocks * (intptr_t)block->weight_step;
}

/* eb_kernel for convolutions; the output may lie on the input of a 1x1 kernel. */
static void eb_conv_neon(const void *parameters, const int8_t *const *rows, int8_t *out,
                         void *scratch, int32_t number) {
    const eb_conv *layer = (const eb_conv *)parameters;
    const int32_t all = layer->depth >> 3, twice = layer->depth & EB_TWICE;
    const int32_t steps = twice ? all / 2 : all;
    int32_t *const offsets = (int32_t *)scratch;
    int8_t *const inputs = (int8_t *)scratch + ((4 * all + 15) & ~15);
    int32_t first = 0, height = layer->kernel_height;
    eb_block block;
    (void)number;
    block.x = inputs;
    block.offsets = offsets;
    block.steps = all;
    block.triples = block.is_short = 0;
    block.weights = (const int8_t *)layer->weights;
    block.weight_step = 16 * EB_OUTPUTS * all;
    block.sums_of_weights = 0;
    block.output = layer->output;
    if (layer->depth & EB_WINDOWS) {
#pragma GCC unroll 1
        for (int32_t k = 0; k < steps; k++) offsets[k] = k * 16 * layer->out_width;
        block.is_short = !twice && 16 * all - eb_window_bytes(layer) >= 4;
        eb_windows_neon(layer, rows, steps, eb_table_of(layer, &block), inputs);
    } else {
        if (!twice) first = eb_rows_inside(layer, rows, &block, &height);
        if (layer->kernel_width == 3 && layer->stride == 1 && layer->dilation == 1 && !twice)
            block.triples = block.steps / 3;
        block.triple_step = 16 * (layer->out_width + 2);
        /* Nothing but whole groups of pixels by triples needs no offsets. */
        int32_t *const wanted =
            EB_PIXELS == 8 && block.triples && !(layer->out_width & 7) ? 0 : offsets;
        eb_planes_neon(layer, rows + first, height, wanted, inputs);
    }
#pragma GCC unroll 1
    for (int32_t k = steps; k < all; k++) offsets[k] = offsets[k - steps];
    eb_outputs_of(layer, &block, out, layer->out_width);
}

#endif
