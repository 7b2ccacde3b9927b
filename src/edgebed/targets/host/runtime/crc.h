/* CRC-32 as zlib has it (polynomial EDB88320, reflected), eight bytes a step, or sixty-four with
 * carry-less products ("Fast CRC Computation Using PCLMULQDQ", Intel 2009). */
#ifndef EB_CRC_H
#define EB_CRC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
  uint32_t of[8][256];
  int wide; /* the processor has carry-less products */
} eb_crc_tables;

static void eb_crc_prepare(eb_crc_tables *tables) {
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0xEDB88320u & (0u - (crc & 1)));
    tables->of[0][byte] = crc;
  }
  for (int i = 1; i < 8; i++)
    for (uint32_t byte = 0; byte < 256; byte++) {
      const uint32_t before = tables->of[i - 1][byte];
      tables->of[i][byte] = before >> 8 ^ tables->of[0][before & 255];
    }
  tables->wide = 0;
#if defined(__x86_64__)
  unsigned a, b, c, d;
  if (__get_cpuid(1, &a, &b, &c, &d)) tables->wide = (c >> 1 & 1) && (c >> 19 & 1);
#endif
}

static uint32_t eb_crc_plain(const eb_crc_tables *tables, uint32_t state, const uint8_t *bytes,
                             size_t count) {
  for (; count >= 8; count -= 8, bytes += 8) {
    uint32_t low, high;
    memcpy(&low, bytes, 4), memcpy(&high, bytes + 4, 4);
    low ^= state;
    state = tables->of[7][low & 255] ^ tables->of[6][low >> 8 & 255] ^
            tables->of[5][low >> 16 & 255] ^ tables->of[4][low >> 24] ^
            tables->of[3][high & 255] ^ tables->of[2][high >> 8 & 255] ^
            tables->of[1][high >> 16 & 255] ^ tables->of[0][high >> 24];
  }
  while (count--) state = state >> 8 ^ tables->of[0][(state ^ *bytes++) & 255];
  return state;
}

#if defined(__x86_64__)
#include <immintrin.h>

#define EB_CRC_WIDE __attribute__((target("pclmul,sse4.1")))

EB_CRC_WIDE static inline __m128i eb_crc_load(const uint8_t *bytes) {
  return _mm_loadu_si128((const __m128i *)(const void *)bytes);
}

EB_CRC_WIDE static inline __m128i eb_crc_fold(__m128i x, __m128i by, __m128i next) {
  const __m128i low = _mm_clmulepi64_si128(x, by, 0x00), high = _mm_clmulepi64_si128(x, by, 0x11);
  return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

/* At least 64 bytes, a multiple of 16. */
EB_CRC_WIDE static uint32_t eb_crc_wide(uint32_t state, const uint8_t *bytes, size_t count) {
  const __m128i by64 = _mm_set_epi64x(0x01C6E41596, 0x0154442BD4);
  const __m128i by16 = _mm_set_epi64x(0x00CCAA009E, 0x01751997D0);
  const __m128i by8 = _mm_set_epi64x(0, 0x0163CD6124);
  const __m128i barrett = _mm_set_epi64x(0x01F7011641, 0x01DB710641);
  const __m128i word = _mm_setr_epi32(-1, 0, -1, 0);
  __m128i x0 = _mm_xor_si128(eb_crc_load(bytes), _mm_cvtsi32_si128((int)state));
  __m128i x1 = eb_crc_load(bytes + 16), x2 = eb_crc_load(bytes + 32), x3 = eb_crc_load(bytes + 48);
  for (bytes += 64, count -= 64; count >= 64; bytes += 64, count -= 64) {
    x0 = eb_crc_fold(x0, by64, eb_crc_load(bytes));
    x1 = eb_crc_fold(x1, by64, eb_crc_load(bytes + 16));
    x2 = eb_crc_fold(x2, by64, eb_crc_load(bytes + 32));
    x3 = eb_crc_fold(x3, by64, eb_crc_load(bytes + 48));
  }
  x0 = eb_crc_fold(eb_crc_fold(eb_crc_fold(x0, by16, x1), by16, x2), by16, x3);
  for (; count >= 16; bytes += 16, count -= 16) x0 = eb_crc_fold(x0, by16, eb_crc_load(bytes));
  x0 = _mm_xor_si128(_mm_srli_si128(x0, 8), _mm_clmulepi64_si128(x0, by16, 0x10));
  x0 = _mm_xor_si128(_mm_srli_si128(x0, 4),
                     _mm_clmulepi64_si128(_mm_and_si128(x0, word), by8, 0x00));
  x1 = _mm_and_si128(_mm_clmulepi64_si128(_mm_and_si128(x0, word), barrett, 0x10), word);
  x1 = _mm_clmulepi64_si128(x1, barrett, 0x00);
  return (uint32_t)_mm_extract_epi32(_mm_xor_si128(x0, x1), 1);
}
#endif

/* The state after some bytes more; a CRC-32 begins with the state ~0 and is the last one's
 * complement. */
static uint32_t eb_crc_add(const eb_crc_tables *tables, uint32_t state, const void *data,
                           size_t count) {
  const uint8_t *bytes = (const uint8_t *)data;
#if defined(__x86_64__)
  if (tables->wide && count >= 64) {
    const size_t whole = count & ~(size_t)15;
    state = eb_crc_wide(state, bytes, whole);
    bytes += whole, count -= whole;
  }
#endif
  return eb_crc_plain(tables, state, bytes, count);
}

#endif
