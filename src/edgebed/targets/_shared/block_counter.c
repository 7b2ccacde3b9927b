/* Counts executed instructions: a block hook for unicorn. The memory it fills is laid out in
   counting.py; qemu_counter.c fills the same for qemu. */
#include <stdint.h>

typedef uint64_t u64;

enum { TOTAL, EVENTS, CAPACITY, BASE, HALFWORDS, MARKS, OUTSIDE, LIMIT, MARK };
enum { CODE = 16, CACHE, STOP, WORDS, HEADER = 24 };
enum { COUNT_BITS = 16, MARK_BITS = 8, SIZE_SHIFT = 32 };

typedef int stop_function(void *uc);

/* Thumb instructions in a block: a first half-word from 0xe800 up has a second one. */
static u64 instructions(const uint16_t *code, u64 halfwords)
{
    u64 count = 0;
    for (u64 i = 0; i < halfwords; count++)
        i += code[i] >= 0xe800 ? 2 : 1;
    return count;
}

/* Size of the block, number of the mark at its address (0: none), and instructions. */
static u64 describe(const u64 *counter, u64 address, u64 size)
{
    const uint16_t *code = (const uint16_t *)(uintptr_t)counter[CODE];
    u64 mark = 0;
    for (u64 i = 0; i < counter[MARKS]; i++)
        if (counter[MARK + i] == address)
            mark = i + 1;
    u64 count = counter[WORDS] ? size / 4
                               : instructions(code + (address - counter[BASE]) / 2, size / 2);
    return size << SIZE_SHIFT | mark << COUNT_BITS | count;
}

static void note(u64 *counter, u64 mark)
{
    u64 *events = counter + HEADER + counter[HALFWORDS];
    events[counter[EVENTS]++ % counter[CAPACITY]] = mark << 56 | counter[TOTAL];
}

void count_block(void *uc, u64 address, uint32_t size, void *data)
{
    u64 *counter = data;
    u64 at = (address - counter[BASE]) / 2;
    if (at >= counter[HALFWORDS]) {
        counter[OUTSIDE]++;
        return;
    }
    u64 *cache = (u64 *)(uintptr_t)counter[CACHE] + at;
    if (*cache >> SIZE_SHIFT != size)
        *cache = describe(counter, address, size);
    u64 mark = *cache >> COUNT_BITS & ((1u << MARK_BITS) - 1);
    u64 count = *cache & ((1u << COUNT_BITS) - 1);
    if (mark)
        note(counter, mark);
    counter[HEADER + at] += count;
    counter[TOTAL] += count;
    if (counter[TOTAL] > counter[LIMIT])
        ((stop_function *)(uintptr_t)counter[STOP])(uc);
}
