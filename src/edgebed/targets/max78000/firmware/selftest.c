/* Runs the plan's test vectors: pseudo-random inputs, checksums of what the reference computed. */
#include "selftest.h"

#include "cnn.h"
#include "network.h"
#include "wire.h"
#if NETWORK_DETECTS
#include "detector.h"
#endif

static uint32_t output_crc;

static void add_output(uint8_t byte)
{
    output_crc = crc32_step(output_crc, byte);
}

static void add_input(uint32_t seed)
{
    uint32_t state = seed;
    cnn_input_begin();
    for (uint32_t i = 0; i < NETWORK_INPUT_BYTES; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        cnn_input_byte((uint8_t)(state >> 24));
    }
}

#if NETWORK_DETECTS
static void add_word(uint32_t *crc, uint32_t word)
{
    for (uint32_t shift = 0; shift < 32; shift += 8)
        *crc = crc32_step(*crc, (uint8_t)(word >> shift));
}

/* Checksum over label, score and corners of every detection, 32 bits each. */
static uint32_t detections_crc(void)
{
    uint32_t crc = 0;
    detector_decode();
    for (uint32_t i = 0; i < detector_last.count; i++) {
        const struct detection *what = &detector_last.found[i];
        add_word(&crc, what->label);
        add_word(&crc, what->score);
        add_word(&crc, (uint32_t)what->x1);
        add_word(&crc, (uint32_t)what->y1);
        add_word(&crc, (uint32_t)what->x2);
        add_word(&crc, (uint32_t)what->y2);
    }
    return crc;
}
#else
static uint32_t detections_crc(void)
{
    return 0;
}
#endif

struct selftest selftest_run(void)
{
    struct selftest result = {0, 0, 0, 0};
    /* != and not <: a compiler may object to a number below 0 */
    for (; result.run != NETWORK_TESTS; result.run++) {
        const struct test_vector *test = &network_tests[result.run];
        cnn_run_begin();
        add_input(test->seed);
        if (cnn_run_end() != CNN_OK) {
            result.timeouts++;
            continue;
        }
        result.cycles = cnn_cycles();
        output_crc = 0;
        cnn_output_bytes(add_output);
        if (output_crc == test->output_crc && detections_crc() == test->detections_crc)
            result.passed++;
    }
    return result;
}
