/* Where a network that is compiled with EB_TRACE makes its records: before it runs, after each
   step, and behind the last. Included once by each such network, which defines EB_TRACED_STAGES,
   EB_TRACED_INPUTS, EB_TRACED_OUTPUTS, EB_TRACE_FETCHED, EB_TRACE_NETWORK, eb_traced_inputs,
   eb_traced_outputs and, with EB_TRACE_STEPS, eb_traced_stages before. */
#ifndef EB_TRACE_RUN_H
#define EB_TRACE_RUN_H

#include "eb_trace.h"

static eb_trace eb_tracing;

#if EB_TRACE >= 2
static uint32_t eb_trace_spent[EB_TRACED_STAGES]; /* ticks of each stage */
#endif
#if EB_TRACE == 2
static eb_trace_sums eb_trace_totals[EB_TRACED_STAGES + EB_TRACED_INPUTS];

static eb_trace_sums *eb_trace_total(const eb_traced *of) {
    const uint32_t input = of->id & EB_TRACE_INPUT, number = of->id - input;
    return &eb_trace_totals[input ? EB_TRACED_STAGES + number : number];
}
#endif

/* Ticks since the clock was looked at; the recorder's own are never among them. */
static uint32_t eb_trace_lap(void) {
    const uint32_t spent = eb_trace_mark(&eb_tracing) - eb_tracing.mark;
    eb_tracing.ticks += spent;
    return spent;
}

EB_TRACE_APART void eb_trace_start(const uint8_t *arena, const char *digest) {
    if (!eb_tracing.write) return;
    eb_trace_head(&eb_tracing, digest);
#if EB_TRACE >= 2
    for (uint32_t i = 0; i < EB_TRACED_STAGES; i++) eb_trace_spent[i] = 0;
#endif
#if EB_TRACE == 2
    for (uint32_t i = 0; i < EB_TRACED_STAGES + EB_TRACED_INPUTS; i++) {
        eb_trace_sums *const s = &eb_trace_totals[i];
        s->count = s->zeros = s->at_low = s->at_high = 0;
        s->of.i.sum = 0, s->of.i.squares = 0; /* no bit set: 0.0 as well */
    }
#endif
    for (uint32_t i = 0; i < EB_TRACED_INPUTS && !EB_TRACE_FETCHED; i++) {
        const eb_traced *const of = &eb_traced_inputs[i];
#if EB_TRACE == 2
        eb_trace_add(eb_trace_total(of), of, arena + of->offset, of->bytes);
#else
        eb_trace_bytes(&eb_tracing, 'I', i, 0, arena + of->offset, of->bytes);
#endif
    }
    (void)arena;
    eb_tracing.ticks = 0;
    eb_tracing.mark = eb_trace_mark(&eb_tracing);
}

#if EB_TRACE_STEPS
static void eb_trace_wrote(const eb_traced *of, uint32_t step, const void *out, uint32_t bytes) {
    const uint32_t input = of->id & EB_TRACE_INPUT;
    if (of->kind == EB_TRACE_HIDDEN || (of->last != EB_TRACE_ROWS && of->last != step)) return;
#if EB_TRACE == 2
    (void)input;
    eb_trace_add(eb_trace_total(of), of, out, bytes);
#else
    if (input)
        eb_trace_bytes(&eb_tracing, 'I', of->id - input, step * bytes, out, bytes);
    else if (EB_TRACE == 3)
        eb_trace_bytes(&eb_tracing, 'L', of->id | step << 16, 0, out, bytes);
#endif
}

EB_TRACE_APART void eb_trace_step(uint32_t stage, uint32_t step, const void *out, uint32_t bytes) {
    if (!eb_tracing.write) return;
    uint32_t spent = eb_trace_lap();
#if EB_TRACE >= 2
    if (spent > ~eb_trace_spent[stage]) spent = ~eb_trace_spent[stage];
    eb_trace_spent[stage] += spent;
#else
    (void)spent;
#endif
    eb_trace_wrote(&eb_traced_stages[stage], step, out, bytes);
    eb_tracing.mark = eb_trace_mark(&eb_tracing);
}
#endif

#if EB_TRACE >= 2
static void eb_trace_clocks(void) {
    enum { MOST = 128 };
    for (uint32_t first = 0; first < EB_TRACED_STAGES && eb_tracing.now; first += MOST) {
        const uint32_t left = EB_TRACED_STAGES - first, count = left < MOST ? left : MOST;
        uint8_t word[4];
        eb_trace_open(&eb_tracing, 'C', 4 + 4 * count);
        eb_trace_put(word, first | count << 16, 4);
        eb_trace_send(&eb_tracing, word, 4);
        for (uint32_t i = 0; i < count; i++) {
            eb_trace_put(word, eb_trace_spent[first + i], 4);
            eb_trace_send(&eb_tracing, word, 4);
        }
        eb_trace_close(&eb_tracing);
    }
}
#endif

EB_TRACE_APART void eb_trace_stop(const uint8_t *arena) {
    if (!eb_tracing.write) return;
    eb_trace_lap();
#if EB_TRACE == 2
    for (uint32_t i = 0; i < EB_TRACED_INPUTS; i++)
        eb_trace_say(&eb_tracing, &eb_traced_inputs[i], eb_trace_total(&eb_traced_inputs[i]));
    for (uint32_t i = 0; i < EB_TRACED_STAGES; i++)
        if (!(eb_traced_stages[i].id & EB_TRACE_INPUT))
            eb_trace_say(&eb_tracing, &eb_traced_stages[i], &eb_trace_totals[i]);
#endif
#if EB_TRACE >= 2
    eb_trace_clocks();
#endif
    for (uint32_t i = 0; i < EB_TRACED_OUTPUTS; i++) {
        const eb_traced *const of = &eb_traced_outputs[i];
        eb_trace_bytes(&eb_tracing, 'O', i, 0, arena + of->offset, of->bytes);
    }
    eb_trace_tail(&eb_tracing);
}

#endif
