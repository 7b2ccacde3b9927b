/* Depthwise convolution with Helium (MVE, integer), windows of up to 4 x 4.

   The rows below a step are interleaved byte by byte with VST4, so that a word holds one column of
   a channel's window, and a gather of four words, as far apart as the map's columns, the whole
   window. A VMLADAVA.S8 with the channel's 16 weights then adds all products of a pixel. Two
   pixels of four channels take 16 instructions for that, 29 for the requantisation of the 8
   outputs and the loop; the interleaving takes 11 to 13 for 16 channels of a column. With two
   beats a cycle and four cycles for a gather: an estimate of 80 cycles for the 45 instructions. */
#ifndef EB_DEPTHWISE_MVE_H
#define EB_DEPTHWISE_MVE_H

#include "eb_math.h"
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

#define EB_MVE_GATHER(offset, sum, weights)                                                       \
    "vldrw.u32 q0, [q3" offset "]\n"                                                              \
    "vmladava.s8 " sum ", q0, " weights "\n"

#define EB_MVE_FOUR_CHANNELS(a, b, c, d)                                                          \
    EB_MVE_GATHER("", a, "q4")                                                                    \
    EB_MVE_GATHER(", #4", b, "q5")                                                                \
    EB_MVE_GATHER(", #8", c, "q6")                                                                \
    EB_MVE_GATHER(", #12", d, "q7")

/* All pixels of the groups from `weights` to `end`, group by group. */
EB_MVE_ASSEMBLY(eb_mve_depthwise, eb_mve_groups)
{
    __asm__ volatile(".syntax unified\n"
                     "push {r3-r11, lr}\n"
                     "vpush {d8-d15}\n"
                     "mov r1, r0\n"
                     "ldrd r3, r7, [r1, #148]\n"
                     "1:\n"
                     "vldrw.u32 q0, [r1, #112]\n"
                     "mov r0, #48\n"
                     "vldrw.u32 q1, [q0]\n"
                     "vldrw.u32 q2, [q0, #4]\n"
                     "vstrw.32 q1, [r1]\n"
                     "vldrw.u32 q3, [q0, #8]\n"
                     "vstrw.32 q1, [r1, #16]\n"
                     "vadd.i32 q0, q0, r0\n"
                     "vstrw.32 q2, [r1, #32]\n"
                     "ldr r5, [r1, #128]\n"
                     "vstrw.32 q3, [r1, #48]\n"
                     "vldrb.u8 q4, [r5], #16\n"
                     "vstrw.32 q0, [r1, #112]\n"
                     "vldrb.u8 q5, [r5], #16\n"
                     "movs r0, #16\n"
                     "vldrw.u32 q3, [r1, #96]\n"
                     "vadd.i32 q0, q3, r0\n"
                     "vldrb.u8 q6, [r5], #16\n"
                     "vstrw.32 q0, [r1, #96]\n"
                     "vldrb.u8 q7, [r5], #16\n"
                     "str r5, [r1, #128]\n"
                     "ldrd r5, r9, [r1, #136]\n"
                     "ldr r11, [r1, #156]\n"
                     "adds r0, r5, #4\n"
                     "str r0, [r1, #136]\n"
                     "cmp r9, #0\n"
                     "beq 3f\n"
                     "2:\n"
                     "ldm r1, {r0, r2, r4, r6, r8, r10, r12, lr}\n"
                     EB_MVE_FOUR_CHANNELS("r0", "r2", "r4", "r6")
                     "vadd.i32 q3, q3, r3\n"
                     EB_MVE_FOUR_CHANNELS("r8", "r10", "r12", "lr")
                     "vadd.i32 q3, q3, r3\n"
                     "vmov q0[2], q0[0], r0, r4\n"
                     "vmov q0[3], q0[1], r2, r6\n"
                     "vldrw.u32 q2, [r1, #32]\n"
                     "vmov q1[2], q1[0], r8, r12\n"
                     "vmov q1[3], q1[1], r10, lr\n"
                     "ldr r0, [r1, #160]\n"
                     "cbnz r0, 6f\n"
                     "vmulh.s32 q0, q0, q2\n"
                     "vmulh.s32 q1, q1, q2\n"
                     "vldrw.u32 q2, [r1, #48]\n"
                     "vadd.i32 q0, q0, q2\n"
                     "vadd.i32 q1, q1, q2\n"
                     "vshl.s32 q0, r11\n"
                     "vshl.s32 q1, r11\n"
                     "5:\n"
                     "vldrw.u32 q2, [r1, #64]\n"
                     "vmax.s32 q0, q0, q2\n"
                     "vmax.s32 q1, q1, q2\n"
                     "vldrw.u32 q2, [r1, #80]\n"
                     "vmin.s32 q0, q0, q2\n"
                     "vstrb.32 q0, [r5]\n"
                     "vmin.s32 q1, q1, q2\n"
                     "add r5, r5, r7\n"
                     "vstrb.32 q1, [r5]\n"
                     "add r5, r5, r7\n"
                     "subs r9, #1\n"
                     "bne 2b\n"
                     "b 3f\n"
                     "6:\n"
                     "add r8, r1, #160\n"
                     "cmp r0, #3\n"
                     "bne 7f\n" EB_MVE_SHORT("r8", "r0", "q2", "vldrw.u32 q2, [r1, #48]\n")
                     "b 9f\n"
                     "7:\n" EB_MVE_FLOAT("r0", "r8", "r0", "9f")
                     "mov r4, r1\n"
                     "mov r6, r3\n"
                     "vstrw.32 q3, [r8, #48]\n"
                     "ldr r1, [r4, #112]\n"
                     "subs r1, #48\n" EB_MVE_CALL("r8")
                     "vldrw.u32 q3, [r8, #48]\n"
                     "mov r1, r4\n"
                     "mov r3, r6\n"
                     "9:\n"
                     "cmp r9, #0\n"
                     "bne 5b\n"
                     "b 8f\n"
                     "3:\n"
                     "ldr r0, [r1, #144]\n"
                     "cbz r0, 4f\n"
                     "ldm r1, {r0, r2, r4, r6}\n"
                     EB_MVE_FOUR_CHANNELS("r0", "r2", "r4", "r6")
                     "vmov q0[2], q0[0], r0, r4\n"
                     "vmov q0[3], q0[1], r2, r6\n"
                     "vldrw.u32 q2, [r1, #32]\n"
                     "ldr r0, [r1, #160]\n"
                     "cmp r0, #0\n"
                     "bne 6b\n"
                     "vmulh.s32 q0, q0, q2\n"
                     "vldrw.u32 q2, [r1, #48]\n"
                     "vadd.i32 q0, q0, q2\n"
                     "vshl.s32 q0, r11\n"
                     "8:\n"
                     "vldrw.u32 q2, [r1, #64]\n"
                     "vmax.s32 q0, q0, q2\n"
                     "vldrw.u32 q2, [r1, #80]\n"
                     "vmin.s32 q0, q0, q2\n"
                     "vstrb.32 q0, [r5]\n"
                     "4:\n"
                     "ldrd r0, r2, [r1, #128]\n"
                     "cmp r0, r2\n"
                     "bne 1b\n"
                     "vpop {d8-d15}\n"
                     "pop {r3-r11, pc}\n");
}

