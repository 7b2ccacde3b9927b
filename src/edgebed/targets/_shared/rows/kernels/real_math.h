/* Functions of one float32, without a library: within some units of the last place. */
#ifndef EB_REAL_MATH_H
#define EB_REAL_MATH_H

#include "eb_math.h"

#define EB_REAL_MOST 3.402823466e38f

enum { EB_RELU, EB_CLIP, EB_LEAKY_RELU, EB_ABS, EB_NEG, EB_SQUARE, EB_RECIPROCAL, EB_SIGMOID,
       EB_SILU, EB_TANH, EB_EXP, EB_HARD_SWISH, EB_HARD_SIGMOID, EB_ELU, EB_SOFTSIGN };

/* exp(x) for any x; 0 below the normal numbers. */
EB_STATIC float eb_exp(float x) {
    union {
        uint32_t bits;
        float value;
    } power;
    if (!(x > -87.0f)) return 0.0f;
    if (x > 88.7f) return EB_REAL_MOST * 2.0f;
    const float rounded = x * 1.44269504f + (x < 0.0f ? -0.5f : 0.5f);
    const int32_t n = (int32_t)rounded, half = n >> 1;
    const float r = (x - (float)n * 0.693359375f) + (float)n * 2.12194440e-4f;
    float y = 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    y = y * r * r + r + 1.0f;
    power.bits = (uint32_t)(half + 127) << 23;
    y *= power.value;
    power.bits = (uint32_t)(n - half + 127) << 23;
    return y * power.value;
}

/* exp(x) - 1 */
EB_STATIC float eb_expm1(float x) {
    if (x > 0.35f || x < -0.35f) return eb_exp(x) - 1.0f;
    float y = 1.0f / 5040.0f;
    y = y * x + 1.0f / 720.0f;
    y = y * x + 1.0f / 120.0f;
    y = y * x + 1.0f / 24.0f;
    y = y * x + 1.0f / 6.0f;
    y = y * x + 0.5f;
    return y * x * x + x;
}

EB_STATIC float eb_tanh(float x) {
    const float size = x < 0.0f ? -x : x;
    const float down = eb_expm1(-2.0f * size);
    const float y = size > 20.0f ? 1.0f : -down / (2.0f + down);
    return x < 0.0f ? -y : y;
}

EB_STATIC float eb_between(float x, float low, float high) {
    x = x > low ? x : low;
    return x < high ? x : high;
}

EB_STATIC float eb_real_of(int32_t function, float x, float alpha, float beta) {
    switch (function) {
    case EB_RELU: return x > 0.0f ? x : 0.0f;
    case EB_CLIP: return eb_between(x, alpha, beta);
    case EB_LEAKY_RELU: return x >= 0.0f ? x : alpha * x;
    case EB_ABS: return x < 0.0f ? -x : x;
    case EB_NEG: return -x;
    case EB_SQUARE: return x * x;
    case EB_RECIPROCAL: return 1.0f / x;
    case EB_SIGMOID: return 1.0f / (1.0f + eb_exp(-x));
    case EB_SILU: return x / (1.0f + eb_exp(-x));
    case EB_TANH: return eb_tanh(x);
    case EB_EXP: return eb_exp(x);
    case EB_HARD_SWISH: return x * eb_between(x + 3.0f, 0.0f, 6.0f) / 6.0f;
    case EB_HARD_SIGMOID: return eb_between(alpha * x + beta, 0.0f, 1.0f);
    case EB_ELU: return x >= 0.0f ? x : alpha * eb_expm1(x);
    default: return x / (1.0f + (x < 0.0f ? -x : x));
    }
}

#endif
