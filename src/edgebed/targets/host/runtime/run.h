/* Runs the generated steps: picks the instruction set, shares steps among threads, takes times.
 *
 * Included once by the generated model file, which defines EB_MODEL(name), EB_STEPS (how many),
 * EB_LAYERS and the tables of steps. No allocation, no stdio.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "step.h"

/* ---- Which instruction set ------------------------------------------------------------------ */

enum { EB_PORTABLE, EB_AVX2, EB_AVXVNNI, EB_AVX512, EB_VARIANTS };

static const char *const eb_variant_names[EB_VARIANTS] = {"portable", "avx2", "avxvnni",
                                                           "avx512"};

#if defined(__x86_64__)
#include <cpuid.h>

/* What the processor has and the operating system saves: bit n stands for variant n. */
static unsigned eb_processor(void) {
  unsigned a, b, c, d, low, high, features = 1u << EB_PORTABLE;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 27))) return features; /* OSXSAVE */
  const int fma = (c >> 12) & 1;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (low & 6) != 6) return features;
  const int avx2 = (b >> 5) & 1, bmi2 = (b >> 8) & 1;
  if (!(fma && avx2 && bmi2)) return features;
  features |= 1u << EB_AVX2;
  const unsigned f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
  if ((low & 0xE6) == 0xE6 && (b & f_dq_bw_vl) == f_dq_bw_vl && ((c >> 11) & 1))
    features |= 1u << EB_AVX512;
  if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && ((a >> 4) & 1))
    features |= 1u << EB_AVXVNNI;
  return features;
}
#else
static unsigned eb_processor(void) { return 1u << EB_PORTABLE; }
#endif

/* The most capable variant that the processor has and EDGEBED_ISA allows; -1: EDGEBED_ISA holds
 * an unknown name. */
static int eb_best_variant(void) {
  const unsigned features = eb_processor();
  const char *limit = getenv("EDGEBED_ISA");
  int most = EB_VARIANTS - 1;
  if (limit && *limit) {
    for (most = EB_VARIANTS - 1; most >= 0; most--)
      if (!strcmp(limit, eb_variant_names[most])) break;
    if (most < 0) return -1;
  }
  while (!((features >> most) & 1)) most--;
  return most;
}

/* ---- Threads ---------------------------------------------------------------------------------- */

#include "crew.h"

/* ---- Running ---------------------------------------------------------------------------------- */

static const eb_step *eb_steps_of(int variant) {
  static const eb_step *const tables[EB_VARIANTS] = {EB_STEP_TABLES};
  return variant >= 0 && variant < EB_VARIANTS ? tables[variant] : NULL;
}

EB_API int EB_MODEL(variant)(void) {
  static int chosen = -2; /* not known yet; every thread would write the same */
  int variant = __atomic_load_n(&chosen, __ATOMIC_RELAXED);
  if (variant == -2) {
    variant = eb_best_variant();
    __atomic_store_n(&chosen, variant, __ATOMIC_RELAXED);
  }
  return variant;
}

EB_API const char *EB_MODEL(variant_name)(int variant) {
  return variant >= 0 && variant < EB_VARIANTS ? eb_variant_names[variant] : "unknown";
}

EB_API int EB_MODEL(can_run)(int variant) {
  return eb_steps_of(variant) != NULL && ((eb_processor() >> variant) & 1);
}

static inline void eb_do(const eb_step *step, const eb_io *io, void *crew) {
  if (crew && step->shared)
    eb_crew_work((eb_crew *)crew, step->work, io);
  else
    step->work(io, 0, 1);
}

EB_API int EB_MODEL(run_on)(const void *const *inputs, void *const *outputs, void *arena,
                            int variant, void *crew) {
  const eb_step *steps = eb_steps_of(variant);
  const eb_io io = {inputs, outputs, (uint8_t *)arena};
  if (!steps) return -1;
  for (int i = 0; i < EB_STEPS; i++) eb_do(&steps[i], &io, crew);
  return 0;
}

EB_API int EB_MODEL(run_bound)(const EB_MODEL(bound) * bound) {
  return EB_MODEL(run_on)(bound->inputs, bound->outputs, bound->arena, bound->variant, bound->crew);
}

EB_API int EB_MODEL(run)(const void *const *inputs, void *const *outputs, void *arena) {
  return EB_MODEL(run_on)(inputs, outputs, arena, EB_MODEL(variant)(), NULL);
}

/* Start a crew of so many threads, the caller included, in memory of EB_CREW_BYTES aligned to 64
 * bytes; returns how many there are. */
EB_API int EB_MODEL(crew_start)(void *crew, int threads) {
  return eb_crew_start((eb_crew *)crew, threads);
}

EB_API void EB_MODEL(crew_stop)(void *crew) { eb_crew_stop((eb_crew *)crew); }

static int64_t eb_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* As run_on; adds the nanoseconds of each layer to times[EB_LAYERS]. */
EB_API int EB_MODEL(run_timed)(const void *const *inputs, void *const *outputs, void *arena,
                               int variant, void *crew, int64_t *times) {
  const eb_step *steps = eb_steps_of(variant);
  const eb_io io = {inputs, outputs, (uint8_t *)arena};
  if (!steps) return -1;
  int64_t before = eb_now();
  for (int i = 0; i < EB_STEPS; i++) {
    eb_do(&steps[i], &io, crew);
    const int64_t now = eb_now();
    if (steps[i].layer >= 0) times[steps[i].layer] += now - before;
    before = now;
  }
  return 0;
}

/* ---- Observing -------------------------------------------------------------------------------- */

#ifdef EB_OBSERVE
#include "observed.h"
#endif
