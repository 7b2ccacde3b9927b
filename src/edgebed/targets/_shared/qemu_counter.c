/* Counts executed instructions: a TCG plugin for qemu, against version 1 of its plugin interface
   (the declarations below are all of it that is used). Fills the file named by the argument
   `counter=`, laid out in counting.py; block_counter.c fills the same for unicorn. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef uint64_t u64;

struct qemu_plugin_tb;
typedef void block_translated(u64 id, struct qemu_plugin_tb *block);
typedef void block_executed(unsigned cpu, void *data);
void qemu_plugin_register_vcpu_tb_trans_cb(u64 id, block_translated *callback);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block, block_executed *callback,
                                          int flags, void *data);
u64 qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *block);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

enum { TOTAL, EVENTS, CAPACITY, BASE, HALFWORDS, MARKS, OUTSIDE, LIMIT, MARK, HEADER = 24 };

typedef struct {
    u64 at, count, mark;
} block;

static u64 *counter;

static void executed(unsigned cpu, void *data)
{
    const block *b = data;
    (void)cpu;
    if (b->mark) {
        u64 *events = counter + HEADER + counter[HALFWORDS];
        events[counter[EVENTS]++ % counter[CAPACITY]] = b->mark << 56 | counter[TOTAL];
    }
    if (b->at < counter[HALFWORDS])
        counter[HEADER + b->at] += b->count;
    else
        counter[OUTSIDE]++;
    counter[TOTAL] += b->count;
}

/* Blocks live as long as qemu: it does not say when it forgets one. */
static void translated(u64 id, struct qemu_plugin_tb *tb)
{
    block *b = malloc(sizeof *b);
    u64 address = qemu_plugin_tb_vaddr(tb);
    (void)id;
    if (!b)
        abort();
    b->at = (address - counter[BASE]) / 2;
    b->count = qemu_plugin_tb_n_insns(tb);
    b->mark = 0;
    for (u64 i = 0; i < counter[MARKS]; i++)
        if (counter[MARK + i] == address)
            b->mark = i + 1;
    qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, 0, b);
}

__attribute__((visibility("default"))) int qemu_plugin_install(u64 id, const void *info, int argc,
                                                               char **argv)
{
    struct stat status;
    (void)info;
    if (argc != 1 || strncmp(argv[0], "counter=", 8))
        return 1;
    int file = open(argv[0] + 8, O_RDWR);
    if (file < 0 || fstat(file, &status))
        return 1;
    counter = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (counter == MAP_FAILED)
        return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
