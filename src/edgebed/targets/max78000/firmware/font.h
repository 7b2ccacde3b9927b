/* A 5 x 7 bitmap font for the printable ASCII characters, used in cells of 6 x 8. */
#ifndef FONT_H
#define FONT_H

#include <stdint.h>

#define FONT_FIRST ' '
#define FONT_LAST '~'
#define FONT_ROWS 7
#define FONT_WIDTH 6
#define FONT_HEIGHT 8

/* Bit 4 of a row is its left pixel. */
extern const uint8_t font[FONT_LAST - FONT_FIRST + 1][FONT_ROWS];

#endif
