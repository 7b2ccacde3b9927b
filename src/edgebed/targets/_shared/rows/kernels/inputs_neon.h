/* How the NEON convolutions lay out their inputs: planes of sixteen channels, or whole windows, so
   that what neighbouring pixels multiply in one step lies side by side. */
#ifndef EB_INPUTS_NEON_H
#define EB_INPUTS_NEON_H

#include "requantize_neon.h"

#if defined(__aarch64__)
#define EB_COPY_128(to, from)                                                              \
    __asm__ volatile("ld1 {v16.16b, v17.16b, v18.16b, v19.16b}, [%1], #64\n\t"             \
                     "ld1 {v20.16b, v21.16b, v22.16b, v23.16b}, [%1], #64\n\t"             \
                     "st1 {v16.16b, v17.16b, v18.16b, v19.16b}, [%0], #64\n\t"             \
                     "st1 {v20.16b, v21.16b, v22.16b, v23.16b}, [%0], #64"                  \
                     : "+r"(to), "+r"(from) : : "v16", "v17", "v18", "v19", "v20", "v21",  \
                       "v22", "v23", "memory")
/* Four times sixteen bytes, each `step` behind the one before. */
#define EB_TAKE_64(to, from, step)                                                         \
    __asm__ volatile("ld1 {v16.16b}, [%1], %2\n\tld1 {v17.16b}, [%1], %2\n\t"              \
                     "ld1 {v18.16b}, [%1], %2\n\tld1 {v19.16b}, [%1], %2\n\t"              \
                     "st1 {v16.16b, v17.16b, v18.16b, v19.16b}, [%0], #64"                  \
                     : "+r"(to), "+r"(from) : "r"((int64_t)(step)) : "v16", "v17", "v18",  \
                       "v19", "memory")
#else
#define EB_TAKE_64(to, from, step)                                                         \
    do {                                                                                   \
        const int8x16_t a_ = vld1q_s8(from), b_ = vld1q_s8((from) + (step));               \
        const int8x16_t c_ = vld1q_s8((from) + 2 * (step));                                \
        const int8x16_t d_ = vld1q_s8((from) + 3 * (step));                                \
        vst1q_s8((to), a_);                                                                \
        vst1q_s8((to) + 16, b_);                                                           \
        vst1q_s8((to) + 32, c_);                                                           \
        vst1q_s8((to) + 48, d_);                                                           \
        (from) += 4 * (step), (to) += 64;                                                  \
    } while (0)
#define EB_COPY_128(to, from)                                                              \
    do {                                                                                   \
        int8x16_t v_[8];                                                                   \
        _Pragma("GCC unroll 8") for (int32_t i_ = 0; i_ < 8; i_++)                         \
            v_[i_] = vld1q_s8((from) + 16 * i_);                                           \
        _Pragma("GCC unroll 8") for (int32_t i_ = 0; i_ < 8; i_++)                         \
            vst1q_s8((to) + 16 * i_, v_[i_]);                                              \
        (from) += 128, (to) += 128;                                                        \
    } while (0)
#endif

