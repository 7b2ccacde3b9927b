/* Blocks of eight pixels and eight outputs with dot products. Included by conv_neon.h, which says
   what an eb_block is. */
#ifndef EB_DOT_NEON_H
#define EB_DOT_NEON_H

/* In this order, which compilers would else trade for one that spills registers. */
#define EB_DOT(sum, w, x, lane) \
    __asm__ volatile("sdot %0.4s, %1.16b, %2.4b[" #lane "]" : "+w"(sum) : "w"(w), "w"(x))
#define EB_DOT_LANE(lane)                                                                     \
    a = vld1q_s8(w + 32 * (lane));                                                            \
    b = vld1q_s8(w + 32 * (lane) + 16);                                                       \
    _Pragma("GCC unroll 8") for (int32_t p = 0; p < pixels; p++) EB_DOT(low[p], a, v[p], lane); \
    _Pragma("GCC unroll 8") for (int32_t p = 0; p < pixels; p++) EB_DOT(high[p], b, v[p], lane);

EB_INLINE void eb_dot_step(int32x4_t *low, int32x4_t *high, const int8x16_t *v, const int8_t *w,
                           const int32_t pixels, const int32_t lanes) {
    int8x16_t a, b;
    EB_DOT_LANE(0)
    EB_DOT_LANE(1)
    EB_DOT_LANE(2)
    if (lanes > 3) {
        EB_DOT_LANE(3)
    }
}

EB_INLINE void eb_inputs_of(int8x16_t *v, const int8_t *x, const int32_t count) {
#pragma GCC unroll 10
    for (int32_t p = 0; p < count; p++) v[p] = vld1q_s8(x + 16 * p);
}

/* Adds all products of a block. Three neighbouring columns of the kernel share inputs. */
EB_INLINE void eb_dot_steps(const eb_block *it, const int8_t *x, int32x4_t *low,
                            int32x4_t *high, const int8_t *w, const int32_t pixels) {
    const int32_t *offset = it->offsets;
    int8x16_t v[10];
    if (pixels == 8 && it->triples) {
#pragma GCC unroll 1
        for (int32_t n = it->triples; n; n--, x += it->triple_step, w += 384) {
            eb_inputs_of(v, x, pixels + 2);
            eb_dot_step(low, high, v, w, pixels, 4);
            eb_dot_step(low, high, v + 1, w + 128, pixels, 4);
            eb_dot_step(low, high, v + 2, w + 256, pixels, 4);
        }
        return;
    }
    if (pixels == 8 && it->is_short && it->steps == 2) {
        eb_inputs_of(v, x + offset[0], pixels);
        eb_dot_step(low, high, v, w, pixels, 4);
        eb_inputs_of(v, x + offset[1], pixels);
        eb_dot_step(low, high, v, w + 128, pixels, 3);
        return;
    }
    if (it->steps & 1) {
        eb_inputs_of(v, x + *offset++, pixels);
        eb_dot_step(low, high, v, w, pixels, 4);
        w += 128;
    }
#pragma GCC unroll 1
    for (int32_t n = it->steps >> 1; n; n--, offset += 2, w += 256) {
        eb_inputs_of(v, x + offset[0], pixels);
        eb_dot_step(low, high, v, w, pixels, 4);
        eb_inputs_of(v, x + offset[1], pixels);
        eb_dot_step(low, high, v, w + 128, pixels, 4);
    }
}

/* Stores both halves; %1 moves on to the next pixel. */
#define EB_STORE_TWO(to, y, step)                                                        \
    __asm__ volatile("st1 {%1.d}[0], [%0], %2\n\tst1 {%1.d}[1], [%0], %2"                \
                     : "+r"(to) : "w"(y), "r"(step) : "memory")

EB_INLINE int16x8_t eb_upto16(int32x4_t a, int32x4_t b) {
    return vqmovn_high_s32(vqmovn_s32(a), b);
}

/* eb_requantize4 of two vectors a pixel. Once 16 bits hold what is left to shift, all eight outputs
   of a pixel are done at once: narrowed, too large a number stays beyond the bytes. */
EB_INLINE void eb_requantize8(const int32x4_t *low, const int32x4_t *high, int16x8_t *y,
                              const int32_t count, const eb_line *line, const eb_output *output) {
    const eb_lines4 a = eb_lines_of(line), b = eb_lines_of(line + 4);
    if (output->rule) {
        const int32x4_t down_a = vnegq_s32(a.c), down_b = vnegq_s32(b.c);
        const int16x8_t twice = vdupq_n_s16((int16_t)(2 * output->zero_point));
#pragma GCC unroll 8
        for (int32_t p = 0; p < count; p++) {
            const int32x4_t s = vqrdmulhq_s32(low[p], a.multiplier);
            const int32x4_t t = vqrdmulhq_s32(high[p], b.multiplier);
            y[p] = vrhaddq_s16(eb_upto16(vshlq_s32(vsraq_n_s32(s, low[p], 31), down_a),
                                         vshlq_s32(vsraq_n_s32(t, high[p], 31), down_b)),
                               twice);
        }
        return;
    }
    const int32x4_t half_a = vshrq_n_s32(a.multiplier, 1), half_b = vshrq_n_s32(b.multiplier, 1);
    const int32_t later = output->fraction < 8 ? output->fraction : 8;
    const int16x8_t down = vdupq_n_s16((int16_t)-later);
    const int32x4_t before = vdupq_n_s32(later - output->fraction);
    if (output->fraction > 8)
#pragma GCC unroll 8
        for (int32_t p = 0; p < count; p++) {
            const int32x4_t s = vaddq_s32(vqdmulhq_s32(low[p], half_a), a.c);
            const int32x4_t t = vaddq_s32(vqdmulhq_s32(high[p], half_b), b.c);
            y[p] = vshlq_s16(eb_upto16(vshlq_s32(s, before), vshlq_s32(t, before)), down);
        }
    else
#pragma GCC unroll 8
        for (int32_t p = 0; p < count; p++) {
            const int32x4_t s = vaddq_s32(vqdmulhq_s32(low[p], half_a), a.c);
            const int32x4_t t = vaddq_s32(vqdmulhq_s32(high[p], half_b), b.c);
            y[p] = vshlq_s16(eb_upto16(s, t), down);
        }
}

/* Lanes are outputs. */
EB_INLINE void eb_outputs8(const eb_block *it, const int8_t *x, int32_t o, int8_t *to,
                           const int32_t pixels) {
    const int8_t *w = it->weights + o * (int64_t)it->weight_step;
    const eb_line *line = it->lines + 8 * o;
    int32x4_t low[8], high[8];
    low[0] = eb_start_of(it, line, 8 * o);
    high[0] = eb_start_of(it, line + 4, 8 * o + 4);
#pragma GCC unroll 8
    for (int32_t p = 1; p < pixels; p++) low[p] = low[0], high[p] = high[0];
    eb_dot_steps(it, x, low, high, w, pixels);
    __asm__("" : "+r"(line)); /* rather read twice than kept in the stack */
    int16x8_t y16[8];
    int8x16_t y[4];
    if (it->sums) {
#pragma GCC unroll 8
        for (int32_t p = 0; p < pixels; p++) {
            vst1q_s32(it->sums + 8 * p, low[p]);
            vst1q_s32(it->sums + 8 * p + 4, high[p]);
        }
        return;
    }
    eb_requantize8(low, high, y16, pixels, line, &it->output);
#pragma GCC unroll 4
    for (int32_t p = 0; p < pixels; p += 2) {
        const int32_t q = p + 1 < pixels ? p + 1 : p;
        y[p / 2] = vqmovn_high_s16(vqmovn_s16(y16[p]), y16[q]);
    }
    if (it->output.low > -128 || it->output.high < 127)
#pragma GCC unroll 4
        for (int32_t p = 0; p < pixels; p += 2) y[p / 2] = eb_clamp16(y[p / 2], &it->output);
    if (pixels == 1) {
        vst1_s8(to, vget_low_s8(y[0]));
        return;
    }
    const int64_t step = it->out_step;
#pragma GCC unroll 4
    for (int32_t p = 0; p < pixels; p += 2) EB_STORE_TWO(to, y[p / 2], step);
}

#endif
