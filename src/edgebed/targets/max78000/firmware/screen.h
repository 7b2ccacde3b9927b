/* What the user sees: the picture with boxes, and a panel with scores and times. */
#ifndef SCREEN_H
#define SCREEN_H

#include <stdint.h>

#include "detect.h"

struct frame_times {
    uint32_t cnn;   /* timer cycles of the network */
    uint32_t frame; /* timer cycles from one frame to the next; 0 = unknown */
};

void screen_start_up(void);
void screen_wait_for_camera(void); /* until the camera may overwrite the frame */
/* Draws boxes into the frame and shows everything. */
void screen_show(uint8_t *frame, const struct detection *found, uint32_t count,
                 const struct frame_times *times);
int32_t screen_pixel(int32_t fraction, int32_t size); /* Q16 fraction to pixel */

#endif
