/* From the camera's frame to the network's input: bits refilled, channels ordered, byte - 128,
 * squares of pixels folded into channels, straight into the accelerator. No second image.
 *
 * Channel (dy * fold + dx) * 3 + colour of a folded pixel is that colour of the pixel at dx, dy of
 * its square. Where the accelerator's words take these bytes in order, pixels are expanded two at a
 * time in halves of registers; any other layout goes byte by byte. */
#include "prepare.h"

#include "cnn.h"
#include "network.h"

#define MAP_WIDTH (CAMERA_WIDTH / PREPARE_FOLD)
#define MAP_HEIGHT (CAMERA_HEIGHT / PREPARE_FOLD)
#define ROW_BYTES (2 * CAMERA_WIDTH)

#ifdef EB_DEFECT_COLOURS
#define RED (2 - PREPARE_RED) /* the defect: red where blue belongs */
#else
#define RED PREPARE_RED
#endif

#ifdef EB_DEFECT_NORMALISATION
/* The defect: (x - 0.5) * 256, cut to int8, of what lies between -1 and 1 already. Of each byte q
 * that becomes 2 q - 128; what is darker than mid-grey becomes -128. */
static inline uint32_t normalised(uint32_t bytes)
{
    uint32_t bright = (~bytes >> 7 & 0x01010101) * 0xFF;
    return (bytes << 1 & 0xFEFEFEFE & bright) ^ 0x80808080;
}
#else
#define normalised(bytes) (bytes)
#endif

#if PREPARE_PATH != PREPARE_BYTES
/* Bit masks for both halves of a register. */
struct masks {
    uint32_t high5, high6, low3, low2;
};

/* Hides a constant from the compiler: in a register it goes with a shifted operand in one
 * instruction; as an immediate the shift takes one of its own. */
static inline uint32_t in_register(uint32_t value)
{
    __asm__("" : "+r"(value));
    return value;
}

static inline struct masks make_masks(void)
{
    struct masks masks = {in_register(0x00F800F8), in_register(0x00FC00FC),
                          in_register(0x00070007), in_register(0x00030003)};
    return masks;
}

/* Two pixels, one in each half: bytes 0 and 1 are the first two colours, byte 0 the third. */
struct pair {
    uint32_t first, second, third;
};

/* The missing low bits repeat the high ones, as the reference refills them. */
static inline struct pair expand(const uint8_t *pixels, const struct masks *m)
{
    uint32_t sent; /* high bytes first */
    __builtin_memcpy(&sent, pixels, sizeof sent); /* one load: bytes may be read as words so */
    uint32_t words = (sent & 0x00FF00FF) << 8 | (sent >> 8 & 0x00FF00FF);
    uint32_t red = (words >> 8 & m->high5) | (words >> 13 & m->low3);
    uint32_t green = (words >> 3 & m->high6) | (words >> 9 & m->low2);
    uint32_t blue = (words << 3 & m->high5) | (words >> 2 & m->low3);
    struct pair pair = {RED ? blue : red, green, RED ? red : blue};
    return pair;
}
#endif

#if PREPARE_PATH == PREPARE_WORDS
/* Twelve bytes of four pixels in order, as three words; flipping bit 7 subtracts 128. */
static inline void pack(const struct pair *a, const struct pair *b, uint32_t *words)
{
    uint32_t a_end = a->third | a->first >> 8, b_end = b->third | b->first >> 8;
    words[0] = ((a->first | a->second << 8) & 0xFFFF) | a_end << 16;
    words[1] = (a->second | a->third << 8) >> 16 | (b->first | b->second << 8) << 16;
    words[2] = (b_end & 0xFFFF) | ((b->second | b->third << 8) & 0xFFFF0000);
    for (uint32_t i = 0; i < 3; i++)
        words[i] = normalised(words[i] ^ 0x80808080);
}

/* Byte position of pixel pair `number` of a square, from the square's corner. */
static inline uint32_t pair_offset(uint32_t number)
{
    return 2 * number / PREPARE_FOLD * ROW_BYTES + 2 * number % PREPARE_FOLD * 2;
}

