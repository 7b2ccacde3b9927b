/* Sums of a tensor's values, from which its statistics follow. Included by eb_trace.h. */
#ifndef EB_TRACE_SUMS_H
#define EB_TRACE_SUMS_H

#if defined(__ARM_NEON)
#include <arm_neon.h>
#elif defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#include <arm_mve.h>
#endif

typedef struct {
    uint32_t count, zeros, at_low, at_high;
    union {
        struct {
            int64_t sum;
            uint64_t squares;
            int32_t low, high;
        } i;
#if EB_TRACE_REALS
        struct {
            double sum, squares;
            float low, high;
        } f;
#endif
    } of;
} eb_trace_sums;

/* Of up to 256 bytes, whose sums stay within 32 bits. */
typedef struct {
    int32_t sum, low, high;
    uint32_t squares;
} eb_trace_block;

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
/* Sixteen bytes at once; both return how many bytes they took. */
static uint32_t eb_trace_words(eb_trace_block *b, const uint8_t *bytes, uint32_t count,
                               uint32_t flip) {
    const uint8x16_t turn = vdupq_n_u8((uint8_t)flip);
    const uint32_t taken = count & ~15u;
    int32_t sum = 0, squares = 0;
    int8_t low = 127, high = -128;
    for (const uint8_t *const end = bytes + taken; bytes != end; bytes += 16) {
        const int8x16_t v = vreinterpretq_s8_u8(veorq_u8(vldrbq_u8(bytes), turn));
        sum = vaddvaq_s8(sum, v);
        squares = vmladavaq_s8(squares, v, v);
        low = vminvq_s8(low, v), high = vmaxvq_s8(high, v);
    }
    b->sum = sum, b->squares = (uint32_t)squares, b->low = low, b->high = high;
    return taken;
}

static uint32_t eb_trace_same(uint32_t *found, const uint8_t *bytes, uint32_t count,
                              uint32_t sought) {
    const uint8x16_t ones = vdupq_n_u8(1);
    const uint32_t taken = count & ~15u;
    for (const uint8_t *const end = bytes + taken; bytes != end; bytes += 16)
        *found = vaddvaq_p_u8(*found, ones, vcmpeqq_n_u8(vldrbq_u8(bytes), (uint8_t)sought));
    return taken;
}
#elif defined(__ARM_FEATURE_DSP) && defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
/* Four bytes at once; both return how many bytes they took. */
static uint32_t eb_trace_words(eb_trace_block *b, const uint8_t *bytes, uint32_t count,
                               uint32_t flip) {
    uint32_t low = 0x7F7F7F7Fu, high = 0x80808080u, squares = 0;
    const uint32_t taken = count & ~3u;
    int32_t sum = 0;
    for (const uint8_t *const end = bytes + taken; bytes != end; bytes += 4) {
        uint32_t word, even, odd, t;
        __builtin_memcpy(&word, bytes, 4);
        word ^= flip;
        __asm__("sxtb16 %0, %2\n\tsxtb16 %1, %2, ror #8" : "=&r"(even), "=r"(odd) : "r"(word));
        __asm__("smlad %0, %2, %2, %0\n\tsmlad %0, %3, %3, %0\n\t"
                "smlad %1, %2, %4, %1\n\tsmlad %1, %3, %4, %1"
                : "+&r"(squares), "+&r"(sum) : "r"(even), "r"(odd), "r"(0x00010001u));
        __asm__("ssub8 %2, %3, %0\n\tsel %0, %0, %3\n\t"
                "ssub8 %2, %3, %1\n\tsel %1, %3, %1"
                : "+&r"(low), "+&r"(high), "=&r"(t) : "r"(word) : "cc");
    }
    for (int i = 0; i < 32; i += 8) {
        const int32_t l = (int8_t)(low >> i), h = (int8_t)(high >> i);
        if (taken && l < b->low) b->low = l;
        if (taken && h > b->high) b->high = h;
    }
    b->sum = sum, b->squares = squares;
    return taken;
}

