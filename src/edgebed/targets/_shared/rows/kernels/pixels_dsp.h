/* All outputs of one pixel, or of two, on cores with the DSP extension: two 16-bit products at a
   time.

   Weights hold two outputs in one halfword: 256 * w[o] + w[o + 1]. A product of it with an input is
   256 times the first output's plus the second's; the second's own sum is found from the halfword's
   low byte, and the difference is 256 times the first's. That saves every other widening of bytes.

   Four bytes of input, or of weights, are widened to two words: bytes 0 and 2, and bytes 1 and 3. */
#ifndef EB_PIXELS_DSP_H
#define EB_PIXELS_DSP_H

#include "eb_math.h"

#define EB_SHARED EB_STATIC __attribute__((noinline))
#define EB_NAKED static __attribute__((naked, noinline, unused))

/* ---- input: two windows, widened and interleaved ---- */

#define EB_WIDEN_WORD              \
    "ldr r12, [r1], #4\n"          \
    "ldr lr, [r2], #4\n"           \
    "sxtb16 r4, r12\n"             \
    "sxtb16 r5, lr\n"              \
    "sxtb16 r6, r12, ror #8\n"     \
    "sxtb16 r7, lr, ror #8\n"      \
    "stmia r0!, {r4, r5, r6, r7}\n"

/* Widens `words` words, at least one, of two windows that may lie at any address; returns the end
   of what was written: four words for every word. */
EB_NAKED int32_t *eb_dsp_widen(int32_t *to EB_UNUSED, const int8_t *first EB_UNUSED,
                               const int8_t *second EB_UNUSED, int32_t words EB_UNUSED) {
    __asm__(".syntax unified\n"
            "push {r4, r5, r6, r7, lr}\n"
            "lsrs r3, r3, #1\n"
            "bcc 1f\n" EB_WIDEN_WORD
            "beq 2f\n"
            "1:\n" EB_WIDEN_WORD EB_WIDEN_WORD
            "subs r3, r3, #1\n"
            "bne 1b\n"
            "2:\n"
            "pop {r4, r5, r6, r7, pc}\n");
}

/* ---- two pixels ---- */

/* Two inputs of both pixels, two outputs: the sums of both, and the second's. */
#define EB_TWO_PAIR(both0, both1, low0, low1, weights) \
    "smlad " both0 ", " weights ", r12, " both0 "\n"   \
    "smlad " both1 ", " weights ", lr, " both1 "\n"    \
    "sxtb16 " weights ", " weights "\n"                \
    "smlad " low0 ", " weights ", r12, " low0 "\n"     \
    "smlad " low1 ", " weights ", lr, " low1 "\n"

#define EB_TWO_STEP                              \
    "ldrd r2, r3, [r1], #8\n"                    \
    "ldrd r12, lr, [r0], #8\n"                   \
    EB_TWO_PAIR("r4", "r5", "r6", "r7", "r2")    \
    EB_TWO_PAIR("r8", "r9", "r10", "r11", "r3")

#define EB_TWO_WORDS EB_TWO_STEP EB_TWO_STEP
#define EB_TWO_WORD_BYTES 96

/* Two outputs of both pixels from their sums. */
#define EB_TWO_FINISH(both0, both1, low0, low1)          \
    "sub " both0 ", " both0 ", " low0 "\n"               \
    "sub " both1 ", " both1 ", " low1 "\n"               \
    "ldmia r0!, {r3, r12, lr}\n"                         \
    "add " both0 ", r3, " both0 ", asr #8\n"             \
    "add " both1 ", r3, " both1 ", asr #8\n"             \
    "smmla " both0 ", " both0 ", r12, lr\n"              \
    "smmla " both1 ", " both1 ", r12, lr\n"              \
    "ldmia r0!, {r3, r12, lr}\n"                         \
    "smmla " low0 ", " low0 ", r12, lr\n"                \
    "smmla " low1 ", " low1 ", r12, lr\n"                \
    "ldrd r12, r3, [sp, #64]\n"                          \
    "asr " both0 ", " both0 ", r3\n"                     \
    "asr " both1 ", " both1 ", r3\n"                     \
    "asr " low0 ", " low0 ", r3\n"                       \
    "asr " low1 ", " low1 ", r3\n"                       \
    "ssat " both0 ", #8, " both0 "\n"                    \
    "ssat " both1 ", #8, " both1 "\n"                    \
    "ssat " low0 ", #8, " low0 "\n"                      \
    "ssat " low1 ", #8, " low1 "\n"                      \
    "strb " both1 ", [r2, r12]\n"                        \
    "strb " both0 ", [r2], #1\n"                         \
    "strb " low1 ", [r2, r12]\n"                         \
    "strb " low0 ", [r2], #1\n"

