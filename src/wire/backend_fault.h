/*
 * Faults of connects to backends: how a relay reports the last one to the observer, and its text. A fault is an errno,
 * or a value for what errno does not know: EAGAIN (the queue of connections is full), EDESTADDRREQ (the name
 * has no address), EPROTO (no welcome in its greeting).
 */
#pragma once

#include <stdint.h>

/* When and what, as one number of which a later one is the greater. 0 = there was none. */
static inline uint64_t backend_fault_pack(uint64_t wall_ms, int error) {
    return wall_ms << 16 | (uint16_t)error;
}
static inline int backend_fault_error(uint64_t fault) {
    return (int)(fault & UINT16_MAX);
}
static inline uint64_t backend_fault_ms(uint64_t fault) {
    return fault >> 16;
}

/* Never NULL; good until the next call. */
const char *backend_fault_text(int error);
