/* The byte of one sum, quickly where the rule is the line. */
#ifndef EB_BYTE_H
#define EB_BYTE_H

#include "eb_math.h"
#include "rules.h"

EB_STATIC __attribute__((noinline)) int32_t eb_by_line(int32_t sum, const eb_line *line,
                                                       const eb_output *output) {
    uint32_t low;
    const int32_t high = eb_rules_product(sum, line->multiplier, &low);
    return eb_limit((high + line->c) >> output->fraction, output->low, output->high);
}

/* The byte of a sum that includes line->bias, by any rule. */
EB_STATIC inline int8_t eb_byte(int32_t sum, const eb_line *line, const eb_output *output) {
    if (output->rule) return (int8_t)eb_requantize(sum, line, output);
    return (int8_t)eb_by_line(sum, line, output);
}

#endif
