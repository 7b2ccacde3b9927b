/* Records traces of runs: what edgebed.observe reads. Compiled in with -DEB_OBSERVE only.
 *
 * The thread that computes copies what the level keeps into the next slot of a ring, and goes on.
 * Another thread makes records of the slots and writes them. Nothing is lost: where the ring is
 * full, the thread that computes waits, and that is counted. All records of a frame have a fixed
 * size and a constant beginning, which is made, and summed for the CRC, when the trace is opened.
 */
#ifndef EB_TRACE_H
#define EB_TRACE_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "crc.h"
#include "payload.h"

enum {
  EB_RING = 1 << 20,  /* bytes, unless four frames need more */
  EB_ROOM = 1 << 18,  /* bytes that are written at once */
  EB_PERIOD_MS = 10,  /* between two looks at the ring */
  EB_NUMBER = 20,     /* characters of a number in a record */
  EB_HEAD = 13        /* bytes of a record before its head */
};

/* A record's constant beginning, and the state of its CRC behind it. */
typedef struct {
  uint8_t *bytes;
  uint32_t size, state;
} eb_prefix;

typedef struct eb_kept {
  const eb_tensor *tensor;
  const struct eb_kept *nth; /* the one whose record has this one's place in a frame */
  int64_t at;                /* in a slot */
  int is_whole, is_timed;
  eb_prefix record, figure;
} eb_kept;

typedef struct {
  int64_t begun, spent; /* ticks, until the last step was done */
  int64_t ticks[];      /* of what each kept tensor took */
} eb_slot;

/* What one thread writes lies apart from what the other one reads. */
struct eb_trace {
  /* known from the start */
  eb_kept *kept;
  uint8_t *ring;
  int64_t slot_bytes, slots;
  int count, level, is_tsc, file;
  pid_t owner;
  int32_t error;
  char apart_1[64];
  /* the thread that computes */
  int64_t head, free_until, waits; /* frames recorded; as many as there is room for */
  int is_foreign;
  char apart_2[64];
  /* the thread that writes */
  int64_t tail; /* frames taken from the ring */
  uint8_t *out;
  int64_t frame_bytes, filled;
  eb_prefix begin, latency, end;
  eb_crc_tables crc;
  int64_t tick_0, clock_0, wall_0;
  double rate; /* nanoseconds a tick */
  char apart_3[64];
  /* both, seldom */
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t news, room;
  int stop, is_asleep, is_waited_for;
};

/* ---- Clocks ----------------------------------------------------------------------------------- */