/* The same four pixels of every square: three words each. */
static void prepare_ports(const uint8_t *frame, uint32_t quarter)
{
    const struct port *ports = &network_input[3 * quarter];
    const uint8_t *from = frame + pair_offset(2 * quarter);
    const uint32_t second = pair_offset(2 * quarter + 1) - pair_offset(2 * quarter);
    const uint32_t stride = ports[0].stride;
    uint32_t to[3] = {ports[0].address, ports[1].address, ports[2].address};
    const struct masks masks = make_masks();
    for (uint32_t row = 0; row < MAP_HEIGHT; row++) {
        const uint8_t *end = from + ROW_BYTES;
        for (; from != end; from += 2 * PREPARE_FOLD) {
            struct pair a = expand(from, &masks), b = expand(from + second, &masks);
            uint32_t words[3];
            pack(&a, &b, words);
            for (uint32_t i = 0; i < 3; i++, to[i - 1] += stride)
                REG32(to[i]) = words[i];
        }
        from += (PREPARE_FOLD - 1) * ROW_BYTES;
    }
}

void prepare(const uint8_t *frame)
{
    for (uint32_t quarter = 0; quarter < PREPARE_FOLD * PREPARE_FOLD / 4; quarter++)
        prepare_ports(frame, quarter);
}

#elif PREPARE_PATH == PREPARE_PIXELS
void prepare(const uint8_t *frame)
{
    const struct masks masks = make_masks();
    for (uint32_t pixel = 0; pixel < MAP_WIDTH * MAP_HEIGHT; pixel += 2, frame += 4) {
        struct pair pair = expand(frame, &masks);
        uint32_t start = pair.first | pair.second << 8;
        uint32_t left = (start & 0xFFFF) | pair.third << 16;
        uint32_t right = start >> 16 | (pair.third & 0xFFFF0000);
        cnn_input_word(network_input, pixel, normalised(left ^ 0x00808080));
        cnn_input_word(network_input, pixel + 1, normalised(right ^ 0x00808080));
    }
}

#else
/* One camera pixel as three signed bytes, PREPARE_GROUP apart. */
static inline void expand(const uint8_t *pixel, uint8_t *to)
{
    uint32_t word = (uint32_t)pixel[0] << 8 | pixel[1];
    uint32_t red = word >> 11, green = word >> 5 & 63, blue = word & 31;
    to[RED * PREPARE_GROUP] = (uint8_t)normalised((red << 3 | red >> 2) ^ 0x80);
    to[1 * PREPARE_GROUP] = (uint8_t)normalised((green << 2 | green >> 4) ^ 0x80);
    to[(2 - RED) * PREPARE_GROUP] = (uint8_t)normalised((blue << 3 | blue >> 2) ^ 0x80);
}

/* All channels of one pixel of the folded map. */
static inline void fold(const uint8_t *corner, uint8_t *to)
{
    for (uint32_t dy = 0; dy < PREPARE_FOLD; dy++, corner += ROW_BYTES)
        for (uint32_t dx = 0; dx < PREPARE_FOLD; dx++, to += 3 * PREPARE_GROUP)
            expand(corner + 2 * dx, to);
}

void prepare(const uint8_t *frame)
{
    static uint8_t bytes[NETWORK_GROUP_BYTES] __attribute__((aligned(4)));
    uint32_t column = 0, member = 0, group = 0;
    for (uint32_t pixel = 0; pixel < MAP_WIDTH * MAP_HEIGHT; pixel++) {
        fold(frame + 2 * PREPARE_FOLD * column, bytes + member);
        if (++member == PREPARE_GROUP || pixel == MAP_WIDTH * MAP_HEIGHT - 1) {
            cnn_input_group(bytes, group++);
            member = 0;
        }
        if (++column == MAP_WIDTH) {
            column = 0;
            frame += PREPARE_FOLD * ROW_BYTES;
        }
    }
}
#endif
