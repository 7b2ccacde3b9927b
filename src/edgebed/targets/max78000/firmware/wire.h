/* Framed commands over the serial line; the format is in docs/max78000-uart.md. */
#ifndef WIRE_H
#define WIRE_H

#include <stdint.h>

#define WIRE_MAGIC0 0xEB
#define WIRE_MAGIC1 0xED
#define WIRE_REPLY 0x80
#define WIRE_ERROR 0xFF

enum wire_error {
    WIRE_BAD_CHECKSUM = 1,
    WIRE_UNKNOWN = 2,
    WIRE_BAD_LENGTH = 3,
    WIRE_CUT_OFF = 4,
    WIRE_CNN_TIMEOUT = 5,
    WIRE_NO_CAMERA = 6,
    WIRE_BAD_ADDRESS = 7,
};

struct wire_frame {
    uint8_t type;
    uint8_t sequence;
    uint32_t length; /* of the payload, which has not been read yet */
};

uint32_t crc32_step(uint32_t crc, uint8_t byte);

int wire_open(struct wire_frame *frame); /* after the first magic byte; 0 = no frame */
int wire_take(uint8_t *byte);            /* next payload byte; 0 = cut off */
int wire_take_word(uint32_t *word);
int wire_close(void);                    /* checks the sum; 0 = wrong */

void wire_begin(uint8_t type, uint8_t sequence, uint32_t length);
void wire_put(uint8_t byte);
void wire_put_word(uint32_t word);
void wire_put_text(const char *text, uint32_t length);
void wire_end(void);
void wire_fail(uint8_t sequence, enum wire_error error, const char *text);

#endif
