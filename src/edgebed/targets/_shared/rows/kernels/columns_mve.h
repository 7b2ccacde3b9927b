/* The products of columns of inputs with four outputs' weights, with Helium.

   Weights beyond a byte are bytes plus an offset, one of the layer: sums of products then start
   with the offset's share, which is the offset times the sum of a window's inputs. */
#ifndef EB_COLUMNS_MVE_H
#define EB_COLUMNS_MVE_H

#include "eb_mve.h"

/* What the assembly reads, and columns, out and pairs also write; the offsets are written there.
   Four outputs' weights: sixteen inputs of each of them in turn. Weights are zero where a column
   ends before its last sixteen. */
typedef struct {
    const int8_t *column[2]; /* 0, 4 */
    int8_t *out[2];          /* 8, 12 */
    int32_t shift;           /* 16: minus the fraction */
    const int8_t *end;       /* 20: of the weights */
    const int8_t *weights;   /* 24 */
    const eb_line *lines;    /* 28 */
    uint32_t turns;          /* 32: of the loop over four sixteens, the first one entered late */
    uint32_t late;           /* 36: sixteens to leave out */
    int32_t low, high;       /* 40, 44 */
    uint32_t pairs;          /* 48: of columns */
    int32_t next_column;     /* 52: bytes from pair to pair */
    int32_t next_out;        /* 56: bytes from behind a pair's outputs to the next one's first */
    eb_mve_finish finish;    /* 60 */
    const int32_t *sums;     /* 108: the offset's share for each column, where there is one */
} eb_mve_block;

/* r9 = block + 8, q4 = q7 = addresses of four lines less one group, q5, q6 = limits, r5 = weights,
   r11 = where a column of `size` bytes of code for each sixteen begins. */
#define EB_MVE_BLOCK_START(size)                                                                  \
    "push {r3-r11, lr}\n"                                                                         \
    "vpush {d8-d15}\n"                                                                            \
    "add r9, r0, #8\n"                                                                            \
    "movs r2, #0\n"                                                                               \
    "vidup.u32 q4, r2, #4\n"                                                                      \
    "movs r4, #3\n"                                                                               \
    "vmul.i32 q4, q4, r4\n"                                                                       \
    "ldr r4, [r9, #20]\n"                                                                         \
    "subs r4, #48\n"                                                                              \
    "vadd.i32 q4, q4, r4\n"                                                                       \
    "vmov q7, q4\n"                                                                               \
    "ldrd r4, r6, [r9, #32]\n"                                                                    \
    "vdup.32 q5, r4\n"                                                                            \
    "vdup.32 q6, r6\n"                                                                            \
    "ldr r5, [r9, #16]\n"                                                                         \
    "ldr r0, [r9, #28]\n"                                                                         \
    "movs r2, #" size "\n"                                                                        \
    "mul r0, r0, r2\n"                                                                            \
    "adr r11, 2f + 1\n"                                                                           \
    "add r11, r11, r0\n"

#define EB_MVE_BLOCK_END                                                                          \
    "vpop {d8-d15}\n"                                                                             \
    "pop {r3-r11, pc}\n"

/* Rules but the line, of q0 and q1: r7 = the rule. Leaves r0, r2, r4 and r6 as they were. */
#define EB_MVE_BLOCK_RULES                                                                        \
    "6:\n"                                                                                        \
    "add r8, r9, #52\n"                                                                           \
    "cmp r7, #3\n"                                                                                \
    "bne 7f\n"                                                                                    \
    "vldrw.u32 q3, [q4, #8]\n" EB_MVE_SHORT("r8", "r7", "q3", "")                                 \
    "b 5b\n"                                                                                      \
    "7:\n" EB_MVE_FLOAT("r7", "r8", "r7", "5b")                                                   \
    "vmov.32 r1, q4[0]\n" EB_MVE_CALL("r8")                                                       \
    "ldm r9, {r0, r2, r4, r6}\n"                                                                  \
    "b 5b\n"

