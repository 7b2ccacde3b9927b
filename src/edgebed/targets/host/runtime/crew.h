/* A few threads that share the rows of long steps. They spin for a while after each piece of
 * work, so that the next one starts at once, and then sleep.
 */
#ifndef EB_CREW_H
#define EB_CREW_H

#include <pthread.h>
#include <stdint.h>

#include "step.h"

enum { EB_CREW_MOST = 16, EB_CREW_SPINS = 20000 };

typedef struct {
  pthread_t threads[EB_CREW_MOST];
  pthread_mutex_t lock;
  pthread_cond_t wake;
  int count;    /* threads beside the caller's */
  int turn;     /* number of the current piece of work */
  int working;  /* threads that have not finished it */
  int sleeping; /* threads that wait for `wake` */
  int stop;
  eb_work work;
  const eb_io *io;
} eb_crew;

typedef struct {
  eb_crew *crew;
  int part;
} eb_crew_place;

typedef struct {
  eb_crew crew;
  eb_crew_place members[EB_CREW_MOST];
} eb_crew_memory;

static inline void eb_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/* Wait until the turn is no longer `turn`: spin first, then sleep. */
static void eb_crew_wait(eb_crew *crew, int turn) {
  for (int i = 0; i < EB_CREW_SPINS; i++) {
    if (__atomic_load_n(&crew->turn, __ATOMIC_ACQUIRE) != turn) return;
    eb_pause();
  }
  pthread_mutex_lock(&crew->lock);
  __atomic_add_fetch(&crew->sleeping, 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&crew->turn, __ATOMIC_SEQ_CST) == turn)
    pthread_cond_wait(&crew->wake, &crew->lock);
  __atomic_sub_fetch(&crew->sleeping, 1, __ATOMIC_SEQ_CST);
  pthread_mutex_unlock(&crew->lock);
}

static void *eb_crew_member(void *argument) {
  const eb_crew_place *me = argument;
  eb_crew *crew = me->crew;
  for (int turn = 0;;) {
    eb_crew_wait(crew, turn);
    turn = __atomic_load_n(&crew->turn, __ATOMIC_ACQUIRE);
    if (__atomic_load_n(&crew->stop, __ATOMIC_ACQUIRE)) return NULL;
    crew->work(crew->io, me->part, crew->count + 1);
    __atomic_sub_fetch(&crew->working, 1, __ATOMIC_RELEASE);
  }
}

static void eb_crew_next_turn(eb_crew *crew) {
  __atomic_add_fetch(&crew->turn, 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&crew->sleeping, __ATOMIC_SEQ_CST)) {
    pthread_mutex_lock(&crew->lock);
    pthread_cond_broadcast(&crew->wake);
    pthread_mutex_unlock(&crew->lock);
  }
}

/* Do a step with all threads; returns when all parts are done. */
static void eb_crew_work(eb_crew *crew, eb_work work, const eb_io *io) {
  crew->work = work;
  crew->io = io;
  __atomic_store_n(&crew->working, crew->count, __ATOMIC_RELAXED);
  eb_crew_next_turn(crew);
  work(io, 0, crew->count + 1);
  while (__atomic_load_n(&crew->working, __ATOMIC_ACQUIRE)) eb_pause();
}

static int eb_crew_start(eb_crew_memory *memory, int threads) {
  eb_crew *crew = &memory->crew;
  memset(memory, 0, sizeof *memory);
  pthread_mutex_init(&crew->lock, NULL);
  pthread_cond_init(&crew->wake, NULL);
  const int count = threads - 1 < EB_CREW_MOST ? threads - 1 : EB_CREW_MOST;
  crew->count = count; /* members read it only once there is work */
  for (int i = 0; i < count; i++) {
    memory->members[i].crew = crew;
    memory->members[i].part = i + 1;
    if (pthread_create(&crew->threads[i], NULL, eb_crew_member, &memory->members[i])) {
      crew->count = i;
      break;
    }
  }
  return crew->count + 1;
}

static void eb_crew_stop(eb_crew_memory *memory) {
  eb_crew *crew = &memory->crew;
  __atomic_store_n(&crew->stop, 1, __ATOMIC_RELEASE);
  eb_crew_next_turn(crew);
  for (int i = 0; i < crew->count; i++) pthread_join(crew->threads[i], NULL);
  pthread_mutex_destroy(&crew->lock);
  pthread_cond_destroy(&crew->wake);
  crew->count = 0;
}

#endif
