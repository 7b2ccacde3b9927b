/* Answers commands: binary frames (docs/max78000-uart.md) and, for a terminal, single letters. */
#include "protocol.h"

#include "cnn.h"
#include "network.h"
#include "registers.h"
#include "selftest.h"
#include "system.h"
#include "uart.h"
#include "wire.h"
#if NETWORK_DETECTS
#include "detector.h"
#endif

static enum { STREAM_OFF, STREAM_TEXT, STREAM_FRAMES } stream;

static void report(const struct selftest *test)
{
    uart_text("selftest ");
    uart_number(test->passed);
    uart_text("/");
    uart_number(test->run);
    uart_text(test->passed == test->run ? " ok" : " FAILED");
    if (test->timeouts)
        uart_text(" (CNN timeout)");
    uart_text(" cycles ");
    uart_number(test->cycles);
    uart_text("\r\n");
}

void protocol_report_selftest(void)
{
    struct selftest test = selftest_run();
    report(&test);
}

static void answer_selftest(uint8_t sequence)
{
    struct selftest test = selftest_run();
    wire_begin('T' | WIRE_REPLY, sequence, 16);
    wire_put_word(test.run);
    wire_put_word(test.passed);
    wire_put_word(test.timeouts);
    wire_put_word(test.cycles);
    wire_end();
}

/* Information is a text of "key value" lines. */
static void answer_info(uint8_t sequence)
{
    uint32_t length = 0;
    while (network_information[length])
        length++;
    wire_begin('I' | WIRE_REPLY, sequence, 4 + length);
    wire_put_word(stack_used());
    wire_put_text(network_information, length);
    wire_end();
}

static void answer_tensor(const struct wire_frame *frame)
{
    uint8_t byte;
    if (frame->length != NETWORK_INPUT_BYTES) {
        wire_fail(frame->sequence, WIRE_BAD_LENGTH, "the input tensor has another size");
        return;
    }
    cnn_run_begin();
    cnn_input_begin();
    for (uint32_t i = 0; i < NETWORK_INPUT_BYTES; i++) {
        if (!wire_take(&byte)) {
            cnn_start_up(); /* a network that waits for input starts anew */
            wire_fail(frame->sequence, WIRE_CUT_OFF, "the input ended early");
            return;
        }
        cnn_input_byte(byte);
    }
    int intact = wire_close();
    if (!intact && !NETWORK_FIFO) {
        wire_fail(frame->sequence, WIRE_BAD_CHECKSUM, "the input was damaged on the line");
        return;
    }
    if (cnn_run_end() != CNN_OK) {
        wire_fail(frame->sequence, WIRE_CNN_TIMEOUT, "the network did not finish");
        return;
    }
    if (!intact) {
        wire_fail(frame->sequence, WIRE_BAD_CHECKSUM, "the input was damaged on the line");
        return;
    }
    wire_begin('R' | WIRE_REPLY, frame->sequence, 4 + NETWORK_OUTPUT_BYTES);
    wire_put_word(cnn_cycles());
    cnn_output_bytes(wire_put);
    wire_end();
}

/* Flash, SRAM and the accelerator; anything else could hang the bus. */
static int readable(uint32_t address, uint32_t count)
{
    static const uint32_t ranges[][2] = {
        {0x10000000, 0x80000}, {0x20000000, 0x20000}, {0x50100000, 0x01400000}};
    if ((address | count) & 3)
        return 0;
    for (uint32_t i = 0; i < 3; i++)
        if (address >= ranges[i][0] && count <= ranges[i][1] &&
            address - ranges[i][0] <= ranges[i][1] - count)
            return 1;
    return 0;
}

static void answer_memory(uint8_t sequence, uint32_t address, uint32_t count)
{
    if (!readable(address, count)) {
        wire_fail(sequence, WIRE_BAD_ADDRESS, "not readable, or not a multiple of 4");
        return;
    }
    wire_begin('M' | WIRE_REPLY, sequence, count);
    for (uint32_t i = 0; i < count; i += 4)
        wire_put_word(REG32(address + i));
    wire_end();
}

