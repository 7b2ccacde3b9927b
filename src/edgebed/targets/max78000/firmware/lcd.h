/* An ILI9341 display, 320 x 240, on SPI0. Pixels are RGB565, high byte first. */
#ifndef LCD_H
#define LCD_H

#include <stdint.h>

#define LCD_WIDTH 320
#define LCD_HEIGHT 240

void lcd_start_up(void);
/* Sends pixels into a window while the program goes on; they must stay until they are sent. */
void lcd_send(uint32_t x, uint32_t y, uint32_t width, uint32_t height, const uint8_t *pixels);
void lcd_wait(uint32_t bytes_left); /* until at most so many bytes have not been started */
void lcd_finish(void);              /* until everything is on the display */

#endif
