/* A tensor's statistics as a trace holds them: see edgebed.observe.statistics.
 *
 *     count, bad                                                          uint64
 *     mean, deviation, low, high, share of zeros, at the low end, at the high end     float64
 *     how many values stand for one that the histogram counts, bins                   uint32
 *     counts from low to high                                                         uint32
 */
#ifndef EB_PAYLOAD_H
#define EB_PAYLOAD_H

#include <math.h>

#include "moments.h"

enum { EB_BINS = 32, EB_PAYLOAD = 16 + 7 * 8 + 8 + 4 * EB_BINS };

typedef struct {
  double mean, deviation, low, high;
} eb_shape;

static double eb_real(const eb_tensor *tensor, double stored) {
  const float steps = (float)stored - (float)tensor->zero_point;
  return (double)(steps * (float)tensor->scale);
}

/* Of integers, `bias` above the values as they are stored: exact sums around a whole number near the
 * mean. (128-bit integers would do without, but bring a support library into the link that has an
 * expf of its own: the network's reals would differ in their last bit.) */
static eb_shape eb_shape_of_integers(const eb_tensor *tensor, const eb_moments *m, int bias) {
  const int64_t middle = m->sum / m->count, rest = m->sum - m->count * middle;
  const int64_t squares = (int64_t)m->squares - 2 * middle * m->sum + m->count * middle * middle;
  const double count = (double)m->count, off = (double)rest / count;
  const double spread = (double)squares / count - off * off;
  const eb_shape found = {((double)(middle - bias - tensor->zero_point) + off) * tensor->scale,
                          sqrt(spread > 0 ? spread : 0) * tensor->scale,
                          eb_real(tensor, (double)(m->low - bias)),
                          eb_real(tensor, (double)(m->high - bias))};
  return found;
}

static eb_shape eb_shape_of_reals(const eb_tensor *tensor, const eb_moments *m) {
  const double count = (double)(m->count - m->bad), mean = m->real_sum / count;
  const double spread = m->real_squares / count - mean * mean;
  const eb_shape found = {(m->first + mean - tensor->zero_point) * tensor->scale,
                          sqrt(spread > 0 ? spread : 0) * tensor->scale,
                          eb_real(tensor, m->real_low), eb_real(tensor, m->real_high)};
  return found;
}

static double eb_stored(const eb_tensor *tensor, const uint8_t *at) {
  int16_t word;
  if (tensor->width == 2) return memcpy(&word, at, 2), word;
  return eb_value(at, tensor->width == 8 ? EB_I64 : tensor->dtype[0] == 'f' ? EB_F32 : EB_I32);
}

typedef struct {
  double edge[EB_BINS + 1];
  uint32_t count[EB_BINS];
} eb_histogram;

static void eb_histogram_begin(eb_histogram *h, double low, double high) {
  const double room = fmax(0.5, 1e-6 * fabs(low)); /* constants lie in the middle */
  const double first = high > low ? low : low - room, last = high > low ? high : high + room;
  for (int i = 0; i <= EB_BINS; i++) h->edge[i] = i * ((last - first) / EB_BINS) + first;
  h->edge[EB_BINS] = last;
  memset(h->count, 0, sizeof h->count);
}

static int eb_bin(const eb_histogram *h, double real) {
  const double width = h->edge[1] - h->edge[0];
  int bin = (int)((real - h->edge[0]) / width);
  bin = bin < 0 ? 0 : bin < EB_BINS ? bin : EB_BINS - 1;
  while (bin > 0 && real < h->edge[bin]) bin--;
  while (bin < EB_BINS - 1 && real >= h->edge[bin + 1]) bin++;
  return bin;
}

/* Four tables, or neighbours of one value would wait for each other. */
static void eb_count_bytes(const eb_tensor *tensor, const eb_moments *m, int bias, uint8_t flip,
                           eb_histogram *h) {
  const uint8_t *sample = (const uint8_t *)(m + 1);
  uint32_t counts[4][256] = {{0}};
  int64_t i = 0;
  for (; i + 4 <= m->sampled; i += 4)
    for (int k = 0; k < 4; k++) counts[k][sample[i + k] ^ flip]++;
  for (; i < m->sampled; i++) counts[0][sample[i] ^ flip]++;
  for (int u = (int)m->low, bin = 0; u <= (int)m->high; u++) {
    const uint32_t count = counts[0][u] + counts[1][u] + counts[2][u] + counts[3][u];
    if (!count) continue;
    for (const double real = eb_real(tensor, u - bias); bin < EB_BINS - 1; bin++)
      if (real < h->edge[bin + 1]) break;
    h->count[bin] += count;
  }
}

static void eb_count_values(const eb_tensor *tensor, const eb_moments *m, eb_histogram *h) {
  const uint8_t *sample = (const uint8_t *)(m + 1);
  for (int64_t i = 0; i < m->sampled; i += tensor->width) {
    const double stored = eb_stored(tensor, sample + i);
    if (stored - stored == 0) h->count[eb_bin(h, eb_real(tensor, stored))]++;
  }
}

static uint8_t *eb_put(uint8_t *to, const void *from, size_t count) {
  memcpy(to, from, count);
  return to + count;
}

/* Write a tensor's statistics, EB_PAYLOAD bytes, on a machine that is little-endian. */
static void eb_payload(const eb_tensor *tensor, const eb_moments *m, uint8_t *to) {
  const int is_signed = !strcmp(tensor->dtype, "int8"), bias = 128 * is_signed;
  const int64_t good = m->count - m->bad;
  const int has_ends = tensor->width < 8 && tensor->dtype[0] != 'b';
  eb_shape shape = {0, 0, 0, 0};
  eb_histogram h;
  if (good) shape = tensor->width < 4 ? eb_shape_of_integers(tensor, m, bias)
                                      : eb_shape_of_reals(tensor, m);
  eb_histogram_begin(&h, shape.low, shape.high);
  if (tensor->width == 1)
    eb_count_bytes(tensor, m, bias, is_signed && !tensor->flipped ? 128 : 0, &h);
  else
    eb_count_values(tensor, m, &h);
  const uint64_t counts[2] = {(uint64_t)m->count, (uint64_t)m->bad};
  const double share = good ? 1.0 / (double)good : 0.0, ends = has_ends ? share : 0.0;
  const double reals[7] = {shape.mean, shape.deviation, shape.low, shape.high,
                           (double)m->zeros * share, (double)m->at_low * ends,
                           (double)m->at_high * ends};
  const uint32_t sizes[2] = {(uint32_t)eb_every(tensor), EB_BINS};
  to = eb_put(eb_put(to, counts, sizeof counts), reals, sizeof reals);
  eb_put(eb_put(to, sizes, sizeof sizes), h.count, sizeof h.count);
}

#endif
