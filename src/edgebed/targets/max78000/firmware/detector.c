/* One camera frame from the sensor to the display. */
#include "detector.h"

#include "camera.h"
#include "cnn.h"
#include "prepare.h"
#include "system.h"
#include "uart.h"

struct detector_frame detector_last;

static int camera_found;
static uint32_t last_start;

int detector_start_up(void)
{
    screen_start_up();
    camera_found = camera_start_up();
    return camera_found;
}

static void read_cell(uint32_t cell, int32_t *values)
{
    cnn_read_pixel(DETECT_OUTPUT, cell, values);
}

void detector_decode(void)
{
    detector_last.count = detect(read_cell, detector_last.found);
}

static void note_times(void)
{
    uint32_t now = timer_now();
    detector_last.times.frame = detector_last.number++ ? now - last_start : 0;
    last_start = now;
}

enum detector_result detector_run(void)
{
    if (!camera_found)
        return DETECTOR_NO_CAMERA;
    screen_wait_for_camera();
    camera_capture();
    if (!camera_wait())
        return DETECTOR_NO_CAMERA;
    note_times();
    cnn_run_begin();
    prepare(camera_frame);
    if (cnn_run_end() != CNN_OK)
        return DETECTOR_CNN_TIMEOUT;
    detector_last.times.cnn = cnn_cycles();
    detector_decode();
    screen_show(camera_frame, detector_last.found, detector_last.count, &detector_last.times);
    return DETECTOR_OK;
}

static void print_detection(const struct detection *what)
{
    uart_text(" ");
    uart_text(network_classes[what->label]);
    uart_text(" ");
    uart_number(((uint32_t)what->score * 100 + 16384) >> 15);
    uart_text("% (");
    uart_number((uint32_t)screen_pixel(what->x1, CAMERA_WIDTH));
    uart_text(",");
    uart_number((uint32_t)screen_pixel(what->y1, CAMERA_HEIGHT));
    uart_text(")-(");
    uart_number((uint32_t)screen_pixel(what->x2, CAMERA_WIDTH));
    uart_text(",");
    uart_number((uint32_t)screen_pixel(what->y2, CAMERA_HEIGHT));
    uart_text(")");
}

void detector_print(void)
{
    uart_text("frame ");
    uart_number(detector_last.number);
    uart_text(" cnn_ms ");
    uart_fixed(detector_last.times.cnn / (TIMER_HZ / 1000000));
    uart_text(":");
    for (uint32_t i = 0; i < detector_last.count; i++) {
        uart_text(i ? "," : "");
        print_detection(&detector_last.found[i]);
    }
    uart_text("\r\n");
}
