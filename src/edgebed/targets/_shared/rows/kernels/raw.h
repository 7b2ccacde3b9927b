/* Convolution, depthwise and dense layers whose raw 32-bit sums are the output: heads of detectors.
   Plain loops: such layers end a network and have few outputs. */
#ifndef EB_RAW_H
#define EB_RAW_H

#include "eb_math.h"

/* weights: O x KH x KW x I, I being 1 where every output sees one channel (depthwise). */
typedef struct {
    const int8_t *weights;
    const int32_t *bias;
    uint16_t in_width, in_channels, out_width, out_channels;
    uint8_t kernel_height, kernel_width, stride, pad, dilation, depthwise;
    int8_t zero_point; /* of the input */
} eb_raw_t;

/* The products of the values below one tap. */
EB_STATIC int32_t eb_raw_tap(const int8_t *values, const int8_t *weights, int32_t depth,
                              int32_t zero_point) {
    int32_t sum = 0;
    for (int32_t k = 0; k < depth; k++) sum += (values[k] - zero_point) * weights[k];
    return sum;
}

/* One output at column x; what lies outside of the map is worth nothing. */
EB_STATIC int32_t eb_raw_output(const eb_raw_t *layer, const int8_t *const *rows, int32_t x,
                                 int32_t output) {
    const int32_t depth = layer->depthwise ? 1 : layer->in_channels;
    const int32_t first = layer->depthwise ? output / (layer->out_channels / layer->in_channels) : 0;
    const int8_t *weights =
        layer->weights + output * layer->kernel_height * layer->kernel_width * depth;
    int32_t sum = layer->bias[output];
    for (int32_t i = 0; i < layer->kernel_height; i++)
        for (int32_t j = 0; j < layer->kernel_width; j++, weights += depth) {
            const int32_t column = x * layer->stride - layer->pad + j * layer->dilation;
            if (!rows[i] || column < 0 || column >= layer->in_width) continue;
            const int8_t *values = rows[i] + column * layer->in_channels + first;
            sum += eb_raw_tap(values, weights, depth, layer->zero_point);
        }
    return sum;
}

EB_STATIC void eb_raw(const void *parameters, const int8_t *const *rows, int8_t *out,
                       void *scratch, int32_t step) {
    const eb_raw_t *layer = (const eb_raw_t *)parameters;
    int32_t *to = (int32_t *)(void *)out;
    (void)scratch, (void)step;
    for (int32_t x = 0; x < layer->out_width; x++)
        for (int32_t o = 0; o < layer->out_channels; o++) *to++ = eb_raw_output(layer, rows, x, o);
}

#endif
