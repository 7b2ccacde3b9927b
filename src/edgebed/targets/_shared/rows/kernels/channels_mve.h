/* The products of windows with the weights of four channels, with Helium: what depthwise_mve.h does
   in assembly. */
#ifndef EB_CHANNELS_MVE_H
#define EB_CHANNELS_MVE_H

#include "eb_mve.h"

/* What the assembly reads; the offsets are written there. `columns` and `lines` hold addresses of
   words as far apart as a gather takes them; each group of four channels moves them on. */
typedef struct {
    int32_t bias[8], multiplier[4], c[4]; /* 0, 32, 48: of a group; the biases twice */
    int32_t low[4], high[4];              /* 64, 80 */
    uint32_t columns[4], lines[4];        /* 96, 112 */
    const int8_t *weights, *end;          /* 128, 132: 64 bytes a group */
    int8_t *out;                          /* 136 */
    uint32_t pairs, odd;                  /* 140, 144: pixels */
    uint32_t step, channels;              /* 148, 152: bytes from pixel to pixel: columns, out */
    int32_t shift;                        /* 156: minus the fraction */
    eb_mve_finish finish;                 /* 160 */
    uint32_t next[4];                     /* 208: gather addresses during a call */
} eb_mve_groups;

typedef struct {
    eb_mve_groups groups;
    int8_t offsets[16]; /* 224: a window: the offset in its places, and 0 in the others */
} eb_mve_offset_groups;

typedef struct {
    const int8_t *rows[4];
    int32_t steps[4]; /* bytes from column to column */
    int8_t *to;
    uint32_t count; /* columns */
} eb_mve_columns;

/* Interleaves `count` times 16 bytes of four rows, of which the last may be NULL: of no meaning. */
EB_MVE_ASSEMBLY(eb_mve_interleave, eb_mve_columns)
{
    __asm__ volatile(".syntax unified\n"
                     "push {r4-r10, lr}\n"
                     "ldm r0, {r1-r10}\n"
                     "wls lr, r10, 3f\n"
                     "cbz r4, 2f\n"
                     "1:\n"
                     "vldrb.u8 q0, [r1]\n"
                     "add r1, r1, r5\n"
                     "vldrb.u8 q1, [r2]\n"
                     "add r2, r2, r6\n"
                     "vldrb.u8 q2, [r3]\n"
                     "add r3, r3, r7\n"
                     "vldrb.u8 q3, [r4]\n"
                     "add r4, r4, r8\n"
                     "vst40.8 {q0, q1, q2, q3}, [r9]\n"
                     "vst41.8 {q0, q1, q2, q3}, [r9]\n"
                     "vst42.8 {q0, q1, q2, q3}, [r9]\n"
                     "vst43.8 {q0, q1, q2, q3}, [r9]!\n"
                     "le lr, 1b\n"
                     "b 3f\n"
                     "2:\n"
                     "vldrb.u8 q0, [r1]\n"
                     "add r1, r1, r5\n"
                     "vldrb.u8 q1, [r2]\n"
                     "add r2, r2, r6\n"
                     "vldrb.u8 q2, [r3]\n"
                     "add r3, r3, r7\n"
                     "vst40.8 {q0, q1, q2, q3}, [r9]\n"
                     "vst41.8 {q0, q1, q2, q3}, [r9]\n"
                     "vst42.8 {q0, q1, q2, q3}, [r9]\n"
                     "vst43.8 {q0, q1, q2, q3}, [r9]!\n"
                     "le lr, 2b\n"
                     "3:\n"
                     "pop {r4-r10, pc}\n");
}

#define EB_MVE_GATHER(offset, sum, weights, more)                                                 \
    "vldrw.u32 q0, [q3" offset "]\n"                                                              \
    "vmladava.s8 " sum ", q0, " weights "\n" more(sum)

#define EB_MVE_FOUR_CHANNELS(more, a, b, c, d)                                                    \
    EB_MVE_GATHER("", a, "q4", more)                                                              \
    EB_MVE_GATHER(", #4", b, "q5", more)                                                          \
    EB_MVE_GATHER(", #8", c, "q6", more)                                                          \
    EB_MVE_GATHER(", #12", d, "q7", more)

