/* The pixels below a kernel's window, with what lies outside of the map filled in. */
#ifndef EB_WINDOW_H
#define EB_WINDOW_H

#include "eb_math.h"

/* Copies `count` pixels of a row, from one on that may lie outside; returns the end of the copy. */
EB_STATIC int8_t *eb_gather_run(const eb_conv *conv, const int8_t *row, int32_t first,
                                int32_t count, int8_t *to) {
    const int32_t width = conv->in_width, depth = conv->in_channels;
    const int32_t left = row ? eb_limit(-first, 0, count) : count;
    const int32_t right = row ? eb_limit(first + count - width, 0, count - left) : 0;
    const int32_t inside = count - left - right;
    eb_fill(to, conv->zero_point, (uint32_t)(left * depth));
    to += left * depth;
    if (inside) eb_copy(to, row + (first + left) * depth, (uint32_t)(inside * depth));
    to += inside * depth;
    eb_fill(to, conv->zero_point, (uint32_t)(right * depth));
    return to + right * depth;
}

/* Copies the window of output column x; each of its rows begins `pitch` bytes after the last. */
EB_STATIC void eb_gather_rows(const eb_conv *conv, const int8_t *const *rows, int32_t x,
                              int8_t *to, int32_t pitch) {
    const int32_t first = x * conv->stride - conv->pad, columns = conv->kernel_width;
    for (int32_t i = 0; i < conv->kernel_height; i++, to += pitch) {
        if (conv->dilation == 1) {
            eb_gather_run(conv, rows[i], first, columns, to);
            continue;
        }
        int8_t *at = to;
        for (int32_t j = 0; j < columns; j++)
            at = eb_gather_run(conv, rows[i], first + j * conv->dilation, 1, at);
    }
}

/* Copies the window of output column x: kernel_height x kernel_width x in_channels bytes. */
EB_STATIC void eb_gather(const eb_conv *conv, const int8_t *const *rows, int32_t x, int8_t *to) {
    eb_gather_rows(conv, rows, x, to, conv->kernel_width * conv->in_channels);
}

/* The pixel below a 1x1 window, if it can be read where it is while `out` is written; or NULL. */
EB_STATIC const int8_t *eb_pixel(const eb_conv *conv, const int8_t *const *rows, int32_t x,
                                 const int8_t *out) {
    const int32_t column = x * conv->stride;
    if (conv->kernel_height != 1 || conv->kernel_width != 1 || conv->pad) return 0;
    if (!rows[0] || column >= conv->in_width) return 0;
    const int8_t *pixel = rows[0] + column * conv->in_channels;
    const uintptr_t read = (uintptr_t)pixel, written = (uintptr_t)out;
    if (written < read + conv->in_channels && read < written + conv->out_channels) return 0;
    return pixel;
}

#endif
