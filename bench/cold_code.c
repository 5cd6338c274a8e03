#include "cold_code.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define BLOCK 21
#define RET   0xc3

struct cold_code {
    uint8_t *code;
    size_t len;
};

struct cold_code *cold_code_new(size_t kb) {
    static const uint8_t jump_over[] = {0x31, 0xc0, 0x74, BLOCK - 4}; /* xor eax, eax; jz to the next block: x86-64 */
    struct cold_code *c = malloc(sizeof(*c));
    if (!c)
        abort();
    c->len = kb * 1024;
    c->code = mmap(NULL, c->len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
#ifndef __x86_64__
    abort();
#endif
    if (c->code == MAP_FAILED)
        abort();
    memset(c->code, RET, c->len);
    for (size_t at = 0; at + 2 * BLOCK <= c->len; at += BLOCK)
        memcpy(c->code + at, jump_over, sizeof(jump_over));
    if (mprotect(c->code, c->len, PROT_READ | PROT_EXEC) < 0)
        abort();
    return c;
}

void cold_code_free(struct cold_code *c) {
    if (c)
        munmap(c->code, c->len);
    free(c);
}

void cold_code_run(const struct cold_code *c) {
    void (*run)(void);
    if (!c)
        return;
    memcpy(&run, &c->code, sizeof(run));
    run();
}
