/* The CNN accelerator: power, weights, input, run, output. */
#ifndef CNN_H
#define CNN_H

#include <stdint.h>

#include "network.h"
#include "registers.h"

enum cnn_result { CNN_OK = 0, CNN_TIMEOUT = 1 };

void cnn_start_up(void);           /* power, clock, registers, kernels, biases */
void cnn_run_begin(void);          /* before the input: first half of a run */
void cnn_input_begin(void);        /* the next input byte is the first */
void cnn_input_byte(uint8_t byte); /* bytes in wire order */
enum cnn_result cnn_run_end(void); /* after the input: waits for the result */
uint32_t cnn_cycles(void);         /* of the last run, start to end */
void cnn_read_pixel(uint32_t output, uint32_t pixel, int32_t *values);
void cnn_output_bytes(void (*take)(uint8_t byte)); /* all outputs in wire order */

/* Hands one word to the accelerator: into data memory, or into a FIFO once it has room. */
static inline void cnn_input_word(const struct port *port, uint32_t group, uint32_t word)
{
    if (NETWORK_FIFO)
        while (CNN_FIFO_STATUS & port->full)
            ;
    REG32(port->address + group * port->stride) = word;
}

/* Hands over all bytes of one group. Here, not in cnn.c, because it is the innermost loop of the
 * camera path: where all words use the same lanes, the compiler unrolls it. */
static inline void cnn_input_group(const uint8_t *bytes, uint32_t group)
{
    for (uint32_t i = 0; i < NETWORK_INPUT_PORTS; i++) {
        const struct port *port = &network_input[i];
        const uint8_t *from = bytes + port->start;
        uint32_t lanes = NETWORK_INPUT_LANES ? NETWORK_INPUT_LANES : port->lanes;
        uint32_t word = 0;
        for (uint32_t lane = 0; lane < 4; lane++)
            if (lanes >> lane & 1)
                word |= (uint32_t)*from++ << 8 * lane;
        cnn_input_word(port, group, word);
    }
}

#endif
