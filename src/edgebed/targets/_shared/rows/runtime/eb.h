/* What the generated network, its kernels and its executor share. C99, no libc. */
#ifndef EB_H
#define EB_H

#include <stdint.h>

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#define EB_MVE 1
#else
#define EB_MVE 0
#endif
#if !EB_MVE && defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP && !defined(__aarch64__)
#define EB_DSP 1
#else
#define EB_DSP 0
#endif

/* One step of a layer: reads rows, writes one.
   layer    the layer's parameters
   rows     the rows of all operands, one operand after the other; NULL for a row that lies outside
            of its map; an operand that is read whole has one pointer to its first row
   out      the row to write, or the whole output
   scratch  4-byte aligned memory of the layer's own size; nothing in it outlives the call
   step     number of the step, from 0 */
typedef void eb_kernel(const void *layer, const int8_t *const *rows, int8_t *out, void *scratch,
                       int32_t step);

/* Requantisation of one channel. rule 0: y = (((acc + bias) * multiplier >> 32) + c) >> fraction,
   with floors, proven equal to the program's rule. rules 1, 2: TensorFlow Lite's two roundings, or
   one: multiplier / 2^31 * 2^c of acc + bias, and zero_point added. rule 3: two roundings where all
   shifts go right, which comes to y = (((r - (acc + bias < 0)) >> c) + 2 * zero_point + 1) >> 1 with
   r = ((acc + bias) * multiplier + 2^30) >> 31. rule 4: the multiplier holds the bits of a float32,
   and the product in float32 is rounded half to even. kernels/rules.h computes all of them. The
   multiplier of rule 0 is even and below 2^31. */
typedef struct {
    int32_t bias, multiplier, c;
} eb_line;

typedef struct {
    int8_t low, high, zero_point;
    uint8_t fraction, rule;
} eb_output;

/* Convolution, depthwise, dense. depth: of the packed weights, as the kernel wants it. */
typedef struct {
    const void *weights;
    const eb_line *lines;
    uint16_t in_width, in_channels, out_width, out_channels;
    uint16_t depth;
    uint8_t kernel_height, kernel_width, stride, pad, dilation;
    int8_t zero_point; /* of the input: what a pixel outside of the map holds */
    eb_output output;
} eb_conv;

/* ---- what the executor reads ---- */

typedef struct {
    uint32_t offset;    /* in the arena */
    uint32_t row_bytes;
    uint16_t rows, ring; /* row r lies at r modulo ring */
} eb_tensor;

typedef struct {
    uint8_t tensor, rows; /* rows 0: the whole tensor */
    uint8_t stride, dilation;
    int16_t pad;
} eb_window;

typedef struct {
    eb_kernel *run;
    const void *layer;
    uint32_t scratch;    /* offset in the arena */
    uint8_t first_window, windows;
    uint8_t output;
    uint8_t whole;       /* every step gets the output's first row */
} eb_stage;

/* Wide enough for the number of a stage and of its steps; networks that need more say so. */
#ifndef EB_NUMBER
#define EB_NUMBER uint8_t
#endif

typedef struct {
    uint16_t first;
    EB_NUMBER stage, count;
} eb_run;

#endif
