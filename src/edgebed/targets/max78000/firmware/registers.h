/* Registers of the MAX78000 that this firmware touches: addresses and bits, nothing else. */
#ifndef REGISTERS_H
#define REGISTERS_H

#include <stdint.h>

#define REG32(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define REG8(address) (*(volatile uint8_t *)(uintptr_t)(address))
#define BIT(n) (1UL << (n))

/* Arm core: SysTick, interrupt controller, system control. */
#define SYST_CSR REG32(0xE000E010) /* 0 enable, 1 interrupt, 2 core clock, 16 reached zero */
#define SYST_RVR REG32(0xE000E014)
#define SYST_CVR REG32(0xE000E018)
#define NVIC_ISER(n) REG32(0xE000E100 + 4 * ((n) / 32))
#define NVIC_ICER(n) REG32(0xE000E180 + 4 * ((n) / 32))
#define NVIC_ICPR(n) REG32(0xE000E280 + 4 * ((n) / 32))
#define SCB_VTOR REG32(0xE000ED08)
#define SCB_CPACR_ADDRESS 0xE000ED88

#define IRQ_UART0 14
#define IRQ_DMA0 28
#define IRQ_DMA1 29
#define IRQ_SPI0 56
#define IRQ_CNN 101
#define IRQ_COUNT 104

/* Global control: clocks and their gates. */
#define GCR_CLKCTRL REG32(0x40000008)
#define CLKCTRL_SYSCLK_MASK (7UL << 9 | 7UL << 6)
#define CLKCTRL_SYSCLK_IPO (4UL << 9)
#define CLKCTRL_SYSCLK_RDY BIT(13)
#define CLKCTRL_IPO_EN BIT(19)
#define CLKCTRL_IBRO_EN BIT(20)
#define CLKCTRL_IPO_RDY BIT(27)
#define CLKCTRL_IBRO_RDY BIT(28)
#define GCR_PCLKDIV REG32(0x40000018)
#define PCLKDIV_CNN_MASK (15UL << 14)
#define PCLKDIV_CNN_PCLK_DIV1 (4UL << 14)
#define GCR_PCLKDIS0 REG32(0x40000024)
#define PCLKDIS0_GPIO0 BIT(0)
#define PCLKDIS0_GPIO1 BIT(1)
#define PCLKDIS0_DMA BIT(5)
#define PCLKDIS0_UART0 BIT(9)
#define PCLKDIS0_I2C0 BIT(13)
#define PCLKDIS0_TMR0 BIT(15)
#define PCLKDIS0_CNN BIT(25)
#define PCLKDIS0_I2C1 BIT(28)
#define PCLKDIS0_PT BIT(29)
#define GCR_PCLKDIS1 REG32(0x40000048)
#define PCLKDIS1_SPI0 BIT(16)
#define PCLKDIS1_PCIF BIT(18)

/* CNN power domains, one bit a quadrant. */
#define GCFR_POWER REG32(0x40005800)
#define GCFR_MEMORY REG32(0x40005804)
#define GCFR_ISOLATE REG32(0x40005808)
#define GCFR_RESET REG32(0x4000580C)

/* Instruction cache. */
#define ICC_CTRL REG32(0x4002A100)
#define ICC_INVALIDATE REG32(0x4002A700)

/* GPIO port n. Function of pin p: EN0 = 1 GPIO; 0 with EN1 = 0 first, EN1 = 1 second alternate. */
#define GPIO_BASE(port) (0x40008000UL + 0x1000UL * (port))
#define GPIO_EN0_SET(port) REG32(GPIO_BASE(port) + 0x04)
#define GPIO_EN0_CLR(port) REG32(GPIO_BASE(port) + 0x08)
#define GPIO_OUTEN_SET(port) REG32(GPIO_BASE(port) + 0x10)
#define GPIO_OUT_SET(port) REG32(GPIO_BASE(port) + 0x1C)
#define GPIO_OUT_CLR(port) REG32(GPIO_BASE(port) + 0x20)
#define GPIO_EN1_SET(port) REG32(GPIO_BASE(port) + 0x6C)
#define GPIO_EN1_CLR(port) REG32(GPIO_BASE(port) + 0x70)
#define GPIO_VSSEL(port) REG32(GPIO_BASE(port) + 0xC0)

/* UART0. */
#define UART_CTRL REG32(0x40042000)
#define UART_STATUS REG32(0x40042004)
#define UART_INT_EN REG32(0x40042008)
#define UART_INT_FL REG32(0x4004200C)
#define UART_CLKDIV REG32(0x40042010)
#define UART_OSR REG32(0x40042014)
#define UART_FIFO REG32(0x40042020)
#define UART_CTRL_TX_FLUSH BIT(8)
#define UART_CTRL_RX_FLUSH BIT(9)
#define UART_CTRL_8BITS (3UL << 10)
#define UART_CTRL_BCLKEN BIT(15)
#define UART_CTRL_IBRO (2UL << 16)
#define UART_CTRL_BCLKRDY BIT(19)
#define UART_STATUS_TX_BUSY BIT(0)
#define UART_STATUS_RX_EMPTY BIT(4)
#define UART_STATUS_TX_FULL BIT(7)
#define UART_INT_RX_THD BIT(4)

/* Timer 0: counts the peripheral clock. */
#define TMR0_CNT REG32(0x40010000)
#define TMR0_CMP REG32(0x40010004)
#define TMR0_CTRL0 REG32(0x40010010)
#define TMR0_CTRL1 REG32(0x40010018)
#define TMR_CONTINUOUS 1UL
#define TMR_CLKEN BIT(14)
#define TMR_EN BIT(15)
#define TMR_CASCADE BIT(31) /* both halves form one 32-bit timer */
#define TMR_CLKRDY BIT(3)

