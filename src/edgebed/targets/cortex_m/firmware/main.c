/* Serves the network over the serial line: inputs in, outputs out. network.h says what the network
   offers. Words have 32 bits; A(value) and N(reason) answer what has no other answer.

   H                         H(version, inputs, outputs, arena bytes, digest, bytes of each input,
                             rows of each input, bytes of each output, name)
   I(input, offset, data)    A(bytes taken): parts of an input, in order
   P(input)                  A(address): where a debugger may put the whole input instead ...
   L(input, CRC-32)          A(0): ... and says so
   R                         A(bytes of stack): runs the network
   O(output, offset, bytes)  O(data)
   S                         A(0), or A(number of the first known answer that differs)

   While a network runs that takes its input row by row, it asks
   W(input, row, offset, bytes, address)    D(data), or D() where a debugger put it there

   Compiled with -DEB_OBSERVE=network_observed it shows what each step of the network wrote:
   T(stage, step, offset, data)             D() once there is room for more */
#include <stdint.h>

#include "board.h"
#include "network.h"
#include "packet.h"
#include "uart.h"

extern uint32_t stack_bottom[];

void network_call(void);
void network_end(void);
void measured_run(void);
void network_fetch(void *context, int32_t input, int32_t row, void *to);
void network_fetched(void);
uint32_t run(void);
void report_fault(void);

enum { VERSION = 1, PAINT = 0xA5A5A5A5u };

static uint8_t arena[NETWORK_ARENA_BYTES] __attribute__((aligned(16), section(".arena")));
static const uint32_t input_bytes[] = NETWORK_INPUT_BYTES;
static const uint32_t input_rows[] = NETWORK_INPUT_ROWS; /* 0: the whole tensor at once */
static const uint32_t output_bytes[] = NETWORK_OUTPUT_BYTES;

static packet received;
static uint32_t arrived[NETWORK_INPUTS]; /* bytes of each input */
static uint32_t answered;                /* outputs of a whole run are there */
static enum reason trouble;              /* while rows came */

static void refuse(enum reason reason)
{
    packet_begin('N', received.number, 4);
    packet_word(reason);
    packet_end();
}

static void accept(uint32_t value)
{
    packet_begin('A', received.number, 4);
    packet_word(value);
    packet_end();
}

__attribute__((noreturn, used)) void report_fault(void)
{
    refuse(FAULT);
    for (;;)
        uart_sleep();
}

static void forget(void)
{
    answered = 0;
    for (uint32_t i = 0; i < NETWORK_INPUTS; i++)
        arrived[i] = 0;
}

/* ---- running ---- */

#if NETWORK_FETCHED
/* Asks for one part of a row and copies it; what arrives instead ends the run with a refusal. */
static void fetch(uint32_t input, uint32_t row, uint32_t offset, uint32_t count, uint8_t *to)
{
    packet_begin('W', received.number, 20);
    packet_word(input);
    packet_word(row);
    packet_word(offset);
    packet_word(count);
    packet_word((uint32_t)(uintptr_t)to);
    packet_end();
    trouble = packet_receive(&received);
    if (!trouble && (received.type != 'D' || (received.length && received.length != count)))
        trouble = BAD_TYPE;
    for (uint32_t i = 0; !trouble && i < received.length; i++)
        to[i] = received.payload[i];
}

__attribute__((noinline, used)) void network_fetch(void *context, int32_t input, int32_t row,
                                                   void *to)
{
    uint32_t size = input_bytes[input] / input_rows[input];
    (void)context;
    for (uint32_t at = 0; at < size && !trouble; at += ROW_PART) {
        uint32_t count = size - at < ROW_PART ? size - at : ROW_PART;
        fetch((uint32_t)input, (uint32_t)row, at, count, (uint8_t *)to + at);
    }
}

__attribute__((noinline, used)) void network_fetched(void)
{
    __asm volatile("" ::: "memory");
}

