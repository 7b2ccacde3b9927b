/* Runs one function from reset on, with nothing else: for tests of kernels. */
#include <stdint.h>

#define TEXT2(x) #x
#define TEXT(x) TEXT2(x)

void ENTRY(void);
void reset_handler(void);
void bare_metal_end(void);
void bare_metal_hand_over(void);
extern uint32_t stack_top[];

/* Memory to hand over at the end: address, bytes; filled in before the start. */
struct {
    uint32_t address, bytes;
} bare_metal_outputs[64];

/* In assembly until the floating-point unit is on: compilers use its registers to copy. Then the
   stack is painted, so that its use can be seen. */
__attribute__((naked, noreturn)) void reset_handler(void)
{
    __asm volatile(".syntax unified\n"
#if defined(__ARM_FP)
        "ldr r0, =0xE000ED88\n"
        "ldr r1, =0xF00000\n"
        "str r1, [r0]\n"
        "dsb\n"
        "isb\n"
#endif
        "ldr r0, =stack_top\n"
        "mov sp, r0\n"
        "ldr r1, =stack_bottom\n"
        "ldr r2, =0xA5A5A5A5\n"
        "b 2f\n"
        "1: str r2, [r1]\n"
        "adds r1, r1, #4\n"
        "2: cmp r1, r0\n"
        "bne 1b\n"
        "bl " TEXT(ENTRY) "\n"
        "bl bare_metal_end\n"
        "b .\n"
        ".ltorg\n");
}

static uint32_t semihost(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = argument;
    __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory", "lr", "cc");
    return r0;
}

/* unicorn stops at the first breakpoint and looks into the memory; qemu writes a file. */
__attribute__((noinline, noreturn, used)) void bare_metal_hand_over(void)
{
    static const char name[] = "outputs.bin";
    enum { OPEN = 1, CLOSE = 2, WRITE = 5, EXIT = 0x18, DONE = 0x20026, BINARY = 5 };
    uint32_t open[3] = {(uint32_t)(uintptr_t)name, BINARY, sizeof name - 1};
    uint32_t file = semihost(OPEN, open);
    for (int i = 0; bare_metal_outputs[i].bytes; i++) {
        uint32_t write[3] = {file, bare_metal_outputs[i].address, bare_metal_outputs[i].bytes};
        semihost(WRITE, write);
    }
    semihost(CLOSE, &file);
    semihost(EXIT, (const void *)(uintptr_t)DONE);
    for (;;) {
    }
}

/* What follows must not touch the stack that is measured. */
uint64_t bare_metal_stack[64];

__attribute__((naked, noreturn, used)) void bare_metal_end(void)
{
    __asm volatile(".syntax unified\n"
                   "ldr r0, =bare_metal_stack + 512\n"
                   "mov sp, r0\n"
                   "ldr r0, =bare_metal_hand_over\n"
                   "bx r0\n"
                   ".ltorg\n");
}

__attribute__((naked, noreturn)) static void fault(void)
{
    __asm volatile("b .\n");
}

typedef void (*handler)(void);

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    handler reset, faults[14];
} vectors = {stack_top,
             reset_handler,
             {fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault,
              fault, fault}};
