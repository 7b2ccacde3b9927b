/* Rules of two bytes: sums, products, extremes of two tensors, with broadcasting. */
#ifndef EB_PAIRS_H
#define EB_PAIRS_H

#include "steps.h"

enum { EB_SHIFT, EB_KINK, EB_LINE, EB_STEPS, EB_TABLE, EB_MAX, EB_MIN };

typedef struct {
    const int8_t *a, *b;                    /* operands that are constants; else NULL */
    const int32_t *a_table, *b_table;       /* instead of the factors; NULL for none */
    const int32_t *first;                   /* EB_STEPS: the least number of each byte above low */
    const int8_t *all;                      /* EB_TABLE */
    int32_t a_factor, b_factor;             /* of a sum */
    int32_t a_addend, b_addend;             /* of the factors of a product */
    int32_t start, c, c_negative;           /* EB_SHIFT, EB_KINK */
    int32_t shape[4];                       /* of an output row, sparsest axis first */
    int32_t a_steps[4], b_steps[4];         /* from one value to the next along them; 0 repeats */
    int32_t a_row, b_row;                   /* from one row to the next, of what is read whole */
    eb_line line;                           /* EB_LINE */
    eb_output output;
    uint8_t form, shift, product;
} eb_pair_t;

EB_STATIC int32_t eb_pair_number(const eb_pair_t *layer, int32_t a, int32_t b) {
    if (layer->product) return (a + layer->a_addend) * (b + layer->b_addend);
    const int32_t x = layer->a_table ? layer->a_table[a + 128] : a * layer->a_factor;
    const int32_t y = layer->b_table ? layer->b_table[b + 128] : b * layer->b_factor;
    if (layer->form == EB_MAX) return x > y ? x : y;
    if (layer->form == EB_MIN) return x < y ? x : y;
    return x + y;
}

EB_STATIC int32_t eb_pair_byte(const eb_pair_t *layer, int32_t a, int32_t b) {
    if (layer->form == EB_TABLE) return layer->all[((a + 128) << 8) + b + 128];
    int32_t t = eb_pair_number(layer, a, b);
    if (layer->form == EB_LINE)
        return eb_requantize(t + layer->line.bias, &layer->line, &layer->output);
    if (layer->form == EB_STEPS) return eb_steps_search(layer->first, &layer->output, t);
    if (layer->form <= EB_KINK) {
        t += layer->start;
        t = (t + (t < 0 ? layer->c_negative : layer->c)) >> layer->shift;
    }
    return t < layer->output.low ? layer->output.low
           : t > layer->output.high ? layer->output.high
                                    : t;
}

/* Products by a line, or by TensorFlow Lite's two roundings: see eb.h. */
EB_STATIC void eb_pair_products(const eb_pair_t *layer, const int8_t *x, int32_t x_step,
                                const int8_t *y, int32_t y_step, int8_t *out, int32_t count) {
    const eb_line line = layer->line;
    const eb_output output = layer->output;
    uint32_t unused;
    for (; count > 0; count--, x += x_step, y += y_step) {
        const int32_t sum = (*x + layer->a_addend) * (*y + layer->b_addend) + line.bias;
        const int32_t t =
            output.rule ? eb_rules_short(sum, &line, output.zero_point)
                        : (eb_rules_product(sum, line.multiplier, &unused) + line.c) >> output.fraction;
        *out++ = (int8_t)eb_limit(t, output.low, output.high);
    }
}

/* eb_kernel. A row r of what is read whole begins at r times its step. */
EB_STATIC void eb_pair(const void *parameters, const int8_t *const *rows, int8_t *out, void *scratch,
                    int32_t step) {
    const eb_pair_t *layer = parameters;
    const int8_t *a = (layer->a ? layer->a : rows[0]) + step * layer->a_row;
    const int8_t *b = (layer->b ? layer->b : rows[layer->a ? 0 : 1]) + step * layer->b_row;
    const int32_t *n = layer->shape, *sa = layer->a_steps, *sb = layer->b_steps;
    const int32_t quick =
        layer->form == EB_LINE && (layer->output.rule == 0 || layer->output.rule == 3);
    (void)scratch;
    for (int32_t i = 0; i < n[0]; i++)
        for (int32_t j = 0; j < n[1]; j++)
            for (int32_t k = 0; k < n[2]; k++) {
                const int8_t *x = a + i * sa[0] + j * sa[1] + k * sa[2];
                const int8_t *y = b + i * sb[0] + j * sb[1] + k * sb[2];
                if (quick) {
                    eb_pair_products(layer, x, sa[3], y, sb[3], out, n[3]);
                    out += n[3];
                    continue;
                }
                for (int32_t l = 0; l < n[3]; l++, x += sa[3], y += sb[3])
                    *out++ = (int8_t)eb_pair_byte(layer, *x, *y);
            }
}

