#include "base/trace_points.h"

#include <stdint.h>

#ifdef HAVE_SDT
#define SEMAPHORE(point) __extension__ volatile unsigned short tls_off_##point##_semaphore __attribute__((section(".probes")));
TRACE_POINTS(SEMAPHORE)
#endif

const char *trace_id(const void *id, char to[static TRACE_ID_MAX]) {
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = id;
    for (unsigned i = 0; i < 16; i++) {
        to[2 * i] = digits[p[i] >> 4];
        to[2 * i + 1] = digits[p[i] & 15];
    }
    to[32] = '\0';
    return to;
}
