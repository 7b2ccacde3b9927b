/* UART0: sends by polling, receives by interrupt into a ring, sleeps while nothing arrives. */
#include "uart.h"

#include "board.h"
#include "registers.h"
#include "system.h"

#define IBRO_HZ 7372800UL
#define RING_BYTES 256U /* a power of two */
#define IN_THIS_ORDER __asm volatile("" ::: "memory") /* for the compiler: one core, no cache */

/* The receiver's own FIFO holds 8 bytes, which is 87 us: less than a camera frame keeps the core
 * busy. The ring holds any command but the input of a tensor, which is taken as it comes. */
static uint8_t ring[RING_BYTES];
static volatile uint32_t ring_head, ring_tail;
static volatile int ring_was_full;

void uart_handler(void);

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
    UART_INT_EN = UART_INT_RX_THD; /* at one byte */
    NVIC_ISER(IRQ_UART0) = BIT(IRQ_UART0 % 32);
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

static int receiver_holds_a_byte(void)
{
    return !(UART_STATUS & UART_STATUS_RX_EMPTY);
}

/* Interrupt 14: empties the receiver into the ring; a full ring leaves the rest where it is. */
void uart_handler(void)
{
    uint32_t head = ring_head, end = ring_tail + RING_BYTES;
    UART_INT_FL = UART_INT_RX_THD;
    while (head != end && receiver_holds_a_byte())
        ring[head++ % RING_BYTES] = (uint8_t)UART_FIFO;
    IN_THIS_ORDER;
    ring_head = head;
    if (head == end) {
        ring_was_full = 1;
        UART_INT_EN = 0;
    }
}

/* The same without waiting for the interrupt to be taken. */
static void uart_pull(void)
{
    __asm volatile("cpsid i" ::: "memory");
    uart_handler();
    __asm volatile("cpsie i" ::: "memory");
}

int uart_waiting(void)
{
    return ring_head != ring_tail || receiver_holds_a_byte();
}

/* Waits until the ring holds a byte. */
static int refill(uint32_t timeout_ms)
{
    while (ring_head == ring_tail) {
        if (ring_was_full) {
            ring_was_full = 0;
            UART_INT_EN = UART_INT_RX_THD;
        }
        if (receiver_holds_a_byte())
            uart_pull();
        else if (!sleep_until(uart_waiting, IRQ_UART0, timeout_ms))
            return 0;
    }
    return 1;
}

int uart_get(uint8_t *byte, uint32_t timeout_ms)
{
    if (ring_head == ring_tail && !refill(timeout_ms))
        return 0;
    uint32_t tail = ring_tail;
    IN_THIS_ORDER;
    *byte = ring[tail % RING_BYTES];
    IN_THIS_ORDER;
    ring_tail = tail + 1;
    return 1;
}
