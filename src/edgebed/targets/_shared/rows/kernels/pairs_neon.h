/* Sums of two rows with Advanced SIMD, sixteen at a time. Included by pairs.h. */
#ifndef EB_PAIRS_NEON_H
#define EB_PAIRS_NEON_H

#include <arm_neon.h>

/* Bits 16 and up of eight sums. */
EB_STATIC inline int16x8_t eb_sum_upper(int32x4_t a, int32x4_t b) {
#if defined(__aarch64__)
    return vuzp2q_s16(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b));
#else
    return vcombine_s16(vshrn_n_s32(a, 16), vshrn_n_s32(b, 16));
#endif
}

EB_STATIC inline int8x16_t eb_sum_bytes(const int32x4_t *t) {
    const int16x8_t low = eb_sum_upper(t[0], t[1]), high = eb_sum_upper(t[2], t[3]);
    return vcombine_s8(vqshrn_n_s16(low, EB_SUM_SHIFT - 16), vqshrn_n_s16(high, EB_SUM_SHIFT - 16));
}

#if defined(__aarch64__) && defined(__ARM_FEATURE_QRDMX)

/* Bytes go to the top of a lane each: times a factor with seven bits behind the point, twice the
   product's upper half is the exact product. Factors are below 2^23, as the sum fits 32 bits. */
typedef struct {
    uint8x16_t places[4];
    int32x4_t c, a_factor, b_factor;
} eb_pair_sum;

EB_STATIC inline eb_pair_sum eb_pair_sum_of(const eb_pair_t *layer) {
    const uint32x4_t first = {0x00ffffff, 0x01ffffff, 0x02ffffff, 0x03ffffff};
    eb_pair_sum it;
    for (int32_t i = 0; i < 4; i++)
        it.places[i] = vreinterpretq_u8_u32(
            vaddq_u32(first, vdupq_n_u32((uint32_t)i << 26)));
    it.c = vdupq_n_s32(layer->c);
    it.a_factor = vdupq_n_s32(layer->a_factor * 128);
    it.b_factor = vdupq_n_s32(layer->b_factor * 128);
    return it;
}

EB_STATIC inline int8x16_t eb_sum_sixteen(int8x16_t a, int8x16_t b, const eb_pair_sum *it) {
    int32x4_t t[4];
    for (int32_t i = 0; i < 4; i++) {
        const int8x16_t x = vqtbl1q_s8(a, it->places[i]), y = vqtbl1q_s8(b, it->places[i]);
        t[i] = vqrdmlahq_s32(it->c, vreinterpretq_s32_s8(x), it->a_factor);
        t[i] = vqrdmlahq_s32(t[i], vreinterpretq_s32_s8(y), it->b_factor);
    }
    return eb_sum_bytes(t);
}

#else

typedef struct {
    int32x4_t c;
    int32_t a_factor, b_factor;
} eb_pair_sum;

EB_STATIC inline eb_pair_sum eb_pair_sum_of(const eb_pair_t *layer) {
    const eb_pair_sum it = {vdupq_n_s32(layer->c), layer->a_factor, layer->b_factor};
    return it;
}

EB_STATIC inline int32x4_t eb_sum_four(int16x4_t a, int16x4_t b, const eb_pair_sum *it) {
    const int32x4_t t = vmlaq_n_s32(it->c, vmovl_s16(a), it->a_factor);
    return vmlaq_n_s32(t, vmovl_s16(b), it->b_factor);
}

EB_STATIC inline int8x16_t eb_sum_sixteen(int8x16_t a, int8x16_t b, const eb_pair_sum *it) {
    const int16x8_t x[2] = {vmovl_s8(vget_low_s8(a)), vmovl_s8(vget_high_s8(a))};
    const int16x8_t y[2] = {vmovl_s8(vget_low_s8(b)), vmovl_s8(vget_high_s8(b))};
    int32x4_t t[4];
    for (int32_t i = 0; i < 2; i++) {
        t[2 * i] = eb_sum_four(vget_low_s16(x[i]), vget_low_s16(y[i]), it);
        t[2 * i + 1] = eb_sum_four(vget_high_s16(x[i]), vget_high_s16(y[i]), it);
    }
    return eb_sum_bytes(t);
}

#endif

/* As many sums as are multiples of sixteen; returns how many. Blocks are read before they are
   written: `out` may be an operand. */
EB_STATIC int32_t eb_sum_neon(const eb_pair_t *layer, const int8_t *a, const int8_t *b, int8_t *out) {
    const eb_pair_sum it = eb_pair_sum_of(layer);
    const int32_t count = layer->shape[3];
    int32_t i = 0;
#pragma GCC unroll 1
    for (; i + 32 <= count; i += 32) {
        const int8x16_t x = vld1q_s8(a + i), y = vld1q_s8(b + i);
        const int8x16_t v = vld1q_s8(a + i + 16), w = vld1q_s8(b + i + 16);
        vst1q_s8(out + i, eb_sum_sixteen(x, y, &it));
        vst1q_s8(out + i + 16, eb_sum_sixteen(v, w, &it));
    }
    if (i + 16 <= count) {
        vst1q_s8(out + i, eb_sum_sixteen(vld1q_s8(a + i), vld1q_s8(b + i), &it));
        i += 16;
    }
    return i;
}

#endif
