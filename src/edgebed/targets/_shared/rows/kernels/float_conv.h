/* Convolution, depthwise and dense layers in float32, for cores with a floating-point unit. */
#ifndef EB_FLOAT_CONV_H
#define EB_FLOAT_CONV_H

#include "eb_math.h"

/* weights: O / 4 x KH x KW x I x 4 (outputs filled up with zeros); depthwise KH x KW x O.
   after: 0 nothing, 1 relu, 2 absolute value. */
typedef struct {
    const float *weights, *bias;
    uint16_t in_width, in_channels, out_width, out_channels;
    uint8_t kernel_height, kernel_width, stride, pad, dilation, after;
} eb_float_conv_t;

EB_STATIC inline float eb_float_after(float value, int32_t after) {
    if (after == 1) return value > 0.0f ? value : 0.0f;
    if (after == 2) return value < 0.0f ? -value : value;
    return value;
}

/* The pixel below tap (i, j) of output column x; NULL outside of the map, where values are 0. */
EB_STATIC const float *eb_float_pixel(const eb_float_conv_t *layer, const int8_t *const *rows,
                                      int32_t x, int32_t i, int32_t j) {
    const int32_t column = x * layer->stride - layer->pad + j * layer->dilation;
    if (!rows[i] || column < 0 || column >= layer->in_width) return 0;
    return (const float *)(const void *)rows[i] + column * layer->in_channels;
}

/* Adds one pixel times the weights of four outputs. */
EB_STATIC void eb_float_tap(const float *pixel, const float *weights, int32_t depth, float *sums) {
    float a = sums[0], b = sums[1], c = sums[2], d = sums[3];
    for (int32_t k = 0; k < depth; k++, weights += 4) {
        const float value = pixel[k];
        a += value * weights[0];
        b += value * weights[1];
        c += value * weights[2];
        d += value * weights[3];
    }
    sums[0] = a, sums[1] = b, sums[2] = c, sums[3] = d;
}

EB_STATIC void eb_float_four(const eb_float_conv_t *layer, const int8_t *const *rows, int32_t x,
                             const float *weights, float *sums) {
    const int32_t depth = layer->in_channels;
    for (int32_t i = 0; i < layer->kernel_height; i++)
        for (int32_t j = 0; j < layer->kernel_width; j++, weights += 4 * depth) {
            const float *pixel = eb_float_pixel(layer, rows, x, i, j);
            if (pixel) eb_float_tap(pixel, weights, depth, sums);
        }
}

EB_STATIC void eb_float_conv(const void *parameters, const int8_t *const *rows, int8_t *out,
                             void *scratch, int32_t step) {
    const eb_float_conv_t *layer = (const eb_float_conv_t *)parameters;
    const int32_t outputs = layer->out_channels;
    const int32_t group = 4 * layer->kernel_height * layer->kernel_width * layer->in_channels;
    float *to = (float *)(void *)out;
    (void)scratch, (void)step;
    for (int32_t x = 0; x < layer->out_width; x++) {
        const float *weights = layer->weights;
        for (int32_t o = 0; o < outputs; o += 4, weights += group) {
            const int32_t count = outputs - o < 4 ? outputs - o : 4;
            float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
            eb_float_four(layer, rows, x, weights, sums);
            for (int32_t k = 0; k < count; k++)
                *to++ = eb_float_after(sums[k] + layer->bias[o + k], layer->after);
        }
    }
}

/* One output of a depthwise layer; out_channels is a multiple of in_channels. */
EB_STATIC float eb_float_channel(const eb_float_conv_t *layer, const int8_t *const *rows, int32_t x,
                                 int32_t input, int32_t output) {
    const float *weight = layer->weights + output;
    float sum = 0.0f;
    for (int32_t i = 0; i < layer->kernel_height; i++)
        for (int32_t j = 0; j < layer->kernel_width; j++, weight += layer->out_channels) {
            const float *pixel = eb_float_pixel(layer, rows, x, i, j);
            if (pixel) sum += pixel[input] * *weight;
        }
    return sum;
}

EB_STATIC void eb_float_depthwise(const void *parameters, const int8_t *const *rows, int8_t *out,
                                  void *scratch, int32_t step) {
    const eb_float_conv_t *layer = (const eb_float_conv_t *)parameters;
    const int32_t many = layer->out_channels / layer->in_channels;
    float *to = (float *)(void *)out;
    (void)scratch, (void)step;
    for (int32_t x = 0; x < layer->out_width; x++)
        for (int32_t c = 0, o = 0; c < layer->in_channels; c++)
            for (int32_t k = 0; k < many; k++, o++) {
                const float sum = eb_float_channel(layer, rows, x, c, o) + layer->bias[o];
                *to++ = eb_float_after(sum, layer->after);
            }
}

#endif
