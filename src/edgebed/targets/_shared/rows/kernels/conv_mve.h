/* Convolution and dense layers with Helium (MVE, integer).

   Windows are columns of bytes, of which two are multiplied with four outputs at a time: each
   VMLADAVA.S8 adds 16 products to a core register. Sixteen inputs of such a block take 6 loads and
   8 multiply-accumulates, 14 instructions for 128 products. With two beats a cycle an instruction
   is two cycles, a load and a product overlap: an estimate of 16 to 18 cycles, not a measurement.
   The start of a block, the requantisation of its 8 outputs and the loop take 32 instructions;
   with an offset of the weights 4 more, and 3 for 16 inputs of a window, once a pixel. */
#ifndef EB_CONV_MVE_H
#define EB_CONV_MVE_H

#include "columns_mve.h"
#include "eb_math.h"

/* Bits of eb_conv.depth above the sixteens of a column. */
#define EB_MVE_PIXEL 0x8000   /* a column is one pixel, without a border */
#define EB_MVE_IN_PLACE 0x4000 /* the output row may lie on the input row */
#define EB_MVE_PAIRS 0x2000    /* two columns at a time are collected, not up to eight */
#define EB_MVE_SIXTEENS 0x1fff

/* Pixels whose sums of inputs are kept at a time, an even number of at least eight. */
#define EB_MVE_SUMS 32

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

/* The sum of `count` inputs. The register must have an even number. */
static inline int32_t eb_mve_sum(const int8_t *from, int32_t count)
{
    int32_t sum;
    __asm__ volatile("mov r12, #0\n"
                     "wlstp.8 lr, %2, 2f\n"
                     "1:\n"
                     "vldrb.u8 q0, [%1], #16\n"
                     "vaddva.s8 r12, q0\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     "mov %0, r12\n"
                     : "=r"(sum), "+r"(from)
                     : "r"(count)
                     : "d0", "d1", "r12", "lr", "memory");
    return sum;
}

/* The offset's share in the sums of up to EB_MVE_SUMS pixels. The offset, which may be 128,
   stands behind the weights as two bytes, the low one first. */
EB_STATIC void eb_mve_offset_sums(const eb_conv *conv, const int8_t *columns, int32_t apart,
                                  int32_t pixels, int32_t *sums)
{
    int32_t groups = (conv->out_channels + 3) >> 2;
    int32_t count = (int32_t)conv->kernel_height * conv->kernel_width * conv->in_channels;
    const int8_t *behind = conv->weights;
    behind += groups * (conv->depth & EB_MVE_SIXTEENS) * 64;
    int32_t offset = behind[1] * 256 + (uint8_t)behind[0];
    for (int32_t x = 0; x < pixels; x++, columns += apart)
        sums[x] = offset * eb_mve_sum(columns, count);
}

/* Groups of four outputs from `out` on, of pixels whose columns are `apart`. The offset's shares
   are `sums`, or NULL. */
EB_STATIC void eb_mve_groups_of_four(const eb_conv *conv, eb_mve_block *block,
                                     const int8_t *columns, int32_t apart, int32_t pixels,
                                     int32_t groups, int8_t *out, const int32_t *sums)
{
    int32_t outputs = conv->out_channels, pairs = pixels >> 1;
    block->end = block->weights + groups * (conv->depth & EB_MVE_SIXTEENS) * 64;
    block->column[0] = columns;
    block->out[0] = out;
    if (sums)
        block->sums = sums;
    if (pairs) {
        block->column[1] = columns + apart;
        block->out[1] = out + outputs;
        block->pairs = (uint32_t)pairs;
        block->next_column = 2 * apart;
        block->next_out = 2 * outputs - 4 * groups;
        if (sums)
            eb_mve_two_columns_offset(block);
        else
            eb_mve_two_columns(block);
    }
    if (pixels & 1 && sums)
        eb_mve_one_column_offset(block);
    else if (pixels & 1)
        eb_mve_one_column(block);
}

