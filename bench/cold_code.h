/*
 * Code that is not the server's: run between its steps, it leaves instruction cache, translations and branch predictor as other
 * programs and processes do. A jump in every 21 bytes, as in ordinary code.
 */
#pragma once

#include <stddef.h>

struct cold_code;

/* Aborts where there is no memory, or no such code for this kind of CPU. */
struct cold_code *cold_code_new(size_t kb);
void cold_code_free(struct cold_code *c);

/* NULL: nothing. */
void cold_code_run(const struct cold_code *c);
