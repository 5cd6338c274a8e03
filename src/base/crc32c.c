#include "base/crc32c.h"

#define CRC32C_POLY 0x82f63b78u /* bits reversed */

static uint32_t table[256];

static void make_table(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t v = i;
        for (int bit = 0; bit < 8; bit++)
            v = v >> 1 ^ (v & 1 ? CRC32C_POLY : 0);
        table[i] = v;
    }
}

uint32_t crc32c(const void *p, size_t n) {
    const uint8_t *bytes = p;
    uint32_t crc = UINT32_MAX;
    if (table[1] == 0)
        make_table();
    for (size_t i = 0; i < n; i++)
        crc = crc >> 8 ^ table[(crc ^ bytes[i]) & 0xff];
    return ~crc;
}