#if NETWORK_DETECTS
static void send_detections(uint8_t type, uint8_t sequence)
{
    wire_begin(type, sequence, 16 + 24 * detector_last.count);
    wire_put_word(detector_last.number);
    wire_put_word(detector_last.times.cnn);
    wire_put_word(detector_last.times.frame);
    wire_put_word(detector_last.count);
    for (uint32_t i = 0; i < detector_last.count; i++) {
        const struct detection *what = &detector_last.found[i];
        wire_put_word(what->label);
        wire_put_word(what->score);
        wire_put_word((uint32_t)what->x1);
        wire_put_word((uint32_t)what->y1);
        wire_put_word((uint32_t)what->x2);
        wire_put_word((uint32_t)what->y2);
    }
    wire_end();
}

static void camera_frame_now(uint8_t type, uint8_t sequence, int framed)
{
    enum detector_result result = detector_run();
    if (result == DETECTOR_OK) {
        detector_print();
        if (framed)
            send_detections(type, sequence);
        return;
    }
    stream = STREAM_OFF;
    uart_text(result == DETECTOR_NO_CAMERA ? "error: no camera picture\r\n"
                                           : "error: CNN timeout\r\n");
    if (framed)
        wire_fail(sequence, result == DETECTOR_NO_CAMERA ? WIRE_NO_CAMERA : WIRE_CNN_TIMEOUT,
                  "no detections");
}
#else
static void camera_frame_now(uint8_t type, uint8_t sequence, int framed)
{
    (void)type;
    stream = STREAM_OFF;
    if (framed)
        wire_fail(sequence, WIRE_NO_CAMERA, "this network has no camera contract");
    else
        uart_text("error: this network has no camera contract\r\n");
}
#endif

static void answer(const struct wire_frame *frame, uint32_t first, uint32_t second)
{
    switch (frame->type) {
    case 'I':
        answer_info(frame->sequence);
        break;
    case 'T':
        answer_selftest(frame->sequence);
        break;
    case 'M':
        answer_memory(frame->sequence, first, second);
        break;
    case 'D':
        camera_frame_now('D' | WIRE_REPLY, frame->sequence, 1);
        break;
    case 'S':
    case 'X':
        stream = frame->type == 'S' ? STREAM_FRAMES : STREAM_OFF;
        wire_begin(frame->type | WIRE_REPLY, frame->sequence, 0);
        wire_end();
        break;
    default:
        wire_fail(frame->sequence, WIRE_UNKNOWN, "unknown command");
    }
}

/* Payloads other than tensors are at most two words. */
static void handle_frame(void)
{
    struct wire_frame frame;
    uint32_t words[2] = {0, 0};
    if (!wire_open(&frame))
        return;
    if (frame.type == 'R') {
        answer_tensor(&frame);
        return;
    }
    if (frame.length != (frame.type == 'M' ? 8U : 0U)) {
        wire_fail(frame.sequence, WIRE_BAD_LENGTH, "wrong payload length");
        return;
    }
    for (uint32_t i = 0; i < frame.length / 4; i++)
        if (!wire_take_word(&words[i]))
            return;
    if (wire_close())
        answer(&frame, words[0], words[1]);
    else
        wire_fail(frame.sequence, WIRE_BAD_CHECKSUM, "the command was damaged on the line");
}

/* For a person at a terminal. */
static void handle_letter(uint8_t letter)
{
    switch (letter) {
    case 't':
        protocol_report_selftest();
        break;
    case 'd':
        camera_frame_now(0, 0, 0);
        break;
    case 's':
        stream = STREAM_TEXT;
        break;
    case 'x':
        stream = STREAM_OFF;
        break;
    case '?':
        uart_text("t self-test, d one camera frame, s stream, x stop\r\n");
        break;
    default:
        break;
    }
}

void protocol_handle(void)
{
    uint8_t byte;
    if (!uart_get(&byte, 0))
        return;
    if (byte == WIRE_MAGIC0)
        handle_frame();
    else
        handle_letter(byte);
}

int protocol_streaming(void)
{
    return stream != STREAM_OFF;
}

void protocol_stream_text(void)
{
    stream = STREAM_TEXT;
}

void protocol_stream_frame(void)
{
    camera_frame_now('S' | WIRE_REPLY, 0, stream == STREAM_FRAMES);
}