#define EB_MVE_TWO_SIXTEEN                                                                        \
    "vldrb.u8 q0, [r1], #16\n"                                                                    \
    "vldrb.u8 q1, [r5], #16\n"                                                                    \
    "vmladava.s8 r0, q0, q1\n"                                                                    \
    "vldrb.u8 q2, [r3], #16\n"                                                                    \
    "vmladava.s8 r8, q2, q1\n"                                                                    \
    "vldrb.u8 q3, [r5], #16\n"                                                                    \
    "vmladava.s8 r2, q0, q3\n"                                                                    \
    "vldrb.u8 q1, [r5], #16\n"                                                                    \
    "vmladava.s8 r10, q2, q3\n"                                                                   \
    "vldrb.u8 q3, [r5], #16\n"                                                                    \
    "vmladava.s8 r4, q0, q1\n"                                                                    \
    "vmladava.s8 r12, q2, q1\n"                                                                   \
    "vmladava.s8 r6, q0, q3\n"                                                                    \
    "vmladava.s8 lr, q2, q3\n"

/* The outputs from `weights` to `end` of pairs of columns. start: where q0 are the biases; second:
   what the second column's sums start with; next: behind a pair's outputs. */
#define EB_MVE_TWO_COLUMNS(start, second, next)                                                   \
    ".syntax unified\n" EB_MVE_BLOCK_START("56")                                                  \
    "1:\n"                                                                                        \
    "vldrw.u32 q0, [q4, #48]!\n"                                                                  \
    start                                                                                         \
    "ldrd r1, r3, [r9, #-8]\n"                                                                    \
    "ldr r7, [r9, #24]\n"                                                                         \
    "vmov r0, r4, q0[2], q0[0]\n"                                                                 \
    "vmov r2, r6, q0[3], q0[1]\n"                                                                 \
    "vmov r8, r12, " second "[2], " second "[0]\n"                                                \
    "vmov r10, lr, " second "[3], " second "[1]\n"                                                \
    "bx r11\n"                                                                                    \
    ".p2align 2\n"                                                                                \
    "2:\n" EB_MVE_TWO_SIXTEEN EB_MVE_TWO_SIXTEEN EB_MVE_TWO_SIXTEEN                               \
    EB_MVE_TWO_SIXTEEN                                                                            \
    "subs r7, #1\n"                                                                               \
    "bne 2b\n"                                                                                    \
    "vmov q0[2], q0[0], r0, r4\n"                                                                 \
    "vmov q0[3], q0[1], r2, r6\n"                                                                 \
    "vmov q1[2], q1[0], r8, r12\n"                                                                \
    "vmov q1[3], q1[1], r10, lr\n"                                                                \
    "vldrw.u32 q2, [q4, #4]\n"                                                                    \
    "ldr r7, [r9, #52]\n"                                                                         \
    "ldm r9, {r0, r2, r4, r6}\n"                                                                  \
    "cbnz r7, 6f\n"                                                                               \
    "vldrw.u32 q3, [q4, #8]\n"                                                                    \
    "vmulh.s32 q0, q0, q2\n"                                                                      \
    "vmulh.s32 q1, q1, q2\n"                                                                      \
    "vadd.i32 q0, q0, q3\n"                                                                       \
    "vadd.i32 q1, q1, q3\n"                                                                       \
    "vshl.s32 q0, r4\n"                                                                           \
    "vshl.s32 q1, r4\n"                                                                           \
    "5:\n"                                                                                        \
    "vmax.s32 q0, q0, q5\n"                                                                       \
    "vmax.s32 q1, q1, q5\n"                                                                       \
    "vmin.s32 q0, q0, q6\n"                                                                       \
    "vmin.s32 q1, q1, q6\n"                                                                       \
    "vstrb.32 q0, [r0], #4\n"                                                                     \
    "vstrb.32 q1, [r2], #4\n"                                                                     \
    "strd r0, r2, [r9]\n"                                                                         \
    "cmp r5, r6\n"                                                                                \
    "bne 1b\n"                                                                                    \
    "ldrd r4, r6, [r9, #40]\n"                                                                    \
    "ldrd r1, r3, [r9, #-8]\n"                                                                    \
    next                                                                                          \
    "ldr r8, [r9, #48]\n"                                                                         \
    "subs r4, #1\n"                                                                               \
    "str r4, [r9, #40]\n"                                                                         \
    "add r1, r1, r6\n"                                                                            \
    "add r3, r3, r6\n"                                                                            \
    "strd r1, r3, [r9, #-8]\n"                                                                    \
    "add r0, r0, r8\n"                                                                            \
    "add r2, r2, r8\n"                                                                            \
    "strd r0, r2, [r9]\n"                                                                         \
    "ldr r5, [r9, #16]\n"                                                                         \
    "vmov q4, q7\n"                                                                               \
    "bne 1b\n" EB_MVE_BLOCK_END EB_MVE_BLOCK_RULES

