/* Transposed convolution, one output row a step; reads the map whole. */
#ifndef EB_TRANSPOSED_H
#define EB_TRANSPOSED_H

#include "rules.h"

typedef struct {
    const void *weights; /* kernel rows x kernel columns x outputs x inputs */
    const eb_line *lines;
    int32_t in_height, in_width, in_channels, out_width, out_channels;
    int32_t kernel[2], stride[2], pad[2];
    int32_t zero_point, wide; /* of the input; weights have 16 bits */
    eb_output output;
} eb_transposed_t;

/* sums += pixel times one tap's weights; `at` is the tap's first weight. */
EB_STATIC void eb_transposed_tap(const eb_transposed_t *layer, const int8_t *pixel, int32_t at,
                                 int32_t *sums) {
    const int8_t *bytes = (const int8_t *)layer->weights + at;
    const int16_t *halves = (const int16_t *)layer->weights + at;
    const int32_t zero = layer->zero_point, depth = layer->in_channels;
    for (int32_t o = 0; o < layer->out_channels; o++, bytes += depth, halves += depth) {
        int32_t sum = sums[o];
        if (layer->wide)
            for (int32_t c = 0; c < depth; c++) sum += (pixel[c] - zero) * halves[c];
        else
            for (int32_t c = 0; c < depth; c++) sum += (pixel[c] - zero) * bytes[c];
        sums[o] = sum;
    }
}

/* The first tap that meets an input, of an output at `place` with its padding; the input's index
   goes to `index`. Further ones are a stride of taps and one input earlier. */
EB_STATIC int32_t eb_transposed_first(int32_t place, int32_t stride, int32_t *index) {
    int32_t whole = 0;
    for (; place >= stride; place -= stride) whole++;
    *index = whole;
    return place;
}

/* eb_kernel; scratch holds a sum for each output channel. */
EB_STATIC void eb_transposed(const void *parameters, const int8_t *const *rows, int8_t *out,
                             void *scratch, int32_t step) {
    const eb_transposed_t *layer = parameters;
    const int32_t outputs = layer->out_channels, tap = outputs * layer->in_channels;
    int32_t *sums = scratch, top, left;
    const int32_t first = eb_transposed_first(step + layer->pad[0], layer->stride[0], &top);
    for (int32_t x = 0; x < layer->out_width; x++) {
        const int32_t start = eb_transposed_first(x + layer->pad[1], layer->stride[1], &left);
        for (int32_t o = 0; o < outputs; o++) sums[o] = layer->lines[o].bias;
        for (int32_t ky = first, y = top; ky < layer->kernel[0]; ky += layer->stride[0], y--)
            for (int32_t kx = start, at = left; kx < layer->kernel[1];
                 kx += layer->stride[1], at--) {
                if (y < 0 || y >= layer->in_height || at < 0 || at >= layer->in_width) continue;
                eb_transposed_tap(layer, rows[0] + (y * layer->in_width + at) * layer->in_channels,
                                  (ky * layer->kernel[1] + kx) * tap, sums);
            }
        for (int32_t o = 0; o < outputs; o++)
            *out++ = (int8_t)eb_requantize(sums[o], &layer->lines[o], &layer->output);
    }
}

#endif
