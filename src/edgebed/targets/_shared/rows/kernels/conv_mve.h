/* Convolution and dense layers with Helium (MVE, integer).

   Windows are columns of bytes, of which two are multiplied with four outputs at a time: each
   VMLADAVA.S8 adds 16 products to a core register. Sixteen inputs of such a block take 6 loads and
   8 multiply-accumulates, 14 instructions for 128 products. With two beats a cycle an instruction
   is two cycles, a load and a product overlap: an estimate of 16 to 18 cycles, not a measurement.
   The start of a block, the requantisation of its 8 outputs and the loop take 32 instructions. */
#ifndef EB_CONV_MVE_H
#define EB_CONV_MVE_H

#include "eb_math.h"
#include "eb_mve.h"

/* Bits of eb_conv.depth above the sixteens of a column. */
#define EB_MVE_PIXEL 0x8000   /* a column is one pixel, without a border */
#define EB_MVE_IN_PLACE 0x4000 /* the output row may lie on the input row */
#define EB_MVE_PAIRS 0x2000    /* two columns at a time are collected, not up to eight */
#define EB_MVE_SIXTEENS 0x1fff

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

/* The outputs from `weights` to `end` of pairs of columns. */
EB_MVE_ASSEMBLY(eb_mve_two_columns, eb_mve_block)
{
    __asm__ volatile(".syntax unified\n" EB_MVE_BLOCK_START("56")
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
                     "ldr r7, [r9, #52]\n"
                     "ldm r9, {r0, r2, r4, r6}\n"
                     "cbnz r7, 6f\n"
                     "vldrw.u32 q3, [q4, #8]\n"
                     "vmulh.s32 q0, q0, q2\n"
                     "vmulh.s32 q1, q1, q2\n"
                     "vadd.i32 q0, q0, q3\n"
                     "vadd.i32 q1, q1, q3\n"
                     "vshl.s32 q0, r4\n"
                     "vshl.s32 q1, r4\n"
                     "5:\n"
                     "vmax.s32 q0, q0, q5\n"
                     "vmax.s32 q1, q1, q5\n"
                     "vmin.s32 q0, q0, q6\n"
                     "vmin.s32 q1, q1, q6\n"
                     "vstrb.32 q0, [r0], #4\n"
                     "vstrb.32 q1, [r2], #4\n"
                     "strd r0, r2, [r9]\n"
                     "cmp r5, r6\n"
                     "bne 1b\n"
                     "ldrd r4, r6, [r9, #40]\n"
                     "ldrd r1, r3, [r9, #-8]\n"
                     "ldr r8, [r9, #48]\n"
                     "subs r4, #1\n"
                     "str r4, [r9, #40]\n"
                     "add r1, r1, r6\n"
                     "add r3, r3, r6\n"
                     "strd r1, r3, [r9, #-8]\n"
                     "add r0, r0, r8\n"
                     "add r2, r2, r8\n"
                     "strd r0, r2, [r9]\n"
                     "ldr r5, [r9, #16]\n"
                     "vmov q4, q7\n"
                     "bne 1b\n" EB_MVE_BLOCK_END EB_MVE_BLOCK_RULES);
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
EB_MVE_ASSEMBLY(eb_mve_one_column, eb_mve_block)
{
    __asm__ volatile(".syntax unified\n" EB_MVE_BLOCK_START("36")
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
                     "ldr r7, [r9, #52]\n"
                     "ldm r9, {r0, r2, r4, r6}\n"
                     "cbnz r7, 6f\n"
                     "vldrw.u32 q3, [q4, #8]\n"
                     "vmulh.s32 q0, q0, q2\n"
                     "vadd.i32 q0, q0, q3\n"
                     "vshl.s32 q0, r4\n"
                     "5:\n"
                     "vmax.s32 q0, q0, q5\n"
                     "vmin.s32 q0, q0, q6\n"
                     "vstrb.32 q0, [r0], #4\n"
                     "str r0, [r9]\n"
                     "cmp r5, r6\n"
                     "bne 1b\n" EB_MVE_BLOCK_END EB_MVE_BLOCK_RULES);
}

/* Copies `count` bytes at `offset` of each row to places `apart`; leaves out absent rows. */
static inline void eb_mve_stack(const int8_t *const *rows, uint32_t height, int32_t offset,
                                int32_t count, int32_t apart, int8_t *to)
{
    const int8_t *const *end = rows + height, *from;
    int8_t *at;
    __asm__ volatile("1:\n"
                     "ldr %0, [%2], #4\n"
                     "mov %1, %3\n"
                     "add %3, %3, %7\n"
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
                     : "r"(offset), "r"(count), "r"(end), "r"(apart)
                     : "d0", "d1", "lr", "cc", "memory");
}

/* The window from column `first` on, where not all of it lies in the map, or it is dilated. */
EB_STATIC void eb_mve_border(const eb_conv *conv, const int8_t *const *rows, int32_t first,
                             int8_t *to)
{
    int32_t channels = conv->in_channels, columns = conv->kernel_width, width = conv->in_width;
    int32_t height = conv->kernel_height, apart = columns * channels;
    int32_t together = conv->dilation == 1 ? columns : 1;
    eb_mve_fill(to, conv->zero_point, height * apart);
    for (int32_t j = 0; j < columns; j += together, first += conv->dilation) {
        int32_t left = eb_limit(-first, 0, together), start = first + left;
        int32_t inside = eb_limit(width - start, 0, together - left);
        eb_mve_stack(rows, height, start * channels, inside * channels, apart,
                     to + (j + left) * channels);
    }
}

/* Up to 16 bytes of each of some pixels: 6 instructions a pixel. Compilers have no common name for
   the predicate to say that it changes, so it is put back. */
static inline void eb_mve_strip(const int8_t *from, int32_t step, int8_t *to, int32_t apart,
                                int32_t pixels, int32_t count)
{
    uint32_t predicate;
    __asm__ volatile("vmrs %2, p0\n"
                     "vctp.8 %6\n"
                     "dls lr, %5\n"
                     "1:\n"
                     "vpstt\n"
                     "vldrbt.u8 q0, [%0]\n"
                     "vstrbt.8 q0, [%1]\n"
                     "add %0, %0, %3\n"
                     "add %1, %1, %4\n"
                     "le lr, 1b\n"
                     "vmsr p0, %2\n"
                     : "+r"(from), "+r"(to), "=&r"(predicate)
                     : "r"(step), "r"(apart), "r"(pixels), "r"(count)
                     : "d0", "d1", "lr", "memory");
}

/* The columns of pixels whose windows lie in the map, from column `first` of it on: many short
   ones strip by strip, the others one by one. */
EB_STATIC void eb_mve_inside(const eb_conv *conv, const int8_t *const *rows, int32_t first,
                             int32_t pixels, int8_t *to, int32_t apart)
{
    int32_t channels = conv->in_channels, height = conv->kernel_height;
    int32_t count = conv->kernel_width * channels, step = conv->stride * channels;
    int32_t offset = first * channels;
    if (count > 32 || pixels < 4) {
        for (; pixels > 0; pixels--, offset += step, to += apart)
            eb_mve_stack(rows, height, offset, count, count, to);
        return;
    }
    for (int32_t i = 0; i < height; i++, to += count)
        for (int32_t k = 0; rows[i] && k < count; k += 16)
            eb_mve_strip(rows[i] + offset + k, step, to + k, apart, pixels, count - k);
}

/* The columns of output pixels from x on, `apart` bytes each. Absent rows were filled in before. */
EB_STATIC void eb_mve_collect(const eb_conv *conv, const int8_t *const *rows, int32_t x,
                              int32_t pixels, int8_t *to, int32_t apart)
{
    int32_t stride = conv->stride, first = x * stride - conv->pad;
    int32_t last = conv->dilation == 1 ? conv->in_width - conv->kernel_width : -1;
    for (; pixels && first < 0; pixels--, first += stride, to += apart)
        eb_mve_border(conv, rows, first, to);
    int32_t inside = last < first ? 0 : (last - first) / stride + 1;
    inside = inside < pixels ? inside : pixels;
    if (inside > 0)
        eb_mve_inside(conv, rows, first, inside, to, apart);
    to += inside * apart;
    first += inside * stride;
    for (; inside < pixels; inside++, first += stride, to += apart)
        eb_mve_border(conv, rows, first, to);
}

/* Fills in the rows of windows that lie outside of the map. */
EB_STATIC void eb_mve_absent(const eb_conv *conv, const int8_t *const *rows, int8_t *to,
                             int32_t apart, int32_t pixels)
{
    int32_t count = (int32_t)conv->kernel_width * conv->in_channels;
    for (int32_t i = 0; i < conv->kernel_height; i++, to += count)
        if (!rows[i])
            for (int32_t x = 0; x < pixels; x++)
                eb_mve_fill(to + x * apart, conv->zero_point, count);
}

/* Groups of four outputs from `out` on, of pixels whose columns are `apart`. */
EB_STATIC void eb_mve_groups_of_four(const eb_conv *conv, eb_mve_block *block,
                                     const int8_t *columns, int32_t apart, int32_t pixels,
                                     int32_t groups, int8_t *out)
{
    int32_t outputs = conv->out_channels, pairs = pixels >> 1;
    block->end = block->weights + groups * (conv->depth & EB_MVE_SIXTEENS) * 64;
    block->column[0] = columns;
    block->out[0] = out;
    if (pairs) {
        block->column[1] = columns + apart;
        block->out[1] = out + outputs;
        block->pairs = (uint32_t)pairs;
        block->next_column = 2 * apart;
        block->next_out = 2 * outputs - 4 * groups;
        eb_mve_two_columns(block);
    }
    if (pixels & 1)
        eb_mve_one_column(block);
}

/* All outputs. Where they are no multiple of four, the last four overlap the ones before. */
EB_STATIC void eb_mve_outputs(const eb_conv *conv, eb_mve_block *block, const int8_t *columns,
                              int32_t apart, int32_t pixels, int8_t *out)
{
    int32_t outputs = conv->out_channels;
    block->weights = conv->weights;
    block->lines = conv->lines;
    eb_mve_groups_of_four(conv, block, columns, apart, pixels, outputs >> 2, out);
    if (outputs & 3) {
        block->weights = block->end;
        block->lines += outputs - 4;
        eb_mve_groups_of_four(conv, block, columns, apart, pixels, 1, out + outputs - 4);
    }
}

static inline void eb_mve_start(const eb_conv *conv, eb_mve_block *block)
{
    uint32_t sixteens = conv->depth & EB_MVE_SIXTEENS;
    block->shift = -(int32_t)conv->output.fraction;
    block->turns = (sixteens + 3) >> 2;
    block->late = -sixteens & 3;
    block->low = conv->output.low;
    block->high = conv->output.high;
    eb_mve_start_finish(&conv->output, &block->finish);
}

/* Pixels, an even number, whose columns can be read in the row: no byte behind it is. */
static inline int32_t eb_mve_readable(const eb_conv *conv)
{
    int32_t step = conv->stride * conv->in_channels;
    int32_t spare = conv->in_width * conv->in_channels - (conv->depth & EB_MVE_SIXTEENS) * 16;
    if (!(conv->depth & EB_MVE_PIXEL) || conv->depth & EB_MVE_IN_PLACE || spare < 0)
        return 0;
    int32_t pixels = spare / step + 1;
    return pixels < conv->out_width ? pixels & ~1 : conv->out_width;
}

/* Columns that are collected at a time. */
static inline int32_t eb_mve_most(const eb_conv *conv)
{
    int32_t sixteens = conv->depth & EB_MVE_SIXTEENS;
    int32_t most = conv->depth & EB_MVE_PAIRS || sixteens >= 16 ? 2 : sixteens < 8 ? 8 : 4;
    return most < conv->out_width ? most : conv->out_width;
}

/* At least four outputs. */
EB_STATIC void eb_conv_mve(const void *layer, const int8_t *const *rows, int8_t *out,
                           void *scratch, int32_t step)
{
    const eb_conv *conv = layer;
    int32_t sixteens = conv->depth & EB_MVE_SIXTEENS, outputs = conv->out_channels;
    int32_t apart = conv->stride * conv->in_channels, size = sixteens * 16;
    int32_t most = eb_mve_most(conv);
    int32_t x = eb_mve_readable(conv);
    eb_mve_block block;
    (void)step;
    eb_mve_start(conv, &block);
    if (x)
        eb_mve_outputs(conv, &block, rows[0], apart, x, out);
    else if (!(conv->depth & EB_MVE_PIXEL))
        eb_mve_absent(conv, rows, scratch, size, most);
    for (int32_t pixels; x < conv->out_width; x += pixels) {
        int32_t left = conv->out_width - x;
        pixels = left < most ? left : most;
        eb_mve_collect(conv, rows, x, pixels, scratch, size);
        eb_mve_outputs(conv, &block, scratch, size, pixels, out + x * outputs);
    }
}

/* Fewer than four outputs: computes four, of which it keeps the first. The row of four
   begins the scratch. */
EB_STATIC void eb_conv_few_mve(const void *layer, const int8_t *const *rows, int8_t *out,
                               void *scratch, int32_t step)
{
    const eb_conv *conv = layer;
    eb_line lines[4];
    eb_conv four = *conv;
    int8_t *columns = (int8_t *)scratch + 4 * conv->out_width, *wide = scratch;
    for (int32_t o = 0; o < 4; o++)
        lines[o] = conv->lines[o < conv->out_channels ? o : 0];
    four.lines = lines;
    four.out_channels = 4;
    eb_conv_mve(&four, rows, wide, columns, step);
    for (int32_t x = 0; x < conv->out_width; x++, wide += 4)
        for (int32_t o = 0; o < conv->out_channels; o++)
            *out++ = wide[o];
}

#endif
