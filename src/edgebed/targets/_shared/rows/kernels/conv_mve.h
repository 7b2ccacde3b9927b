/* Convolution and dense layers with Helium (MVE, integer).

   Windows are columns of bytes, of which two are multiplied with four outputs at a time: each
   VMLADAVA.S8 adds 16 products to a core register. Sixteen inputs of such a block take 6 loads and
   8 multiply-accumulates, 14 instructions for 128 products; on a core with two beats a cycle these
   are 28 cycles of 4 beats in either pipe, of which loads and products overlap: about 16 to 18
   cycles. The requantisation of a block's 8 outputs takes 29 instructions. */
#ifndef EB_CONV_MVE_H
#define EB_CONV_MVE_H

#include "eb_math.h"
#include "eb_mve.h"

/* Bits of eb_conv.depth above the sixteens of a column. */
#define EB_MVE_PIXEL 0x8000   /* a column is one pixel, without a border */
#define EB_MVE_IN_PLACE 0x4000 /* the output row may lie on the input row */
#define EB_MVE_SIXTEENS 0x3fff

/* What the assembly reads; the offsets are written there. Four outputs' weights: sixteen inputs
   of each of them in turn. Weights are zero where a column ends before its last sixteen. */
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
} eb_mve_block;

/* r9 = block + 8, q4 = addresses of four lines less one group, q5, q6 = limits, r5 = weights. */
#define EB_MVE_BLOCK_START                                                                        \
    "push {r4-r11, lr}\n"                                                                         \
    "vpush {d8-d13}\n"                                                                            \
    "add r9, r0, #8\n"                                                                            \
    "movs r2, #0\n"                                                                               \
    "vidup.u32 q4, r2, #4\n"                                                                      \
    "movs r4, #3\n"                                                                               \
    "vmul.i32 q4, q4, r4\n"                                                                       \
    "ldr r4, [r9, #20]\n"                                                                         \
    "subs r4, #48\n"                                                                              \
    "vadd.i32 q4, q4, r4\n"                                                                       \
    "ldrd r4, r6, [r9, #32]\n"                                                                    \
    "vdup.32 q5, r4\n"                                                                            \
    "vdup.32 q6, r6\n"                                                                            \
    "ldr r5, [r9, #16]\n"

#define EB_MVE_BLOCK_END                                                                          \
    "cmp r5, r6\n"                                                                                \
    "bne 1b\n"                                                                                    \
    "vpop {d8-d13}\n"                                                                             \
    "pop {r4-r11, pc}\n"

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

