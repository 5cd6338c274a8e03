/*
 * How an access table lies in memory: a head, tables of fixed records, texts, then the ranges of every list. Both sides are the
 * same binary on the same machine, so numbers have its byte order. Only access.c and access_write.c see this.
 */
#pragma once

#include <stdint.h>

#include "access/ranges.h"

#define ACCESS_MAGIC  0x434c4f54u /* "TOLC" */
#define ACCESS_FORMAT 1u
#define ACCESS_ALIGN  64u /* of ranges */

/* N records, or bytes, from OFF on. */
struct access_part {
    uint64_t off, n;
};

struct access_head {
    uint32_t magic, format;
    uint64_t len;
    struct access_part services, uses, lists, texts; /* one behind the other, each at a multiple of 8 */
    struct access_part data;                         /* the ranges of all lists; last */
};

struct access_service_rec {
    uint32_t first_use, nuses;
};

/* A service and a list that it names. */
struct access_use_rec {
    uint32_t list, is_deny;
};

struct access_list_rec {
    uint64_t file_off, file_len;        /* in the texts, with a zero behind it that is not counted */
    uint64_t data_off[RANGES_FAMILIES]; /* from the beginning of the data */
    uint32_t ranges[RANGES_FAMILIES];
    uint32_t networks, bad;
    int64_t failing_s;
    uint64_t stamp;
    uint64_t content; /* hash of the networks' ranges */
};
