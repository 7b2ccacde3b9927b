/* Runs the plan's test vectors. */
#ifndef SELFTEST_H
#define SELFTEST_H

#include <stdint.h>

struct selftest {
    uint32_t run, passed, timeouts;
    uint32_t cycles; /* of the last vector */
};

struct selftest selftest_run(void);

#endif
