/* A static Linux program without a C library: entry point, files, and the functions that compilers
 * call by themselves. AArch64, and Arm with the EABI. Include it in one file, with a function
 * `int main(int argc, char **argv)`. */
#ifndef EB_START_H
#define EB_START_H

#include <stddef.h>
#include <stdint.h>

#define EB_SYSTEM static inline __attribute__((unused))

#if defined(__aarch64__)
enum { EB_OPENAT = 56, EB_READ = 63, EB_WRITE = 64, EB_EXIT = 94 };
#else
enum { EB_OPENAT = 322, EB_READ = 3, EB_WRITE = 4, EB_EXIT = 248 };
#endif
enum { EB_HERE = -100, EB_CREATE = 01 | 0100 | 01000, EB_INTERRUPTED = -4 };

EB_SYSTEM long eb_system(long number, long a, long b, long c, long d) {
#if defined(__aarch64__)
    register long code __asm__("x8") = number;
    register long r0 __asm__("x0") = a;
    register long r1 __asm__("x1") = b;
    register long r2 __asm__("x2") = c;
    register long r3 __asm__("x3") = d;
#else
    register long code __asm__("r7") = number;
    register long r0 __asm__("r0") = a;
    register long r1 __asm__("r1") = b;
    register long r2 __asm__("r2") = c;
    register long r3 __asm__("r3") = d;
#endif
    __asm__ volatile("svc 0" : "+r"(r0) : "r"(code), "r"(r1), "r"(r2), "r"(r3) : "memory");
    return r0;
}

__attribute__((noreturn)) EB_SYSTEM void eb_exit(int code) {
    for (;;) eb_system(EB_EXIT, code, 0, 0, 0);
}

/* A file's number, or less than 0. */
EB_SYSTEM int eb_open(const char *path, int create) {
    return (int)eb_system(EB_OPENAT, EB_HERE, (long)path, create ? EB_CREATE : 0, 0666);
}

/* Bytes until `size` are done, the file ends or fails: how many. */
EB_SYSTEM size_t eb_transfer(long number, int file, const void *memory, size_t size) {
    size_t done = 0;
    while (done < size) {
        const long at = (long)((const char *)memory + done);
        const long count = eb_system(number, file, at, (long)(size - done), 0);
        if (count == EB_INTERRUPTED) continue;
        if (count <= 0) break;
        done += (size_t)count;
    }
    return done;
}

EB_SYSTEM size_t eb_read(int file, void *memory, size_t size) {
    return eb_transfer(EB_READ, file, memory, size);
}

EB_SYSTEM size_t eb_write(int file, const void *memory, size_t size) {
    return eb_transfer(EB_WRITE, file, memory, size);
}

EB_SYSTEM int eb_same(const char *a, const char *b) {
    for (; *a && *a == *b; a++, b++) {}
    return *a == *b;
}

void *memcpy(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);

/* The barriers keep these loops from becoming calls of themselves. */
void *memcpy(void *to, const void *from, size_t size) {
    for (size_t i = 0; i < size; i++) {
        ((char *)to)[i] = ((const char *)from)[i];
        __asm__ volatile("" ::: "memory");
    }
    return to;
}

void *memset(void *to, int value, size_t size) {
    for (size_t i = 0; i < size; i++) {
        ((char *)to)[i] = (char)value;
        __asm__ volatile("" ::: "memory");
    }
    return to;
}

int main(int argc, char **argv);

__attribute__((noreturn, used)) static void eb_begin(long *stack) {
    eb_exit(main((int)stack[0], (char **)(stack + 1)));
}

#if defined(__aarch64__)
__asm__(".text\n.globl _start\n.type _start, %function\n_start:\n"
        "  mov x29, xzr\n  mov x30, xzr\n  mov x0, sp\n  bl eb_begin\n");
#else
__asm__(".text\n.arm\n.globl _start\n.type _start, %function\n_start:\n"
        "  mov r11, #0\n  mov r0, sp\n  bic sp, sp, #7\n  bl eb_begin\n");
#endif

#endif
