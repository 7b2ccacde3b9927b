/* Pools over biased uint8 maps (stored byte = int8 + 128), channels last.
 *
 * The windows are clipped to the map: `in` points to its first pixel (inside any border), padding
 * is given as numbers, and a padded pixel neither wins a maximum nor counts in an average, unless
 * the layer says that it counts. A border that a producer may have filled is never read.
 * Up to 63 bytes behind the last pixel may be read.
 */
#ifndef EB_POOL_H
#define EB_POOL_H

#include "requantize.h"

/* All fields are literals where a layer is called; pool.py computes them. */
typedef struct {
  int in_height, in_width, out_width, channels;
  int kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  int in_row, in_pixel, out_row, out_pixel; /* bytes from one to the next */
  int low, high;                            /* stored bytes */
} eb_pool_shape;

/* The part of one window that lies on the map: rows and columns first <= k < last of the kernel. */
typedef struct {
  const uint8_t *from; /* the window's tap 0, 0; perhaps outside of the map, then never read */
  int ky0, ky1, kx0, kx1;
} eb_window;

/* First kernel tap at or behind pixel 0, and the first one behind the map. */
EB_INLINE int eb_first_tap(int start, int dilation) {
  return start < 0 ? (-start + dilation - 1) / dilation : 0;
}

EB_INLINE int eb_last_tap(int start, int dilation, int kernel, int size) {
  const int fits = size > start ? (size - start + dilation - 1) / dilation : 0;
  return fits < kernel ? fits : kernel;
}

EB_INLINE eb_window eb_window_at(const uint8_t *in, eb_pool_shape s, int y, int x) {
  const int top = y * s.stride_h - s.pad_top, left = x * s.stride_w - s.pad_left;
  return (eb_window){in + top * s.in_row + left * s.in_pixel,
                     eb_first_tap(top, s.dilation_h),
                     eb_last_tap(top, s.dilation_h, s.kernel_h, s.in_height),
                     eb_first_tap(left, s.dilation_w),
                     eb_last_tap(left, s.dilation_w, s.kernel_w, s.in_width)};
}

/* ---- Maximum -------------------------------------------------------------------------------- */

/* The maximum over a window of n neighbouring bytes, n <= 64 (16 in the plain form). */
#if EB_ISA >= 5
#define EB_POOL_BYTES 64
#elif EB_ISA >= 2
#define EB_POOL_BYTES 32
#else
#define EB_POOL_BYTES 16
#endif

EB_INLINE void eb_max_bytes(uint8_t *to, eb_window w, eb_pool_shape s, int channel, int n) {
  const int down = s.dilation_h * s.in_row, right = s.dilation_w * s.in_pixel;
  const uint8_t *from = w.from + channel;
#if EB_ISA >= 5
  if (n > 32) {
    __m512i best = _mm512_set1_epi8((char)s.low);
    for (int ky = w.ky0; ky < w.ky1; ky++)
      for (int kx = w.kx0; kx < w.kx1; kx++)
        best = _mm512_max_epu8(best, _mm512_loadu_si512(from + ky * down + kx * right));
    eb_store_first_u8x64(to, _mm512_min_epu8(best, _mm512_set1_epi8((char)s.high)), n);
    return;
  }
#endif
#if EB_ISA >= 2
  if (n > 16) {
    __m256i best = _mm256_set1_epi8((char)s.low);
    for (int ky = w.ky0; ky < w.ky1; ky++)
      for (int kx = w.kx0; kx < w.kx1; kx++)
        best = _mm256_max_epu8(
            best, _mm256_loadu_si256((const __m256i *)(from + ky * down + kx * right)));
    best = _mm256_min_epu8(best, _mm256_set1_epi8((char)s.high));
    eb_store_u8x16(to, _mm256_castsi256_si128(best));
    eb_store_first_u8x16(to + 16, _mm256_extracti128_si256(best, 1), n - 16);
    return;
  }
#endif
  uint8_t best[16];
  memset(best, s.low, sizeof best);
  for (int ky = w.ky0; ky < w.ky1; ky++)
    for (int kx = w.kx0; kx < w.kx1; kx++)
      for (int i = 0; i < 16; i++) {
        const uint8_t q = from[ky * down + kx * right + i];
        best[i] = q > best[i] ? q : best[i];
      }
  for (int i = 0; i < 16; i++) best[i] = best[i] < s.high ? best[i] : (uint8_t)s.high;
  memcpy(to, best, (size_t)n);
}

