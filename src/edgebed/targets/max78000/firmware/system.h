/* Clocks, time, sleep and pin functions. */
#ifndef SYSTEM_H
#define SYSTEM_H

#include <stdint.h>

#define STACK_PAINT 0x57AC4B1DUL
#define CPU_HZ 100000000UL
#define TIMER_HZ 50000000UL /* the peripheral clock, which is also the accelerator's */

/* Condition that ends a sleep: returns non-zero when it holds. Runs with interrupts masked. */
typedef int (*condition)(void);

void system_start(void);
uint32_t timer_now(void);           /* cycles of TIMER_HZ, wraps after 85 s */
void delay_ms(uint32_t ms);         /* sleeps */
/* Sleeps until the condition holds; interrupt `wake` ends the sleep to test it again. Returns 1 when
 * it holds, 0 when the time is over; 0 ms = no limit. */
int sleep_until(condition holds, uint32_t wake, uint32_t timeout_ms);
void pins_alternate(uint32_t port, uint32_t pins, int second);
void pins_output(uint32_t port, uint32_t pins);
uint32_t stack_used(void);

#endif
