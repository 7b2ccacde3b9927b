/* Packets on the serial line.

   0xEB 0xED, type, number, length (16 bits), payload, CRC-32 of all before it, little-endian.
   A packet is acted on when all of it has arrived and its CRC is right, or not at all. */
#ifndef PACKET_H
#define PACKET_H

#include <stdint.h>

enum { PAYLOAD_BYTES = 520 };

enum reason {
    GOOD,
    BAD_START,  /* something else than a packet */
    CUT,        /* the line fell silent within a packet */
    BAD_CRC,    /* bytes were changed on the way */
    TOO_LONG,   /* more than PAYLOAD_BYTES */
    BAD_TYPE,   /* no such command, or not now */
    BAD_ORDER,  /* input that does not follow on what came before it: after a reset, for example */
    INCOMPLETE, /* run without all inputs, output without a run */
    BAD_RANGE,  /* no such tensor, or not so long */
    FAULT       /* the processor stopped */
};

typedef struct {
    uint8_t type, number;
    uint16_t length;
    uint8_t payload[PAYLOAD_BYTES + 4] __attribute__((aligned(4)));
} packet;

/* Waits for a packet. What is not one is read until the line is silent. */
enum reason packet_receive(packet *into);

/* Sends one in parts: what packet_send would, from payloads that lie elsewhere. */
void packet_begin(uint8_t type, uint8_t number, uint32_t length);
void packet_bytes(const void *data, uint32_t count);
void packet_word(uint32_t value);
void packet_end(void);

/* CRC-32 of some memory. */
uint32_t packet_crc(const void *data, uint32_t count);

uint32_t packet_read_word(const packet *from, uint32_t at);

#endif
