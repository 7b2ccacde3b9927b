/* One camera frame from the sensor to the display. */
#ifndef DETECTOR_H
#define DETECTOR_H

#include <stdint.h>

#include "detect.h"
#include "network.h"
#include "screen.h"

enum detector_result { DETECTOR_OK, DETECTOR_NO_CAMERA, DETECTOR_CNN_TIMEOUT };

struct detector_frame {
    uint32_t number;
    uint32_t count;
    struct frame_times times;
    struct detection found[DETECT_MAXIMUM];
};

int detector_start_up(void);                 /* 0: the camera does not answer */
enum detector_result detector_run(void);     /* the result is in detector_last */
void detector_decode(void);                  /* decodes the outputs that are in the accelerator */
void detector_print(void);                   /* the last frame as a line of text */
extern struct detector_frame detector_last;

#endif