static uint32_t eb_trace_same(uint32_t *found, const uint8_t *bytes, uint32_t count,
                              uint32_t sought) {
    const uint32_t taken = count & ~3u;
    uint32_t lanes = 0; /* at most 64 each */
    for (const uint8_t *const end = bytes + taken; bytes != end; bytes += 4) {
        uint32_t word, t;
        __builtin_memcpy(&word, bytes, 4);
        /* A byte that differs carries when 255 is added. */
        __asm__("uadd8 %1, %2, %3\n\tsel %1, %4, %5\n\tadd %0, %0, %1"
                : "+&r"(lanes), "=&r"(t)
                : "r"(word ^ sought), "r"(0xFFFFFFFFu), "r"(0), "r"(0x01010101u) : "cc");
    }
    for (int i = 0; i < 32; i += 8) *found += lanes >> i & 255;
    return taken;
}
#elif defined(__ARM_NEON)
static uint32_t eb_trace_words(eb_trace_block *b, const uint8_t *bytes, uint32_t count,
                               uint32_t flip) {
    const uint8x16_t turn = vdupq_n_u8((uint8_t)flip);
    const uint32_t taken = count & ~15u;
    int8x16_t low = vdupq_n_s8(127), high = vdupq_n_s8(-128);
    int16x8_t sums = vdupq_n_s16(0); /* at most 16 times two bytes each */
    int32x4_t squares = vdupq_n_s32(0);
    int8_t lows[16], highs[16];
    int16_t parts[8];
    int32_t squared[4];
    for (const uint8_t *const end = bytes + taken; bytes != end; bytes += 16) {
        const int8x16_t v = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(bytes), turn));
        sums = vpadalq_s8(sums, v);
        squares = vpadalq_s16(squares, vmull_s8(vget_low_s8(v), vget_low_s8(v)));
        squares = vpadalq_s16(squares, vmull_s8(vget_high_s8(v), vget_high_s8(v)));
        low = vminq_s8(low, v), high = vmaxq_s8(high, v);
    }
    vst1q_s8(lows, low), vst1q_s8(highs, high), vst1q_s16(parts, sums), vst1q_s32(squared, squares);
    for (int i = 0; i < 16; i++) {
        b->low = lows[i] < b->low ? lows[i] : b->low;
        b->high = highs[i] > b->high ? highs[i] : b->high;
    }
    for (int i = 0; i < 8; i++) b->sum += parts[i];
    for (int i = 0; i < 4; i++) b->squares += (uint32_t)squared[i];
    return taken;
}

static uint32_t eb_trace_same(uint32_t *found, const uint8_t *bytes, uint32_t count,
                              uint32_t sought) {
    const uint8x16_t wanted = vdupq_n_u8((uint8_t)sought);
    const uint32_t taken = count & ~15u;
    uint8x16_t lanes = vdupq_n_u8(0);
    uint8_t counts[16];
    for (const uint8_t *const end = bytes + taken; bytes != end; bytes += 16)
        lanes = vsubq_u8(lanes, vceqq_u8(vld1q_u8(bytes), wanted));
    vst1q_u8(counts, lanes);
    for (int i = 0; i < 16; i++) *found += counts[i];
    return taken;
}
#else
static uint32_t eb_trace_words(eb_trace_block *b, const uint8_t *bytes, uint32_t count,
                               uint32_t flip) {
    (void)b, (void)bytes, (void)count, (void)flip;
    return 0;
}

static uint32_t eb_trace_same(uint32_t *found, const uint8_t *bytes, uint32_t count,
                              uint32_t sought) {
    (void)found, (void)bytes, (void)count, (void)sought;
    return 0;
}
#endif

EB_TRACE_APART uint32_t eb_trace_count(const uint8_t *bytes, uint32_t count, uint32_t wanted) {
    uint32_t found = 0, i;
    wanted &= 255;
    for (i = eb_trace_same(&found, bytes, count, wanted * 0x01010101u); i < count; i++)
        found += bytes[i] == wanted;
    return found;
}