/* The sums of two outputs of both pixels, with their bias. */
#define EB_TWO_SUMS(both0, both1, low0, low1, bias)      \
    "ldr r3, [r0, #" bias "]\n"                          \
    "sub " both0 ", " both0 ", " low0 "\n"               \
    "sub " both1 ", " both1 ", " low1 "\n"               \
    "add " both0 ", r3, " both0 ", asr #8\n"             \
    "add " both1 ", r3, " both1 ", asr #8\n"

/* r0: lines, r2: out, both to be moved on. sp: pixels, weights, lines, out, r4 to r11, lr; 52:
   weights_end, pixels_end, skip, pitch, fraction */
#define EB_TWO_CODE(finish)                                                                  \
    ".syntax unified\n"                                                                      \
    "push {r0-r11, lr}\n"                                                                    \
    "1:\n"                                                                                   \
    "ldr r0, [sp, #8]\n"                                                                     \
    "ldr r4, [r0, #12]\n" /* the second's bias: the first's is added at the end */           \
    "ldr r8, [r0, #36]\n"                                                                    \
    "mov r5, r4\n"                                                                           \
    "mov r6, r4\n"                                                                           \
    "mov r7, r4\n"                                                                           \
    "mov r9, r8\n"                                                                           \
    "mov r10, r8\n"                                                                          \
    "mov r11, r8\n"                                                                          \
    "ldr r2, [sp, #60]\n"                                                                    \
    "ldr r0, [sp]\n"                                                                         \
    "add pc, r2\n" /* pc: the address after the nop */                                       \
    "nop.n\n"                                                                                \
    "2:\n" EB_TWO_WORDS EB_TWO_WORDS EB_TWO_WORDS EB_TWO_WORDS                               \
    "ldr r2, [sp, #56]\n"                                                                    \
    "cmp r0, r2\n"                                                                           \
    "bne.w 2b\n"                                                                             \
    "ldrd r0, r2, [sp, #8]\n"                                                                \
    finish                                                                                   \
    "strd r0, r2, [sp, #8]\n"                                                                \
    "ldr r3, [sp, #52]\n"                                                                    \
    "cmp r1, r3\n"                                                                           \
    "bne.w 1b\n"                                                                             \
    "add sp, sp, #16\n"                                                                      \
    "pop {r4-r11, pc}\n"

/* All outputs, four by four, of two widened pixels. skip: bytes of code of the words that the first
   round of the loop leaves out. pitch: from a byte of the first pixel's output to the second's. */
typedef void eb_dsp_two_pixels(const int32_t *pixels, const int32_t *weights, const eb_line *lines,
                               void *out, const int32_t *weights_end, const int32_t *pixels_end,
                               uint32_t skip, int32_t pitch, uint32_t fraction);

EB_NAKED void eb_dsp_two(const int32_t *pixels EB_UNUSED, const int32_t *weights EB_UNUSED,
                         const eb_line *lines EB_UNUSED, void *out EB_UNUSED,
                         const int32_t *weights_end EB_UNUSED, const int32_t *pixels_end EB_UNUSED,
                         uint32_t skip EB_UNUSED, int32_t pitch EB_UNUSED,
                         uint32_t fraction EB_UNUSED) {
    __asm__(EB_TWO_CODE(EB_TWO_FINISH("r4", "r5", "r6", "r7")
                        EB_TWO_FINISH("r8", "r9", "r10", "r11")));
}

/* The same, but writes sums: of each output, one of the first pixel and one of the second. */
EB_NAKED void eb_dsp_two_sums(const int32_t *pixels EB_UNUSED, const int32_t *weights EB_UNUSED,
                              const eb_line *lines EB_UNUSED, void *out EB_UNUSED,
                              const int32_t *weights_end EB_UNUSED,
                              const int32_t *pixels_end EB_UNUSED, uint32_t skip EB_UNUSED,
                              int32_t pitch EB_UNUSED, uint32_t fraction EB_UNUSED) {
    __asm__(EB_TWO_CODE(EB_TWO_SUMS("r4", "r5", "r6", "r7", "0")
                        EB_TWO_SUMS("r8", "r9", "r10", "r11", "24")
                        "add r0, r0, #48\n"
                        "stmia r2!, {r4-r11}\n"));
}

/* ---- one pixel ---- */

#define EB_ONE_PAIR(first, second, inputs)                \
    "smlad r4, " first ", " inputs ", r4\n"               \
    "smlad r6, " second ", " inputs ", r6\n"              \
    "sxtb16 " first ", " first "\n"                       \
    "sxtb16 " second ", " second "\n"                     \
    "smlad r5, " first ", " inputs ", r5\n"               \
    "smlad r7, " second ", " inputs ", r7\n"

