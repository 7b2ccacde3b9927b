/* From the camera's frame to the network's input. */
#ifndef PREPARE_H
#define PREPARE_H

#include <stdint.h>

/* PREPARE_PATH of network.h: what the accelerator's input words hold. */
#define PREPARE_BYTES 0  /* anything */
#define PREPARE_WORDS 1  /* memory; port i takes channels 4 i to 4 i + 3 of a folded pixel */
#define PREPARE_PIXELS 2 /* one port; every word is a pixel of three channels */

/* `frame`: RGB565, high byte first, CAMERA_WIDTH x CAMERA_HEIGHT. */
void prepare(const uint8_t *frame);

#endif