/* Bytes with sign; those without are flipped, and stand for 128 more. */
EB_TRACE_APART void eb_trace_add_bytes(eb_trace_sums *s, const uint8_t *bytes, uint32_t count,
                                       uint32_t flip, int32_t zero) {
    enum { MOST = 256 };
    for (uint32_t left = count, part; left; left -= part, bytes += part) {
        eb_trace_block b = {0, 127, -128, 0};
        part = left < MOST ? left : MOST;
        for (uint32_t i = eb_trace_words(&b, bytes, part, flip); i < part; i++) {
            const int32_t v = (int8_t)(bytes[i] ^ (uint8_t)flip);
            b.sum += v;
            b.squares += (uint32_t)(v * v);
            b.low = v < b.low ? v : b.low;
            b.high = v > b.high ? v : b.high;
        }
        if (!s->count || b.low < s->of.i.low) s->of.i.low = b.low;
        if (!s->count || b.high > s->of.i.high) s->of.i.high = b.high;
        s->count += part;
        s->of.i.sum += b.sum;
        s->of.i.squares += b.squares;
        /* Counted only where there is something to count. */
        if (b.low == -128) {
            const uint32_t found = eb_trace_count(bytes, part, 0x80u ^ flip);
            s->at_low += found;
            if (zero == -128) s->zeros += found;
        }
        if (zero != -128 && b.low <= zero && zero <= b.high)
            s->zeros += eb_trace_count(bytes, part, (uint32_t)zero ^ flip);
        if (b.high == 127) s->at_high += eb_trace_count(bytes, part, 0x7Fu ^ flip);
    }
}

#if EB_TRACE_WORDS
static void eb_trace_add_words(eb_trace_sums *s, const int16_t *values, uint32_t count,
                               int32_t zero) {
    for (uint32_t i = 0; i < count; i++) {
        const int32_t v = values[i];
        if (!s->count++) s->of.i.low = s->of.i.high = v;
        if (v < s->of.i.low) s->of.i.low = v;
        if (v > s->of.i.high) s->of.i.high = v;
        s->of.i.sum += v;
        s->of.i.squares += (uint32_t)(v * v);
        s->zeros += v == zero;
        s->at_low += v == -32768;
        s->at_high += v == 32767;
    }
}
#endif

#if EB_TRACE_REALS
static void eb_trace_add_reals(eb_trace_sums *s, const float *values, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const float v = values[i];
        const int first = s->count++ == s->at_low;
        if (!(v - v == 0.0f)) {
            s->at_low++;
            continue;
        }
        if (first || v < s->of.f.low) s->of.f.low = v;
        if (first || v > s->of.f.high) s->of.f.high = v;
        s->of.f.sum += v;
        s->of.f.squares += (double)v * v;
        s->zeros += v == 0.0f;
    }
}
#endif

static void eb_trace_add(eb_trace_sums *s, const eb_traced *of, const void *bytes, uint32_t count) {
    if (of->kind == EB_TRACE_I8)
        eb_trace_add_bytes(s, (const uint8_t *)bytes, count, 0, of->zero);
    else if (of->kind == EB_TRACE_U8)
        eb_trace_add_bytes(s, (const uint8_t *)bytes, count, 0x80808080u, of->zero - 128);
#if EB_TRACE_WORDS
    else if (of->kind == EB_TRACE_I16)
        eb_trace_add_words(s, (const int16_t *)bytes, count / 2, of->zero);
#endif
#if EB_TRACE_REALS
    else if (of->kind == EB_TRACE_F32)
        eb_trace_add_reals(s, (const float *)bytes, count / 4);
#endif
}

static uint64_t eb_trace_bits(const void *number, int bytes) {
    uint64_t bits = 0; /* as it lies: little-endian */
    for (int i = 0; i < bytes; i++) bits |= (uint64_t)((const uint8_t *)number)[i] << 8 * i;
    return bits;
}

EB_TRACE_APART void eb_trace_say(eb_trace *t, const eb_traced *of, const eb_trace_sums *s) {
    uint8_t text[44], *to = text;
    const void *low = &s->of.i.low, *high = &s->of.i.high;
    if (!s->count) return; /* hidden, or of a kind without statistics */
    to = eb_trace_put(eb_trace_put(eb_trace_put(to, of->id, 2), of->kind, 2), s->count, 4);
    to = eb_trace_put(eb_trace_put(eb_trace_put(to, s->zeros, 4), s->at_low, 4), s->at_high, 4);
    to = eb_trace_put(eb_trace_put(to, eb_trace_bits(low, 4), 4), eb_trace_bits(high, 4), 4);
    to = eb_trace_put(to, eb_trace_bits(&s->of.i.sum, 8), 8);
    eb_trace_put(to, eb_trace_bits(&s->of.i.squares, 8), 8);
    eb_trace_open(t, 'S', sizeof text);
    eb_trace_send(t, text, sizeof text);
    eb_trace_close(t);
}

#endif
