/* The CNN accelerator: power, weights, input, run, output. */
#ifndef CNN_H
#define CNN_H

#include <stdint.h>

enum cnn_result { CNN_OK = 0, CNN_TIMEOUT = 1 };

void cnn_start_up(void);           /* power, clock, registers, kernels, biases */
void cnn_run_begin(void);          /* before the input: first half of a run */
void cnn_input_begin(void);        /* the next input byte is the first */
void cnn_input_byte(uint8_t byte); /* bytes in wire order */
void cnn_input_group(const uint8_t *bytes, uint32_t group); /* all bytes of one group */
enum cnn_result cnn_run_end(void); /* after the input: waits for the result */
uint32_t cnn_cycles(void);         /* of the last run, start to end */
void cnn_read_pixel(uint32_t output, uint32_t pixel, int32_t *values);
void cnn_output_bytes(void (*take)(uint8_t byte)); /* all outputs in wire order */

#endif