#define EB_SUM_SHIFT 21

#if defined(__GNUC__) && defined(__ARM_FEATURE_SAT) && !defined(__aarch64__)
#define EB_SUM_BYTE(y, t) __asm__("ssat %0, #8, %1, asr #21" : "=r"(y) : "r"(t) : "cc")
#else
#define EB_SUM_BYTE(y, t) ((y) = eb_sum_clamp((t) >> EB_SUM_SHIFT))
EB_STATIC inline int32_t eb_sum_clamp(int32_t t) {
    return t < -128 ? -128 : t > 127 ? 127 : t;
}
#endif

#define EB_SUM_AT(i)                                \
    do {                                            \
        int32_t sum_ = a[i] * fa + c + b[i] * fb;   \
        EB_SUM_BYTE(sum_, sum_);                    \
        out[i] = (int8_t)sum_;                      \
    } while (0)

#if defined(__ARM_NEON)
#include "pairs_neon.h"
#endif

#if EB_DSP && defined(__GNUC__)
#define EB_SUM_TWO                                       \
    "ldrsb r4, [%[a]], #1\n\tldrsb r5, [%[a]], #1\n\t"   \
    "ldrsb r6, [%[b]], #1\n\tldrsb r8, [%[b]], #1\n\t"   \
    "mla r4, r4, %[fa], %[c]\n\tmla r5, r5, %[fa], %[c]\n\t" \
    "mla r4, r6, %[fb], r4\n\tmla r5, r8, %[fb], r5\n\t" \
    "ssat r4, #8, r4, asr #21\n\tssat r5, #8, r5, asr #21\n\t" \
    "strb r4, [%[out]], #1\n\tstrb r5, [%[out]], #1\n\t"

/* A multiple of four sums. */
EB_STATIC void eb_sum_fours(const int8_t **a, const int8_t **b, int8_t **out, int32_t count,
                            const eb_pair_t *layer) {
    const int8_t *x = *a, *y = *b;
    int8_t *to = *out;
    __asm__ volatile("1:\n\t" EB_SUM_TWO EB_SUM_TWO "subs %[n], #4\n\tbne 1b"
                     : [a] "+r"(x), [b] "+r"(y), [out] "+r"(to), [n] "+l"(count)
                     : [fa] "r"(layer->a_factor), [fb] "r"(layer->b_factor), [c] "r"(layer->c)
                     : "r4", "r5", "r6", "r8", "cc", "memory");
    *a = x, *b = y, *out = to;
}
#endif

/* eb_kernel for sums of two whole rows, with EB_SUM_SHIFT bits behind the point and the limits of
   int8. */
EB_STATIC void eb_sum(const void *parameters, const int8_t *const *rows, int8_t *out, void *scratch,
                   int32_t step) {
    const eb_pair_t *layer = parameters;
    const int8_t *a = rows[0], *b = rows[1];
    const int32_t fa = layer->a_factor, fb = layer->b_factor, c = layer->c;
    int32_t left = layer->shape[3];
    (void)scratch, (void)step;
#if defined(__ARM_NEON)
    const int32_t done = eb_sum_neon(layer, a, b, out);
    left -= done, a += done, b += done, out += done;
#endif
#if EB_MVE
    /* 10 instructions for 4 sums. */
    __asm__ volatile("wlstp.32 lr, %3, 2f\n"
                     "1:\n"
                     "vldrb.s32 q0, [%0], #4\n"
                     "vldrb.s32 q1, [%1], #4\n"
                     "vmul.i32 q0, q0, %4\n"
                     "vmla.s32 q0, q1, %5\n"
                     "vadd.i32 q0, q0, %6\n"
                     "vshr.s32 q0, q0, #21\n"
                     "vqmovnb.s32 q0, q0\n"
                     "vqmovnb.s16 q0, q0\n"
                     "vstrb.32 q0, [%2], #4\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     : "+l"(a), "+l"(b), "+l"(out) /* they widen and narrow: low registers only */
                     : "r"(left), "r"(fa), "r"(fb), "r"(c)
                     : "d0", "d1", "d2", "d3", "lr", "memory");
    left = 0;
#endif
#if EB_DSP && defined(__GNUC__)
    if (left >= 4) eb_sum_fours(&a, &b, &out, left & ~3, layer);
    left &= 3;
#elif !EB_MVE
    for (; left >= 4; left -= 4, a += 4, b += 4, out += 4) {
        EB_SUM_AT(0);
        EB_SUM_AT(1);
        EB_SUM_AT(2);
        EB_SUM_AT(3);
    }
#endif
    for (; left > 0; left--, a++, b++, out++) EB_SUM_AT(0);
}

#endif
