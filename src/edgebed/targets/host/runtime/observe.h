/* What a run shows of its tensors. Compiled in with -DEB_OBSERVE only; without it nothing is there.
 *
 * After each step of the same executor that runs without it, an observer gets the tensors which
 * that step completed, as they lie in memory.
 */
#ifndef EB_OBSERVE_H
#define EB_OBSERVE_H

#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { EB_AXES = 8 };
typedef enum { EB_INPUT, EB_LAYER, EB_OUTPUT } eb_role;
typedef enum { EB_IN_ARENA, EB_IN_CONSTANTS, EB_IN_INPUT, EB_IN_OUTPUT } eb_memory;

/* A tensor where it lies. Its values come in runs of neighbours; the runs lie at so many places
 * along each axis, the last axis the fastest. */
typedef struct {
  const char *name;
  const char *dtype; /* numpy's name */
  const char *json;  /* the name as JSON */
  const char *head;  /* what a trace says of it, JSON */
  double scale;      /* real value of one step; 1.0 for real numbers */
  int64_t bytes;     /* of all values, without gaps */
  int64_t offset;    /* bytes from the start of the memory */
  int64_t run;       /* bytes of a run */
  int64_t stride[EB_AXES]; /* bytes */
  int32_t count[EB_AXES];
  int32_t axes;
  int32_t place;      /* which input or output of the caller's */
  int32_t step;       /* after which it is complete; -1: before the first */
  int32_t zero_point; /* the integer that means 0.0 */
  uint8_t width;      /* bytes of a value */
  uint8_t flipped;    /* int8 values that lie as bytes of value + 128 */
  uint8_t role;       /* eb_role */
  uint8_t memory;     /* eb_memory */
} eb_tensor;

/* Records traces: see trace.h. */
typedef enum { EB_TRACE_IO = 1, EB_TRACE_STATISTICS, EB_TRACE_FULL } eb_trace_level;
typedef struct eb_trace eb_trace;

typedef struct {
  int64_t frames; /* recorded so far */
  int64_t waits;  /* of them, frames that had to wait until the file had taken earlier ones */
  int32_t room;   /* frames that are kept until the file has them */
  int32_t error;  /* errno of the first frame that could not be written; 0 */
} eb_trace_state;

/* A function of the observer's: `first` is the tensor's first value. Runs in the thread that
 * computes, before the next step. */
typedef void eb_seen(void *context, const eb_tensor *tensor, const void *first);

/* Copy past the caches, which are the network's: nobody reads the copy soon. Another thread may
 * read it behind eb_copied(). */
static inline void eb_copy(uint8_t *to, const uint8_t *from, int64_t count) {
  int64_t done = 0;
#if defined(__SSE2__)
  if (((uintptr_t)to & 15) == 0)
    for (; done + 64 <= count; done += 64)
      for (int i = 0; i < 64; i += 16) {
        const __m128i part = _mm_loadu_si128((const __m128i *)(const void *)(from + done + i));
        _mm_stream_si128((__m128i *)(void *)(to + done + i), part);
      }
#endif
  memcpy(to + done, from + done, (size_t)(count - done));
}

static inline void eb_copied(void) {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

/* Copy a tensor's values without gaps, as they lie; see eb_copied. */
static inline void eb_tensor_pack(const eb_tensor *tensor, const void *first, void *to) {
  const uint8_t *from = (const uint8_t *)first;
  uint8_t *out = (uint8_t *)to;
  int32_t at[EB_AXES] = {0};
  for (uint8_t *end = out + tensor->bytes; out < end; out += tensor->run) {
    eb_copy(out, from, tensor->run);
    for (int axis = tensor->axes - 1; axis >= 0; axis--) {
      from += tensor->stride[axis];
      if (++at[axis] < tensor->count[axis]) break;
      from -= tensor->stride[axis] * tensor->count[axis];
      at[axis] = 0;
    }
  }
}

/* Make of packed values what they mean: int8 of bytes that are value + 128. */
static inline void eb_tensor_flip(const eb_tensor *tensor, void *packed) {
  uint8_t *bytes = (uint8_t *)packed;
  if (tensor->flipped)
    for (int64_t i = 0; i < tensor->bytes; i++) bytes[i] ^= 128;
}

/* Copy a tensor's values without gaps, as they mean. */
static inline void eb_tensor_copy(const eb_tensor *tensor, const void *first, void *to) {
  eb_tensor_pack(tensor, first, to);
  eb_copied();
  eb_tensor_flip(tensor, to);
}

#endif