/* Rows y0 <= y < y1 of the maximum; out points to the first pixel of the output. */
EB_INLINE void eb_max_pool(const uint8_t *in, uint8_t *out, eb_pool_shape s, int y0, int y1) {
  for (int y = y0; y < y1; y++)
    for (int x = 0; x < s.out_width; x++) {
      const eb_window w = eb_window_at(in, s, y, x);
      uint8_t *to = out + y * s.out_row + x * s.out_pixel;
      for (int c = 0; c < s.channels; c += EB_POOL_BYTES)
        eb_max_bytes(to + c, w, s, c,
                     s.channels - c < EB_POOL_BYTES ? s.channels - c : EB_POOL_BYTES);
    }
}

/* ---- Sums ----------------------------------------------------------------------------------- */

#if EB_ISA >= 5
EB_INLINE eb_i32x16 eb_widen_u8x16(const uint8_t *from) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)from));
}
#elif EB_ISA >= 2
EB_INLINE eb_i32x16 eb_widen_u8x16(const uint8_t *from) {
  return (eb_i32x16){_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)from)),
                     _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(from + 8)))};
}
#endif

/* Sixteen channels of a window, added up as int8 values. */
EB_INLINE eb_i32x16 eb_window_sum(eb_window w, eb_pool_shape s, int channel) {
  const int down = s.dilation_h * s.in_row, right = s.dilation_w * s.in_pixel;
  const int bias = -128 * (w.ky1 - w.ky0) * (w.kx1 - w.kx0);
#if EB_ISA >= 2
  eb_i32x16 sum = eb_set1_i32x16(bias);
#else
  int32_t sum[16];
  for (int i = 0; i < 16; i++) sum[i] = bias;
#endif
  for (int ky = w.ky0; ky < w.ky1; ky++)
    for (int kx = w.kx0; kx < w.kx1; kx++) {
      const uint8_t *pixel = w.from + channel + ky * down + kx * right;
#if EB_ISA >= 2
      sum = eb_add_i32x16(sum, eb_widen_u8x16(pixel));
#else
      for (int i = 0; i < 16; i++) sum[i] += pixel[i];
#endif
    }
#if EB_ISA >= 2
  return sum;
#else
  return eb_load_i32x16(sum);
#endif
}

/* ---- Averages ------------------------------------------------------------------------------- */

enum {
  EB_AVERAGE_AWAY,  /* TensorFlow Lite's average pool of int8: sum / count, half away from zero */
  EB_AVERAGE_UP,    /* its average pool of uint8: half towards +infinity */
  EB_AVERAGE_CUT,   /* TensorFlow Lite's mean where both scales are equal: cut towards zero */
  EB_AVERAGE_FLOAT, /* ONNX Runtime's average pool: float32 sum of dequantised pixels */
  EB_AVERAGE_RULE   /* sum - count * in_zero is an accumulator of a requantisation rule */
};

/* All fields are literals where a layer is called. */
typedef struct {
  int kind;
  int padding_counts;        /* every window has kernel_h * kernel_w pixels */
  int in_zero, out_zero;     /* int8 values, out_zero as the file has it; _FLOAT, _RULE */
  float in_scale, out_scale; /* EB_AVERAGE_FLOAT */
  int stored;                /* EB_AVERAGE_FLOAT: stored byte less what out_zero counts in */
  eb_requantization rule;    /* EB_AVERAGE_RULE; its table serves all channels */
} eb_average;

/* sum / count with int8 sums, towards zero. The float quotient of integers below 2^24 is rounded
 * by less than 1 / count, so it is cut to the right integer; larger ones take the long way. */
