#include "packet.h"

#include "uart.h"

enum { START_0 = 0xEB, START_1 = 0xED };

static uint32_t crc;

/* CRC-32 of Ethernet and zip, four bits at a time. */
static uint8_t summed(uint8_t byte)
{
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
        0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    crc ^= byte;
    crc = crc >> 4 ^ table[crc & 15];
    crc = crc >> 4 ^ table[crc & 15];
    return byte;
}

static void send(uint8_t byte)
{
    uart_put(summed(byte));
}

void packet_begin(uint8_t type, uint8_t number, uint32_t length)
{
    crc = 0xffffffffu;
    send(START_0);
    send(START_1);
    send(type);
    send(number);
    send((uint8_t)length);
    send((uint8_t)(length >> 8));
}

void packet_bytes(const void *data, uint32_t count)
{
    const uint8_t *bytes = data;
    for (uint32_t i = 0; i < count; i++)
        send(bytes[i]);
}

void packet_word(uint32_t value)
{
    for (int32_t shift = 0; shift < 32; shift += 8)
        send((uint8_t)(value >> shift));
}

void packet_end(void)
{
    packet_word(~crc);
}

uint32_t packet_crc(const void *data, uint32_t count)
{
    const uint8_t *bytes = data;
    crc = 0xffffffffu;
    for (uint32_t i = 0; i < count; i++)
        summed(bytes[i]);
    return ~crc;
}

uint32_t packet_read_word(const packet *from, uint32_t at)
{
    const uint8_t *p = from->payload + at;
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The rest of what is no packet: nothing in it may be taken for the start of the next. */
static enum reason drained(enum reason reason)
{
    while (reason != CUT && uart_get() >= 0) {
    }
    return reason;
}

static int32_t next(uint8_t *to)
{
    int32_t byte = uart_get();
    if (byte < 0)
        return 0;
    *to = summed((uint8_t)byte);
    return 1;
}

enum reason packet_receive(packet *into)
{
    uint8_t start = uart_wait(), head[5];
    crc = 0xffffffffu;
    if (summed(start) != START_0)
        return drained(BAD_START);
    for (uint32_t i = 0; i < sizeof head; i++)
        if (!next(&head[i]))
            return CUT;
    if (head[0] != START_1)
        return drained(BAD_START);
    into->type = head[1];
    into->number = head[2];
    into->length = (uint16_t)(head[3] | head[4] << 8);
    if (into->length > PAYLOAD_BYTES)
        return drained(TOO_LONG);
    for (uint32_t i = 0; i < into->length; i++)
        if (!next(&into->payload[i]))
            return CUT;
    uint32_t expected = ~crc;
    for (uint32_t i = 0; i < 4; i++)
        if (!next(&into->payload[into->length + i]))
            return CUT;
    return packet_read_word(into, into->length) == expected ? GOOD : drained(BAD_CRC);
}
