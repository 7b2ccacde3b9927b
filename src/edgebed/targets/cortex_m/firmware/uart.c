#include "uart.h"

#include "board.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define DATA REGISTER(UART_BASE)
#define STATE REGISTER(UART_BASE + 4)
#define CONTROL REGISTER(UART_BASE + 8)
#define INTERRUPT REGISTER(UART_BASE + 12)
#define BAUD_DIVIDER REGISTER(UART_BASE + 16)
#define NVIC_ENABLE REGISTER(0xE000E100u + UART_IRQ / 32 * 4)
#define NVIC_CLEAR REGISTER(0xE000E280u + UART_IRQ / 32 * 4)
#define IRQ_BIT (1u << UART_IRQ % 32)

enum { TX_FULL = 1, RX_FULL = 2, TX_ON = 1, RX_ON = 2, RX_INTERRUPT_ON = 8, RX_INTERRUPT = 2 };

void uart_start(void)
{
    BAUD_DIVIDER = UART_DIVIDER;
    CONTROL = TX_ON | RX_ON | RX_INTERRUPT_ON;
    NVIC_ENABLE = IRQ_BIT;
    (void)DATA; /* half a byte from before; and qemu offers none until it is asked for one */
}

void uart_put(uint8_t byte)
{
    while (STATE & TX_FULL) {
    }
    DATA = byte;
}

/* A byte between the two lines makes the interrupt pending again, and wfi does not wait. */
void uart_sleep(void)
{
    INTERRUPT = RX_INTERRUPT;
    NVIC_CLEAR = IRQ_BIT;
    if (!(STATE & RX_FULL))
        __asm volatile("wfi");
}

uint8_t uart_wait(void)
{
    while (!(STATE & RX_FULL))
        uart_sleep();
    return (uint8_t)DATA;
}

int32_t uart_get(void)
{
    for (uint32_t polls = 0; polls < UART_SILENCE; polls++)
        if (STATE & RX_FULL)
            return (uint8_t)DATA;
    return -1;
}
