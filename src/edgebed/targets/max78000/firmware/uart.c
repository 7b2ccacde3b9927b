/* UART0, polled, with sleep while nothing arrives. */
#include "uart.h"

#include "board.h"
#include "registers.h"
#include "system.h"

#define IBRO_HZ 7372800UL

void uart_start(void)
{
    pins_alternate(0, BIT(PIN_UART_RX) | BIT(PIN_UART_TX), 0);
    UART_CTRL = UART_CTRL_8BITS | UART_CTRL_IBRO | UART_CTRL_TX_FLUSH | UART_CTRL_RX_FLUSH | 1;
    UART_OSR = 5;
    UART_CLKDIV = IBRO_HZ / UART_BAUD;
    UART_CTRL |= UART_CTRL_BCLKEN;
    while (!(UART_CTRL & UART_CTRL_BCLKRDY))
        ;
    UART_INT_FL = UART_INT_FL;
    UART_INT_EN = UART_INT_RX_THD; /* at one byte; it only ends the sleep */
}

void uart_put(uint8_t byte)
{
    while (UART_STATUS & UART_STATUS_TX_FULL)
        ;
    UART_FIFO = byte;
}

void uart_write(const uint8_t *bytes, uint32_t count)
{
    while (count--)
        uart_put(*bytes++);
}

void uart_text(const char *text)
{
    while (*text)
        uart_put((uint8_t)*text++);
}

void uart_number(uint32_t value)
{
    char digits[11];
    char *at = digits + sizeof digits - 1;
    *at = 0;
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    uart_text(at);
}

void uart_fixed(uint32_t thousandths)
{
    uint32_t part = thousandths % 1000;
    uart_number(thousandths / 1000);
    uart_put('.');
    uart_put((uint8_t)('0' + part / 100));
    uart_put((uint8_t)('0' + part / 10 % 10));
    uart_put((uint8_t)('0' + part % 10));
}

int uart_waiting(void)
{
    return !(UART_STATUS & UART_STATUS_RX_EMPTY);
}

/* Clears the wake-up before the test, so that a byte that comes after it raises it again. */
static int received(void)
{
    UART_INT_FL = UART_INT_RX_THD;
    return uart_waiting();
}

int uart_get(uint8_t *byte, uint32_t timeout_ms)
{
    if (!uart_waiting() && !sleep_until(received, IRQ_UART0, timeout_ms))
        return 0;
    *byte = (uint8_t)UART_FIFO;
    return 1;
}