/* DMA channels. */
#define DMA_INTEN REG32(0x40028000)
#define DMA_CTRL(n) REG32(0x40028100 + 0x20 * (n))
#define DMA_STATUS(n) REG32(0x40028104 + 0x20 * (n))
#define DMA_SRC(n) REG32(0x40028108 + 0x20 * (n))
#define DMA_DST(n) REG32(0x4002810C + 0x20 * (n))
#define DMA_CNT(n) REG32(0x40028110 + 0x20 * (n))
#define DMA_EN BIT(0)
#define DMA_REQUEST(n) ((uint32_t)(n) << 4)
#define DMA_REQUEST_PCIF 0x0D
#define DMA_REQUEST_SPI0_TX 0x2F
#define DMA_SRC_BYTE (0UL << 16)
#define DMA_SRC_WORD (2UL << 16)
#define DMA_SRC_INC BIT(18)
#define DMA_DST_BYTE (0UL << 20)
#define DMA_DST_WORD (2UL << 20)
#define DMA_DST_INC BIT(22)
#define DMA_BURST(bytes) ((uint32_t)((bytes)-1) << 24)
#define DMA_CTZ_IE BIT(31)
#define DMA_CTZ_IF BIT(2)
#define DMA_BUS_ERR BIT(4)

/* I2C master n (the camera's control bus). */
#define I2C_BASE(n) (0x4001D000UL + 0x1000UL * (n))
#define I2C_CTRL(n) REG32(I2C_BASE(n) + 0x00)
#define I2C_STATUS(n) REG32(I2C_BASE(n) + 0x04)
#define I2C_INTFL0(n) REG32(I2C_BASE(n) + 0x08)
#define I2C_RXCTRL0(n) REG32(I2C_BASE(n) + 0x1C)
#define I2C_RXCTRL1(n) REG32(I2C_BASE(n) + 0x20)
#define I2C_TXCTRL0(n) REG32(I2C_BASE(n) + 0x24)
#define I2C_FIFO(n) REG32(I2C_BASE(n) + 0x2C)
#define I2C_MSTCTRL(n) REG32(I2C_BASE(n) + 0x30)
#define I2C_CLKLO(n) REG32(I2C_BASE(n) + 0x34)
#define I2C_CLKHI(n) REG32(I2C_BASE(n) + 0x38)
#define I2C_CTRL_EN BIT(0)
#define I2C_CTRL_MASTER BIT(1)
#define I2C_STATUS_RX_EMPTY BIT(1)
#define I2C_FLUSH BIT(7)
#define I2C_START BIT(0)
#define I2C_STOP BIT(2)
#define I2C_INT_STOP BIT(6)
#define I2C_INT_ERRORS (BIT(8) | BIT(9) | BIT(10) | BIT(11) | BIT(12) | BIT(13) | BIT(14))

/* Camera interface. */
#define PCIF_CTRL REG32(0x4000E008)
#define PCIF_INT_EN REG32(0x4000E00C)
#define PCIF_INT_FL REG32(0x4000E010)
#define PCIF_FIFO_ADDRESS 0x4000E030UL
#define PCIF_SINGLE_IMAGE 1UL
#define PCIF_FIFO_THRESHOLD(n) ((uint32_t)(n) << 5)
#define PCIF_RX_DMA BIT(16)
#define PCIF_DMA_THRESHOLD(n) ((uint32_t)(n) << 17)
#define PCIF_ENABLE BIT(31)
#define PCIF_INT_IMG_DONE BIT(0)
#define PCIF_INT_FIFO_FULL BIT(1)

/* Pulse train 0: the camera's input clock. */
#define PTG_ENABLE REG32(0x4003C000)
#define PT0_RATE REG32(0x4003C020)
#define PT_SQUARE_WAVE (1UL << 27)

/* SPI0: the display. */
#define SPI0_FIFO_ADDRESS 0x400BE000UL
#define SPI0_FIFO8 REG8(SPI0_FIFO_ADDRESS)
#define SPI0_CTRL0 REG32(0x400BE004)
#define SPI0_CTRL1 REG32(0x400BE008)
#define SPI0_CTRL2 REG32(0x400BE00C)
#define SPI0_SSTIME REG32(0x400BE010)
#define SPI0_CLKCTRL REG32(0x400BE014)
#define SPI0_DMA REG32(0x400BE01C)
#define SPI0_INTFL REG32(0x400BE020)
#define SPI0_INTEN REG32(0x400BE024)
#define SPI_EN BIT(0)
#define SPI_MASTER BIT(1)
#define SPI_START BIT(5)
#define SPI_SS(n) (BIT(16) << (n))
#define SPI_8BITS (8UL << 8)
#define SPI_TX_THRESHOLD(n) ((uint32_t)(n))
#define SPI_TX_FIFO_EN BIT(6)
#define SPI_TX_FLUSH BIT(7)
#define SPI_DMA_TX_EN BIT(15)
#define SPI_INT_DONE BIT(11)

/* CNN accelerator. */
#define CNN_QUADRANT 0x00400000UL
#define CNN_FIFO_STATUS REG32(0x50000004)
#define CNN_AON REG32(0x50001000)
#define CNN_CTL(quadrant) REG32(0x50100000UL + CNN_QUADRANT * (quadrant))
#define CNN_BIAS_ADDRESS(quadrant) (0x50108000UL + CNN_QUADRANT * (quadrant))
#define CNN_CTL_ENABLE BIT(0)
#define CNN_CTL_DONE BIT(12)
#define CNN_CTL_STREAM BIT(14)

#endif
