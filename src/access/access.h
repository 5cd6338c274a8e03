/*
 * Who may come in: the lists of all services in one sealed memfd, which every handshaker maps read-only, so that a million
 * networks are in memory once. Made by the config role (access/access_write.h).
 *
 * A list answers with the most specific of its networks around an address. Of all lists of a service the most specific answer
 * decides; of two that are equally specific, deny. Where none answers the client comes in, unless the service has allow lists.
 *
 * The records are checked when a table is mapped; ranges need no check (access/ranges.h), so taking a table costs the same for
 * ten networks and for a million.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "access/ranges.h"
#include "base/addr.h"
#include "base/defs.h"
#include "base/span.h"

#define ACCESS_MAX       (1024u * 1024 * 1024) /* bytes of a table */
#define ACCESS_LISTS_MAX 16                    /* a service; a look-up asks all of them */
#define ACCESS_NONE      UINT32_MAX

struct access {
    const struct access_head *head;
    struct ranges *ranges; /* a list and family each */
    size_t len;
    bool mapped;
};

/* Maps what FD holds and checks it. FD stays the caller's. ERR_FORMAT (not sealed, or no table), ERR_SYSTEM, ERR_NOMEM. */
MUST_CHECK int access_map(int fd, struct access *ret);
void access_unmap(struct access *a);

/* The check alone, over bytes that the caller keeps (64-aligned). ERR_FORMAT, ERR_NOMEM. */
MUST_CHECK int access_of(struct span bytes, struct access *ret);

/* The same lists with the same networks for the same services, and in the same state? */
bool access_equal(const struct access *a, const struct access *b);

/* ---- services: in the order of conf.services ---- */

uint32_t access_services(const struct access *a);
uint32_t access_service_lists(const struct access *a, uint32_t service);

struct access_verdict {
    bool admitted;
    uint32_t list; /* the one that decided; ACCESS_NONE: no list had the address */
};

/* An address that is not known is in no network. */
struct access_verdict access_judge(const struct access *a, uint32_t service, const struct addr *client);

/* Services with the same lists give the same verdicts. */
bool access_same_rules(const struct access *a, uint32_t service, uint32_t other);

/* ---- lists ---- */

struct access_list {
    const char *file;  /* absolute, or the key whose networks these are: "service.web.access.deny" */
    uint32_t networks; /* of the file, also those within others */
    uint32_t bad;      /* lines that are not in force */
    int64_t failing_s; /* since when the file cannot be read, seconds since 1970; what it held before is in force. 0 = it was
                          read */
    uint64_t stamp;    /* of the file when it was read; 0 = unknown */
};

uint32_t access_lists(const struct access *a);
struct access_list access_list(const struct access *a, uint32_t list);

/* The ranges of a list, as they were written; for taking them into another table. */
struct span access_ranges(const struct access *a, uint32_t list, enum ranges_family family, uint32_t *ret_n);
