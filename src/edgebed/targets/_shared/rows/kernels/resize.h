/* Bilinear interpolation of maps, one output row a step. */
#ifndef EB_RESIZE_H
#define EB_RESIZE_H

#include "real.h"

/* TensorFlow Lite's integers: positions with 10 bits behind the point. */
typedef struct {
    const int16_t *rows, *columns; /* lower index, upper index, part, for each output position */
    int32_t in_width, channels, out_width;
    int32_t offset; /* of the program's integers: 128 where they have no sign */
} eb_resize_t;

EB_STATIC int32_t eb_resize_mix(int32_t low, int32_t high, int32_t part) {
    return low * (1024 - part) + high * part;
}

/* eb_kernel; reads the map whole. */
EB_STATIC void eb_resize(const void *parameters, const int8_t *const *rows, int8_t *out,
                         void *scratch, int32_t step) {
    const eb_resize_t *layer = parameters;
    const int16_t *row = layer->rows + 3 * step, *column = layer->columns;
    const int32_t size = layer->in_width * layer->channels;
    const int8_t *top = rows[0] + row[0] * size, *bottom = rows[0] + row[1] * size;
    (void)scratch;
    for (int32_t x = 0; x < layer->out_width; x++, column += 3) {
        const int32_t left = column[0] * layer->channels, right = column[1] * layer->channels;
        for (int32_t c = 0; c < layer->channels; c++) {
            const int32_t offset = layer->offset;
            const int32_t a = eb_resize_mix(top[left + c] + offset, bottom[left + c] + offset, row[2]);
            const int32_t b =
                eb_resize_mix(top[right + c] + offset, bottom[right + c] + offset, row[2]);
            const int32_t total = eb_resize_mix(a, b, column[2]);
            const int32_t y = total > 0 ? (total + (1 << 19)) >> 20 : -(((1 << 19) - total) >> 20);
            *out++ = (int8_t)(y - offset);
        }
    }
}

/* The same with real weights, of bytes or float32 on each side. */
typedef struct {
    const uint16_t *rows, *columns;            /* two indices for each output position */
    const float *row_weights, *column_weights; /* of both */
    int32_t in_width, channels, out_width;
    float scale;
    int32_t zero;
    eb_real_out_t to;
    int32_t real_in, real_out; /* whether they are float32 */
} eb_resize_real_t;

EB_STATIC float eb_resize_value(const eb_resize_real_t *layer, const int8_t *map, int32_t at) {
    if (layer->real_in) return ((const float *)(const void *)map)[at];
    return (float)(map[at] - layer->zero) * layer->scale;
}

/* eb_kernel; reads the map whole. */
EB_STATIC void eb_resize_real(const void *parameters, const int8_t *const *rows, int8_t *out,
                              void *scratch, int32_t step) {
    const eb_resize_real_t *layer = parameters;
    const uint16_t *row = layer->rows + 2 * step, *column = layer->columns;
    const float *down = layer->row_weights + 2 * step, *across = layer->column_weights;
    int32_t at = 0;
    (void)scratch;
    for (int32_t x = 0; x < layer->out_width; x++, column += 2, across += 2)
        for (int32_t c = 0; c < layer->channels; c++, at++) {
            float total = 0.0f;
            for (int32_t i = 0; i < 4; i++) {
                const int32_t pixel = row[i >> 1] * layer->in_width + column[i & 1];
                const float value = eb_resize_value(layer, rows[0], pixel * layer->channels + c);
                float part = value * (across[i & 1] * down[i >> 1]);
                EB_ROUNDED(part);
                total = i ? total + part : part;
            }
            if (layer->real_out) ((float *)(void *)out)[at] = total;
            else out[at] = (int8_t)eb_real_byte(&layer->to, total);
        }
}

#endif