EB_INLINE void eb_divide16(int32_t sum[16], int count, int limit) {
  if (limit < 1 << 15)
    for (int i = 0; i < 16; i++) sum[i] = (int32_t)((float)sum[i] / (float)count);
  else
    for (int i = 0; i < 16; i++) sum[i] /= count;
}

EB_INLINE void eb_average16(uint8_t *to, eb_window w, eb_pool_shape s, eb_average a, int channel,
                            int n, const int32_t *table) {
  const int whole = s.kernel_h * s.kernel_w;
  const int there = (w.ky1 - w.ky0) * (w.kx1 - w.kx0), count = a.padding_counts ? whole : there;
  const eb_i32x16 total = eb_window_sum(w, s, channel);
  if (a.kind == EB_AVERAGE_RULE) {
    eb_requantize16(to, eb_sub_i32x16(total, eb_set1_i32x16(there * a.in_zero)), table, a.rule, n);
    return;
  }
  int32_t sum[16];
  eb_store_i32x16(sum, total);
  if (a.kind == EB_AVERAGE_AWAY)
    for (int i = 0; i < 16; i++) sum[i] += sum[i] > 0 ? count / 2 : -(count / 2);
  const int up = a.kind == EB_AVERAGE_UP; /* of stored bytes, none of which is negative */
  if (up)
    for (int i = 0; i < 16; i++) sum[i] += 128 * count + count / 2;
  eb_divide16(sum, count, whole);
  for (int i = 0; i < 16; i++) {
    const int32_t q = sum[i] + (up ? 0 : 128);
    sum[i] = q < s.low ? s.low : q > s.high ? s.high : q;
  }
  for (int i = 0; i < n; i++) to[i] = (uint8_t)sum[i];
}

/* ONNX Runtime adds dequantised numbers in this order, in float32. Products and sums are separate
 * statements: a fused multiply-add would round otherwise. */
EB_INLINE void eb_float_average16(uint8_t *to, eb_window w, eb_pool_shape s, eb_average a,
                                  int channel, int n) {
  const int down = s.dilation_h * s.in_row, right = s.dilation_w * s.in_pixel;
  const int whole = s.kernel_h * s.kernel_w, there = (w.ky1 - w.ky0) * (w.kx1 - w.kx0);
  const float count = (float)(a.padding_counts ? whole : there), magic = 12582912.0f;
  float sum[16];
  for (int i = 0; i < 16; i++) sum[i] = 0;
  for (int ky = w.ky0; ky < w.ky1; ky++)
    for (int kx = w.kx0; kx < w.kx1; kx++) {
      const uint8_t *pixel = w.from + channel + ky * down + kx * right;
      float value[16];
      for (int i = 0; i < 16; i++) value[i] = (float)(pixel[i] - 128 - a.in_zero) * a.in_scale;
      for (int i = 0; i < 16; i++) sum[i] += value[i];
    }
  for (int i = 0; i < n; i++) {
    float level = sum[i] / count / a.out_scale + (float)a.out_zero;
    level = level < -512 ? -512 : level > 512 ? 512 : level;
    level += magic; /* rounds half to even: the unit is the last bit */
    const int q = (int)(level - magic) + a.stored;
    to[i] = (uint8_t)(q < s.low ? s.low : q > s.high ? s.high : q);
  }
}

/* Rows y0 <= y < y1 of the averages; out points to the first pixel of the output. `table` is the
 * requantisation table of EB_AVERAGE_RULE and not read otherwise. */
EB_INLINE void eb_average_pool(const uint8_t *in, uint8_t *out, const int32_t *table,
                               eb_pool_shape s, eb_average a, int y0, int y1) {
  for (int y = y0; y < y1; y++)
    for (int x = 0; x < s.out_width; x++) {
      const eb_window w = eb_window_at(in, s, y, x);
      uint8_t *to = out + y * s.out_row + x * s.out_pixel;
      for (int c = 0; c < s.channels; c += 16) {
        const int n = s.channels - c < 16 ? s.channels - c : 16;
        if (a.kind == EB_AVERAGE_FLOAT)
          eb_float_average16(to + c, w, s, a, c, n);
        else
          eb_average16(to + c, w, s, a, c, n, table);
      }
    }
}

#endif
