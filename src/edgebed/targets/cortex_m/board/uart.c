/* The CMSDK APB UART of the virtual board, in C so that firmware which polls runs at full speed.
   The memory is laid out in uart.py. */
#include <stdint.h>

typedef uint64_t u64;

enum { RX_BYTES, RX_HEAD, RX_TAIL, TX_BYTES, TX_HEAD, TX_TAIL, CONTROL, DIVIDER, LOST, HEADER = 16 };
enum { DATA_AT = 0, STATE_AT = 4, CONTROL_AT = 8, DIVIDER_AT = 16 };
enum { RX_FULL = 2, TX_ON = 1, RX_ON = 2 };

static uint8_t *ring(u64 *uart, int tx)
{
    return (uint8_t *)(uart + HEADER) + (tx ? uart[RX_BYTES] : 0);
}

static u64 receive(u64 *uart)
{
    if (uart[RX_HEAD] == uart[RX_TAIL])
        return 0;
    return ring(uart, 0)[uart[RX_TAIL]++ % uart[RX_BYTES]];
}

static void send(u64 *uart, u64 value)
{
    if (!(uart[CONTROL] & TX_ON) || uart[TX_HEAD] - uart[TX_TAIL] >= uart[TX_BYTES])
        uart[LOST]++;
    else
        ring(uart, 1)[uart[TX_HEAD]++ % uart[TX_BYTES]] = (uint8_t)value;
}

u64 uart_read(void *uc, u64 offset, unsigned size, void *data)
{
    u64 *uart = data;
    (void)uc, (void)size;
    switch (offset) {
    case DATA_AT:
        return receive(uart);
    case STATE_AT:
        return uart[CONTROL] & RX_ON && uart[RX_HEAD] != uart[RX_TAIL] ? RX_FULL : 0;
    case CONTROL_AT:
        return uart[CONTROL];
    case DIVIDER_AT:
        return uart[DIVIDER];
    default:
        return 0;
    }
}

void uart_write(void *uc, u64 offset, unsigned size, u64 value, void *data)
{
    u64 *uart = data;
    (void)uc, (void)size;
    if (offset == DATA_AT)
        send(uart, value);
    else if (offset == CONTROL_AT)
        uart[CONTROL] = value;
    else if (offset == DIVIDER_AT)
        uart[DIVIDER] = value;
}