#define EB_ONE_WORD                    \
    "ldr.w r12, [r0], #4\n"            \
    "ldmia.w r1!, {r8-r11}\n"          \
    "sxtb16 r2, r12\n"                 \
    "sxtb16 r12, r12, ror #8\n"        \
    EB_ONE_PAIR("r8", "r9", "r2")      \
    EB_ONE_PAIR("r10", "r11", "r12")
#define EB_ONE_WORD_BYTES 64

#define EB_ONE_FINISH(both, low)             \
    "sub " both ", " both ", " low "\n"      \
    "ldmia lr!, {r8, r9, r10}\n"             \
    "add " both ", r8, " both ", asr #8\n"   \
    "smmla " both ", " both ", r9, r10\n"    \
    "ldmia lr!, {r8, r9, r10}\n"             \
    "smmla " low ", " low ", r9, r10\n"      \
    "asr " both ", " both ", r2\n"           \
    "asr " low ", " low ", r2\n"             \
    "ssat " both ", #8, " both "\n"          \
    "ssat " low ", #8, " low "\n"            \
    "strb " both ", [r3], #1\n"              \
    "strb " low ", [r3], #1\n"

#define EB_ONE_SUMS(both, low, bias)         \
    "ldr r8, [lr, #" bias "]\n"              \
    "sub " both ", " both ", " low "\n"      \
    "add " both ", r8, " both ", asr #8\n"

/* lr: lines, r3: out, both to be moved on; r2: fraction. sp: pixel, weights, lines, out, r4 to r11,
   lr; 52: weights_end, pixel_end, skip, fraction */
#define EB_ONE_CODE(finish)                                       \
    ".syntax unified\n"                                           \
    "push {r0-r11, lr}\n"                                         \
    "mov lr, r2\n"                                                \
    "1:\n"                                                        \
    "ldr r4, [lr, #12]\n"                                         \
    "ldr r6, [lr, #36]\n"                                         \
    "mov r5, r4\n"                                                \
    "mov r7, r6\n"                                                \
    "ldrd r3, r2, [sp, #56]\n"                                    \
    "ldr r0, [sp]\n"                                              \
    "add pc, r2\n"                                                \
    "nop.n\n"                                                     \
    "2:\n" EB_ONE_WORD EB_ONE_WORD EB_ONE_WORD EB_ONE_WORD        \
    "cmp r0, r3\n"                                                \
    "bne.w 2b\n"                                                  \
    "ldr r2, [sp, #64]\n"                                         \
    "ldr r3, [sp, #12]\n"                                         \
    finish                                                        \
    "str r3, [sp, #12]\n"                                         \
    "ldr r2, [sp, #52]\n"                                         \
    "cmp r1, r2\n"                                                \
    "bne.w 1b\n"                                                  \
    "add sp, sp, #16\n"                                           \
    "pop {r4-r11, pc}\n"

/* All outputs, four by four, of one pixel, whose bytes lie at any address. */
typedef void eb_dsp_one_pixel(const int8_t *pixel, const int32_t *weights, const eb_line *lines,
                              void *out, const int32_t *weights_end, const int8_t *pixel_end,
                              uint32_t skip, uint32_t fraction);

EB_NAKED void eb_dsp_one(const int8_t *pixel EB_UNUSED, const int32_t *weights EB_UNUSED,
                         const eb_line *lines EB_UNUSED, void *out EB_UNUSED,
                         const int32_t *weights_end EB_UNUSED, const int8_t *pixel_end EB_UNUSED,
                         uint32_t skip EB_UNUSED, uint32_t fraction EB_UNUSED) {
    __asm__(EB_ONE_CODE(EB_ONE_FINISH("r4", "r5") EB_ONE_FINISH("r6", "r7")));
}

/* The same, but writes sums. */
EB_NAKED void eb_dsp_one_sums(const int8_t *pixel EB_UNUSED, const int32_t *weights EB_UNUSED,
                              const eb_line *lines EB_UNUSED, void *out EB_UNUSED,
                              const int32_t *weights_end EB_UNUSED,
                              const int8_t *pixel_end EB_UNUSED, uint32_t skip EB_UNUSED,
                              uint32_t fraction EB_UNUSED) {
    __asm__(EB_ONE_CODE(EB_ONE_SUMS("r4", "r5", "0") EB_ONE_SUMS("r6", "r7", "24")
                        "add lr, lr, #48\n"
                        "stmia r3!, {r4-r7}\n"));
}

#endif
