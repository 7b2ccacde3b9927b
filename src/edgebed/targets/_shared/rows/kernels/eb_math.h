/* What kernels share: copying bytes without libc, and a limit. */
#ifndef EB_MATH_H
#define EB_MATH_H

#include "eb.h"

#define EB_UNUSED __attribute__((unused))
#define EB_STATIC static EB_UNUSED

/* Code that runs too rarely for its speed to matter. */
#if defined(__clang__)
#define EB_SMALL __attribute__((minsize))
#else
#define EB_SMALL __attribute__((optimize("Os")))
#endif

/* Hides a value from the compiler, so that it does not turn a loop into a call of memcpy. */
#define EB_HIDE(value) __asm__("" : "+r"(value))

/* Cores that read words at any address. */
#if !defined(__arm__) || defined(__ARM_FEATURE_UNALIGNED)
#define EB_UNALIGNED 1
typedef uint32_t __attribute__((may_alias, aligned(1))) eb_word;
#else
#define EB_UNALIGNED 0
typedef uint32_t __attribute__((may_alias)) eb_word;
#endif

EB_STATIC inline int32_t eb_limit(int32_t value, int32_t low, int32_t high) {
    if (value < low) value = low;
    return value > high ? high : value;
}

EB_STATIC void eb_copy(int8_t *to, const int8_t *from, uint32_t count) {
    if (EB_UNALIGNED || (((uintptr_t)to | (uintptr_t)from) & 3) == 0) {
        for (; count >= 4; count -= 4, to += 4, from += 4) {
            uint32_t word = *(const eb_word *)(const void *)from;
            EB_HIDE(word);
            *(eb_word *)(void *)to = word;
        }
    }
    while (count--) {
        int32_t byte = *from++;
        EB_HIDE(byte);
        *to++ = (int8_t)byte;
    }
}

EB_STATIC void eb_fill(int8_t *to, int32_t value, uint32_t count) {
    if (EB_UNALIGNED || ((uintptr_t)to & 3) == 0) {
        uint32_t word = ((uint32_t)value & 0xff) * 0x01010101u;
        for (; count >= 4; count -= 4, to += 4) {
            EB_HIDE(word);
            *(eb_word *)(void *)to = word;
        }
    }
    while (count--) {
        EB_HIDE(value);
        *to++ = (int8_t)value;
    }
}

#endif
