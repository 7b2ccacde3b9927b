/* Vector table and the way from reset to main. */
#include <stdint.h>

#include "registers.h"
#include "system.h"

extern uint32_t stack_bottom[], stack_top[], data_start[], data_end[], data_load[];
extern uint32_t bss_start[], bss_end[];

int main(void);
void start_c(void);
void reset_handler(void);
void default_handler(void);
void systick_handler(void);
void wake_handler(void);
void uart_handler(void);
void cnn_handler(void);

/* The first instructions after reset. The coprocessor access register comes first: a compiler may
 * use floating-point registers to copy memory, which faults while they are locked. */
__attribute__((naked, noreturn)) void reset_handler(void)
{
    __asm volatile("ldr r0, =0xE000ED88\n"
                   "ldr r1, [r0]\n"
                   "orr r1, r1, #0xF00000\n"
                   "str r1, [r0]\n"
                   "dsb\n"
                   "isb\n"
                   "b start_c\n");
}

/* Prepares what C expects: copied .data, cleared .bss, a painted stack, then runs main. */
void start_c(void)
{
    const uint32_t *from = data_load;
    for (uint32_t *to = data_start; to < data_end; to++)
        *to = *from++;
    for (uint32_t *to = bss_start; to < bss_end; to++)
        *to = 0;
    uint32_t *stack;
    __asm volatile("mov %0, sp" : "=r"(stack));
    for (uint32_t *to = stack_bottom; to < stack - 16; to++)
        *to = STACK_PAINT;
    SCB_VTOR = 0x10000000;
    main();
    for (;;)
        __asm volatile("wfi");
}

/* Bytes of stack that were used so far: the paint below them is intact. */
uint32_t stack_used(void)
{
    const uint32_t *at = stack_bottom;
    while (at < stack_top && *at == STACK_PAINT)
        at++;
    return (uint32_t)((uintptr_t)stack_top - (uintptr_t)at);
}

/* An unexpected exception or interrupt: stay here, so that a debugger shows it. */
void default_handler(void)
{
    for (;;)
        __asm volatile("nop");
}

typedef void (*handler)(void);

/* Position 0 is the stack pointer, 1 reset, 15 SysTick, 16 + n external interrupt n. */
__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    handler core[15];
    handler external[IRQ_COUNT];
} vectors = {
    stack_top,
    {reset_handler, default_handler, default_handler, default_handler, default_handler,
     default_handler, default_handler, default_handler, default_handler, default_handler,
     default_handler, default_handler, default_handler, default_handler, systick_handler},
    {
        [IRQ_UART0] = uart_handler,
        [IRQ_DMA0] = wake_handler,
        [IRQ_DMA1] = wake_handler,
        [IRQ_SPI0] = wake_handler,
        [IRQ_CNN] = cnn_handler,
    },
};