static int64_t eb_clock(clockid_t which) {
  struct timespec now;
  clock_gettime(which, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int eb_has_tsc(void) {
#if defined(__x86_64__)
  unsigned a, b, c, d;
  return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d >> 8 & 1); /* it never stops or changes */
#else
  return 0;
#endif
}

static inline int64_t eb_tick(const eb_trace *trace) {
#if defined(__x86_64__)
  if (trace->is_tsc) return (int64_t)__builtin_ia32_rdtsc();
#endif
  (void)trace;
  return eb_clock(CLOCK_MONOTONIC);
}

/* The longer a trace is open, the better its rate is known. */
static void eb_set_rate(eb_trace *trace) {
  const int64_t ticks = eb_tick(trace) - trace->tick_0;
  const int64_t spent = eb_clock(CLOCK_MONOTONIC) - trace->clock_0;
  if (ticks > 0 && spent > 0) trace->rate = (double)spent / (double)ticks;
}

static int64_t eb_nanoseconds(const eb_trace *trace, int64_t ticks) {
  return (int64_t)((double)ticks * trace->rate + 0.5);
}

/* ---- Records ---------------------------------------------------------------------------------- */

static void eb_put_u32(uint8_t *to, uint32_t value) {
  for (int i = 0; i < 4; i++) to[i] = (uint8_t)(value >> 8 * i);
}

static size_t eb_length(const char *const *texts) {
  size_t length = 0;
  for (; *texts; texts++) length += strlen(*texts);
  return length;
}

/* The beginning of records of a kind that end with `rest` bytes: with the head's end where
 * `is_head`, else with values. The head is these texts, up to a NULL. */
static int eb_prefix_make(eb_trace *trace, eb_prefix *prefix, char kind, const char *const *texts,
                          uint32_t rest, int is_head) {
  const size_t length = eb_length(texts);
  prefix->size = (uint32_t)(EB_HEAD + length);
  prefix->bytes = malloc(prefix->size);
  if (!prefix->bytes) return ENOMEM;
  uint8_t *to = prefix->bytes + EB_HEAD;
  eb_put_u32(prefix->bytes, (uint32_t)(5 + length + rest));
  eb_put_u32(prefix->bytes + 4, 0);
  prefix->bytes[8] = (uint8_t)kind;
  eb_put_u32(prefix->bytes + 9, (uint32_t)(length + (is_head ? rest : 0)));
  for (; *texts; texts++) to = eb_put(to, *texts, strlen(*texts));
  prefix->state = eb_crc_add(&trace->crc, ~0u, prefix->bytes + 8, prefix->size - 8);
  return 0;
}

/* Begin a record in the output; its other bytes follow. */
static uint8_t *eb_begin(eb_trace *trace, const eb_prefix *prefix) {
  uint8_t *start = trace->out + trace->filled;
  return eb_put(start, prefix->bytes, prefix->size);
}

static void eb_finish(eb_trace *trace, const eb_prefix *prefix, uint8_t *end) {
  uint8_t *start = trace->out + trace->filled, *rest = start + prefix->size;
  eb_put_u32(start + 4, ~eb_crc_add(&trace->crc, prefix->state, rest, (size_t)(end - rest)));
  trace->filled = end - trace->out;
}

/* A number to the right of so many characters. */
static uint8_t *eb_put_number(uint8_t *to, int64_t value) {
  uint64_t rest = value > 0 ? (uint64_t)value : 0;
  memset(to, ' ', EB_NUMBER);
  for (uint8_t *at = to + EB_NUMBER - 1; rest || at == to + EB_NUMBER - 1; at--, rest /= 10)
    *at = (uint8_t)('0' + rest % 10);
  return to + EB_NUMBER;
}

/* Nanoseconds as microseconds with three decimals. */
static uint8_t *eb_put_us(uint8_t *to, int64_t nanoseconds) {
  const int64_t ns = nanoseconds > 0 ? nanoseconds : 0;
  uint8_t *at = eb_put_number(to, ns / 1000);
  *at++ = '.';
  for (int64_t unit = 100; unit; unit /= 10) *at++ = (uint8_t)('0' + ns / unit % 10);
  return at;
}

enum { EB_US = EB_NUMBER + 4 };

static void eb_put_figure(eb_trace *trace, const eb_prefix *prefix, int64_t ticks) {
  uint8_t *to = eb_put_us(eb_begin(trace, prefix), eb_nanoseconds(trace, ticks));
  eb_finish(trace, prefix, eb_put(to, "}}", 2));
}

static void eb_put_tensor(eb_trace *trace, const eb_kept *kept, uint8_t *data) {
  const eb_tensor *tensor = kept->tensor;
  uint8_t *to = eb_begin(trace, &kept->record);
  if (kept->is_whole) {
    eb_put(to, data, (size_t)tensor->bytes);
    eb_tensor_flip(tensor, to);
    eb_finish(trace, &kept->record, to + tensor->bytes);
    return;
  }
  eb_payload(tensor, (const eb_moments *)(const void *)data, to);
  eb_finish(trace, &kept->record, to + EB_PAYLOAD);
}

static void eb_put_frame(eb_trace *trace, int64_t number, uint8_t *data) {
  const eb_slot *slot = (const eb_slot *)(const void *)data;
  const int64_t time = trace->wall_0 + eb_nanoseconds(trace, slot->begun - trace->tick_0);
  static const char middle[] = ",\"time_ns\":";
  uint8_t *to = eb_put_number(eb_begin(trace, &trace->begin), number);
  to = eb_put_number(eb_put(to, middle, sizeof middle - 1), time);
  eb_finish(trace, &trace->begin, eb_put(to, "}", 1));
  for (int i = 0; i < trace->count; i++)
    eb_put_tensor(trace, trace->kept[i].nth, data + trace->kept[i].nth->at);
  eb_put_figure(trace, &trace->latency, slot->spent);
  for (int i = 0; i < trace->count; i++)
    if (trace->kept[i].is_timed) eb_put_figure(trace, &trace->kept[i].figure, slot->ticks[i]);
  to = eb_put_number(eb_begin(trace, &trace->end), number);
  eb_finish(trace, &trace->end, eb_put(to, "}", 1));
}

/* A record of its own, not of a frame. */
static int eb_put_once(eb_trace *trace, char kind, const char *const *texts) {
  eb_prefix prefix;
  const int error = eb_prefix_make(trace, &prefix, kind, texts, 0, 1);
  if (error) return error;
  eb_finish(trace, &prefix, eb_begin(trace, &prefix));
  free(prefix.bytes);
  return 0;
}

/* ---- The file --------------------------------------------------------------------------------- */

static void eb_flush(eb_trace *trace) {
  const uint8_t *from = trace->out;
  int64_t rest = trace->error ? 0 : trace->filled;
  while (rest > 0) {
    const ssize_t count = write(trace->file, from, (size_t)rest);
    if (count >= 0) {
      from += count, rest -= count;
    } else if (errno != EINTR) {
      __atomic_store_n(&trace->error, errno, __ATOMIC_RELEASE);
      break;
    }
  }
  trace->filled = 0;
}

static void eb_sleep(eb_trace *trace) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += EB_PERIOD_MS * 1000000;
  until.tv_sec += until.tv_nsec / 1000000000, until.tv_nsec %= 1000000000;
  pthread_mutex_lock(&trace->lock);
  __atomic_store_n(&trace->is_asleep, 1, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&trace->head, __ATOMIC_SEQ_CST) == trace->tail && !trace->stop)
    pthread_cond_timedwait(&trace->news, &trace->lock, &until);
  __atomic_store_n(&trace->is_asleep, 0, __ATOMIC_SEQ_CST);
  pthread_mutex_unlock(&trace->lock);
}

