/* UART0: sends by polling, receives by interrupt into a ring, sleeps while nothing arrives. */
#ifndef UART_H
#define UART_H

#include <stdint.h>

void uart_start(void);
void uart_put(uint8_t byte);
void uart_write(const uint8_t *bytes, uint32_t count);
void uart_text(const char *text);
void uart_number(uint32_t value);                   /* decimal */
void uart_fixed(uint32_t thousandths);              /* 12345 -> 12.345 */
int uart_waiting(void);                             /* a byte can be read */
int uart_get(uint8_t *byte, uint32_t timeout_ms);   /* 0 timed out; 0 ms = no limit */

#endif
