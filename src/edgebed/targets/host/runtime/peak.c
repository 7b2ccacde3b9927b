/* How many int8 multiply-accumulates a second one core can do: dot products on registers only. */
#include <stdint.h>
#include <time.h>

#include "conv.h"

enum { PEAK_SUMS = EB_ISA >= 5 ? 16 : 8, PEAK_REPEATS = 4096 };

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Multiply-accumulates a nanosecond; `sink` takes the sums, so that they are computed. */
double eb_peak(const uint8_t *x, const int8_t *w, int32_t *sink) {
  eb_dots sums[PEAK_SUMS];
  EB_UNROLL
  for (int i = 0; i < PEAK_SUMS; i++) sums[i] = eb_dots_zero();
  const eb_filter filter = eb_filter_at(w);
  const int64_t before = now();
  for (int n = 0; n < PEAK_REPEATS; n++) {
    const eb_quad quad = eb_quad_at(x + n % 16);
    EB_UNROLL
    for (int i = 0; i < PEAK_SUMS; i++) sums[i] = eb_dots_add(sums[i], quad, filter);
  }
  const int64_t spent = now() - before;
  for (int i = 0; i < PEAK_SUMS; i++) eb_store_i32x16(sink + 16 * i, eb_dots_total(sums[i]));
  return 64.0 * PEAK_SUMS * PEAK_REPEATS / (double)(spent > 0 ? spent : 1);
}