EB_MVE_ASSEMBLY(eb_mve_two_columns, eb_mve_block)
{
    __asm__ volatile(EB_MVE_TWO_COLUMNS("", "q0", ""));
}

EB_MVE_ASSEMBLY(eb_mve_two_columns_offset, eb_mve_block)
{
    __asm__ volatile(EB_MVE_TWO_COLUMNS("ldr r7, [r9, #100]\n"
                                        "ldrd r1, r3, [r7]\n"
                                        "vadd.i32 q1, q0, r3\n"
                                        "vadd.i32 q0, q0, r1\n",
                                        "q1",
                                        "ldr r8, [r9, #100]\n"
                                        "add r8, r8, #8\n"
                                        "str r8, [r9, #100]\n"));
}

#define EB_MVE_ONE_SIXTEEN                                                                        \
    "vldrb.u8 q0, [r1], #16\n"                                                                    \
    "vldrb.u8 q1, [r5], #16\n"                                                                    \
    "vmladava.s8 r0, q0, q1\n"                                                                    \
    "vldrb.u8 q2, [r5], #16\n"                                                                    \
    "vmladava.s8 r2, q0, q2\n"                                                                    \
    "vldrb.u8 q1, [r5], #16\n"                                                                    \
    "vmladava.s8 r4, q0, q1\n"                                                                    \
    "vldrb.u8 q2, [r5], #16\n"                                                                    \
    "vmladava.s8 r6, q0, q2\n"

/* The outputs from `weights` to `end` of the first column: 9 instructions for 64 products. */
#define EB_MVE_ONE_COLUMN(start)                                                                  \
    ".syntax unified\n" EB_MVE_BLOCK_START("36")                                                  \
    "1:\n"                                                                                        \
    "vldrw.u32 q0, [q4, #48]!\n"                                                                  \
    start                                                                                         \
    "ldr r1, [r9, #-8]\n"                                                                         \
    "ldr r7, [r9, #24]\n"                                                                         \
    "vmov r0, r4, q0[2], q0[0]\n"                                                                 \
    "vmov r2, r6, q0[3], q0[1]\n"                                                                 \
    "bx r11\n"                                                                                    \
    ".p2align 2\n"                                                                                \
    "2:\n" EB_MVE_ONE_SIXTEEN EB_MVE_ONE_SIXTEEN EB_MVE_ONE_SIXTEEN                               \
    EB_MVE_ONE_SIXTEEN                                                                            \
    "subs r7, #1\n"                                                                               \
    "bne 2b\n"                                                                                    \
    "vmov q0[2], q0[0], r0, r4\n"                                                                 \
    "vmov q0[3], q0[1], r2, r6\n"                                                                 \
    "vldrw.u32 q2, [q4, #4]\n"                                                                    \
    "ldr r7, [r9, #52]\n"                                                                         \
    "ldm r9, {r0, r2, r4, r6}\n"                                                                  \
    "cbnz r7, 6f\n"                                                                               \
    "vldrw.u32 q3, [q4, #8]\n"                                                                    \
    "vmulh.s32 q0, q0, q2\n"                                                                      \
    "vadd.i32 q0, q0, q3\n"                                                                       \
    "vshl.s32 q0, r4\n"                                                                           \
    "5:\n"                                                                                        \
    "vmax.s32 q0, q0, q5\n"                                                                       \
    "vmin.s32 q0, q0, q6\n"                                                                       \
    "vstrb.32 q0, [r0], #4\n"                                                                     \
    "str r0, [r9]\n"                                                                              \
    "cmp r5, r6\n"                                                                                \
    "bne 1b\n" EB_MVE_BLOCK_END EB_MVE_BLOCK_RULES

EB_MVE_ASSEMBLY(eb_mve_one_column, eb_mve_block)
{
    __asm__ volatile(EB_MVE_ONE_COLUMN(""));
}

EB_MVE_ASSEMBLY(eb_mve_one_column_offset, eb_mve_block)
{
    __asm__ volatile(EB_MVE_ONE_COLUMN("ldr r3, [r9, #100]\n"
                                       "ldr r3, [r3]\n"
                                       "vadd.i32 q0, q0, r3\n"));
}

#endif
