/* Sixteen 32-bit lanes on whatever this translation unit is compiled for.
 *
 * EB_ISA says which instructions may be used: 0 plain C99, 2 AVX2, 3 AVX2 with AVX-VNNI,
 * 5 AVX-512 (F, BW, VL, DQ, VNNI). Every kernel is written once over the few names below; all
 * variants give the same integers. The plain version is the one to read first.
 *
 * EB_ISA 0 uses SSE2 where the compiler may, unless EB_PLAIN is set.
 * With EB_EMULATE_VNNI the dot product of EB_ISA 3 is spelled in AVX2, so that a processor
 * without AVX-VNNI can run everything else of that variant.
 */
#ifndef EB_ISA_H
#define EB_ISA_H

#include <stdint.h>
#include <string.h>

#ifndef EB_ISA
#define EB_ISA 0
#endif
#if EB_ISA >= 2
#include <immintrin.h>
#endif

#define EB_INLINE static inline __attribute__((always_inline, unused))

/* Register tiles are arrays indexed by loops of literal length: unroll them completely. Loops
 * around whole tiles stay loops: written out, a compiler moves their parts about. */
#if defined(__clang__)
#define EB_UNROLL _Pragma("clang loop unroll(full)")
#define EB_ROLLED _Pragma("clang loop unroll(disable)")
#else
#define EB_UNROLL _Pragma("GCC unroll 64")
#define EB_ROLLED _Pragma("GCC unroll 1")
#endif

/* ---- eb_i32x16: sixteen int32 -------------------------------------------------------------- */

#if EB_ISA >= 5
typedef __m512i eb_i32x16;

EB_INLINE eb_i32x16 eb_load_i32x16(const int32_t *from) { return _mm512_loadu_si512(from); }
EB_INLINE void eb_store_i32x16(int32_t *to, eb_i32x16 a) { _mm512_storeu_si512(to, a); }
EB_INLINE eb_i32x16 eb_set1_i32x16(int32_t a) { return _mm512_set1_epi32(a); }
EB_INLINE eb_i32x16 eb_add_i32x16(eb_i32x16 a, eb_i32x16 b) { return _mm512_add_epi32(a, b); }
EB_INLINE eb_i32x16 eb_sub_i32x16(eb_i32x16 a, eb_i32x16 b) { return _mm512_sub_epi32(a, b); }
EB_INLINE eb_i32x16 eb_mul_i32x16(eb_i32x16 a, eb_i32x16 b) { return _mm512_mullo_epi32(a, b); }
EB_INLINE eb_i32x16 eb_min_i32x16(eb_i32x16 a, eb_i32x16 b) { return _mm512_min_epi32(a, b); }
EB_INLINE eb_i32x16 eb_max_i32x16(eb_i32x16 a, eb_i32x16 b) { return _mm512_max_epi32(a, b); }

/* The low n lanes, 0 <= n <= 16. */
EB_INLINE void eb_store_first_i32x16(int32_t *to, eb_i32x16 a, int n) {
  _mm512_mask_storeu_epi32(to, (__mmask16)((1u << n) - 1), a);
}

#elif EB_ISA >= 2
typedef struct {
  __m256i low, high; /* lanes 0..7 and 8..15 */
} eb_i32x16;

EB_INLINE eb_i32x16 eb_load_i32x16(const int32_t *from) {
  return (eb_i32x16){_mm256_loadu_si256((const __m256i *)from),
                     _mm256_loadu_si256((const __m256i *)(from + 8))};
}
EB_INLINE void eb_store_i32x16(int32_t *to, eb_i32x16 a) {
  _mm256_storeu_si256((__m256i *)to, a.low);
  _mm256_storeu_si256((__m256i *)(to + 8), a.high);
}
EB_INLINE eb_i32x16 eb_set1_i32x16(int32_t a) {
  return (eb_i32x16){_mm256_set1_epi32(a), _mm256_set1_epi32(a)};
}
#define EB_LANEWISE(name, instruction)                                                       \
  EB_INLINE eb_i32x16 name(eb_i32x16 a, eb_i32x16 b) {                                       \
    return (eb_i32x16){instruction(a.low, b.low), instruction(a.high, b.high)};              \
  }
EB_LANEWISE(eb_add_i32x16, _mm256_add_epi32)
EB_LANEWISE(eb_sub_i32x16, _mm256_sub_epi32)
EB_LANEWISE(eb_mul_i32x16, _mm256_mullo_epi32)
EB_LANEWISE(eb_min_i32x16, _mm256_min_epi32)
EB_LANEWISE(eb_max_i32x16, _mm256_max_epi32)
#undef EB_LANEWISE

