/* The serial line: a CMSDK APB UART. */
#ifndef UART_H
#define UART_H

#include <stdint.h>

void uart_start(void);
void uart_put(uint8_t byte);

/* The next byte; sleeps until it comes. */
uint8_t uart_wait(void);

/* The next byte, or -1 when the line stays silent. */
int32_t uart_get(void);

/* Waits for an interrupt of the UART, for ever or until the next byte. */
void uart_sleep(void);

#endif