/* Say that a slot is free again. */
static void eb_took(eb_trace *trace) {
  __atomic_store_n(&trace->tail, trace->tail + 1, __ATOMIC_SEQ_CST);
  if (!__atomic_load_n(&trace->is_waited_for, __ATOMIC_SEQ_CST)) return;
  pthread_mutex_lock(&trace->lock);
  pthread_cond_signal(&trace->room);
  pthread_mutex_unlock(&trace->lock);
}

static void *eb_drain(void *argument) {
  eb_trace *trace = argument;
  for (;;) {
    const int is_last = __atomic_load_n(&trace->stop, __ATOMIC_ACQUIRE);
    const int64_t head = __atomic_load_n(&trace->head, __ATOMIC_ACQUIRE);
    eb_set_rate(trace);
    for (; trace->tail < head; eb_took(trace)) {
      if (trace->filled > EB_ROOM) eb_flush(trace);
      eb_put_frame(trace, trace->tail, trace->ring + trace->tail % trace->slots * trace->slot_bytes);
    }
    eb_flush(trace);
    if (is_last) return NULL;
    eb_sleep(trace);
  }
}

/* ---- The thread that computes ----------------------------------------------------------------- */

static void eb_wake(eb_trace *trace) {
  if (!__atomic_load_n(&trace->is_asleep, __ATOMIC_SEQ_CST)) return;
  pthread_mutex_lock(&trace->lock);
  pthread_cond_signal(&trace->news);
  pthread_mutex_unlock(&trace->lock);
}

/* Looks at what the other thread writes only where that decides. */
static int eb_is_full(eb_trace *trace) {
  if (trace->head < trace->free_until) return 0;
  trace->free_until = __atomic_load_n(&trace->tail, __ATOMIC_SEQ_CST) + trace->slots;
  return trace->head >= trace->free_until;
}

/* Wait for a free slot. A process that was forked has no thread that would free one: it records
 * nothing. */
static void eb_wait(eb_trace *trace) {
  if (getpid() != trace->owner) {
    trace->is_foreign = 1;
    return;
  }
  trace->waits++;
  pthread_mutex_lock(&trace->lock);
  __atomic_store_n(&trace->is_waited_for, 1, __ATOMIC_SEQ_CST);
  pthread_cond_signal(&trace->news);
  while (eb_is_full(trace)) pthread_cond_wait(&trace->room, &trace->lock);
  __atomic_store_n(&trace->is_waited_for, 0, __ATOMIC_SEQ_CST);
  pthread_mutex_unlock(&trace->lock);
}

/* The slot of the next frame; NULL where none is recorded. */
static uint8_t *eb_trace_begin(eb_trace *trace) {
  if (eb_is_full(trace)) eb_wait(trace);
  if (trace->is_foreign) return NULL;
  return trace->ring + trace->head % trace->slots * trace->slot_bytes;
}

/* Where half of the ring is used the other thread is woken, else it comes by itself. */
static void eb_trace_end(eb_trace *trace) {
  eb_copied();
  __atomic_store_n(&trace->head, trace->head + 1, __ATOMIC_RELEASE);
  if (trace->head + trace->slots / 2 < trace->free_until) return;
  trace->free_until = __atomic_load_n(&trace->tail, __ATOMIC_SEQ_CST) + trace->slots;
  if (trace->head + trace->slots / 2 >= trace->free_until) eb_wake(trace);
}