/* All outputs from `weights` to `end` of two columns. */
EB_MVE_ASSEMBLY(eb_mve_two_columns, eb_mve_block)
{
    __asm__ volatile(".syntax unified\n" EB_MVE_BLOCK_START
                     "ldr r0, [r9, #28]\n"
                     "movs r2, #56\n"
                     "mul r0, r0, r2\n"
                     "adr r11, 2f + 1\n"
                     "add r11, r11, r0\n"
                     "1:\n"
                     "vldrw.u32 q0, [q4, #48]!\n"
                     "ldrd r1, r3, [r9, #-8]\n"
                     "ldr r7, [r9, #24]\n"
                     "vmov r0, r4, q0[2], q0[0]\n"
                     "vmov r2, r6, q0[3], q0[1]\n"
                     "vmov r8, r12, q0[2], q0[0]\n"
                     "vmov r10, lr, q0[3], q0[1]\n"
                     "bx r11\n"
                     ".p2align 2\n"
                     "2:\n" EB_MVE_TWO_SIXTEEN EB_MVE_TWO_SIXTEEN EB_MVE_TWO_SIXTEEN
                         EB_MVE_TWO_SIXTEEN
                     "subs r7, #1\n"
                     "bne 2b\n"
                     "vmov q0[2], q0[0], r0, r4\n"
                     "vmov q0[3], q0[1], r2, r6\n"
                     "vmov q1[2], q1[0], r8, r12\n"
                     "vmov q1[3], q1[1], r10, lr\n"
                     "vldrw.u32 q2, [q4, #4]\n"
                     "vldrw.u32 q3, [q4, #8]\n"
                     "vmulh.s32 q0, q0, q2\n"
                     "vmulh.s32 q1, q1, q2\n"
                     "ldm r9, {r0, r2, r4, r6}\n"
                     "vadd.i32 q0, q0, q3\n"
                     "vadd.i32 q1, q1, q3\n"
                     "vshl.s32 q0, r4\n"
                     "vshl.s32 q1, r4\n"
                     "vmax.s32 q0, q0, q5\n"
                     "vmax.s32 q1, q1, q5\n"
                     "vmin.s32 q0, q0, q6\n"
                     "vmin.s32 q1, q1, q6\n"
                     "vstrb.32 q0, [r0], #4\n"
                     "vstrb.32 q1, [r2], #4\n"
                     "strd r0, r2, [r9]\n" EB_MVE_BLOCK_END);
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

/* All outputs from `weights` to `end` of the first column: 9 instructions for 64 products. */
EB_MVE_ASSEMBLY(eb_mve_one_column, eb_mve_block)
{
    __asm__ volatile(".syntax unified\n" EB_MVE_BLOCK_START
                     "ldr r0, [r9, #28]\n"
                     "movs r2, #36\n"
                     "mul r0, r0, r2\n"
                     "adr r11, 2f + 1\n"
                     "add r11, r11, r0\n"
                     "1:\n"
                     "vldrw.u32 q0, [q4, #48]!\n"
                     "ldr r1, [r9, #-8]\n"
                     "ldr r7, [r9, #24]\n"
                     "vmov r0, r4, q0[2], q0[0]\n"
                     "vmov r2, r6, q0[3], q0[1]\n"
                     "bx r11\n"
                     ".p2align 2\n"
                     "2:\n" EB_MVE_ONE_SIXTEEN EB_MVE_ONE_SIXTEEN EB_MVE_ONE_SIXTEEN
                         EB_MVE_ONE_SIXTEEN
                     "subs r7, #1\n"
                     "bne 2b\n"
                     "vmov q0[2], q0[0], r0, r4\n"
                     "vmov q0[3], q0[1], r2, r6\n"
                     "vldrw.u32 q2, [q4, #4]\n"
                     "vldrw.u32 q3, [q4, #8]\n"
                     "vmulh.s32 q0, q0, q2\n"
                     "ldm r9, {r0, r2, r4, r6}\n"
                     "vadd.i32 q0, q0, q3\n"
                     "vshl.s32 q0, r4\n"
                     "vmax.s32 q0, q0, q5\n"
                     "vmin.s32 q0, q0, q6\n"
                     "vstrb.32 q0, [r0], #4\n"
                     "str r0, [r9]\n" EB_MVE_BLOCK_END);
}

/* One run of columns: `count` bytes of a row from byte `first` on, either may lie outside. */
static inline void eb_mve_clipped(const eb_conv *conv, const int8_t *row, int32_t first,
                                  int32_t count, int8_t *to)
{
    int32_t bytes = (int32_t)conv->in_width * conv->in_channels;
    int32_t left = eb_limit(-first, 0, count), right = eb_limit(first + count - bytes, 0, count);
    int32_t inside = eb_limit(count - left - right, 0, count);
    eb_mve_fill(to, conv->zero_point, left);
    eb_mve_copy(to + left, row + first + left, inside);
    eb_mve_fill(to + left + inside, conv->zero_point, count - left - inside);
}

/* Copies `count` bytes at `offset` of each row, one after the other; leaves out absent rows. */
static inline void eb_mve_stack(const int8_t *const *rows, uint32_t height, int32_t offset,
                                int32_t count, int8_t *to)
{
    const int8_t *const *end = rows + height, *from;
    int8_t *at;
    __asm__ volatile("1:\n"
                     "ldr %0, [%2], #4\n"
                     "mov %1, %3\n"
                     "add %3, %3, %5\n"
                     "cbz %0, 3f\n"
                     "add %0, %0, %4\n"
                     "wlstp.8 lr, %5, 3f\n"
                     "2:\n"
                     "vldrb.u8 q0, [%0], #16\n"
                     "vstrb.8 q0, [%1], #16\n"
                     "letp lr, 2b\n"
                     "3:\n"
                     "cmp %2, %6\n"
                     "bne 1b\n"
                     : "=&l"(from), "=&r"(at), "+r"(rows), "+r"(to)
                     : "r"(offset), "r"(count), "r"(end)
                     : "d0", "d1", "lr", "cc", "memory");
}

/* The window of an output column on the border, or of a dilated convolution. */
EB_STATIC void eb_mve_border(const eb_conv *conv, const int8_t *const *rows, int32_t first,
                             int8_t *to)
{
    int32_t channels = conv->in_channels, columns = conv->kernel_width;
    int32_t near = conv->dilation == 1, count = near ? columns * channels : channels;
    for (int32_t i = 0; i < conv->kernel_height; i++)
        for (int32_t j = 0; j < columns; j += near ? columns : 1, to += count)
            if (rows[i])
                eb_mve_clipped(conv, rows[i], (first + j * conv->dilation) * channels, count, to);
}

/* The window of output column x; rows outside of the map were filled in before. */
static inline void eb_mve_window(const eb_conv *conv, const int8_t *const *rows, int32_t x,
                                 int8_t *to)
{
    int32_t first = x * conv->stride - conv->pad, columns = conv->kernel_width;
    int32_t channels = conv->in_channels;
    if (conv->dilation == 1 && first >= 0 && first + columns <= conv->in_width)
        eb_mve_stack(rows, conv->kernel_height, first * channels, columns * channels, to);
    else
        eb_mve_border(conv, rows, first, to);
}

/* Fills in the rows of a window that lie outside of the map. */
EB_STATIC void eb_mve_absent(const eb_conv *conv, const int8_t *const *rows, int8_t *to)
{
    int32_t count = (int32_t)conv->kernel_width * conv->in_channels;
    for (int32_t i = 0; i < conv->kernel_height; i++, to += count)
        if (!rows[i])
            eb_mve_fill(to, conv->zero_point, count);
}

/* The column of output x: in the row itself where no byte behind it is read, else in `to`. */
static inline const int8_t *eb_mve_column(const eb_conv *conv, const int8_t *const *rows,
                                          int32_t x, int8_t *to)
{
    if (!(conv->depth & EB_MVE_PIXEL)) {
        eb_mve_window(conv, rows, x, to);
        return to;
    }
    int32_t channels = conv->in_channels, first = x * conv->stride * channels;
    int32_t end = first + (conv->depth & EB_MVE_SIXTEENS) * 16;
    if (!(conv->depth & EB_MVE_IN_PLACE) && end <= conv->in_width * channels)
        return rows[0] + first;
    eb_mve_copy(to, rows[0] + first, channels);
    return to;
}

/* All outputs of one or two columns. Where they are no multiple of four, the last four overlap
   the ones before. */
EB_STATIC void eb_mve_outputs(const eb_conv *conv, eb_mve_block *block, int8_t *out, int32_t two)
{
    int32_t outputs = conv->out_channels, rest = outputs & 3;
    int32_t group = (conv->depth & EB_MVE_SIXTEENS) * 64;
    void (*kernel)(eb_mve_block *) = two ? eb_mve_two_columns : eb_mve_one_column;
    block->weights = conv->weights;
    block->lines = conv->lines;
    block->end = block->weights + (outputs >> 2) * group;
    block->out[0] = out;
    block->out[1] = out + outputs;
    kernel(block);
    if (rest) {
        block->weights = block->end;
        block->end += group;
        block->lines += outputs - 4;
        block->out[0] = out + outputs - 4;
        block->out[1] = out + 2 * outputs - 4;
        kernel(block);
    }
}

/* At least four outputs. */
EB_STATIC void eb_conv_mve(const void *layer, const int8_t *const *rows, int8_t *out,
                           void *scratch, int32_t step)
{
    const eb_conv *conv = layer;
    uint32_t sixteens = conv->depth & EB_MVE_SIXTEENS;
    int8_t *first = scratch, *second = first + sixteens * 16;
    eb_mve_block block;
    (void)step;
    block.shift = -(int32_t)conv->output.fraction;
    block.turns = (sixteens + 3) >> 2;
    block.late = -sixteens & 3;
    block.low = conv->output.low;
    block.high = conv->output.high;
    if (!(conv->depth & EB_MVE_PIXEL)) {
        eb_mve_absent(conv, rows, first);
        eb_mve_absent(conv, rows, second);
    }
    for (int32_t x = 0; x < conv->out_width; x += 2, out += 2 * conv->out_channels) {
        int32_t two = x + 1 < conv->out_width;
        block.column[0] = eb_mve_column(conv, rows, x, first);
        if (two)
            block.column[1] = eb_mve_column(conv, rows, x + 1, second);
        eb_mve_outputs(conv, &block, out, two);
    }
}

/* Fewer than four outputs: computes four, of which it keeps the first. The row of four follows
   the columns in scratch. */
EB_STATIC void eb_conv_few_mve(const void *layer, const int8_t *const *rows, int8_t *out,
                               void *scratch, int32_t step)
{
    const eb_conv *conv = layer;
    eb_line lines[4];
    eb_conv four = *conv;
    int8_t *wide = (int8_t *)scratch + (conv->depth & EB_MVE_SIXTEENS) * 32;
    for (int32_t o = 0; o < 4; o++)
        lines[o] = conv->lines[o < conv->out_channels ? o : 0];
    four.lines = lines;
    four.out_channels = 4;
    eb_conv_mve(&four, rows, wide, scratch, step);
    for (int32_t x = 0; x < conv->out_width; x++, wide += 4)
        for (int32_t o = 0; o < conv->out_channels; o++)
            *out++ = wide[o];
}

#endif
