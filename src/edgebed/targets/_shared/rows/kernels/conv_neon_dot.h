/* The convolutions of conv_neon.h with dot product instructions: their weights lie otherwise. */
#ifndef EB_CONV_NEON_DOT_H
#define EB_CONV_NEON_DOT_H

#if !defined(__ARM_FEATURE_DOTPROD)
#error "these weights are for dot products: compile with -march=armv8.2-a+dotprod, or the like"
#endif
#define EB_NEON_DOT 1
#include "conv_neon.h"

#endif
