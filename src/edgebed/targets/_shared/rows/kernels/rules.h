/* Every rule of requantisation, exactly, in integers: what layers without lines call for each
   accumulator. Without 64-bit multiplications and shifts where those are library calls. */
#ifndef EB_RULES_H
#define EB_RULES_H

#include "eb_math.h"



/* Keeps a float32 as it is rounded: no compiler may join the product that made it and the sum that
   it goes into. */
#if defined(__aarch64__)
#define EB_ROUNDED(value) __asm__("" : "+w"(value))
#elif defined(__arm__) && defined(__ARM_FP)
#define EB_ROUNDED(value) __asm__("" : "+t"(value))
#elif defined(__x86_64__)
#define EB_ROUNDED(value) __asm__("" : "+x"(value))
#else
#define EB_ROUNDED(value) __asm__("" : "+r"(value))
#endif

/* The two words of a * b. */
EB_STATIC inline int32_t eb_rules_product(int32_t a, int32_t b, uint32_t *low) {
#if defined(__ARM_ARCH_6M__)
    const uint32_t al = (uint32_t)a & 0xffff, bl = (uint32_t)b & 0xffff;
    const int32_t ah = a >> 16, bh = b >> 16;
    const uint32_t least = al * bl;
    const int32_t middle = ah * (int32_t)bl + (int32_t)(least >> 16);
    const int32_t other = (int32_t)al * bh + (middle & 0xffff);
    *low = ((uint32_t)other << 16) | (least & 0xffff);
    return ah * bh + (middle >> 16) + (other >> 16);
#else
    const int64_t product = (int64_t)a * b;
    *low = (uint32_t)product;
    return (int32_t)(product >> 32);
#endif
}

/* (a * b + 2^30) >> 31 for b >= 0: the nearest, ties upwards. */
EB_STATIC inline int32_t eb_rules_rounded(int32_t a, int32_t b) {
    uint32_t low;
    int32_t high = eb_rules_product(a, b, &low);
    const uint32_t sum = low + (1u << 30);
    if (sum < low) high++;
    return (int32_t)(((uint32_t)high << 1) | (sum >> 31));
}

/* value / 2^right, the nearest, ties away from zero. */
EB_STATIC inline int32_t eb_rules_shift(int32_t value, int32_t right) {
    const uint32_t mask = (1u << right) - 1;
    const uint32_t rest = (uint32_t)value & mask;
    return (value >> right) + (rest > (mask >> 1) + (value < 0));
}

/* value * multiplier / 2^31 * 2^shift, rounded after each step. */
EB_STATIC int32_t eb_rules_twice(int32_t value, int32_t multiplier, int32_t shift) {
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t moved = (int32_t)((uint32_t)value << left);
    return eb_rules_shift(eb_rules_rounded(moved, multiplier), left - shift);
}

/* value * multiplier / 2^31 * 2^shift, rounded once, ties upwards; -31 <= shift <= 30. */
EB_STATIC int32_t eb_rules_once(int32_t value, int32_t multiplier, int32_t shift) {
    const int32_t total = 31 - shift;
    uint32_t low, sum;
    int32_t high = eb_rules_product(value, multiplier, &low);
    if (total > 32) return (high + (1 << (total - 33))) >> (total - 32);
    sum = low + (1u << (total - 1));
    if (sum < low) high++;
    if (total == 32) return high;
    if (high >= 1 << (total - 1)) return INT32_MAX;
    if (high < -(1 << (total - 1))) return INT32_MIN;
    return (int32_t)(((uint32_t)high << (32 - total)) | (sum >> total));
}

#if defined(__arm__) && !(defined(__ARM_FP) && (__ARM_FP & 4)) && !defined(EB_WITHOUT_FPU)
#define EB_WITHOUT_FPU
#endif

#ifndef EB_WITHOUT_FPU

/* The nearest integer, half to even, of the float32 product of (float)value and the float32 with
   these bits, which is not negative; not beyond 1024. With 1.5 * 2^23 added, the last bit of a
   float32 is worth 1. */
