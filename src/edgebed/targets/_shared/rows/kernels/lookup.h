/* Functions of one byte, as tables of their 256 values. */
#ifndef EB_LOOKUP_H
#define EB_LOOKUP_H

#include "eb_math.h"

typedef struct {
    const int8_t *table;
    int32_t outer, tables, inner; /* of a row: the table changes after `inner` values */
    int32_t row_tables;           /* bytes from one row's table to the next row's */
} eb_lookup_t;

EB_STATIC void eb_lookup_run(const int8_t *table, const int8_t *x, int8_t *out, int32_t count) {
#if EB_MVE
    /* The gather takes a cycle a byte; a load, a load and a store take three. */
    const int8_t *least = table - 128;
    __asm__ volatile("vmov.i8 q2, #128\n"
                     "wlstp.8 lr, %2, 2f\n"
                     "1:\n"
                     "vldrb.u8 q0, [%0], #16\n"
                     "veor q0, q0, q2\n"
                     "vldrb.u8 q1, [%3, q0]\n"
                     "vstrb.8 q1, [%1], #16\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     : "+r"(x), "+r"(out)
                     : "r"(count), "r"(least)
                     : "d0", "d1", "d2", "d3", "d4", "d5", "lr", "memory");
    count = 0;
#endif
    for (; count >= 4; count -= 4, x += 4, out += 4) {
        out[0] = table[x[0]];
        out[1] = table[x[1]];
        out[2] = table[x[2]];
        out[3] = table[x[3]];
    }
    for (; count > 0; count--) *out++ = table[*x++];
}

EB_STATIC void eb_lookup(const void *parameters, const int8_t *const *rows, int8_t *out,
                      void *scratch, int32_t step) {
    const eb_lookup_t *layer = parameters;
    const int8_t *first = layer->table + 128 + step * layer->row_tables, *x = rows[0];
    const int32_t inner = layer->inner;
    (void)scratch;
    for (int32_t i = 0; i < layer->outer; i++)
        for (int32_t k = 0; k < layer->tables; k++, x += inner, out += inner)
            eb_lookup_run(first + 256 * k, x, out, inner);
}

#endif
