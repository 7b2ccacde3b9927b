/* From the output map to boxes, in integers. */
#ifndef DETECT_H
#define DETECT_H

#include <stdint.h>

struct detection {
    uint16_t label;
    uint16_t score; /* 32768 = 1.0 */
    int32_t x1, y1, x2, y2; /* 65536 = width or height of the network input */
};

/* Stores the integers of one cell (row-major), all channels. */
typedef void (*cell_reader)(uint32_t cell, int32_t *values);

uint32_t detect(cell_reader read, struct detection *found); /* at most DETECT_MAXIMUM, best first */

#endif
