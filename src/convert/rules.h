/* Access rules of which the first one that fits decides, as lists of which the most specific entry decides. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "convert/model.h"

#define RULES_MAX 1024

struct rules {
    struct rule {
        bool allows, is_file, is_only;
        struct cidr net;
        const char *text;
    } list[RULES_MAX];
    size_t n;
    bool has_end, end_allows; /* a rule for everybody: those behind it are never reached */
    bool has_only;            /* who is not in the networks of rules_only() is kept out */
    unsigned line;            /* of the first one; 0 = none */
    unsigned lost;            /* the first one that keeps clients out and cannot be said; 0 = none */
};

/* NETWORK as our lists have it, "10.0.0.0/8" for "10.1.2.3/8"; NULL for what is none. */
const char *rules_network(struct model *m, const char *network);

/* The next rule, of line LINE: an address, a network, or "all". One behind a rule that holds for all of it is passed over. */
void rules_add(struct rules *r, struct model *m, unsigned line, bool allows, const char *network);
/* The same of a file with a list. */
void rules_add_file(struct rules *r, struct model *m, unsigned line, bool allows, const char *path);

/* One of the networks to which those that come in have to belong, whatever other rules say. */
void rules_only(struct rules *r, struct model *m, unsigned line, const char *network);

/*
 * The service gets them. Without a rule for everybody they let in who is not named. It loses a guard (model_guard_lost) when
 * one that keeps clients out was lost, or when it has lists already: then both would have to hold.
 */
void rules_put(const struct rules *r, struct model *m, struct model_service *s);
