/* The CNN accelerator: power, weights, input, run, output. The tables in network.c say what goes
 * where; nothing here knows the network. */
#include "cnn.h"

#include "network.h"
#include "registers.h"
#include "system.h"

static volatile int done;
static volatile uint32_t done_at;
static uint32_t started_at;

static uint8_t input_bytes[NETWORK_GROUP_BYTES] __attribute__((aligned(4)));
static uint32_t input_count, input_group;

void cnn_handler(void);

static void write_all(const struct word_write *writes, uint32_t count)
{
    for (; count; count--, writes++)
        REG32(writes->address) = writes->value;
}

/* Power, clock and reset of all quadrants, in the order that the chip requires. */
static void power_on(void)
{
    GCR_PCLKDIS0 |= PCLKDIS0_CNN;
    GCFR_RESET = 0xF;
    GCFR_MEMORY = 0xF;
    GCFR_POWER = 0xF;
    GCFR_ISOLATE = 0;
    GCFR_RESET = 0;
    GCR_PCLKDIV = (GCR_PCLKDIV & ~PCLKDIV_CNN_MASK) | PCLKDIV_CNN_PCLK_DIV1;
    GCR_PCLKDIS0 &= ~PCLKDIS0_CNN;
    CNN_AON = 0;
}

#ifdef EB_DEFECT_WEIGHTS
/* The defect: weights of another checkpoint. They are near the right ones, and the same at every
 * start; a weight of zero stays zero, because unused places must. */
static uint32_t of_another_checkpoint(uint32_t word, uint32_t *state)
{
    uint32_t used = 0;
    for (uint32_t lane = 0; lane < 32; lane += 8)
        used |= word >> lane & 0xFF ? 0x0FU << lane : 0;
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return word ^ (*state & used);
}
#define WEIGHTS(word) of_another_checkpoint(word, &state)
#else
#define WEIGHTS(word) (word)
#endif

/* Compressed kernel load: a byte write selects the first column, the words follow. */
static void load_kernels(void)
{
#ifdef EB_DEFECT_WEIGHTS
    uint32_t state = 1;
#endif
    const uint32_t *from = network_kernels;
    while (*from) {
        uint32_t address = *from++;
        uint32_t count = *from++;
        REG8(address | 1) = 1;
        for (; count; count--, address += 4)
            REG32(address) = WEIGHTS(*from++);
    }
}

#ifndef EB_DEFECT_BIASES
/* Without this step every bias keeps what the memory held at power-up. */
static void load_biases(void)
{
    for (uint32_t i = 0; i < NETWORK_BIAS_BLOCKS; i++) {
        const struct quadrant_biases *block = &network_biases[i];
        uint32_t address = CNN_BIAS_ADDRESS(block->quadrant);
        for (uint32_t j = 0; j < block->count; j++, address += 4)
            REG32(address) = (uint8_t)block->values[j];
    }
}
#endif

static void configure(void)
{
    write_all(network_init, NETWORK_INIT_WRITES);
}

void cnn_start_up(void)
{
    power_on();
    configure();
    load_kernels();
#ifndef EB_DEFECT_BIASES
    load_biases();
#endif
    write_all(network_config, NETWORK_CONFIG_WRITES);
}

static void start(void)
{
    done = 0;
    started_at = timer_now();
    write_all(network_start, NETWORK_START_WRITES);
}

/* Interrupt 101: the last layer is complete. */
void cnn_handler(void)
{
    uint32_t clear = CNN_CTL_DONE | CNN_CTL_ENABLE | (NETWORK_STREAMS ? CNN_CTL_STREAM : 0);
    done_at = timer_now();
    for (uint32_t quadrant = 0; quadrant < 4; quadrant++)
        if (NETWORK_QUADRANTS >> quadrant & 1)
            CNN_CTL(quadrant) &= ~clear;
    done = 1;
}

static int is_done(void)
{
    return done;
}

/* FIFOs and streams keep positions, so those networks are configured anew; with FIFOs the network
 * also starts first and takes its input as it comes. */
void cnn_run_begin(void)
{
    if (NETWORK_STREAMS || NETWORK_FIFO) {
        configure();
        write_all(network_config, NETWORK_CONFIG_WRITES);
    }
    if (NETWORK_FIFO)
        start();
}

enum cnn_result cnn_run_end(void)
{
    if (!NETWORK_FIFO)
        start();
    if (sleep_until(is_done, IRQ_CNN, NETWORK_TIMEOUT_MS))
        return CNN_OK;
    cnn_start_up();
    return CNN_TIMEOUT;
}

uint32_t cnn_cycles(void)
{
    return done_at - started_at;
}

void cnn_input_begin(void)
{
    input_count = input_group = 0;
}

void cnn_input_byte(uint8_t byte)
{
    input_bytes[input_count++] = byte;
    if (input_count < NETWORK_GROUP_BYTES)
        return;
    cnn_input_group(input_bytes, input_group++);
    input_count = 0;
}

/* Reads all channels of one pixel of an output. */
void cnn_read_pixel(uint32_t output, uint32_t pixel, int32_t *values)
{
    const struct output *from = &network_outputs[output];
    for (uint32_t i = 0; i < from->ports_count; i++) {
        const struct port *port = &from->ports[i];
        uint32_t address = port->address + pixel * port->stride;
        uint32_t word = from->wide ? 0 : REG32(address);
        for (uint32_t lane = 0; lane < 4; lane++) {
            if (!(port->lanes >> lane & 1))
                continue;
            if (from->wide)
                *values++ = (int32_t)REG32(address + 4 * lane);
            else
                *values++ = (int8_t)(word >> 8 * lane);
        }
    }
}

void cnn_output_bytes(void (*take)(uint8_t byte))
{
    static int32_t values[NETWORK_MOST_OUTPUT_CHANNELS];
    for (uint32_t i = 0; i < NETWORK_OUTPUTS; i++) {
        const struct output *from = &network_outputs[i];
        for (uint32_t pixel = 0; pixel < from->pixels; pixel++) {
            cnn_read_pixel(i, pixel, values);
            for (uint32_t channel = 0; channel < from->channels; channel++)
                for (uint32_t shift = 0; shift < (from->wide ? 32U : 8U); shift += 8)
                    take((uint8_t)((uint32_t)values[channel] >> shift));
        }
    }
}
