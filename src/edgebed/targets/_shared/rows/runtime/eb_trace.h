/* Records of what a network does, for a serial line or a file: its inputs and outputs (EB_TRACE 1),
   statistics of what each layer wrote (2), or all of it (3). Included once by each generated
   network that is compiled so; nothing is kept but sums, and a record leaves as it is made.

   A record is EB 7C, its type, a byte that tells networks on one line apart, the frame's number
   (16 bits), bytes of payload (16 bits), the payload, and the CRC-32 (zlib's) of all from the type
   on. Numbers are little-endian. Whatever else is on the line is passed over by the reader.

   R  raw       bytes (u32), then "name\0type height x width ..."; Q records follow
   Q  raw       offset (u32), bytes
   U  sensor    value (i32), name
   N  note      "name\0text"
   F  begin     format 1, level, unit of the clock (0 none, 1 cycles, 2 nanoseconds, 3 ticks), 0,
                16 digits of the network's digest, the clock's rate in Hz (u32; 0 unknown)
   I  input     number (u16), 0 (u16), offset (u32), bytes
   L  layer     stage (u16), step (u16), offset in what the step wrote (u32), bytes
   O  output    as I
   S  sums      stage, or 0x8000 + input (u16), kind (u8), 0 (u8), values (u32), of them zeros, at
                the low end, at the high end (u32; reals: zeros, not finite, 0), least and largest
                (i32; f32), sum and sum of squares (i64, u64; f64); of bytes without sign less 128
   C  clock     first stage (u16), stages (u16), ticks of each (u32; the largest: that or more)
   E  end       records of this frame before it (u32), ticks of the run (u64) */
#ifndef EB_TRACE_H
#define EB_TRACE_H

#include <stdint.h>
#if defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

enum { EB_TRACE_PART = 1024, EB_TRACE_INPUT = 0x8000, EB_TRACE_ROWS = 0xFFFF };
enum { EB_TRACE_HIDDEN, EB_TRACE_I8, EB_TRACE_U8, EB_TRACE_I16, EB_TRACE_F32, EB_TRACE_OTHER };
enum { EB_TRACE_NO_CLOCK, EB_TRACE_CYCLES, EB_TRACE_NANOSECONDS, EB_TRACE_TICKS };

#if defined(__GNUC__)
#define EB_TRACE_APART static __attribute__((noinline)) /* small before fast */
#else
#define EB_TRACE_APART static
#endif

typedef void eb_trace_write(void *context, const void *bytes, uint32_t count);
typedef uint32_t eb_trace_now(void *context);

typedef struct {
    eb_trace_write *write;
    void *context;
    eb_trace_now *now;
    void *clock;
    uint32_t hz, unit, number, records, crc, mark;
    uint64_t ticks;
} eb_trace;

/* What is known of an input, an output, or what a stage writes. */
typedef struct {
    uint32_t offset, bytes; /* of an input or output in the arena */
    uint16_t id;            /* number of the stage, or of the input: EB_TRACE_INPUT + number */
    uint16_t last;          /* step after which it is whole; EB_TRACE_ROWS: each one writes a row */
    int16_t zero;           /* the stored integer that means 0.0 */
    uint8_t kind;
} eb_traced;

/* ---- records ---- */

#if defined(__ARM_FEATURE_CRC32)
EB_TRACE_APART uint32_t eb_trace_crc(uint32_t crc, const uint8_t *bytes, uint32_t count) {
    uint64_t word;
    for (; count >= sizeof word; count -= sizeof word, bytes += sizeof word) {
        __builtin_memcpy(&word, bytes, sizeof word);
        crc = __crc32d(crc, word);
    }
    while (count--) crc = __crc32b(crc, *bytes++);
    return crc;
}
#else
EB_TRACE_APART uint32_t eb_trace_crc(uint32_t crc, const uint8_t *bytes, uint32_t count) {
    static const uint32_t table[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
        0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
        0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu};
    for (uint32_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return crc;
}
#endif

EB_TRACE_APART void eb_trace_send(eb_trace *t, const void *bytes, uint32_t count) {
    t->crc = eb_trace_crc(t->crc, (const uint8_t *)bytes, count);
    if (count) t->write(t->context, bytes, count);
}

EB_TRACE_APART uint8_t *eb_trace_put(uint8_t *to, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) *to++ = (uint8_t)(value >> 8 * i);
    return to;
}

EB_TRACE_APART void eb_trace_open(eb_trace *t, char type, uint32_t length) {
    static const uint8_t start[2] = {0xEB, 0x7C};
    uint8_t head[6];
    t->write(t->context, start, 2);
    t->crc = 0xFFFFFFFFu;
    head[0] = (uint8_t)type, head[1] = EB_TRACE_NETWORK;
    eb_trace_put(eb_trace_put(head + 2, t->number, 2), length, 2);
    eb_trace_send(t, head, sizeof head);
}

EB_TRACE_APART void eb_trace_close(eb_trace *t) {
    uint8_t end[4];
    eb_trace_put(end, ~t->crc, 4);
    t->write(t->context, end, 4);
    t->records++;
}

/* Bytes of a tensor in parts, each behind the same four bytes and its offset. */
EB_TRACE_APART void eb_trace_bytes(eb_trace *t, char type, uint32_t place, uint32_t offset,
                                   const void *bytes, uint32_t count) {
    for (uint32_t at = 0; at < count; at += EB_TRACE_PART) {
        const uint32_t part = count - at < EB_TRACE_PART ? count - at : EB_TRACE_PART;
        uint8_t head[8];
        eb_trace_put(eb_trace_put(head, place, 4), offset + at, 4);
        eb_trace_open(t, type, sizeof head + part);
        eb_trace_send(t, head, sizeof head);
        eb_trace_send(t, (const uint8_t *)bytes + at, part);
        eb_trace_close(t);
    }
}

