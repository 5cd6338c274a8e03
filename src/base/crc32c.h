/* CRC-32C (Castagnoli), as the PROXY protocol's PP2_TYPE_CRC32C uses it (RFC 3720 appendix B.4 has test vectors). */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(const void *p, size_t n);