#else
typedef struct {
  int32_t lane[16];
} eb_i32x16;

EB_INLINE eb_i32x16 eb_load_i32x16(const int32_t *from) {
  eb_i32x16 a;
  memcpy(a.lane, from, sizeof a.lane);
  return a;
}
EB_INLINE void eb_store_i32x16(int32_t *to, eb_i32x16 a) { memcpy(to, a.lane, sizeof a.lane); }
EB_INLINE eb_i32x16 eb_set1_i32x16(int32_t a) {
  eb_i32x16 all;
  for (int i = 0; i < 16; i++) all.lane[i] = a;
  return all;
}
/* Accumulators wrap like the vector instructions do, hence the unsigned arithmetic. */
#define EB_LANEWISE(name, expression)                                                        \
  EB_INLINE eb_i32x16 name(eb_i32x16 first, eb_i32x16 second) {                              \
    for (int i = 0; i < 16; i++) {                                                           \
      const int32_t a = first.lane[i], b = second.lane[i];                                   \
      first.lane[i] = (int32_t)(expression);                                                 \
    }                                                                                        \
    return first;                                                                            \
  }
EB_LANEWISE(eb_add_i32x16, (uint32_t)a + (uint32_t)b)
EB_LANEWISE(eb_sub_i32x16, (uint32_t)a - (uint32_t)b)
EB_LANEWISE(eb_mul_i32x16, (uint32_t)a *(uint32_t)b)
EB_LANEWISE(eb_min_i32x16, a < b ? a : b)
EB_LANEWISE(eb_max_i32x16, a > b ? a : b)
#undef EB_LANEWISE
#endif

#if EB_ISA < 5
EB_INLINE void eb_store_first_i32x16(int32_t *to, eb_i32x16 a, int n) {
  int32_t lane[16];
  eb_store_i32x16(lane, a);
  memcpy(to, lane, (size_t)n * sizeof lane[0]);
}
#endif

/* ---- eb_u8x16, eb_u8x64: finished bytes ---------------------------------------------------- */

#if EB_ISA >= 2
typedef __m128i eb_u8x16;
EB_INLINE void eb_store_u8x16(uint8_t *to, eb_u8x16 a) { _mm_storeu_si128((__m128i *)to, a); }
#else
typedef struct {
  uint8_t lane[16];
} eb_u8x16;
EB_INLINE void eb_store_u8x16(uint8_t *to, eb_u8x16 a) { memcpy(to, a.lane, sizeof a.lane); }
#endif

/* The first n bytes, 0 <= n <= 16; bytes behind them are not touched. */
EB_INLINE void eb_store_first_u8x16(uint8_t *to, eb_u8x16 a, int n) {
  if (n == 16) {
    eb_store_u8x16(to, a);
    return;
  }
#if EB_ISA >= 5
  _mm_mask_storeu_epi8(to, (__mmask16)((1u << n) - 1), a);
#else
  uint8_t lane[16];
  eb_store_u8x16(lane, a);
  memcpy(to, lane, (size_t)n);
#endif
}

#if EB_ISA >= 5
typedef __m512i eb_u8x64;
#else
typedef struct {
  eb_u8x16 part[4];
} eb_u8x64;
#endif

/* Bytes 16*i .. 16*i+15; i is literal. */
EB_INLINE eb_u8x16 eb_part_u8x64(eb_u8x64 a, int i) {
#if EB_ISA >= 5
  return i == 0   ? _mm512_castsi512_si128(a)
         : i == 1 ? _mm512_extracti32x4_epi32(a, 1)
         : i == 2 ? _mm512_extracti32x4_epi32(a, 2)
                  : _mm512_extracti32x4_epi32(a, 3);
#else
  return a.part[i];
#endif
}

/* The first n bytes, 0 <= n <= 64. */
EB_INLINE void eb_store_first_u8x64(uint8_t *to, eb_u8x64 a, int n) {
#if EB_ISA >= 5
  if (n == 64) {
    _mm512_storeu_si512(to, a);
    return;
  }
  _mm512_mask_storeu_epi8(to, (__mmask64)((1ull << n) - 1), a);
#else
  EB_UNROLL
  for (int i = 0; i < 4; i++) {
    const int here = n - 16 * i;
    if (here > 0) eb_store_first_u8x16(to + 16 * i, a.part[i], here < 16 ? here : 16);
  }
#endif
}

#endif