EB_STATIC int32_t eb_rules_float(int32_t value, int32_t bits) {
    union {
        int32_t bits;
        float value;
    } factor, sum;
    factor.bits = bits;
    float steps = (float)value * factor.value;
    steps = steps > 1024.0f ? 1024.0f : steps < -1024.0f ? -1024.0f : steps;
    EB_ROUNDED(steps);
    sum.value = steps + 12582912.0f;
    return sum.bits - 0x4b400000;
}

#else

/* mantissa / 2^right, half to even. */
EB_STATIC inline uint32_t eb_rules_even(uint32_t mantissa, uint32_t right) {
    const uint32_t half = 1u << (right - 1), rest = mantissa & (2 * half - 1);
    const uint32_t whole = mantissa >> right;
    return whole + (rest > half || (rest == half && (whole & 1)));
}

/* The nearest integer, half to even, of the float32 product of (float)value and the float32 with
   these bits, which is not negative; at most 2^24 in magnitude. */
EB_STATIC int32_t eb_rules_float(int32_t value, int32_t bits) {
    uint32_t a = value < 0 ? 0u - (uint32_t)value : (uint32_t)value;
    const uint32_t b = ((uint32_t)bits & 0x7fffff) | 0x800000;
    int32_t exponent = (int32_t)((uint32_t)bits >> 23) - 150, drop = 0;
    if (!a || exponent == -150) return 0;
    while (a >> (24 + drop)) drop++;
    if (drop) a = eb_rules_even(a, (uint32_t)drop);
    exponent += drop;
    if (a >> 24) a >>= 1, exponent++;
    while (!(a >> 23)) a <<= 1, exponent--;
    /* 24 times 24 bits, from 12-bit halves. */
    const uint32_t ah = a >> 12, al = a & 0xfff, bh = b >> 12, bl = b & 0xfff;
    const uint32_t middle = ah * bl + al * bh;
    const uint32_t least = al * bl + ((middle & 0xfff) << 12);
    uint32_t high = ah * bh + (middle >> 12) + (least >> 24), rest = least & 0xffffff;
    exponent += 24;
    if (!(high >> 23)) {
        high = (high << 1) | (rest >> 23);
        rest = (rest << 1) & 0xffffff;
        exponent--;
    }
    if (rest > 0x800000 || (rest == 0x800000 && (high & 1))) high++;
    if (exponent >= 0) high = 1 << 24;
    else if (exponent < -25) high = 0;
    else high = eb_rules_even(high, (uint32_t)-exponent);
    return value < 0 ? -(int32_t)high : (int32_t)high;
}

#endif

/* Two roundings where the shift goes right: see eb.h. */
EB_STATIC inline int32_t eb_rules_short(int32_t sum, const eb_line *line, int32_t zero_point) {
    const int32_t r = eb_rules_rounded(sum, line->multiplier);
    return (((r + (sum >> 31)) >> line->c) + 2 * zero_point + 1) >> 1;
}

/* The byte of a sum that includes line->bias, by any rule. */
EB_STATIC __attribute__((noinline)) int32_t eb_requantize(int32_t sum, const eb_line *line,
                                                           const eb_output *output) {
    int32_t y;
    uint32_t low;
    switch (output->rule) {
    case 0:
        y = (eb_rules_product(sum, line->multiplier, &low) + line->c) >> output->fraction;
        y -= output->zero_point;
        break;
    case 1: y = eb_rules_twice(sum, line->multiplier, line->c); break;
    case 2: y = eb_rules_once(sum, line->multiplier, line->c); break;
    case 3: y = eb_rules_short(sum, line, 0); break;
    default: y = eb_rules_float(sum, line->multiplier); break;
    }
    y = y > 1024 ? 1024 : y < -1024 ? -1024 : y;
    y += output->zero_point;
    return y < output->low ? output->low : y > output->high ? output->high : y;
}

#endif
