/* Start-up order and the main loop. */
#include "board.h"
#include "cnn.h"
#include "network.h"
#include "protocol.h"
#include "system.h"
#include "uart.h"
#if NETWORK_DETECTS
#include "detector.h"
#include "screen.h"
#endif

static void banner(void)
{
    uart_text("\r\nedgebed " NETWORK_NAME " plan " NETWORK_DIGEST "\r\n");
#ifdef EB_DEFECT
    uart_text("DEFECT BUILT IN ON PURPOSE, NOT FOR USE: " EB_DEFECT "\r\n");
#endif
}

static void start_camera(void)
{
#if NETWORK_DETECTS
    if (detector_start_up())
        protocol_stream_text();
    else
        uart_text("error: the camera does not answer\r\n");
#endif
}

/* Before waiting for the host: starts what is left of the picture. */
static void finish_screen(void)
{
#if NETWORK_DETECTS
    screen_wait_for_camera();
#endif
}

int main(void)
{
    system_start();
    delay_ms(STARTUP_DELAY_MS);
    uart_start();
    banner();
    cnn_start_up();
    protocol_report_selftest();
    start_camera();
    uart_text("ready\r\n");
    for (;;) {
        if (protocol_streaming() && !uart_waiting()) {
            protocol_stream_frame();
            continue;
        }
        finish_screen();
        protocol_handle();
    }
}
