/* Framed commands over the serial line. */
#include "wire.h"

#include "uart.h"

#define BYTE_TIMEOUT_MS 1000

static uint32_t received_crc, sent_crc;

/* CRC-32 of zlib and Ethernet, four bits at a time; start with 0. */
uint32_t crc32_step(uint32_t crc, uint8_t byte)
{
    static const uint32_t table[16] = {
        0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4,
        0x4DB26158, 0x5005713C, 0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C,
        0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C,
    };
    crc = ~crc ^ byte;
    crc = table[crc & 15] ^ crc >> 4;
    crc = table[crc & 15] ^ crc >> 4;
    return ~crc;
}

int wire_take(uint8_t *byte)
{
    if (!uart_get(byte, BYTE_TIMEOUT_MS))
        return 0;
    received_crc = crc32_step(received_crc, *byte);
    return 1;
}

int wire_take_word(uint32_t *word)
{
    uint8_t byte = 0;
    *word = 0;
    for (uint32_t shift = 0; shift < 32; shift += 8) {
        if (!wire_take(&byte))
            return 0;
        *word |= (uint32_t)byte << shift;
    }
    return 1;
}

int wire_open(struct wire_frame *frame)
{
    uint8_t magic;
    if (!uart_get(&magic, BYTE_TIMEOUT_MS) || magic != WIRE_MAGIC1)
        return 0;
    received_crc = 0;
    return wire_take(&frame->type) && wire_take(&frame->sequence) &&
           wire_take_word(&frame->length);
}

int wire_close(void)
{
    uint32_t expected = received_crc, sum;
    return wire_take_word(&sum) && sum == expected;
}

void wire_put(uint8_t byte)
{
    sent_crc = crc32_step(sent_crc, byte);
    uart_put(byte);
}

void wire_put_word(uint32_t word)
{
    for (uint32_t shift = 0; shift < 32; shift += 8)
        wire_put((uint8_t)(word >> shift));
}

void wire_put_text(const char *text, uint32_t length)
{
    while (length--)
        wire_put((uint8_t)*text++);
}

void wire_begin(uint8_t type, uint8_t sequence, uint32_t length)
{
    uart_put(WIRE_MAGIC0);
    uart_put(WIRE_MAGIC1);
    sent_crc = 0;
    wire_put(type);
    wire_put(sequence);
    wire_put_word(length);
}

void wire_end(void)
{
    uint32_t sum = sent_crc;
    wire_put_word(sum);
}

void wire_fail(uint8_t sequence, enum wire_error error, const char *text)
{
    uint32_t length = 0;
    while (text[length])
        length++;
    wire_begin(WIRE_ERROR, sequence, 1 + length);
    wire_put((uint8_t)error);
    wire_put_text(text, length);
    wire_end();
}
