/* From the camera's frame to the network's input. */
#ifndef PREPARE_H
#define PREPARE_H

#include <stdint.h>

/* `frame`: RGB565, high byte first, CAMERA_WIDTH x CAMERA_HEIGHT. */
void prepare(const uint8_t *frame);

#endif
