/* How the NEON convolutions lay out their inputs: planes of sixteen channels, or whole windows, so
   that what neighbouring pixels multiply in one step lies side by side. */
#ifndef EB_INPUTS_NEON_H
#define EB_INPUTS_NEON_H

#include "requantize_neon.h"

/* Sixteen bytes each from `count` places. */
EB_INLINE int8_t *eb_gather_neon(int8_t *to, const int8_t *from, int32_t step, int32_t count) {
    if (step == 16)
#pragma GCC unroll 1
        for (; count >= 8; count -= 8, from += 128, to += 128) {
            int8x16_t v[8];
#pragma GCC unroll 8
            for (int32_t i = 0; i < 8; i++) v[i] = vld1q_s8(from + 16 * i);
#pragma GCC unroll 8
            for (int32_t i = 0; i < 8; i++) vst1q_s8(to + 16 * i, v[i]);
        }
#pragma GCC unroll 1
    for (; count >= 4; count -= 4, from += 4 * step, to += 64) {
        const int8x16_t a = vld1q_s8(from), b = vld1q_s8(from + step);
        const int8x16_t c = vld1q_s8(from + 2 * step), d = vld1q_s8(from + 3 * step);
        vst1q_s8(to, a);
        vst1q_s8(to + 16, b);
        vst1q_s8(to + 32, c);
        vst1q_s8(to + 48, d);
    }
#pragma GCC unroll 1
    for (; count > 0; count--, from += step, to += 16) vst1q_s8(to, vld1q_s8(from));
    return to;
}

/* Every stride-th pixel of a row: so many zero points before the first, pixels inside of the row,
   and zero points behind. */
typedef struct {
    int32_t before, inside, after, first; /* number of the first pixel */
} eb_phase;

EB_INLINE eb_phase eb_phase_of(const eb_conv *layer, int32_t at, int32_t count) {
    const int32_t stride = layer->stride, width = layer->in_width;
    eb_phase phase = {0, 0, 0, at};
    for (; phase.first < 0 && phase.before < count; phase.before++) phase.first += stride;
    if (phase.first < width) phase.inside = (width - 1 - phase.first) / stride + 1;
    if (phase.inside > count - phase.before) phase.inside = count - phase.before;
    phase.after = count - phase.before - phase.inside;
    return phase;
}

/* The last plane of a row, of fewer than sixteen channels from `from` on: sixteen bytes are read all
   the same, unless the row ends before. */
static __attribute__((noinline)) void eb_last_plane(const eb_conv *layer, const int8_t *row,
                                                    const eb_phase *phase, int8_t *to) {
    const int32_t channels = layer->in_channels, step = layer->stride * channels;
    const int32_t rest = channels & 15, bytes = layer->in_width * channels;
    const int32_t from = phase->first * channels + channels - rest;
    int32_t whole = phase->inside;
    while (whole > 0 && from + (whole - 1) * step + 16 > bytes) whole--;
    to = eb_fill_neon(to, layer->zero_point, 16 * phase->before);
    to = eb_gather_neon(to, row + from, step, whole);
#pragma GCC unroll 1
    for (; whole < phase->inside; whole++, to += 16)
        eb_copy_neon(to, row + from + whole * step, rest);
    eb_fill_neon(to, layer->zero_point, 16 * phase->after);
}

/* Planes of one row, `apart` bytes from one to the next: sixteen channels each of every stride-th
   pixel; as many as are full. */
static __attribute__((noinline)) void eb_full_planes(const eb_conv *layer, const int8_t *row,
                                                     const eb_phase *phase, int8_t *to,
                                                     int32_t apart) {
    const int32_t channels = layer->in_channels, step = layer->stride * channels;
    const int8x16_t zero = vdupq_n_s8(layer->zero_point);
    const eb_phase it = *phase;
    const int8_t *from = row + it.first * channels;
#pragma GCC unroll 1
    for (int32_t c = channels >> 4; c > 0; c--, from += 16, to += apart) {
        int8_t *put = to;
#pragma GCC unroll 1
        for (int32_t n = it.before; n > 0; n--, put += 16) vst1q_s8(put, zero);
        put = eb_gather_neon(put, from, step, it.inside);
#pragma GCC unroll 1
        for (int32_t n = it.after; n > 0; n--, put += 16) vst1q_s8(put, zero);
    }
}