/* The virtual board leaves out what runs between the entries of the two: on a real one rows come
   from a camera, not over the serial line. */
#define UNUSED __attribute__((unused))
__attribute__((naked, noinline, used)) static void read_row(UNUSED void *context,
                                                            UNUSED int32_t input,
                                                            UNUSED int32_t row, UNUSED void *to)
{
    __asm volatile(".syntax unified\n"
                   "push {r4, lr}\n"
                   "bl network_fetch\n"
                   "bl network_fetched\n"
                   "pop {r4, pc}\n");
}
#endif

#ifdef EB_OBSERVE
enum { SEEN_PART = 496 };

static uint32_t watched; /* no self-test, whose caller expects no packets */

static void show(uint32_t stage, uint32_t step, uint32_t offset, const uint8_t *from,
                 uint32_t count)
{
    packet_begin('T', received.number, 12 + count);
    packet_word(stage);
    packet_word(step);
    packet_word(offset);
    packet_bytes(from, count);
    packet_end();
    trouble = packet_receive(&received);
    if (!trouble && received.type != 'D')
        trouble = BAD_TYPE;
}

void EB_OBSERVE(int32_t stage, int32_t step, const void *out, uint32_t bytes)
{
    for (uint32_t at = 0; watched && !trouble && at < bytes; at += SEEN_PART) {
        uint32_t count = bytes - at < SEEN_PART ? bytes - at : SEEN_PART;
        show((uint32_t)stage, (uint32_t)step, at, (const uint8_t *)out + at, count);
    }
}
#endif

/* It counts instructions from the entry of this function ... */
__attribute__((noinline, used)) void network_call(void)
{
#if NETWORK_FETCHED
    network_run(arena, read_row, 0);
#else
    network_run(arena);
#endif
}

/* ... to the entry of this one, and takes one off for the call. */
__attribute__((noinline, used)) void network_end(void)
{
    __asm volatile("" ::: "memory");
}

__attribute__((naked, noinline, used)) void measured_run(void)
{
    __asm volatile(".syntax unified\n"
                   "push {r4, lr}\n"
                   "bl network_call\n"
                   "bl network_end\n"
                   "pop {r4, pc}\n");
}

/* Runs the network; returns the bytes of stack below the caller's that it used. */
__attribute__((noinline)) uint32_t run(void)
{
    uint32_t *top, *at;
    __asm volatile("mov %0, sp" : "=r"(top));
    for (at = stack_bottom; at < top; at++)
        *(volatile uint32_t *)at = PAINT;
    measured_run();
    for (at = stack_bottom; at < top && *(volatile uint32_t *)at == PAINT;)
        at++;
    return (uint32_t)((uintptr_t)top - (uintptr_t)at) - 8; /* without what measured_run kept */
}

/* ---- commands ---- */

static void say_hello(void)
{
    static const char name[] = NETWORK_NAME;
    uint32_t sizes = 4 * (2 * NETWORK_INPUTS + NETWORK_OUTPUTS);
    packet_begin('H', received.number, 16 + 64 + sizes + sizeof name - 1);
    packet_word(VERSION);
    packet_word(NETWORK_INPUTS);
    packet_word(NETWORK_OUTPUTS);
    packet_word(NETWORK_ARENA_BYTES);
    packet_bytes(network_digest, 64);
    for (uint32_t i = 0; i < NETWORK_INPUTS; i++)
        packet_word(input_bytes[i]);
    for (uint32_t i = 0; i < NETWORK_INPUTS; i++)
        packet_word(input_rows[i]);
    for (uint32_t i = 0; i < NETWORK_OUTPUTS; i++)
        packet_word(output_bytes[i]);
    packet_bytes(name, sizeof name - 1);
    packet_end();
}