#define EB_MVE_NO_MORE(sum)
#define EB_MVE_OFFSETS(sum) "vmladava.s8 " sum ", q0, q2\n"

/* All pixels of the groups from `weights` to `end`, group by group. start: of pixels; more: of the
   products of a window in q0. */
#define EB_MVE_DEPTHWISE(start, more)                                                             \
    ".syntax unified\n"                                                                           \
    "push {r3-r11, lr}\n"                                                                         \
    "vpush {d8-d15}\n"                                                                            \
    "mov r1, r0\n"                                                                                \
    "ldrd r3, r7, [r1, #148]\n"                                                                   \
    "1:\n"                                                                                        \
    "vldrw.u32 q0, [r1, #112]\n"                                                                  \
    "mov r0, #48\n"                                                                               \
    "vldrw.u32 q1, [q0]\n"                                                                        \
    "vldrw.u32 q2, [q0, #4]\n"                                                                    \
    "vstrw.32 q1, [r1]\n"                                                                         \
    "vldrw.u32 q3, [q0, #8]\n"                                                                    \
    "vstrw.32 q1, [r1, #16]\n"                                                                    \
    "vadd.i32 q0, q0, r0\n"                                                                       \
    "vstrw.32 q2, [r1, #32]\n"                                                                    \
    "ldr r5, [r1, #128]\n"                                                                        \
    "vstrw.32 q3, [r1, #48]\n"                                                                    \
    "vldrb.u8 q4, [r5], #16\n"                                                                    \
    "vstrw.32 q0, [r1, #112]\n"                                                                   \
    "vldrb.u8 q5, [r5], #16\n"                                                                    \
    "movs r0, #16\n"                                                                              \
    "vldrw.u32 q3, [r1, #96]\n"                                                                   \
    "vadd.i32 q0, q3, r0\n"                                                                       \
    "vldrb.u8 q6, [r5], #16\n"                                                                    \
    "vstrw.32 q0, [r1, #96]\n"                                                                    \
    "vldrb.u8 q7, [r5], #16\n"                                                                    \
    "str r5, [r1, #128]\n"                                                                        \
    "ldrd r5, r9, [r1, #136]\n"                                                                   \
    "ldr r11, [r1, #156]\n"                                                                       \
    "adds r0, r5, #4\n"                                                                           \
    "str r0, [r1, #136]\n"                                                                        \
    "cmp r9, #0\n"                                                                                \
    "beq 3f\n"                                                                                    \
    "2:\n"                                                                                        \
    start                                                                                         \
    "ldm r1, {r0, r2, r4, r6, r8, r10, r12, lr}\n"                                                \
    EB_MVE_FOUR_CHANNELS(more, "r0", "r2", "r4", "r6")                                            \
    "vadd.i32 q3, q3, r3\n"                                                                       \
    EB_MVE_FOUR_CHANNELS(more, "r8", "r10", "r12", "lr")                                          \
    "vadd.i32 q3, q3, r3\n"                                                                       \
    "vmov q0[2], q0[0], r0, r4\n"                                                                 \
    "vmov q0[3], q0[1], r2, r6\n"                                                                 \
    "vldrw.u32 q2, [r1, #32]\n"                                                                   \
    "vmov q1[2], q1[0], r8, r12\n"                                                                \
    "vmov q1[3], q1[1], r10, lr\n"                                                                \
    "ldr r0, [r1, #160]\n"                                                                        \
    "cbnz r0, 6f\n"                                                                               \
    "vmulh.s32 q0, q0, q2\n"                                                                      \
    "vmulh.s32 q1, q1, q2\n"                                                                      \
    "vldrw.u32 q2, [r1, #48]\n"                                                                   \
    "vadd.i32 q0, q0, q2\n"                                                                       \
    "vadd.i32 q1, q1, q2\n"                                                                       \
    "vshl.s32 q0, r11\n"                                                                          \
    "vshl.s32 q1, r11\n"                                                                          \
    "5:\n"                                                                                        \
    "vldrw.u32 q2, [r1, #64]\n"                                                                   \
    "vmax.s32 q0, q0, q2\n"                                                                       \
    "vmax.s32 q1, q1, q2\n"                                                                       \
    "vldrw.u32 q2, [r1, #80]\n"                                                                   \
    "vmin.s32 q0, q0, q2\n"                                                                       \
    "vstrb.32 q0, [r5]\n"                                                                         \
    "vmin.s32 q1, q1, q2\n"                                                                       \
    "add r5, r5, r7\n"                                                                            \
    "vstrb.32 q1, [r5]\n"                                                                         \
    "add r5, r5, r7\n"                                                                            \
    "subs r9, #1\n"                                                                               \
    "bne 2b\n"                                                                                    \
    "b 3f\n"                                                                                      \
    "6:\n"                                                                                        \
    "add r8, r1, #160\n"                                                                          \
    "cmp r0, #3\n"                                                                                \
    "bne 7f\n" EB_MVE_SHORT("r8", "r0", "q2", "vldrw.u32 q2, [r1, #48]\n")                        \
    "b 9f\n"                                                                                      \
    "7:\n" EB_MVE_FLOAT("r0", "r8", "r0", "9f")                                                   \
    "mov r4, r1\n"                                                                                \
    "mov r6, r3\n"                                                                                \
    "vstrw.32 q3, [r8, #48]\n"                                                                    \
    "ldr r1, [r4, #112]\n"                                                                        \
    "subs r1, #48\n" EB_MVE_CALL("r8")                                                            \
    "vldrw.u32 q3, [r8, #48]\n"                                                                   \
    "mov r1, r4\n"                                                                                \
    "mov r3, r6\n"                                                                                \
    "9:\n"                                                                                        \
    "cmp r9, #0\n"                                                                                \
    "bne 5b\n"                                                                                    \
    "b 8f\n"                                                                                      \
    "3:\n"                                                                                        \
    "ldr r0, [r1, #144]\n"                                                                        \
    "cbz r0, 4f\n"                                                                                \
    start                                                                                         \
    "ldm r1, {r0, r2, r4, r6}\n"                                                                  \
    EB_MVE_FOUR_CHANNELS(more, "r0", "r2", "r4", "r6")                                            \
    "vmov q0[2], q0[0], r0, r4\n"                                                                 \
    "vmov q0[3], q0[1], r2, r6\n"                                                                 \
    "vldrw.u32 q2, [r1, #32]\n"                                                                   \
    "ldr r0, [r1, #160]\n"                                                                        \
    "cmp r0, #0\n"                                                                                \
    "bne 6b\n"                                                                                    \
    "vmulh.s32 q0, q0, q2\n"                                                                      \
    "vldrw.u32 q2, [r1, #48]\n"                                                                   \
    "vadd.i32 q0, q0, q2\n"                                                                       \
    "vshl.s32 q0, r11\n"                                                                          \
    "8:\n"                                                                                        \
    "vldrw.u32 q2, [r1, #64]\n"                                                                   \
    "vmax.s32 q0, q0, q2\n"                                                                       \
    "vldrw.u32 q2, [r1, #80]\n"                                                                   \
    "vmin.s32 q0, q0, q2\n"                                                                       \
    "vstrb.32 q0, [r5]\n"                                                                         \
    "4:\n"                                                                                        \
    "ldrd r0, r2, [r1, #128]\n"                                                                   \
    "cmp r0, r2\n"                                                                                \
    "bne 1b\n"                                                                                    \
    "vpop {d8-d15}\n"                                                                             \
    "pop {r3-r11, pc}\n"

EB_MVE_ASSEMBLY(eb_mve_depthwise, eb_mve_groups)
{
    __asm__ volatile(EB_MVE_DEPTHWISE("", EB_MVE_NO_MORE));
}

/* Weights that are bytes plus an offset: the block is that of eb_mve_offset_groups. */
EB_MVE_ASSEMBLY(eb_mve_depthwise_offset, eb_mve_groups)
{
    __asm__ volatile(EB_MVE_DEPTHWISE("vldrw.u32 q2, [r1, #224]\n", EB_MVE_OFFSETS));
}

#endif
