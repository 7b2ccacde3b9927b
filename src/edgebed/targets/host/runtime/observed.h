/* Runs that show or record their tensors: the same steps in the same order. Included by run.h. */
#ifndef EB_OBSERVED_H
#define EB_OBSERVED_H

#include "trace.h"

static const void *eb_first(const eb_tensor *tensor, const eb_io *io) {
  const void *memory = io->arena;
  if (tensor->memory == EB_IN_CONSTANTS) memory = EB_CONSTANTS;
  if (tensor->memory == EB_IN_INPUT) memory = io->inputs[tensor->place];
  if (tensor->memory == EB_IN_OUTPUT) memory = io->outputs[tensor->place];
  return (const uint8_t *)memory + tensor->offset;
}

/* As run_bound; `seen` gets every tensor when the step that completes it is done. */
EB_API int EB_MODEL(run_observed)(const EB_MODEL(bound) * bound, eb_seen *seen, void *context) {
  const eb_step *steps = eb_steps_of(bound->variant);
  const eb_io io = {bound->inputs, bound->outputs, (uint8_t *)bound->arena};
  const eb_tensor *tensor = eb_tensors, *end = eb_tensors + EB_TENSORS;
  if (!steps) return -1;
  for (int i = -1; i < EB_STEPS; i++) {
    if (i >= 0) eb_do(&steps[i], &io, bound->crew);
    for (; tensor < end && tensor->step <= i; tensor++)
      seen(context, tensor, eb_first(tensor, &io));
  }
  return 0;
}

static void eb_append(void *context, const eb_tensor *tensor, const void *first) {
  uint8_t **to = context;
  if (tensor->role != EB_LAYER) return;
  eb_tensor_copy(tensor, first, *to);
  *to += (tensor->bytes + 63) & ~(int64_t)63;
}

/* As run_bound; copies the layers' tensors to `to`, in their order, at multiples of 64 bytes. */
EB_API int EB_MODEL(watch)(const EB_MODEL(bound) * bound, void *to) {
  uint8_t *next = to;
  return EB_MODEL(run_observed)(bound, eb_append, &next);
}

/* ---- Traces ----------------------------------------------------------------------------------- */

/* Do the steps, and put what is kept into a slot. The clock stands still while tensors are taken. */
static void eb_run_kept(eb_trace *trace, const eb_step *steps, const eb_io *io, void *crew,
                        int variant, uint8_t *data) {
  const eb_kept *kept = trace->kept, *end = kept + trace->count;
  eb_slot *slot = (eb_slot *)(void *)data;
  int64_t mark = 0, spent = 0;
  for (int i = -1; i < EB_STEPS; i++) {
    if (i >= 0) eb_do(&steps[i], io, crew);
    if (i >= 0 && (kept == end || kept->tensor->step > i)) continue;
    if (i >= 0) {
      const int64_t took = eb_tick(trace) - mark;
      slot->ticks[kept - trace->kept] = took;
      spent += took;
    }
    for (; kept < end && kept->tensor->step <= i; kept++)
      eb_trace_take(trace, kept, eb_first(kept->tensor, io), variant, data);
    if (kept < end) mark = eb_tick(trace);
    if (i < 0) slot->begun = mark;
  }
  slot->spent = spent;
}

EB_API int EB_MODEL(run_traced)(const EB_MODEL(bound) * bound, eb_trace *trace) {
  const eb_step *steps = eb_steps_of(bound->variant);
  const eb_io io = {bound->inputs, bound->outputs, (uint8_t *)bound->arena};
  uint8_t *data = steps ? eb_trace_begin(trace) : NULL;
  if (!data) return EB_MODEL(run_bound)(bound);
  eb_run_kept(trace, steps, &io, bound->crew, bound->variant, data);
  eb_trace_end(trace);
  return __atomic_load_n(&trace->error, __ATOMIC_ACQUIRE);
}

EB_API int EB_MODEL(trace_open)(eb_trace **trace, const char *path, int level, const char *notes,
                                int frames) {
  static const char *const levels[] = {"", "io", "statistics", "full"};
  if (level < EB_TRACE_IO || level > EB_TRACE_FULL) return EINVAL;
  const char *const manifest[] = {eb_manifest_0, levels[level], eb_manifest_1,
                                  notes ? "," : "", notes ? notes : "", "}}", NULL};
  return eb_trace_open(trace, eb_tensors, EB_TENSORS, path, level, manifest, frames);
}

EB_API void EB_MODEL(trace_get)(const eb_trace *trace, eb_trace_state *state) {
  eb_trace_get(trace, state);
}

EB_API int EB_MODEL(trace_close)(eb_trace *trace) { return eb_trace_close(trace); }

#endif
