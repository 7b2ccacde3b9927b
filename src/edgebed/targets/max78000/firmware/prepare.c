/* From the camera's frame to the network's input: bits refilled, channels ordered, byte - 128,
 * squares of pixels folded into channels, straight into the accelerator. No second image. */
#include "prepare.h"

#include "cnn.h"
#include "network.h"

#define MAP_WIDTH (CAMERA_WIDTH / PREPARE_FOLD)
#define MAP_PIXELS (MAP_WIDTH * (CAMERA_HEIGHT / PREPARE_FOLD))

/* One camera pixel as three signed bytes, PREPARE_GROUP apart. The missing low bits repeat the
 * high ones, as the reference refills them; flipping bit 7 subtracts 128. */
static inline void expand(const uint8_t *pixel, uint8_t *to)
{
    uint32_t word = (uint32_t)pixel[0] << 8 | pixel[1];
    uint32_t red = word >> 11, green = word >> 5 & 63, blue = word & 31;
    to[PREPARE_RED * PREPARE_GROUP] = (uint8_t)((red << 3 | red >> 2) ^ 0x80);
    to[1 * PREPARE_GROUP] = (uint8_t)((green << 2 | green >> 4) ^ 0x80);
    to[(2 - PREPARE_RED) * PREPARE_GROUP] = (uint8_t)((blue << 3 | blue >> 2) ^ 0x80);
}

/* All channels of one pixel of the folded map: channel (dy * fold + dx) * 3 + colour. */
static inline void fold(const uint8_t *corner, uint8_t *to)
{
    for (uint32_t dy = 0; dy < PREPARE_FOLD; dy++, corner += 2 * CAMERA_WIDTH)
        for (uint32_t dx = 0; dx < PREPARE_FOLD; dx++, to += 3 * PREPARE_GROUP)
            expand(corner + 2 * dx, to);
}

void prepare(const uint8_t *frame)
{
    static uint8_t bytes[NETWORK_GROUP_BYTES] __attribute__((aligned(4)));
    uint32_t column = 0, member = 0, group = 0;
    for (uint32_t pixel = 0; pixel < MAP_PIXELS; pixel++) {
        fold(frame + 2 * PREPARE_FOLD * column, bytes + member);
        if (++member == PREPARE_GROUP || pixel == MAP_PIXELS - 1) {
            cnn_input_group(bytes, group++);
            member = 0;
        }
        if (++column == MAP_WIDTH) {
            column = 0;
            frame += 2 * PREPARE_FOLD * CAMERA_WIDTH;
        }
    }
}
