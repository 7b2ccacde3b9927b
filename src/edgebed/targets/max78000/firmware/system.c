/* Clocks, time, sleep and pin functions. */
#include "system.h"

#include "registers.h"

#define TICK_MS 10

static volatile uint32_t ticks; /* of TICK_MS, only while a time limit is armed */

void systick_handler(void);
void wake_handler(void);

static void clocks_start(void)
{
    GCR_CLKCTRL |= CLKCTRL_IPO_EN | CLKCTRL_IBRO_EN;
    while ((GCR_CLKCTRL & (CLKCTRL_IPO_RDY | CLKCTRL_IBRO_RDY)) !=
           (CLKCTRL_IPO_RDY | CLKCTRL_IBRO_RDY))
        ;
    GCR_CLKCTRL = (GCR_CLKCTRL & ~CLKCTRL_SYSCLK_MASK) | CLKCTRL_SYSCLK_IPO;
    while (!(GCR_CLKCTRL & CLKCTRL_SYSCLK_RDY))
        ;
    GCR_PCLKDIS0 &= ~(PCLKDIS0_GPIO0 | PCLKDIS0_GPIO1 | PCLKDIS0_DMA | PCLKDIS0_UART0 |
                      PCLKDIS0_I2C0 | PCLKDIS0_I2C1 | PCLKDIS0_TMR0 | PCLKDIS0_PT);
    GCR_PCLKDIS1 &= ~(PCLKDIS1_SPI0 | PCLKDIS1_PCIF);
}

static void cache_start(void)
{
    ICC_CTRL &= ~BIT(0);
    ICC_INVALIDATE = 1;
    while (!(ICC_CTRL & BIT(16)))
        ;
    ICC_CTRL |= BIT(0);
    while (!(ICC_CTRL & BIT(16)))
        ;
}

/* Timer 0 runs freely over 32 bits at the peripheral clock. */
static void timer_start(void)
{
    TMR0_CTRL0 = 0;
    TMR0_CTRL1 = TMR_CASCADE;
    TMR0_CMP = 0xFFFFFFFFUL;
    TMR0_CNT = 1;
    TMR0_CTRL0 = TMR_CONTINUOUS | TMR_CLKEN;
    while (!(TMR0_CTRL1 & TMR_CLKRDY))
        ;
    TMR0_CTRL0 |= TMR_EN;
}

void system_start(void)
{
    clocks_start();
    cache_start();
    timer_start();
}

uint32_t timer_now(void)
{
    return TMR0_CNT;
}

void systick_handler(void)
{
    ticks++;
}

/* Wakes the core and does nothing else. The peripheral still requests until who slept has dealt
 * with it, so the interrupt is switched off here; the next sleep switches it on again. */
void wake_handler(void)
{
    uint32_t exception;
    __asm volatile("mrs %0, ipsr" : "=r"(exception));
    NVIC_ICER(exception - 16) = BIT((exception - 16) % 32);
}

static void ticks_start(void)
{
    ticks = 0;
    SYST_RVR = CPU_HZ / 1000 * TICK_MS - 1;
    SYST_CVR = 0;
    SYST_CSR = 7;
}

/* Sleeps without a race: the condition is tested with interrupts masked, and a masked interrupt
 * still ends WFI, so one that comes between test and sleep is never lost. */
int sleep_until(condition holds, uint32_t wake, uint32_t timeout_ms)
{
    uint32_t limit = timeout_ms / TICK_MS + 1;
    int held = 0;
    if (timeout_ms)
        ticks_start();
    for (;;) {
        __asm volatile("cpsid i" ::: "memory");
        held = holds();
        if (held || (timeout_ms && ticks > limit))
            break;
        NVIC_ISER(wake) = BIT(wake % 32);
        __asm volatile("dsb\n wfi\n cpsie i\n isb" ::: "memory");
    }
    __asm volatile("cpsie i" ::: "memory");
    SYST_CSR = 0;
    return held;
}

static int never(void)
{
    return 0;
}

void delay_ms(uint32_t ms)
{
    if (ms)
        sleep_until(never, IRQ_CNN, ms);
}

/* Gives pins to a peripheral: the first alternate function, or the second. */
void pins_alternate(uint32_t port, uint32_t pins, int second)
{
    if (second)
        GPIO_EN1_SET(port) = pins;
    else
        GPIO_EN1_CLR(port) = pins;
    GPIO_EN0_CLR(port) = pins;
}

void pins_output(uint32_t port, uint32_t pins)
{
    GPIO_OUTEN_SET(port) = pins;
    GPIO_EN0_SET(port) = pins;
}
