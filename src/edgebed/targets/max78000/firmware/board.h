/* Pins and speeds of the board. Build with BOARD_EVKIT=1 for the evaluation kit.
 *
 * UART0, I2C1, SPI0 and the header pins of the MAX78000FTHR follow the board's published pin-out;
 * the display is an ILI9341 on the Adafruit 2.4 inch TFT FeatherWing (chip select on D9 = P0.11,
 * data/command on D10 = P0.8). The camera interface pins are those of the chip's package table.
 * This firmware has run on the virtual board only: check the pins against your board's schematic
 * before you connect anything else.
 */
#ifndef BOARD_H
#define BOARD_H

#ifndef UART_BAUD
#define UART_BAUD 921600 /* 115200 works as well: the divider of 7.3728 MHz is exact for both */
#endif

/* Time in which a debugger can stop the core after reset, whatever the program does later. */
#ifndef STARTUP_DELAY_MS
#define STARTUP_DELAY_MS 500
#endif

#define PIN_UART_RX 0 /* port 0, first alternate function */
#define PIN_UART_TX 1

#define PIN_SPI_MOSI 5 /* port 0, first alternate function */
#define PIN_SPI_MISO 6
#define PIN_SPI_SCK 7
#ifdef BOARD_EVKIT
#define PIN_LCD_CS 4 /* an ILI9341 module wired to SPI0; the kit's own 3.5" panel is another type */
#define PIN_LCD_DC 8
#else
#define PIN_LCD_CS 11
#define PIN_LCD_DC 8
#endif

#define CAMERA_I2C 1 /* SCCB of the image sensor */
#define PIN_CAMERA_SCL 16
#define PIN_CAMERA_SDA 17
#define PIN_CAMERA_XCLK 18 /* pulse train 0, first alternate function */
/* Data, synchronisation and pixel clock of the parallel camera interface: second alternate. */
#define PINS_CAMERA_BUS 0xFFF00000UL

#define PIN_LED_PORT 2 /* the FTHR's RGB LED is on port 2, which this firmware leaves alone */

#endif
