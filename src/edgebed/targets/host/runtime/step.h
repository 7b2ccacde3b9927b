/* What the generated layers and the code that runs them agree on. */
#ifndef EB_STEP_H
#define EB_STEP_H

#include <stdint.h>

/* Where one run reads and writes. */
typedef struct {
  const void *const *inputs;
  void *const *outputs;
  uint8_t *arena; /* aligned to 64 bytes */
} eb_io;

/* Do part number `part` of `parts` equal parts of a step. */
typedef void (*eb_work)(const eb_io *io, int part, int parts);

typedef struct {
  eb_work work;
  int layer;  /* that the step belongs to */
  int shared; /* threads may share the step: it is long enough to pay */
} eb_step;

#endif
