/* What the Helium kernels share. */
#ifndef EB_MVE_H
#define EB_MVE_H

#include "eb_math.h"
#include "rules.h"

#if EB_MVE

/* A function of one pointer, in r0, that is written in assembly from its first instruction on:
   its registers are more than a compiler would leave to an asm statement. */
#define EB_MVE_ASSEMBLY(name, type)                                                               \
    __attribute__((naked, noinline, unused)) static void name(type *block __attribute__((unused)))

/* 16 bytes a turn of 3 instructions. */
static inline void eb_mve_copy(int8_t *to, const int8_t *from, int32_t count)
{
    __asm__ volatile("wlstp.8 lr, %2, 2f\n"
                     "1:\n"
                     "vldrb.u8 q0, [%1], #16\n"
                     "vstrb.8 q0, [%0], #16\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     : "+r"(to), "+r"(from)
                     : "r"(count)
                     : "d0", "d1", "lr", "memory");
}

static inline void eb_mve_fill(int8_t *to, int32_t value, int32_t count)
{
    __asm__ volatile("vdup.8 q0, %1\n"
                     "wlstp.8 lr, %2, 2f\n"
                     "1:\n"
                     "vstrb.8 q0, [%0], #16\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     : "+r"(to)
                     : "r"(value), "r"(count)
                     : "d0", "d1", "lr", "memory");
}

/* What rules other than the line need. */
typedef struct eb_mve_finish eb_mve_finish;
typedef void eb_mve_rule(eb_mve_finish *finish, const eb_line *lines);
struct eb_mve_finish {
    uint32_t rule;           /* 0: of eb_output */
    int32_t twice;           /* 4: the zero point, plus 1 */
    eb_mve_rule *requantize; /* 8 */
    int32_t sums[8];         /* 12: of four channels, two pixels */
    const eb_output *output; /* 44 */
};

/* sums to bytes. Of a single pixel, the second's sums are of no meaning. */
EB_STATIC void eb_mve_requantize(eb_mve_finish *finish, const eb_line *lines)
{
    for (int32_t i = 0; i < 8; i++)
        finish->sums[i] = eb_requantize(finish->sums[i], &lines[i & 3], finish->output);
}

static inline void eb_mve_start_finish(const eb_output *output, eb_mve_finish *finish)
{
    finish->rule = output->rule;
    finish->twice = 2 * output->zero_point + 1;
    finish->requantize = eb_mve_requantize;
    finish->output = output;
}

/* Rule 3 of q0 and q1 with the multipliers in q2: y = (((r - (sum < 0)) >> c) + twice) >> 1 with
   r = sum * multiplier / 2^31, the nearest. r is negative only where the sum is, and where r is 0
   the subtraction changes nothing. q2 is lost; `load` brings c into `c`, which may be q2. */
#define EB_MVE_SHORT(finish, spare, c, load)                                                      \
    "ldr " spare ", [" finish ", #4]\n"                                                           \
    "vqrdmulh.s32 q0, q0, q2\n"                                                                   \
    "vqrdmulh.s32 q1, q1, q2\n"                                                                   \
    "vshr.s32 q2, q0, #31\n"                                                                      \
    "vadd.i32 q0, q0, q2\n"                                                                       \
    "vshr.s32 q2, q1, #31\n"                                                                      \
    "vadd.i32 q1, q1, q2\n" load                                                                  \
    "vneg.s32 " c ", " c "\n"                                                                     \
    "vshl.s32 q0, q0, " c "\n"                                                                    \
    "vshl.s32 q1, q1, " c "\n"                                                                    \
    "vhadd.s32 q0, q0, " spare "\n"                                                               \
    "vhadd.s32 q1, q1, " spare "\n"

/* Rule 4 of q0 and q1 with the bits of the factors in q2, where the vector unit has float32. */
#if __ARM_FEATURE_MVE & 2
#define EB_MVE_FLOAT(rule, finish, spare, done)                                                   \
    "cmp " rule ", #4\n"                                                                          \
    "bne 10f\n"                                                                                   \
    "ldr " spare ", [" finish ", #4]\n"                                                           \
    "asrs " spare ", " spare ", #1\n"                                                             \
    "vcvt.f32.s32 q0, q0\n"                                                                       \
    "vcvt.f32.s32 q1, q1\n"                                                                       \
    "vmul.f32 q0, q0, q2\n"                                                                       \
    "vmul.f32 q1, q1, q2\n"                                                                       \
    "vcvtn.s32.f32 q0, q0\n"                                                                      \
    "vcvtn.s32.f32 q1, q1\n"                                                                      \
    "vqadd.s32 q0, q0, " spare "\n"                                                               \
    "vqadd.s32 q1, q1, " spare "\n"                                                               \
    "b " done "\n"                                                                                \
    "10:\n"
#else
#define EB_MVE_FLOAT(rule, finish, spare, done)
#endif

/* The rules in C, for q0 and q1; r1 = lines. Loses what a call loses. */
#define EB_MVE_CALL(finish)                                                                       \
    "mov r0, " finish "\n"                                                                        \
    "adds r2, r0, #12\n"                                                                          \
    "vstrw.32 q0, [r2]\n"                                                                         \
    "vstrw.32 q1, [r2, #16]\n"                                                                    \
    "ldr r3, [r0, #8]\n"                                                                          \
    "blx r3\n"                                                                                    \
    "vldrw.u32 q0, [" finish ", #12]\n"                                                           \
    "vldrw.u32 q1, [" finish ", #28]\n"

#endif
#endif
