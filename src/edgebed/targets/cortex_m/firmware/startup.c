/* Vector table and the way from reset to main. */
#include <stdint.h>

#include "board.h"
#include "uart.h"

extern uint32_t stack_top[], data_start[], data_end[], data_load[], bss_start[], bss_end[];

int main(void);
void start_c(void);
void reset_handler(void);
void fault_handler(void);

/* The first instructions after reset. The coprocessor access register comes first: a compiler may
   use floating-point and vector registers to copy memory, which faults while they are locked.
   Interrupts stay masked: a pending one wakes the core, and that is all they are for. */
__attribute__((naked, noreturn)) void reset_handler(void)
{
    __asm volatile(".syntax unified\n"
#if defined(__ARM_FP)
                   "ldr r0, =0xE000ED88\n"
                   "ldr r1, =0xF00000\n"
                   "str r1, [r0]\n"
                   "dsb\n"
                   "isb\n"
#endif
#if defined(__ARM_ARCH_8M_MAIN__) || defined(__ARM_ARCH_8_1M_MAIN__)
                   "ldr r0, =stack_bottom\n" /* below it the stack pointer faults */
                   "msr msplim, r0\n"
#endif
                   "cpsid i\n"
                   "ldr r0, =stack_top\n"
                   "mov sp, r0\n"
                   "ldr r0, =start_c\n"
                   "bx r0\n"
                   ".ltorg\n");
}

__attribute__((noreturn, used)) void start_c(void)
{
    const uint32_t *from = data_load;
    for (uint32_t *to = data_start; to < data_end; to++)
        *to = *from++;
    for (uint32_t *to = bss_start; to < bss_end; to++)
        *to = 0;
    main();
    for (;;)
        uart_sleep();
}

/* The stack may be what is broken. */
__attribute__((naked, noreturn)) void fault_handler(void)
{
    __asm volatile(".syntax unified\n"
                   "ldr r0, =stack_top\n"
                   "mov sp, r0\n"
                   "ldr r0, =report_fault\n"
                   "bx r0\n"
                   ".ltorg\n");
}

typedef void (*handler)(void);

/* Position 0 is the stack pointer, 1 reset. External interrupts never run. */
__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    handler reset, others[14];
} vectors = {
    stack_top,
    reset_handler,
    {fault_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler,
     fault_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler,
     fault_handler, fault_handler},
};
