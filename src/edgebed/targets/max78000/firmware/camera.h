/* The OV7692 image sensor and the parallel camera interface. */
#ifndef CAMERA_H
#define CAMERA_H

#include <stdint.h>

extern uint8_t camera_frame[]; /* RGB565, high byte first, row by row */

int camera_start_up(void);     /* 0: the sensor does not answer */
void camera_capture(void);     /* arms the capture of the next picture */
int camera_wait(void);         /* 0: no picture within a second */

#endif
