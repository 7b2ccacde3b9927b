/* Depthwise convolution with Helium (MVE, integer), windows of up to 4 x 4.

   The rows below a step are interleaved byte by byte with VST4, so that a word holds one column of
   a channel's window, and a gather of four words, as far apart as the map's columns, the whole
   window. A VMLADAVA.S8 with the channel's 16 weights then adds all products of a pixel. Two
   pixels of four channels take 16 instructions for that, 29 for the requantisation of the 8
   outputs and the loop; the interleaving takes 11 to 13 for 16 channels of a column. With two
   beats a cycle and four cycles for a gather: an estimate of 80 cycles for the 45 instructions.

   Weights beyond a byte are bytes plus an offset, one of the layer: a second VMLADAVA.S8 adds the
   offset times the window, 9 instructions for two pixels. */
#ifndef EB_DEPTHWISE_MVE_H
#define EB_DEPTHWISE_MVE_H

#include "channels_mve.h"
#include "eb_math.h"

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
                                     int32_t groups, int32_t offset)
{
    for (uint32_t i = 0; i < 4; i++, first += apart)
        block->columns[i] = first;
    block->end = block->weights + 64 * groups;
    if (offset)
        eb_mve_depthwise_offset(block);
    else
        eb_mve_depthwise(block);
}

/* The next channels: all groups of which every channel is among the next `held`; `from` are their
   columns, with `before` channels in front. At the end of the map, the last four channels overlap
   the ones before where they are no multiple of four. */
EB_STATIC void eb_mve_channels(const eb_conv *conv, eb_mve_groups *block, int32_t channel,
                               int32_t before, const int8_t *from, int32_t offset)
{
    int32_t left = conv->in_channels - channel, groups = left < 16 ? left >> 2 : 4;
    uint32_t apart = block->step / conv->stride * conv->dilation;
    uint32_t first = (uint32_t)(uintptr_t)(from + 4 * before);
    if (groups)
        eb_mve_run_groups(block, first, apart, groups, offset);
    int32_t rest = left & 3;
    if (left < 16 && rest) {
        block->out -= 4 - rest;
        for (int32_t i = 0; i < 4; i++)
            block->lines[i] -= (uint32_t)(4 - rest) * sizeof *conv->lines;
        first += 16 * (uint32_t)groups - 4 * (uint32_t)(4 - rest);
        eb_mve_run_groups(block, first, apart, 1, offset);
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
                                        eb_mve_groups *block, const int8_t *from,
                                        int32_t offset)
{
    int32_t channels = conv->in_channels;
    for (int32_t channel = 0; channel < channels; channel += 16) {
        int32_t left = channels - channel, before = left < 16 ? 16 - left : 0;
        eb_mve_move_rows(columns, -before);
        eb_mve_interleave(columns);
        eb_mve_move_rows(columns, 16);
        eb_mve_channels(conv, block, channel, before, from, offset);
    }
}

/* Output columns from x on: as many as scratch has room for. */
EB_STATIC void eb_mve_pixels(const eb_conv *conv, const int8_t *const *rows, int32_t x,
                             int32_t pixels, int8_t *out, int8_t *scratch,
                             eb_mve_groups *block, int32_t offset)
{
    int32_t channels = conv->in_channels, size = 4 * (channels < 16 ? channels : 16);
    eb_mve_span span = eb_mve_spanned(conv, x, pixels);
    int32_t behind = span.left + span.inside, bytes = span.inside * channels;
    int8_t nothing[16];
    eb_mve_columns columns;
    eb_mve_fill(nothing, conv->zero_point, 16);
    eb_mve_start_groups(conv, pixels, out, block);
    eb_mve_start_rows(conv, rows, (span.first + span.left) * channels,
                      channels < 16 ? 16 : channels, nothing, &columns);
    columns.to = scratch + size * span.left;
    columns.count = (uint32_t)span.inside;
    eb_mve_fill(scratch, conv->zero_point, size * span.left);
    if (channels < 16)
        eb_mve_interleave_flat(&columns, bytes);
    eb_mve_fill(scratch + size * behind, conv->zero_point, size * (span.count - behind));
    if (channels < 16)
        eb_mve_channels(conv, block, 0, 0, scratch, offset);
    else
        eb_mve_many_channels(conv, &columns, block, scratch, offset);
}

static inline void eb_mve_spans(const eb_conv *conv, const int8_t *const *rows, int8_t *out,
                                void *scratch, eb_mve_groups *block, int32_t offset)
{
    for (int32_t x = 0; x < conv->out_width; x += conv->depth) {
        int32_t left = conv->out_width - x, pixels = left < conv->depth ? left : conv->depth;
        eb_mve_pixels(conv, rows, x, pixels, out + x * conv->out_channels, scratch, block, offset);
    }
}

/* depth: output columns that scratch has room for. At least four channels. */
EB_STATIC void eb_depthwise_mve(const void *layer, const int8_t *const *rows, int8_t *out,
                                void *scratch, int32_t step)
{
    eb_mve_groups block;
    (void)step;
    eb_mve_spans(layer, rows, out, scratch, &block, 0);
}

/* The same for weights that are bytes plus an offset. Behind them stand what `offsets` become. */
EB_STATIC void eb_depthwise_offset_mve(const void *layer, const int8_t *const *rows, int8_t *out,
                                       void *scratch, int32_t step)
{
    const eb_conv *conv = layer;
    int32_t groups = (conv->in_channels + 3) >> 2;
    eb_mve_offset_groups block;
    (void)step;
    eb_mve_copy(block.offsets, (const int8_t *)conv->weights + 64 * groups, 16);
    eb_mve_spans(conv, rows, out, scratch, &block.groups, 1);
}

#endif
