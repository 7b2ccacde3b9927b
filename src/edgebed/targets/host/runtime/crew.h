/* A few threads that share the long steps.
 *
 * A step is cut into more parts than there are threads, and whoever is free takes the next one. A
 * thread that comes late, or not at all because others use its processor, takes fewer: the caller
 * waits only for parts that somebody has begun. Members spin for a while after a step, so that
 * the next one finds them awake, and then sleep.
 */
#ifndef EB_CREW_H
#define EB_CREW_H

#include <pthread.h>
#include <stdint.h>

#include "step.h"

enum { EB_CREW_MOST = 16, EB_CREW_SPINS = 20000, EB_CREW_PARTS = 2 };

typedef struct {
  uint64_t state; /* number of the step << 16, plus the next part: changed together */
  char apart[56]; /* a cache line of its own */
  int done;       /* parts that are finished */
  int sleeping;   /* members that wait for `wake` */
  int stop;
  int count; /* members */
  eb_work work;
  const eb_io *io;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  pthread_t threads[EB_CREW_MOST];
} eb_crew;

static inline void eb_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

static inline uint64_t eb_crew_step(const eb_crew *crew) {
  return __atomic_load_n(&crew->state, __ATOMIC_ACQUIRE) >> 16;
}

/* Do parts of step `step` until none is left. Whoever got a part may use `work` and `io`: they
 * change only after all parts are done. */
static void eb_crew_help(eb_crew *crew, uint64_t step, int parts) {
  uint64_t state = __atomic_load_n(&crew->state, __ATOMIC_ACQUIRE);
  while (state >> 16 == step && (int)(state & 0xFFFF) < parts) {
    if (!__atomic_compare_exchange_n(&crew->state, &state, state + 1, 0, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE))
      continue;
    crew->work(crew->io, (int)(state & 0xFFFF), parts);
    __atomic_add_fetch(&crew->done, 1, __ATOMIC_RELEASE);
    state = __atomic_load_n(&crew->state, __ATOMIC_ACQUIRE);
  }
}

/* Wait for another step than `step`: spin first, then sleep. */
static void eb_crew_wait(eb_crew *crew, uint64_t step) {
  for (int i = 0; i < EB_CREW_SPINS; i++) {
    if (eb_crew_step(crew) != step) return;
    eb_pause();
  }
  pthread_mutex_lock(&crew->lock);
  __atomic_add_fetch(&crew->sleeping, 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&crew->state, __ATOMIC_SEQ_CST) >> 16 == step)
    pthread_cond_wait(&crew->wake, &crew->lock);
  __atomic_sub_fetch(&crew->sleeping, 1, __ATOMIC_SEQ_CST);
  pthread_mutex_unlock(&crew->lock);
}

static void *eb_crew_member(void *argument) {
  eb_crew *crew = argument;
  const int most = EB_CREW_PARTS * (__atomic_load_n(&crew->count, __ATOMIC_ACQUIRE) + 1);
  for (uint64_t step = 0;;) {
    eb_crew_wait(crew, step);
    step = eb_crew_step(crew);
    if (__atomic_load_n(&crew->stop, __ATOMIC_ACQUIRE)) return NULL;
    eb_crew_help(crew, step, most);
  }
}

static void eb_crew_next(eb_crew *crew) {
  const uint64_t step = (crew->state >> 16) + 1;
  __atomic_store_n(&crew->state, step << 16, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&crew->sleeping, __ATOMIC_SEQ_CST)) {
    pthread_mutex_lock(&crew->lock);
    pthread_cond_broadcast(&crew->wake);
    pthread_mutex_unlock(&crew->lock);
  }
}

/* Do a step with all threads; returns when all parts are done. */
static void eb_crew_work(eb_crew *crew, eb_work work, const eb_io *io) {
  const int parts = EB_CREW_PARTS * (crew->count + 1);
  crew->work = work;
  crew->io = io;
  __atomic_store_n(&crew->done, 0, __ATOMIC_RELAXED);
  eb_crew_next(crew);
  eb_crew_help(crew, crew->state >> 16, parts);
  while (__atomic_load_n(&crew->done, __ATOMIC_ACQUIRE) < parts) eb_pause();
}

static int eb_crew_start(eb_crew *crew, int threads) {
  memset(crew, 0, sizeof *crew);
  pthread_mutex_init(&crew->lock, NULL);
  pthread_cond_init(&crew->wake, NULL);
  const int wanted = threads - 1 < EB_CREW_MOST ? threads - 1 : EB_CREW_MOST;
  crew->count = wanted > 0 ? wanted : 0; /* decides how steps are cut, members or not */
  for (int i = 0; i < crew->count; i++)
    if (pthread_create(&crew->threads[i], NULL, eb_crew_member, crew)) crew->threads[i] = 0;
  return crew->count + 1;
}

static void eb_crew_stop(eb_crew *crew) {
  __atomic_store_n(&crew->stop, 1, __ATOMIC_RELEASE);
  eb_crew_next(crew);
  for (int i = 0; i < crew->count; i++)
    if (crew->threads[i]) pthread_join(crew->threads[i], NULL);
  pthread_mutex_destroy(&crew->lock);
  pthread_cond_destroy(&crew->wake);
  crew->count = 0;
}

#endif