/* Take what is to be kept of a tensor. */
static void eb_trace_take(eb_trace *trace, const eb_kept *kept, const void *first, int variant,
                          uint8_t *data) {
  uint8_t *to = data + kept->at;
  if (kept->is_whole)
    eb_tensor_pack(kept->tensor, first, to);
  else
    eb_measure(kept->tensor, first, variant, (uint64_t)trace->head,
               (eb_moments *)(void *)to);
}

/* ---- Opening and closing ---------------------------------------------------------------------- */

static int eb_keeps(const eb_tensor *tensor, int level) {
  return level != EB_TRACE_IO || tensor->role != EB_LAYER;
}

static int64_t eb_aligned(int64_t bytes) { return (bytes + 63) & ~(int64_t)63; }

static const char eb_figure_start[] = "{\"name\":\"latency\",\"layer\":";
static const char eb_figure_end[] =
    ",\"figure\":{\"unit\":\"us\",\"kind\":\"measured\",\"source\":\"this run\",\"value\":";

static int eb_kept_make(eb_trace *trace, eb_kept *kept, const eb_tensor *tensor, int is_timed) {
  const char *const head[] = {tensor->head, NULL};
  const char *const figure[] = {eb_figure_start, tensor->json, eb_figure_end, NULL};
  const int is_whole = trace->level == EB_TRACE_FULL || trace->level == EB_TRACE_IO ||
                       tensor->role == EB_OUTPUT;
  const int64_t payload = is_whole ? tensor->bytes : EB_PAYLOAD;
  const int64_t room = (int64_t)sizeof(eb_moments) + eb_sample_room(tensor);
  if (payload > 1 << 30) return EFBIG; /* no reader takes larger records */
  kept->tensor = tensor, kept->is_whole = is_whole, kept->is_timed = is_timed;
  kept->at = trace->slot_bytes;
  trace->slot_bytes += eb_aligned(is_whole ? tensor->bytes : room);
  int error = eb_prefix_make(trace, &kept->record, is_whole ? 'T' : 'S', head, (uint32_t)payload, 0);
  trace->frame_bytes += kept->record.size + payload;
  if (is_timed && !error) {
    error = eb_prefix_make(trace, &kept->figure, 'G', figure, EB_US + 2, 1);
    trace->frame_bytes += kept->figure.size + EB_US + 2;
  }
  return error;
}

/* In a frame outputs stand at the end, in their own order. */
static void eb_order(eb_trace *trace) {
  int next = 0, outputs = 0;
  for (int i = 0; i < trace->count; i++) outputs += trace->kept[i].tensor->role == EB_OUTPUT;
  for (int i = 0; i < trace->count; i++) {
    const int is_output = trace->kept[i].tensor->role == EB_OUTPUT;
    const int place = is_output ? trace->count - outputs + trace->kept[i].tensor->place : next++;
    trace->kept[place].nth = &trace->kept[i];
  }
}

static int eb_plan_frame(eb_trace *trace, const eb_tensor *tensors, int count) {
  static const char *const begin[] = {"{\"sensors\":{},\"number\":", NULL};
  static const char *const end[] = {"{\"number\":", NULL};
  static const char *const latency[] = {eb_figure_start, "\"\"", eb_figure_end, NULL};
  int error = 0, step = -1;
  trace->slot_bytes = eb_aligned((int64_t)sizeof(eb_slot) + 8 * count);
  for (int i = 0; i < count && !error; i++) {
    if (!eb_keeps(&tensors[i], trace->level)) continue;
    const int is_timed = trace->level != EB_TRACE_IO && tensors[i].step > step;
    error = eb_kept_make(trace, &trace->kept[trace->count++], &tensors[i], is_timed);
    step = tensors[i].step;
  }
  eb_order(trace);
  const uint32_t first = 2 * EB_NUMBER + 11 + 1;
  if (!error) error = eb_prefix_make(trace, &trace->begin, 'F', begin, first, 1);
  if (!error) error = eb_prefix_make(trace, &trace->latency, 'G', latency, EB_US + 2, 1);
  if (!error) error = eb_prefix_make(trace, &trace->end, 'E', end, EB_NUMBER + 1, 1);
  if (error) return error;
  trace->frame_bytes += trace->begin.size + first + trace->latency.size + EB_US + 2;
  trace->frame_bytes += trace->end.size + EB_NUMBER + 1;
  return 0;
}