/* Sixteen bytes each from `count` places. */
EB_INLINE int8_t *eb_gather_neon(int8_t *to, const int8_t *from, int32_t step, int32_t count) {
    if (step == 16)
#pragma GCC unroll 1
        for (; count >= 8; count -= 8) EB_COPY_128(to, from);
#pragma GCC unroll 1
    for (; count >= 4; count -= 4) EB_TAKE_64(to, from, step);
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

/* Planes of `count` rows, `apart` bytes from one to the next: sixteen channels each of every
   stride-th pixel; as many as are full, and room for one that is not. */
static __attribute__((noinline)) void eb_full_planes(const eb_conv *layer,
                                                     const int8_t *const *rows, int32_t count,
                                                     const eb_phase *phase, int8_t *to,
                                                     int32_t apart) {
    const int32_t channels = layer->in_channels, step = layer->stride * channels;
    const int32_t rest = channels & 15 ? apart : 0;
    const int8x16_t zero = vdupq_n_s8(layer->zero_point);
    const eb_phase it = *phase;
    for (; count > 0; count--, rows++, to += rest) {
        const int8_t *from = *rows ? *rows + it.first * channels : to;
        const int32_t before = *rows ? it.before : it.before + it.inside + it.after;
        const int32_t inside = *rows ? it.inside : 0, after = *rows ? it.after : 0;
#pragma GCC unroll 1
        for (int32_t c = channels >> 4; c > 0; c--, from += 16, to += apart) {
            int8_t *put = to;
#pragma GCC unroll 1
            for (int32_t n = before; n > 0; n--, put += 16) vst1q_s8(put, zero);
            put = eb_gather_neon(put, from, step, inside);
#pragma GCC unroll 1
            for (int32_t n = after; n > 0; n--, put += 16) vst1q_s8(put, zero);
        }
    }
}

/* Copies all planes, and notes where each step's inputs lie unless `offset` is 0. */
static void eb_planes_neon(const eb_conv *layer, const int8_t *const *rows, int32_t count,
                           int32_t *offset, int8_t *to) {
    const int32_t stride = layer->stride, width = layer->kernel_width;
    const int32_t reach = (width - 1) * layer->dilation;
    const int32_t phases = reach + 1 < stride ? reach + 1 : stride;
    const int32_t columns = layer->out_width + reach / stride;
    const int32_t plane = 16 * columns, groups = (layer->in_channels + 15) >> 4;
    const int32_t all = count * groups * width;
    for (int32_t kx = 0, at = 0, phase = 0; offset && kx < width; kx++) {
        offset[kx] = phase * plane + at;
        for (phase += layer->dilation; phase >= stride; phase -= stride) at += 16;
    }
#pragma GCC unroll 1
    for (int32_t n = width; offset && n < all; n++) offset[n] = offset[n - width] + phases * plane;
    for (int32_t n = 0; n < phases; n++) {
        const eb_phase phase = eb_phase_of(layer, n - layer->pad, columns);
        const eb_phase none = {columns, 0, 0, 0};
        int8_t *put = to + n * plane;
        eb_full_planes(layer, rows, count, &phase, put, phases * plane);
        put += (groups - 1) * phases * plane;
        if (layer->in_channels & 15)
            for (int32_t ky = 0; ky < count; ky++, put += groups * phases * plane)
                eb_last_plane(layer, rows[ky], rows[ky] ? &phase : &none, put);
    }
}

#if defined(__aarch64__)
EB_INLINE void eb_window3_neon(const int8_t *row, int32_t size, uint8x16_t first, uint8x16_t second,
                               int8_t *to, int8_t *other) {
    const int8x16x3_t v = {{vld1q_s8(row), vld1q_s8(row + size), vld1q_s8(row + 2 * size)}};
    vst1q_s8(to, vqtbl3q_s8(v, first));
    vst1q_s8(other, vqtbl3q_s8(v, second));
}

/* Windows of three rows, at most sixteen bytes each, that make two steps: which byte comes from
   where is said in the table. */
static void eb_windows3_neon(const eb_conv *layer, const int8_t *row, int32_t size,
                             const int8_t *table, int8_t *to) {
    const uint8x16_t first = vreinterpretq_u8_s8(vld1q_s8(table));
    const uint8x16_t second = vreinterpretq_u8_s8(vld1q_s8(table + 16));
    const int32_t step = layer->stride * layer->in_channels;
    int32_t count = layer->out_width;
    int8_t *other = to + 16 * count;
#pragma GCC unroll 1
    for (; count >= 4; count -= 4, row += 4 * step, to += 64, other += 64)
#pragma GCC unroll 4
        for (int32_t p = 0; p < 4; p++)
            eb_window3_neon(row + p * step, size, first, second, to + 16 * p, other + 16 * p);
#pragma GCC unroll 1
    for (; count > 0; count--, row += step, to += 16, other += 16)
        eb_window3_neon(row, size, first, second, to, other);
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
