/* From a sum to a byte: any function that never falls. */
#ifndef EB_STEPS_H
#define EB_STEPS_H

#include "rules.h"

typedef struct {
    const int32_t *first; /* the least sum of each byte above low; NULL: the line */
    eb_line line[2]; /* of sums from 0 on, and of negative ones */
    eb_output output;
} eb_steps_t;

/* low and the number of thresholds at or below `sum`. */
EB_STATIC int32_t eb_steps_search(const int32_t *first, const eb_output *output, int32_t sum) {
    int32_t under = 0, count = output->high - output->low;
    while (count > 0) {
        const int32_t half = (count + 1) >> 1;
        if (first[under + half - 1] <= sum) under += half, count -= half;
        else count = half - 1;
    }
    return output->low + under;
}

EB_STATIC int32_t eb_step_byte(const eb_steps_t *steps, int32_t sum) {
    if (steps->first) return eb_steps_search(steps->first, &steps->output, sum);
    const eb_line *line = &steps->line[sum < 0];
    if (!steps->output.rule) {
        uint32_t low;
        const int32_t high = eb_rules_product(sum + line->bias, line->multiplier, &low);
        return eb_limit((high + line->c) >> steps->output.fraction, steps->output.low,
                        steps->output.high);
    }
    return eb_requantize(sum + line->bias, line, &steps->output);
}

#endif