static int eb_open_file(eb_trace *trace, const char *path) {
  trace->file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (trace->file < 0) return errno;
  if (flock(trace->file, LOCK_EX | LOCK_NB)) return errno; /* another recorder writes to it */
  if (ftruncate(trace->file, 0) && errno != EINVAL) return errno; /* a device has no length */
  return 0;
}

static void eb_trace_free(eb_trace *trace) {
  for (int i = 0; i < trace->count; i++)
    free(trace->kept[i].record.bytes), free(trace->kept[i].figure.bytes);
  free(trace->begin.bytes), free(trace->latency.bytes), free(trace->end.bytes);
  if (trace->file >= 0) close(trace->file);
  free(trace->kept), free(trace->ring), free(trace->out), free(trace);
}

static int eb_start(eb_trace *trace) {
  sigset_t all, before;
  pthread_mutex_init(&trace->lock, NULL);
  pthread_cond_init(&trace->news, NULL);
  pthread_cond_init(&trace->room, NULL);
  sigfillset(&all); /* signals are for the application's threads */
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = pthread_create(&trace->thread, NULL, eb_drain, trace);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return error;
}

static int eb_prepare(eb_trace *trace, const eb_tensor *tensors, int count, const char *path,
                      const char *const *manifest, int frames) {
  static const uint8_t magic[8] = {'E', 'B', 'T', 'R', 'A', 'C', 'E', 2};
  eb_crc_prepare(&trace->crc);
  trace->kept = calloc((size_t)count + 1, sizeof *trace->kept);
  if (!trace->kept) return ENOMEM;
  int error = eb_plan_frame(trace, tensors, count);
  if (error) return error;
  const int64_t most = EB_RING / trace->slot_bytes;
  trace->slots = frames > 0 ? frames : most < 4 ? 4 : most;
  trace->out = malloc(EB_ROOM + (size_t)trace->frame_bytes + eb_length(manifest) + 64);
  if (!trace->out) return ENOMEM;
  void *ring = NULL;
  if (posix_memalign(&ring, 64, (size_t)(trace->slots * trace->slot_bytes))) return ENOMEM;
  trace->ring = ring;
  memset(ring, 0, (size_t)(trace->slots * trace->slot_bytes)); /* or frames would wait for pages */
  error = eb_open_file(trace, path);
  if (error) return error;
  eb_put(trace->out, magic, sizeof magic);
  trace->filled = sizeof magic;
  error = eb_put_once(trace, 'M', manifest);
  eb_flush(trace);
  return error ? error : trace->error;
}

/* See <name>.h. The manifest is texts up to a NULL. */
static int eb_trace_open(eb_trace **opened, const eb_tensor *tensors, int count, const char *path,
                         int level, const char *const *manifest, int frames) {
  eb_trace *trace = calloc(1, sizeof *trace);
  *opened = NULL;
  if (!trace) return ENOMEM;
  trace->file = -1, trace->level = level, trace->owner = getpid();
  trace->is_tsc = eb_has_tsc(), trace->rate = 1.0;
  int error = eb_prepare(trace, tensors, count, path, manifest, frames);
  trace->tick_0 = eb_tick(trace), trace->clock_0 = eb_clock(CLOCK_MONOTONIC);
  trace->wall_0 = eb_clock(CLOCK_REALTIME);
  if (!error) error = eb_start(trace);
  if (error) {
    eb_trace_free(trace);
    return error;
  }
  *opened = trace;
  return 0;
}

static void eb_trace_get(const eb_trace *trace, eb_trace_state *state) {
  state->frames = trace->head, state->waits = trace->waits;
  state->room = (int32_t)trace->slots;
  state->error = __atomic_load_n(&trace->error, __ATOMIC_ACQUIRE);
}

static int eb_trace_close(eb_trace *trace) {
  int error = 0;
  if (getpid() == trace->owner) {
    char frames[32];
    pthread_mutex_lock(&trace->lock);
    __atomic_store_n(&trace->stop, 1, __ATOMIC_RELEASE);
    pthread_cond_signal(&trace->news);
    pthread_mutex_unlock(&trace->lock);
    pthread_join(trace->thread, NULL);
    snprintf(frames, sizeof frames, "%lld", (long long)trace->tail);
    const char *const texts[] = {"{\"frames\":", frames, "}", NULL};
    error = eb_put_once(trace, 'Z', texts);
    eb_flush(trace);
    error = trace->error ? trace->error : error;
    pthread_cond_destroy(&trace->room), pthread_cond_destroy(&trace->news);
    pthread_mutex_destroy(&trace->lock);
  }
  eb_trace_free(trace);
  return error;
}

#endif
