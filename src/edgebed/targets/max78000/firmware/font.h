/* A 5 x 8 bitmap font (capitals take 7 rows) for the printable ASCII characters, used in cells of 6 x 8. */
#ifndef FONT_H
#define FONT_H

#include <stdint.h>

#define FONT_FIRST ' '
#define FONT_LAST '~'
#define FONT_WIDTH 6
#define FONT_HEIGHT 8

/* Bit 4 of a row is its left pixel. */
extern const uint8_t font[FONT_LAST - FONT_FIRST + 1][FONT_HEIGHT];

#endif
