/* An ILI9341 display, 320 x 240, on SPI0: commands by hand, pixels by DMA. */
#include "lcd.h"

#include "board.h"
#include "registers.h"
#include "system.h"

#define CHANNEL 1
#define MOST_BYTES 51200U /* of one SPI transfer, whose counter has 16 bits */

enum {
    SLEEP_OUT = 0x11,
    DISPLAY_ON = 0x29,
    COLUMNS = 0x2A,
    ROWS = 0x2B,
    WRITE_PIXELS = 0x2C,
    ORIENTATION = 0x36,
    PIXEL_FORMAT = 0x3A,
    SOFT_RESET = 0x01,
};

static const uint8_t *next_bytes; /* of the picture that is being sent */
static uint32_t bytes_left;       /* not yet started */
static int sending;

static int idle(void)
{
    return (SPI0_INTFL & SPI_INT_DONE) != 0;
}

static void finish_transfer(void)
{
    if (!sending)
        return;
    sleep_until(idle, IRQ_SPI0, 1000);
    DMA_CTRL(CHANNEL) = 0;
    SPI0_DMA = 0;
    sending = 0;
}

static void start_transfer(void)
{
    uint32_t count = bytes_left < MOST_BYTES ? bytes_left : MOST_BYTES;
    SPI0_INTFL = SPI_INT_DONE;
    SPI0_CTRL1 = count;
    SPI0_DMA = SPI_TX_FLUSH;
    SPI0_DMA = SPI_TX_FIFO_EN | SPI_DMA_TX_EN | SPI_TX_THRESHOLD(16);
    DMA_SRC(CHANNEL) = (uint32_t)(uintptr_t)next_bytes;
    DMA_DST(CHANNEL) = SPI0_FIFO_ADDRESS;
    DMA_CNT(CHANNEL) = count;
    DMA_CTRL(CHANNEL) = DMA_EN | DMA_REQUEST(DMA_REQUEST_SPI0_TX) | DMA_SRC_WORD | DMA_SRC_INC |
                        DMA_DST_WORD | DMA_BURST(16);
    SPI0_CTRL0 |= SPI_START;
    next_bytes += count;
    bytes_left -= count;
    sending = 1;
}

/* A few bytes by hand: at most the 32 that the FIFO holds. */
static void write_bytes(const uint8_t *bytes, uint32_t count)
{
    SPI0_INTFL = SPI_INT_DONE;
    SPI0_CTRL1 = count;
    SPI0_DMA = SPI_TX_FIFO_EN;
    while (count--)
        SPI0_FIFO8 = *bytes++;
    SPI0_CTRL0 |= SPI_START;
    while (!idle())
        ;
}

static void command(uint8_t number, const uint8_t *parameters, uint32_t count)
{
    GPIO_OUT_CLR(0) = BIT(PIN_LCD_DC);
    write_bytes(&number, 1);
    GPIO_OUT_SET(0) = BIT(PIN_LCD_DC);
    if (count)
        write_bytes(parameters, count);
}

static void window(uint8_t number, uint32_t first, uint32_t last)
{
    uint8_t range[4] = {(uint8_t)(first >> 8), (uint8_t)first, (uint8_t)(last >> 8), (uint8_t)last};
    command(number, range, 4);
}

static void bus_start_up(void)
{
    pins_alternate(0, BIT(PIN_SPI_MOSI) | BIT(PIN_SPI_MISO) | BIT(PIN_SPI_SCK), 0);
    GPIO_OUT_SET(0) = BIT(PIN_LCD_CS) | BIT(PIN_LCD_DC);
    pins_output(0, BIT(PIN_LCD_CS) | BIT(PIN_LCD_DC));
    SPI0_CTRL0 = SPI_MASTER | SPI_SS(0); /* the select pin itself is a GPIO */
    SPI0_CTRL2 = SPI_8BITS;
    SPI0_SSTIME = 0x010101;
    SPI0_CLKCTRL = 2 << 8 | 2; /* 100 MHz / 4 = 25 MHz */
    SPI0_INTEN = SPI_INT_DONE;
    SPI0_CTRL0 |= SPI_EN;
    GPIO_OUT_CLR(0) = BIT(PIN_LCD_CS);
}

void lcd_start_up(void)
{
    static const uint8_t landscape = 0x28; /* rows and columns exchanged, colours B-G-R */
    static const uint8_t rgb565 = 0x55;
    bus_start_up();
    command(SOFT_RESET, 0, 0);
    delay_ms(120);
    command(SLEEP_OUT, 0, 0);
    delay_ms(120);
    command(PIXEL_FORMAT, &rgb565, 1);
    command(ORIENTATION, &landscape, 1);
    command(DISPLAY_ON, 0, 0);
}

void lcd_send(uint32_t x, uint32_t y, uint32_t width, uint32_t height, const uint8_t *pixels)
{
    lcd_finish();
    window(COLUMNS, x, x + width - 1);
    window(ROWS, y, y + height - 1);
    command(WRITE_PIXELS, 0, 0);
    next_bytes = pixels;
    bytes_left = 2 * width * height;
    start_transfer();
}

void lcd_wait(uint32_t left)
{
    while (bytes_left > left) {
        finish_transfer();
        start_transfer();
    }
}

void lcd_finish(void)
{
    lcd_wait(0);
    finish_transfer();
}
