/* Counts of tensors that add up over frames: what a device can afford to report of them. C99, no
   libc. Included once by NAME_sketch.c, which knows the network's tensors. */
#ifndef EB_SKETCH_H
#define EB_SKETCH_H

#include <stdint.h>

enum { EB_SKETCH_VERSION = 1, EB_SKETCH_BINS = 32 };

/* What the network's author knows of a tensor. */
typedef struct {
    uint32_t name;   /* CRC-32 of what the profile calls it */
    uint32_t offset; /* in the arena, of an input that lies there before the run */
    uint32_t values; /* of a frame */
    int32_t stage;   /* that writes it; -1 for such an input */
    int32_t last;    /* step of that stage */
    uint8_t width;   /* bytes of a value: 1 or 2 */
    uint8_t sign;    /* 0x80 where the least integer's highest bit is set, else 0 */
    uint8_t adds;    /* every step adds to it: it is complete after the last one */
} eb_sketch_tensor;

/* The packet, in place: little-endian words, as the processor has them. */
typedef struct {
    uint32_t name, frames, at_low, at_high;
    uint32_t full; /* counting has ended because a counter could not hold one frame more */
    uint32_t bins[EB_SKETCH_BINS];
} eb_sketch;

typedef struct {
    uint8_t magic[4];
    uint16_t version, tensors;
    uint32_t crc; /* of all sketches */
    eb_sketch sketches[];
} eb_sketch_packet;

typedef struct {
    eb_sketch_packet *packet;
    const uint16_t *watched; /* numbers of tensors, one for each sketch */
    uint32_t given;          /* the packet was handed out: the next frame begins new counts */
} eb_sketch_state;

static uint32_t eb_sketch_crc(const uint8_t *data, uint32_t bytes) {
    uint32_t crc = 0xFFFFFFFFu;
    while (bytes--) {
        crc ^= *data++;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1u ? 0xEDB88320u : 0u);
    }
    return ~crc;
}

static void eb_sketch_clear(eb_sketch_state *state, const eb_sketch_tensor *tensors) {
    eb_sketch_packet *packet = state->packet;
    for (uint32_t i = 0; i < packet->tensors; i++) {
        uint32_t *words = &packet->sketches[i].name;
        for (uint32_t word = 0; word < sizeof(eb_sketch) / 4u; word++) words[word] = 0;
        packet->sketches[i].name = tensors[state->watched[i]].name;
    }
    state->given = 0;
}

static void eb_sketch_begin(eb_sketch_state *state, const eb_sketch_tensor *tensors, void *memory,
                            const uint16_t *watched, uint32_t count) {
    eb_sketch_packet *packet = memory;
    packet->magic[0] = 'E', packet->magic[1] = 'B', packet->magic[2] = 'S', packet->magic[3] = 'K';
    packet->version = EB_SKETCH_VERSION;
    packet->tensors = (uint16_t)count;
    state->packet = packet;
    state->watched = watched;
    eb_sketch_clear(state, tensors);
}

/* Adds values. The highest byte decides in which of the 32 bins a value falls. */
static void eb_sketch_add(eb_sketch *sketch, const eb_sketch_tensor *tensor, const uint8_t *from,
                          uint32_t bytes) {
    const uint32_t width = tensor->width, top = width - 1u;
    for (uint32_t at = 0; at < bytes; at += width) {
        const uint32_t high = from[at + top] ^ tensor->sign;
        const uint32_t low = top ? from[at] : high;
        sketch->bins[high >> 3]++;
        sketch->at_low += !(high | low);
        sketch->at_high += (high & low) == 255u;
    }
}

static void eb_sketch_end_frame(eb_sketch *sketch, const eb_sketch_tensor *tensor) {
    sketch->frames++;
    for (int bin = 0; bin < EB_SKETCH_BINS; bin++)
        if (sketch->bins[bin] > UINT32_MAX - tensor->values) sketch->full = 1;
}

/* A step of a stage, or before the run with stage -1 and the arena for `out`, all inputs. */
static void eb_sketch_step(eb_sketch_state *state, const eb_sketch_tensor *tensors, int32_t stage,
                           int32_t step, const uint8_t *out, uint32_t bytes) {
    eb_sketch_packet *packet = state->packet;
    if (!packet) return;
    if (state->given) eb_sketch_clear(state, tensors);
    for (uint32_t i = 0; i < packet->tensors; i++) {
        const eb_sketch_tensor *tensor = &tensors[state->watched[i]];
        eb_sketch *sketch = &packet->sketches[i];
        if (tensor->stage != stage || sketch->full) continue;
        if (stage < 0)
            eb_sketch_add(sketch, tensor, out + tensor->offset, tensor->values * tensor->width);
        else if (!tensor->adds || step == tensor->last)
            eb_sketch_add(sketch, tensor, out, bytes);
        if (stage < 0 || step == tensor->last) eb_sketch_end_frame(sketch, tensor);
    }
}

static const void *eb_sketch_give(eb_sketch_state *state, uint32_t *bytes) {
    eb_sketch_packet *packet = state->packet;
    const uint32_t body = packet->tensors * (uint32_t)sizeof(eb_sketch);
    packet->crc = eb_sketch_crc((const uint8_t *)packet->sketches, body);
    state->given = 1;
    *bytes = (uint32_t)sizeof(eb_sketch_packet) + body;
    return packet;
}

#endif
