/* The OV7692 image sensor (control over I2C, SCCB rules) and the parallel camera interface, whose
 * data a DMA channel stores. The sensor itself scales to the network's input size. */
#include "camera.h"

#include "board.h"
#include "network.h"
#include "registers.h"
#include "system.h"

#define CHANNEL 0
#define FRAME_BYTES (2 * CAMERA_WIDTH * CAMERA_HEIGHT)
#define SENSOR_ADDRESS 0x3C
#define SENSOR_ID 0x7692
#define HIGH(value) ((value) >> 8)
#define LOW(value) ((value)&0xFF)

uint8_t camera_frame[FRAME_BYTES] __attribute__((section(".noinit"), aligned(4)));

struct setting {
    uint8_t reg;
    uint8_t value;
};

/* The sensor's registers, by the datasheet's names. The largest part of its 640 x 480 picture that
 * has the network's aspect ratio is scaled down to the network's input. */
static const struct setting settings[] = {
    {0x12, 0x06},                                              /* REG12: RGB, 565 */
    {0x11, 0x01},                                              /* CLKRC: input clock / 2 */
    {0x0C, 0x00},                                              /* REG0C: no mirror, no flip */
    {0x3E, 0x20},                                              /* REG3E: clock only with data */
    {0x81, 0x3F},                                              /* REG81: scaling both ways on */
    {0xC8, HIGH(CAMERA_SEEN_WIDTH)}, {0xC9, LOW(CAMERA_SEEN_WIDTH)},   /* scaler input */
    {0xCA, HIGH(CAMERA_SEEN_HEIGHT)}, {0xCB, LOW(CAMERA_SEEN_HEIGHT)},
    {0xCC, HIGH(CAMERA_WIDTH)}, {0xCD, LOW(CAMERA_WIDTH)},             /* scaler output */
    {0xCE, HIGH(CAMERA_HEIGHT)}, {0xCF, LOW(CAMERA_HEIGHT)},
    {0x13, 0xF7},                                              /* COM8: gain, white, exposure */
    {0x0E, 0x00},                                              /* REG0E: leave sleep */
};

static int i2c_finished(void)
{
    return (I2C_INTFL0(CAMERA_I2C) & (I2C_INT_STOP | I2C_INT_ERRORS)) != 0;
}

/* Spins: a transfer takes a tenth of a millisecond and happens at start only. */
static int i2c_wait(void)
{
    uint32_t begin = timer_now();
    while (!i2c_finished())
        if (timer_now() - begin > TIMER_HZ / 100)
            return 0;
    return !(I2C_INTFL0(CAMERA_I2C) & I2C_INT_ERRORS);
}

static void i2c_start_up(void)
{
    pins_alternate(0, BIT(PIN_CAMERA_SCL) | BIT(PIN_CAMERA_SDA), 0);
    I2C_CTRL(CAMERA_I2C) = I2C_CTRL_EN | I2C_CTRL_MASTER;
    I2C_CLKLO(CAMERA_I2C) = TIMER_HZ / 100000 / 2;
    I2C_CLKHI(CAMERA_I2C) = TIMER_HZ / 100000 / 2;
}

static void i2c_begin(void)
{
    I2C_TXCTRL0(CAMERA_I2C) |= I2C_FLUSH;
    I2C_RXCTRL0(CAMERA_I2C) |= I2C_FLUSH;
    I2C_INTFL0(CAMERA_I2C) = 0x00FFFFFF;
}

static int sensor_write(uint8_t reg, uint8_t value)
{
    i2c_begin();
    I2C_FIFO(CAMERA_I2C) = SENSOR_ADDRESS << 1;
    I2C_FIFO(CAMERA_I2C) = reg;
    I2C_FIFO(CAMERA_I2C) = value;
    I2C_MSTCTRL(CAMERA_I2C) |= I2C_START;
    I2C_MSTCTRL(CAMERA_I2C) |= I2C_STOP; /* after the last byte */
    return i2c_wait();
}

/* SCCB has no repeated start: the register number is a transfer of its own. */
static int sensor_read(uint8_t reg)
{
    i2c_begin();
    I2C_FIFO(CAMERA_I2C) = SENSOR_ADDRESS << 1;
    I2C_FIFO(CAMERA_I2C) = reg;
    I2C_MSTCTRL(CAMERA_I2C) |= I2C_START;
    I2C_MSTCTRL(CAMERA_I2C) |= I2C_STOP; /* after the last byte */
    if (!i2c_wait())
        return -1;
    i2c_begin();
    I2C_RXCTRL1(CAMERA_I2C) = 1;
    I2C_FIFO(CAMERA_I2C) = SENSOR_ADDRESS << 1 | 1;
    I2C_MSTCTRL(CAMERA_I2C) |= I2C_START;
    I2C_MSTCTRL(CAMERA_I2C) |= I2C_STOP; /* after the last byte */
    if (!i2c_wait() || (I2C_STATUS(CAMERA_I2C) & I2C_STATUS_RX_EMPTY))
        return -1;
    return (int)(I2C_FIFO(CAMERA_I2C) & 0xFF);
}

/* Pulse train 0 makes the sensor's input clock: 50 MHz / 4 = 12.5 MHz. */
static void clock_start_up(void)
{
    pins_alternate(0, BIT(PIN_CAMERA_XCLK), 0);
    PT0_RATE = PT_SQUARE_WAVE | 2;
    PTG_ENABLE |= 1;
    delay_ms(10);
}

int camera_start_up(void)
{
    clock_start_up();
    i2c_start_up();
    pins_alternate(0, PINS_CAMERA_BUS, 1);
    if (!sensor_write(0x12, 0x80)) /* reset of all registers */
        return 0;
    delay_ms(10);
    if ((sensor_read(0x0A) << 8 | sensor_read(0x0B)) != SENSOR_ID)
        return 0;
    for (uint32_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (!sensor_write(settings[i].reg, settings[i].value))
            return 0;
    DMA_INTEN |= BIT(CHANNEL);
    return 1;
}

void camera_capture(void)
{
    PCIF_CTRL = 0;
    PCIF_INT_FL = 0xF;
    DMA_STATUS(CHANNEL) = DMA_CTZ_IF | DMA_BUS_ERR;
    DMA_SRC(CHANNEL) = PCIF_FIFO_ADDRESS;
    DMA_DST(CHANNEL) = (uint32_t)(uintptr_t)camera_frame;
    DMA_CNT(CHANNEL) = FRAME_BYTES;
    DMA_CTRL(CHANNEL) = DMA_EN | DMA_REQUEST(DMA_REQUEST_PCIF) | DMA_SRC_WORD | DMA_DST_WORD |
                        DMA_DST_INC | DMA_BURST(16) | DMA_CTZ_IE;
    PCIF_CTRL = PCIF_SINGLE_IMAGE | PCIF_FIFO_THRESHOLD(4) | PCIF_DMA_THRESHOLD(4) | PCIF_RX_DMA |
                PCIF_ENABLE;
}

static int captured(void)
{
    int complete = (DMA_STATUS(CHANNEL) & DMA_CTZ_IF) != 0;
    if (complete)
        DMA_STATUS(CHANNEL) = DMA_CTZ_IF;
    return complete;
}

int camera_wait(void)
{
    int complete = sleep_until(captured, IRQ_DMA0 + CHANNEL, 1000);
    DMA_CTRL(CHANNEL) = 0;
    return complete;
}