/* All outputs. Where they are no multiple of four, the last four overlap the ones before. */
EB_STATIC void eb_mve_outputs(const eb_conv *conv, eb_mve_block *block, const int8_t *columns,
                              int32_t apart, int32_t pixels, int8_t *out, const int32_t *sums)
{
    int32_t outputs = conv->out_channels;
    block->weights = conv->weights;
    block->lines = conv->lines;
    eb_mve_groups_of_four(conv, block, columns, apart, pixels, outputs >> 2, out, sums);
    if (outputs & 3) {
        block->weights = block->end;
        block->lines += outputs - 4;
        eb_mve_groups_of_four(conv, block, columns, apart, pixels, 1, out + outputs - 4, sums);
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
        eb_mve_outputs(conv, &block, rows[0], apart, x, out, 0);
    else if (!(conv->depth & EB_MVE_PIXEL))
        eb_mve_absent(conv, rows, scratch, size, most);
    for (int32_t pixels; x < conv->out_width; x += pixels) {
        int32_t left = conv->out_width - x;
        pixels = left < most ? left : most;
        eb_mve_collect(conv, rows, x, pixels, scratch, size);
        eb_mve_outputs(conv, &block, scratch, size, pixels, out + x * outputs, 0);
    }
}

/* The same with an offset of the weights. */
EB_STATIC void eb_mve_outputs_offset(const eb_conv *conv, eb_mve_block *block,
                                     const int8_t *columns, int32_t apart, int32_t pixels,
                                     int8_t *out)
{
    int32_t sums[EB_MVE_SUMS];
    eb_mve_offset_sums(conv, columns, apart, pixels, sums);
    eb_mve_outputs(conv, block, columns, apart, pixels, out, sums);
}

/* eb_conv_mve for weights that are bytes plus an offset. */
EB_STATIC void eb_conv_offset_mve(const void *layer, const int8_t *const *rows, int8_t *out,
                                  void *scratch, int32_t step)
{
    const eb_conv *conv = layer;
    int32_t size = (conv->depth & EB_MVE_SIXTEENS) * 16, outputs = conv->out_channels;
    int32_t apart = conv->stride * conv->in_channels, most = eb_mve_most(conv), pixels;
    int32_t readable = eb_mve_readable(conv), x = 0;
    eb_mve_block block;
    (void)step;
    eb_mve_start(conv, &block);
    for (; x < readable; x += pixels) {
        pixels = readable - x < EB_MVE_SUMS ? readable - x : EB_MVE_SUMS;
        eb_mve_outputs_offset(conv, &block, rows[0] + x * apart, apart, pixels, out + x * outputs);
    }
    if (!(conv->depth & EB_MVE_PIXEL))
        eb_mve_absent(conv, rows, scratch, size, most);
    for (; x < conv->out_width; x += pixels) {
        pixels = conv->out_width - x < most ? conv->out_width - x : most;
        eb_mve_collect(conv, rows, x, pixels, scratch, size);
        eb_mve_outputs_offset(conv, &block, scratch, size, pixels, out + x * outputs);
    }
}

/* Fewer than four outputs: computes four, of which it keeps the first. The row of four
   begins the scratch. */
static inline void eb_mve_few(const eb_conv *conv, const int8_t *const *rows, int8_t *out,
                              void *scratch, eb_kernel *run)
{
    eb_line lines[4];
    eb_conv four = *conv;
    int8_t *columns = (int8_t *)scratch + 4 * conv->out_width, *wide = scratch;
    for (int32_t o = 0; o < 4; o++)
        lines[o] = conv->lines[o < conv->out_channels ? o : 0];
    four.lines = lines;
    four.out_channels = 4;
    run(&four, rows, wide, columns, 0);
    for (int32_t x = 0; x < conv->out_width; x++, wide += 4)
        for (int32_t o = 0; o < conv->out_channels; o++)
            *out++ = wide[o];
}

EB_STATIC void eb_conv_few_mve(const void *layer, const int8_t *const *rows, int8_t *out,
                               void *scratch, int32_t step)
{
    (void)step;
    eb_mve_few(layer, rows, out, scratch, eb_conv_mve);
}

EB_STATIC void eb_conv_few_offset_mve(const void *layer, const int8_t *const *rows, int8_t *out,
                                      void *scratch, int32_t step)
{
    (void)step;
    eb_mve_few(layer, rows, out, scratch, eb_conv_offset_mve);
}

#endif
