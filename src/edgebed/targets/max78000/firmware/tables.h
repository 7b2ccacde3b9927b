/* The shape of the generated tables in network.c. */
#ifndef TABLES_H
#define TABLES_H

#include <stdint.h>

struct word_write {
    uint32_t address;
    uint32_t value;
};

/* One word of every group of the input, or of every pixel of an output. A group is one pixel, or
 * four consecutive pixels of each channel where the accelerator reads channel by channel. */
struct port {
    uint32_t address; /* of the first group's word; a FIFO's data register */
    uint16_t stride;  /* bytes from one group to the next; 0 for a FIFO */
    uint16_t start;   /* position of its first element in the group */
    uint8_t lanes;    /* bit i: byte i of the word carries an element */
    uint8_t full;     /* the bit of the FIFO status that says "wait"; 0 for memory */
};

struct output {
    const char *name;
    const struct port *ports;
    uint16_t ports_count;
    uint16_t channels;
    uint32_t pixels;
    uint8_t wide; /* 32-bit elements, one word a lane */
};

struct quadrant_biases {
    const int8_t *values;
    uint16_t count;
    uint16_t quadrant;
};

/* A self-test: xorshift32 makes the input bytes, the checksums are the interpreter's. */
struct test_vector {
    uint32_t seed;
    uint32_t output_crc;
    uint32_t detections_crc;
};

#endif