/* Payload: input, offset, data. Parts come in order; offset 0 begins again. */
static enum reason take_input(void)
{
#if NETWORK_FETCHED
    return BAD_TYPE;
#else
    uint32_t input = packet_read_word(&received, 0), offset = packet_read_word(&received, 4);
    uint32_t count = received.length - 8u;
    if (received.length < 8 || input >= NETWORK_INPUTS)
        return BAD_RANGE;
    if (!offset)
        arrived[input] = 0;
    if (offset != arrived[input])
        return BAD_ORDER;
    if (count > input_bytes[input] - offset)
        return BAD_RANGE;
    uint8_t *to = (uint8_t *)network_input(arena, (int32_t)input) + offset;
    for (uint32_t i = 0; i < count; i++)
        to[i] = received.payload[8 + i];
    arrived[input] += count;
    answered = 0;
    return GOOD;
#endif
}

static void place_input(void)
{
#if NETWORK_FETCHED
    refuse(BAD_TYPE);
#else
    uint32_t input = packet_read_word(&received, 0);
    if (received.length != 4 || input >= NETWORK_INPUTS)
        refuse(BAD_RANGE);
    else
        accept((uint32_t)(uintptr_t)network_input(arena, (int32_t)input));
#endif
}

static enum reason check_input(void)
{
#if NETWORK_FETCHED
    return BAD_TYPE;
#else
    uint32_t input = packet_read_word(&received, 0);
    if (received.length != 8 || input >= NETWORK_INPUTS)
        return BAD_RANGE;
    answered = arrived[input] = 0;
    if (packet_crc(network_input(arena, (int32_t)input), input_bytes[input]) !=
        packet_read_word(&received, 4))
        return BAD_CRC;
    arrived[input] = input_bytes[input];
    return GOOD;
#endif
}

static void answer_run(void)
{
    uint32_t stack;
    for (uint32_t i = 0; i < NETWORK_INPUTS; i++)
        if (!NETWORK_FETCHED && arrived[i] != input_bytes[i]) {
            refuse(INCOMPLETE);
            return;
        }
    trouble = GOOD;
#ifdef EB_OBSERVE
    watched = 1;
#endif
    stack = run();
#ifdef EB_OBSERVE
    watched = 0;
#endif
    forget(); /* inputs may be overwritten by now */
    answered = !trouble;
    if (trouble)
        refuse(trouble);
    else
        accept(stack);
}

/* Payload: output, offset, bytes. */
static void send_output(void)
{
    uint32_t output = packet_read_word(&received, 0), offset = packet_read_word(&received, 4);
    uint32_t count = packet_read_word(&received, 8);
    if (!answered) {
        refuse(INCOMPLETE);
    } else if (received.length != 12 || output >= NETWORK_OUTPUTS || count > PAYLOAD_BYTES ||
               offset > output_bytes[output] || count > output_bytes[output] - offset) {
        refuse(BAD_RANGE);
    } else {
        const uint8_t *from = network_output(arena, (int32_t)output);
        packet_begin('O', received.number, count);
        packet_bytes(from + offset, count);
        packet_end();
    }
}

static void answer_self_test(void)
{
    forget();
    accept((uint32_t)network_selftest(arena));
}

static void answer_input(enum reason reason)
{
    if (reason)
        refuse(reason);
    else
        accept(received.length - 8u);
}

static void answer(void)
{
    switch (received.type) {
    case 'H':
        forget(); /* a host that begins anew sends all of its inputs */
        say_hello();
        break;
    case 'I':
        answer_input(take_input());
        break;
    case 'P':
        place_input();
        break;
    case 'L':
        answer_input(check_input());
        break;
    case 'R':
        answer_run();
        break;
    case 'O':
        send_output();
        break;
    case 'S':
        answer_self_test();
        break;
    default:
        refuse(BAD_TYPE);
    }
}

int main(void)
{
    uart_start();
    for (;;) {
        enum reason reason = packet_receive(&received);
        if (reason)
            refuse(reason);
        else
            answer();
    }
}