/* Copies all planes and notes where each step's inputs lie. */
static void eb_planes_neon(const eb_conv *layer, const int8_t *const *rows, int32_t count,
                           int32_t *offset, int8_t *to) {
    const int32_t stride = layer->stride, width = layer->kernel_width;
    const int32_t reach = (width - 1) * layer->dilation;
    const int32_t phases = reach + 1 < stride ? reach + 1 : stride;
    const int32_t columns = layer->out_width + reach / stride;
    const int32_t plane = 16 * columns, groups = (layer->in_channels + 15) >> 4;
    const int32_t all = count * groups * width;
    for (int32_t kx = 0, at = 0, phase = 0; kx < width; kx++) {
        offset[kx] = phase * plane + at;
        for (phase += layer->dilation; phase >= stride; phase -= stride) at += 16;
    }
#pragma GCC unroll 1
    for (int32_t n = width; n < all; n++) offset[n] = offset[n - width] + phases * plane;
    for (int32_t n = 0; n < phases; n++) {
        const eb_phase phase = eb_phase_of(layer, n - layer->pad, columns);
        const eb_phase none = {columns, 0, 0, 0};
        int8_t *put = to + n * plane;
        for (int32_t ky = 0; ky < count; ky++, put += groups * phases * plane) {
            const eb_phase *which = rows[ky] ? &phase : &none;
            eb_full_planes(layer, rows[ky], which, put, phases * plane);
            if (layer->in_channels & 15)
                eb_last_plane(layer, rows[ky], which, put + (groups - 1) * phases * plane);
        }
    }
}

#if defined(__aarch64__)
/* Windows of three rows, at most sixteen bytes each, that make two steps: which byte comes from
   where is said in the table. */
static void eb_windows3_neon(const eb_conv *layer, const int8_t *row, int32_t size,
                             const int8_t *table, int8_t *to) {
    const uint8x16_t first = vreinterpretq_u8_s8(vld1q_s8(table));
    const uint8x16_t second = vreinterpretq_u8_s8(vld1q_s8(table + 16));
    const int32_t step = layer->stride * layer->in_channels, count = layer->out_width;
    int8_t *other = to + 16 * count;
#pragma GCC unroll 1
    for (int32_t p = 0; p < count; p++, row += step, to += 16, other += 16) {
        const int8x16x3_t v = {{vld1q_s8(row), vld1q_s8(row + size), vld1q_s8(row + 2 * size)}};
        vst1q_s8(to, vqtbl3q_s8(v, first));
        vst1q_s8(other, vqtbl3q_s8(v, second));
    }
}
#endif

/* Copies the windows of all pixels, each behind the other, and from there to steps.
   table: for windows of three short rows, or 0. */
static void eb_windows_neon(const eb_conv *layer, const int8_t *const *rows, int32_t steps,
                            const int8_t *table, int8_t *to) {
    const int32_t joined = layer->dilation == 1, channels = layer->in_channels;
    const int32_t run = joined ? layer->kernel_width * channels : channels;
    const int32_t runs = joined ? 1 : layer->kernel_width;
    const int32_t step = layer->stride * channels, each = 16 * steps + 16;
    const int32_t count = layer->out_width, size = eb_bordered_bytes(layer);
    int8_t *const windows = to + 16 * steps * count;
    int8_t *const bordered = windows + each * count;
    const int8_t *from = bordered;
    int8_t *put = windows;
    eb_bordered_rows(layer, rows, bordered);
    (void)table;
#if defined(__aarch64__)
    if (table) {
        eb_windows3_neon(layer, bordered, size, table, to);
        return;
    }
#endif
    for (int32_t ky = 0; ky < layer->kernel_height; ky++, from += size)
#pragma GCC unroll 1
        for (int32_t n = 0; n < runs; n++, put += run) {
            const int8_t *get = from + n * layer->dilation * channels;
#pragma GCC unroll 1
            for (int32_t i = 0; i < run; i += 16)
#pragma GCC unroll 4
                for (int32_t p = 0; p < count; p++)
                    vst1q_s8(put + p * each + i, vld1q_s8(get + p * step + i));
        }
#pragma GCC unroll 1
    for (int32_t k = 0; k < steps; k++) to = eb_gather_neon(to, windows + 16 * k, each, count);
}

#endif