/* Columns of the map: those from `first` on, `inside` of them in the map after `left` outside. */
typedef struct {
    int32_t first, left, inside, count;
} eb_mve_span;

static inline eb_mve_span eb_mve_spanned(const eb_conv *conv, int32_t x, int32_t pixels)
{
    int32_t reach = (conv->kernel_width - 1) * conv->dilation + 1, width = conv->in_width;
    eb_mve_span span;
    span.first = x * conv->stride - conv->pad;
    span.count = (pixels - 1) * conv->stride + reach;
    span.left = eb_limit(-span.first, 0, span.count);
    span.inside = eb_limit(width - span.first - span.left, 0, span.count - span.left);
    return span;
}

/* Rows from byte `offset` on; absent ones are `nothing` again and again. */
static inline void eb_mve_start_rows(const eb_conv *conv, const int8_t *const *rows,
                                     int32_t offset, int32_t step, const int8_t *nothing,
                                     eb_mve_columns *to)
{
    for (int32_t i = 0; i < 4; i++) {
        int32_t present = i < conv->kernel_height && rows[i];
        to->rows[i] = present ? rows[i] + offset : nothing;
        to->steps[i] = present ? step : 0;
    }
    if (conv->kernel_height < 4)
        to->rows[3] = 0;
}

static inline void eb_mve_move_rows(eb_mve_columns *columns, int32_t bytes)
{
    for (int32_t i = 0; i < 4; i++)
        if (columns->steps[i])
            columns->rows[i] += bytes;
}

/* The last bytes of rows, fewer than 16: no byte behind them may be read. */
EB_STATIC void eb_mve_interleave_rest(eb_mve_columns *columns, int32_t rest)
{
    int8_t copies[4][16];
    for (int32_t i = 0; i < 4 && columns->rows[i]; i++) {
        eb_mve_copy(copies[i], columns->rows[i], rest);
        columns->rows[i] = copies[i];
    }
    columns->count = 1;
    eb_mve_interleave(columns);
}

/* Fewer than 16 channels: rows are 16 bytes after 16 bytes, whatever their pixels. */
static inline void eb_mve_interleave_flat(eb_mve_columns *columns, int32_t bytes)
{
    columns->count = (uint32_t)bytes >> 4;
    eb_mve_interleave(columns);
    if (bytes & 15) {
        columns->to += 4 * (bytes & ~15);
        eb_mve_move_rows(columns, bytes & ~15);
        eb_mve_interleave_rest(columns, bytes & 15);
    }
}

