/* The executor: runs the steps of the schedule. Included once by each generated network, which
   defines eb_tensors, eb_windows, eb_stages, eb_runs and EB_MAX_ROWS before. */
#ifndef EB_RUN_H
#define EB_RUN_H

#include "eb.h"

#if defined(__GNUC__)
#define EB_NOINLINE __attribute__((noinline))
#else
#define EB_NOINLINE
#endif

/* Brings row `row` of input `input`, where the network takes it row by row. */
typedef void eb_reader(void *context, int32_t input, int32_t row, void *to);

typedef struct {
    eb_reader *read;
    void *context;
} eb_source;

#ifdef EB_OBSERVE
/* A function of the user's: -DEB_OBSERVE=NAME compiles calls of it in, after each step with what it
   wrote; without it there is nothing. `stage` counts as in network.json, which names the tensor;
   the bytes begin with the tensor's row `step`, or with its first one where the stage writes all of
   it at once or adds to it step by step. */
extern void EB_OBSERVE(int32_t stage, int32_t step, const void *out, uint32_t bytes);
#endif

static int8_t *eb_row_of(int8_t *arena, const eb_tensor *tensor, int32_t row) {
#if defined(__aarch64__) || defined(__ARM_FEATURE_IDIV)
    const int32_t at = (int32_t)((uint32_t)row % tensor->ring);
#else
    int32_t at = row;
    while (at >= tensor->ring) at -= tensor->ring;
#endif
    return arena + tensor->offset + (uint32_t)at * tensor->row_bytes;
}

static int32_t eb_window_rows(int8_t *arena, const eb_window *window, int32_t step,
                         const int8_t **rows) {
    const eb_tensor *tensor = &eb_tensors[window->tensor];
    int32_t at = step * window->stride - window->pad;
    if (!window->rows) {
        rows[0] = arena + tensor->offset;
        return 1;
    }
    for (int32_t i = 0; i < window->rows; i++, at += window->dilation)
        rows[i] = at < 0 || at >= tensor->rows ? 0 : eb_row_of(arena, tensor, at);
    return window->rows;
}

/* One entry of the schedule. Not inlined: profilers count the entries. */
static EB_NOINLINE void eb_step(int8_t *arena, const eb_run *run, const eb_source *source) {
    const eb_stage *stage = &eb_stages[run->stage];
    for (int32_t step = run->first; step < run->first + run->count; step++) {
        const int8_t *rows[EB_MAX_ROWS];
        int8_t *out = eb_row_of(arena, &eb_tensors[stage->output], stage->whole ? 0 : step);
        int32_t found = 0;
        for (int32_t i = 0; i < stage->windows; i++)
            found += eb_window_rows(arena, &eb_windows[stage->first_window + i], step, rows + found);
        if (stage->run)
            stage->run(stage->layer, rows, out, arena + stage->scratch, step);
        else
            source->read(source->context, (int32_t)stage->scratch, step, out);
#ifdef EB_OBSERVE
        const eb_tensor *made = &eb_tensors[stage->output];
        EB_OBSERVE(run->stage, step, out, made->row_bytes * (stage->whole ? made->rows : 1u));
#endif
#if EB_TRACE_STEPS
        const eb_tensor *wrote = &eb_tensors[stage->output];
        eb_trace_step(run->stage, (uint32_t)step, out,
                      wrote->row_bytes * (stage->whole ? wrote->rows : 1u));
#endif
    }
}

#endif