/* ---- what an application adds to the coming frame ---- */

static uint32_t eb_trace_length(const char *text) {
    uint32_t length = 0;
    while (text[length] && length < 255) length++;
    return length;
}

EB_TRACE_APART void eb_trace_pair(eb_trace *t, char type, uint32_t value, int bytes,
                                  const char *name, const char *text) {
    const uint32_t length = eb_trace_length(name), more = text ? eb_trace_length(text) : 0;
    uint8_t number[4];
    eb_trace_put(number, value, 4);
    eb_trace_open(t, type, (uint32_t)bytes + length + (text ? 1 + more : 0));
    eb_trace_send(t, number, (uint32_t)bytes);
    eb_trace_send(t, name, length);
    if (text) {
        eb_trace_send(t, "", 1);
        eb_trace_send(t, text, more);
    }
    eb_trace_close(t);
}

static void eb_trace_raw(eb_trace *t, const char *name, const char *type, const void *bytes,
                         uint32_t count) {
    eb_trace_pair(t, 'R', count, 4, name, type);
    for (uint32_t at = 0; at < count; at += EB_TRACE_PART) {
        const uint32_t part = count - at < EB_TRACE_PART ? count - at : EB_TRACE_PART;
        uint8_t head[4];
        eb_trace_put(head, at, 4);
        eb_trace_open(t, 'Q', sizeof head + part);
        eb_trace_send(t, head, sizeof head);
        eb_trace_send(t, (const uint8_t *)bytes + at, part);
        eb_trace_close(t);
    }
}

/* ---- clocks ---- */

#if defined(__ARM_ARCH_7EM__) || defined(__ARM_ARCH_7M__) || defined(__ARM_ARCH_8M_MAIN__) || \
    defined(__ARM_ARCH_8_1M_MAIN__)
#define EB_TRACE_REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

static uint32_t eb_trace_cycles(void *context) {
    (void)context;
    return EB_TRACE_REGISTER(0xE0001004u);
}

/* The core's cycle counter, where it has one: DEMCR, the lock of the M7's, DWT_CTRL. */
static void eb_trace_own_clock(eb_trace *t) {
    uint32_t first;
    EB_TRACE_REGISTER(0xE000EDFCu) |= 1u << 24;
    EB_TRACE_REGISTER(0xE0001FB0u) = 0xC5ACCE55u;
    EB_TRACE_REGISTER(0xE0001000u) |= 1u;
    first = eb_trace_cycles(0);
    for (volatile int i = 0; i < 16; i++) {}
    if (eb_trace_cycles(0) == first) return;
    t->now = eb_trace_cycles, t->unit = EB_TRACE_CYCLES;
}
#elif defined(__linux__) && (defined(__aarch64__) || defined(__arm__))
/* clock_gettime(CLOCK_MONOTONIC) without a C library. */
static long eb_trace_time(long *time) {
#if defined(__aarch64__)
    register long code __asm__("x8") = 113;
    register long r0 __asm__("x0") = 1;
    register long *r1 __asm__("x1") = time;
#else
    register long code __asm__("r7") = 263;
    register long r0 __asm__("r0") = 1;
    register long *r1 __asm__("r1") = time;
#endif
    __asm__ volatile("svc 0" : "+r"(r0) : "r"(code), "r"(r1) : "memory");
    return r0;
}

static uint32_t eb_trace_nanoseconds(void *context) {
    long time[2] = {0, 0};
    (void)context;
    eb_trace_time(time);
    return (uint32_t)time[0] * 1000000000u + (uint32_t)time[1];
}

static void eb_trace_own_clock(eb_trace *t) {
    long time[2];
    if (eb_trace_time(time)) return;
    t->now = eb_trace_nanoseconds, t->unit = EB_TRACE_NANOSECONDS, t->hz = 1000000000u;
}
#else
static void eb_trace_own_clock(eb_trace *t) { (void)t; }
#endif

static uint32_t eb_trace_mark(eb_trace *t) { return t->now ? t->now(t->clock) : 0; }

static void eb_trace_set(eb_trace *t, eb_trace_write *write, void *context) {
    t->write = write, t->context = context;
    t->records = 0;
    if (write && !t->now) eb_trace_own_clock(t);
}

static void eb_trace_set_clock(eb_trace *t, eb_trace_now *now, void *context, uint32_t hz) {
    t->hz = hz;
    if (!now) return; /* the rate of the core's own */
    t->now = now, t->clock = context, t->unit = EB_TRACE_TICKS;
}

/* ---- a frame ---- */

static void eb_trace_head(eb_trace *t, const char *digest) {
    uint8_t word[4];
    eb_trace_open(t, 'F', 24);
    eb_trace_put(word, 1u | (uint32_t)EB_TRACE << 8 | t->unit << 16, 4);
    eb_trace_send(t, word, 4);
    eb_trace_send(t, digest, 16);
    eb_trace_put(word, t->hz, 4);
    eb_trace_send(t, word, 4);
    eb_trace_close(t);
}

static void eb_trace_tail(eb_trace *t) {
    uint8_t end[12];
    eb_trace_put(eb_trace_put(end, t->records, 4), t->ticks, 8);
    eb_trace_open(t, 'E', sizeof end);
    eb_trace_send(t, end, sizeof end);
    eb_trace_close(t);
    t->number++;
    t->records = 0;
}

#if EB_TRACE == 2
#include "eb_trace_sums.h"
#endif

#endif