/* `groups` groups of four channels, whose first column begins at address `first`. */
static inline void eb_mve_run_groups(eb_mve_groups *block, uint32_t first, uint32_t apart,
                                     int32_t groups)
{
    for (uint32_t i = 0; i < 4; i++, first += apart)
        block->columns[i] = first;
    block->end = block->weights + 64 * groups;
    eb_mve_depthwise(block);
}

/* The next channels: all groups of which every channel is among the next `held`; `from` are their
   columns, with `before` channels in front. At the end of the map, the last four channels overlap
   the ones before where they are no multiple of four. */
EB_STATIC void eb_mve_channels(const eb_conv *conv, eb_mve_groups *block, int32_t channel,
                               int32_t before, const int8_t *from)
{
    int32_t left = conv->in_channels - channel, groups = left < 16 ? left >> 2 : 4;
    uint32_t apart = block->step / conv->stride * conv->dilation;
    uint32_t first = (uint32_t)(uintptr_t)(from + 4 * before);
    if (groups)
        eb_mve_run_groups(block, first, apart, groups);
    int32_t rest = left & 3;
    if (left < 16 && rest) {
        block->out -= 4 - rest;
        for (int32_t i = 0; i < 4; i++)
            block->lines[i] -= (uint32_t)(4 - rest) * sizeof *conv->lines;
        eb_mve_run_groups(block, first + 16 * (uint32_t)groups - 4 * (uint32_t)(4 - rest), apart, 1);
    }
}

static inline void eb_mve_start_groups(const eb_conv *conv, int32_t pixels, int8_t *out,
                                       eb_mve_groups *block)
{
    uint32_t held = conv->in_channels < 16 ? conv->in_channels : 16;
    for (int32_t i = 0; i < 4; i++) {
        block->low[i] = conv->output.low;
        block->high[i] = conv->output.high;
        block->lines[i] = (uint32_t)(uintptr_t)(conv->lines + i);
    }
    block->weights = conv->weights;
    block->out = out;
    block->pairs = (uint32_t)pixels >> 1;
    block->odd = (uint32_t)pixels & 1;
    block->step = 4 * held * conv->stride;
    block->channels = conv->in_channels;
    block->shift = -(int32_t)conv->output.fraction;
    eb_mve_start_finish(&conv->output, &block->finish);
}

/* Sixteen channels after sixteen channels; the last sixteen overlap the ones before. */
static inline void eb_mve_many_channels(const eb_conv *conv, eb_mve_columns *columns,
                                        eb_mve_groups *block, const int8_t *from)
{
    int32_t channels = conv->in_channels;
    for (int32_t channel = 0; channel < channels; channel += 16) {
        int32_t left = channels - channel, before = left < 16 ? 16 - left : 0;
        eb_mve_move_rows(columns, -before);
        eb_mve_interleave(columns);
        eb_mve_move_rows(columns, 16);
        eb_mve_channels(conv, block, channel, before, from);
    }
}

/* Output columns from x on: as many as scratch has room for. */
EB_STATIC void eb_mve_pixels(const eb_conv *conv, const int8_t *const *rows, int32_t x,
                             int32_t pixels, int8_t *out, int8_t *scratch)
{
    int32_t channels = conv->in_channels, size = 4 * (channels < 16 ? channels : 16);
    eb_mve_span span = eb_mve_spanned(conv, x, pixels);
    int32_t behind = span.left + span.inside, bytes = span.inside * channels;
    int8_t nothing[16];
    eb_mve_groups block;
    eb_mve_columns columns;
    eb_mve_fill(nothing, conv->zero_point, 16);
    eb_mve_start_groups(conv, pixels, out, &block);
    eb_mve_start_rows(conv, rows, (span.first + span.left) * channels,
                      channels < 16 ? 16 : channels, nothing, &columns);
    columns.to = scratch + size * span.left;
    columns.count = (uint32_t)span.inside;
    eb_mve_fill(scratch, conv->zero_point, size * span.left);
    if (channels < 16)
        eb_mve_interleave_flat(&columns, bytes);
    eb_mve_fill(scratch + size * behind, conv->zero_point, size * (span.count - behind));
    if (channels < 16)
        eb_mve_channels(conv, &block, 0, 0, scratch);
    else
        eb_mve_many_channels(conv, &columns, &block, scratch);
}

/* depth: output columns that scratch has room for. At least four channels. */
EB_STATIC void eb_depthwise_mve(const void *layer, const int8_t *const *rows, int8_t *out,
                                void *scratch, int32_t step)
{
    const eb_conv *conv = layer;
    (void)step;
    for (int32_t x = 0; x < conv->out_width; x += conv->depth) {
        int32_t left = conv->out_width - x, pixels = left < conv->depth ? left : conv->depth;
        eb_mve_pixels(conv, rows, x, pixels, out + x * conv->out_channels, scratch);
    }
}

#endif
