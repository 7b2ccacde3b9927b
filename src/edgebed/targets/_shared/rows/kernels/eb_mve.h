/* What the Helium kernels share. */
#ifndef EB_MVE_H
#define EB_MVE_H

#include "eb_math.h"

#if EB_MVE

/* A function of one pointer, in r0, that is written in assembly from its first instruction on:
   its registers are more than a compiler would leave to an asm statement. */
#define EB_MVE_ASSEMBLY(name, type)                                                               \
    __attribute__((naked, noinline, unused)) static void name(type *block __attribute__((unused)))

/* 16 bytes a turn of 3 instructions. */
static inline void eb_mve_copy(int8_t *to, const int8_t *from, int32_t count)
{
    __asm__ volatile("wlstp.8 lr, %2, 2f\n"
                     "1:\n"
                     "vldrb.u8 q0, [%1], #16\n"
                     "vstrb.8 q0, [%0], #16\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     : "+r"(to), "+r"(from)
                     : "r"(count)
                     : "d0", "d1", "lr", "memory");
}

static inline void eb_mve_fill(int8_t *to, int32_t value, int32_t count)
{
    __asm__ volatile("vdup.8 q0, %1\n"
                     "wlstp.8 lr, %2, 2f\n"
                     "1:\n"
                     "vstrb.8 q0, [%0], #16\n"
                     "letp lr, 1b\n"
                     "2:\n"
                     : "+r"(to)
                     : "r"(value), "r"(count)
                     : "d0", "d1", "lr", "memory");
}

#endif
#endif
