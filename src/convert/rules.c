#include "convert/rules.h"

#include <arpa/inet.h>
#include <string.h>

#include "access/netlist.h"
#include "base/err.h"
#include "base/text.h"
#include "convert/named_file.h"

/* How many bits are set in a mask like "255.255.0.0"; -1 for what is none. */
static int mask_bits(const char *text) {
    struct in_addr mask;
    if (inet_pton(AF_INET, text, &mask) != 1)
        return -1;
    uint32_t bits = ntohl(mask.s_addr);
    int n = __builtin_popcount(bits);
    return n == 0 || bits == UINT32_MAX << (32 - n) ? n : -1;
}

/* "10.1.2.3/8" and "10.0.0.0/255.0.0.0" are 10.0.0.0/8. */
static int parse_network(struct model *m, const char *network, struct cidr *ret) {
    const char *slash = strchr(network, '/');
    struct addr a;
    uint64_t bits;
    if (addr_parse_ip(slash ? model_text(m, "%.*s", (int)(slash - network), network) : network, &a) < 0 || a.scope)
        return ERR_FORMAT;
    unsigned all = a.family == AF_INET ? 32 : 128;
    if (!slash)
        bits = all;
    else if (text_parse_u64(slash + 1, all, &bits) < 0) {
        int mask = a.family == AF_INET ? mask_bits(slash + 1) : -1;
        if (mask < 0)
            return ERR_FORMAT;
        bits = (uint64_t)mask;
    }
    for (unsigned i = (unsigned)bits; i < all; i++)
        a.ip[i / 8] &= (uint8_t) ~(0x80u >> i % 8);
    *ret = (struct cidr){a, (uint8_t)bits};
    return 0;
}

const char *rules_network(struct model *m, const char *network) {
    char text[ADDR_TEXT_MAX];
    struct cidr net;
    if (parse_network(m, network, &net) < 0)
        return NULL;
    return model_text(m, "%s/%u", addr_ip_text(&net.net, text), net.bits);
}

/* OUTER is all of INNER; of files nothing is known. */
static bool holds_all_of(const struct rule *outer, const struct rule *inner) {
    return !outer->is_file && !inner->is_file && outer->net.bits <= inner->net.bits && cidr_has(&outer->net, &inner->net.net);
}

static bool is_reached(const struct rules *r, const struct rule *new) {
    for (size_t i = 0; i < r->n; i++)
        if (!r->list[i].is_only && holds_all_of(&r->list[i], new))
            return false;
    return true;
}

/* Whether the most specific entry would let in clients that the first rule that fits keeps out. */
static bool needs_order(const struct rules *r, const struct rule *new) {
    for (size_t i = 0; i < r->n; i++) {
        const struct rule *old = &r->list[i];
        bool wider = old->is_file || holds_all_of(old, new), within = new->is_file || holds_all_of(new, old);
        if (new->is_only  ? !old->allows &&wider
            : new->allows ? old->is_only || (!old->allows && (old->is_file || new->is_file))
                          : old->is_only && within)
            return true;
    }
    return false;
}

static void lose_guard(struct rules *r, unsigned line) {
    r->lost = r->lost ? r->lost : line;
}

/* It goes to the list, unless it would mean something else there. */
static void add(struct rules *r, struct model *m, unsigned line, const struct rule *new) {
    if (r->n == RULES_MAX) {
        model_note(m, MODEL_LOST, line, "%s: more than %d networks", new->text, RULES_MAX);
        if (!new->allows)
            lose_guard(r, line);
    } else if (needs_order(r, new)) {
        model_note(m, MODEL_LOST, line, "%s: here the most specific network decides, not the first line", new->text);
        lose_guard(r, line);
    } else {
        r->line = r->line ? r->line : line;
        r->list[r->n++] = *new;
    }
}

/* False after a note. */
static bool read_network(struct model *m, unsigned line, const char *network, struct rule *new) {
    char text[ADDR_TEXT_MAX];
    if (parse_network(m, network, &new->net) < 0) {
        model_note(m, MODEL_LOST, line, "found \"%s\", expected an address or a network", network);
        return false;
    }
    new->text = model_text(m, "%s/%u", addr_ip_text(&new->net.net, text), new->net.bits);
    return true;
}

/* A rule for everybody. */
static void end_rules(struct rules *r, struct model *m, unsigned line, bool allows) {
    r->has_end = true;
    r->end_allows = allows;
    r->line = r->line ? r->line : line;
    if (!r->has_only || allows)
        return;
    model_note(m, MODEL_LOST, line, "nobody would come in: a line above is for those who do");
    lose_guard(r, line);
}

void rules_add(struct rules *r, struct model *m, unsigned line, bool allows, const char *network) {
    struct rule new = {.allows = allows};
    if (r->has_end) {
        model_note(m, MODEL_NOT_NEEDED, line, "%s: a line above is for everybody", network);
    } else if (strcmp(network, "all") == 0) {
        end_rules(r, m, line, allows);
    } else if (!read_network(m, line, network, &new)) {
        if (!allows)
            lose_guard(r, line);
    } else if (is_reached(r, &new)) {
        add(r, m, line, &new);
    } else {
        model_note(m, MODEL_NOT_NEEDED, line, "%s: a line above is for all of it", network);
    }
}

void rules_only(struct rules *r, struct model *m, unsigned line, const char *network) {
    struct rule new = {.allows = true, .is_only = true};
    r->has_only = true;
    if (read_network(m, line, network, &new))
        add(r, m, line, &new);
}

/* The first line of a list that is not in force. */
struct bad_line {
    unsigned first, found; /* lines of the file: its first one, and the bad one; 0 = none */
};

static void find_bad_line(void *ctx, size_t number, const char *why) {
    struct bad_line *b = ctx;
    (void)why;
    if (!b->found)
        b->found = b->first + (unsigned)number - 1;
}

/* A file with networks to deny, as our lists have them: a line with another form would not be in force. */
static void check_denied(struct rules *r, struct model *m, unsigned line, const char *path) {
    char reason[512];
    struct text why = text_of(reason, sizeof(reason));
    struct span bytes;
    struct bad_line b = {.found = 0};
    struct netlist nets;
    if (named_file_read(m, path, &bytes, &b.first, &why) < 0) {
        model_note(m, MODEL_LOST, line, "%s", reason);
        lose_guard(r, line);
        return;
    }
    netlist_init(&nets);
    MUST(netlist_read(&nets, bytes, find_bad_line, &b) == 0); /* a file of 1 MiB has room in a list */
    netlist_fini(&nets);
    if (!b.found)
        return;
    model_note(m, MODEL_LOST, b.found, "a network to deny with another form than 192.0.2.0/24: it would not be in force");
    lose_guard(r, b.found);
}

void rules_add_file(struct rules *r, struct model *m, unsigned line, bool allows, const char *path) {
    if (!r->has_end && !allows)
        check_denied(r, m, line, path);
    if (!r->has_end)
        add(r, m, line, &(struct rule){.allows = allows, .is_file = true, .text = path});
}

static void put_all(struct model *m, struct model_service *s, const char *list) {
    model_add(m, s, "access", list, "0.0.0.0/0");
    model_add(m, s, "access", list, "::/0");
}

void rules_put(const struct rules *r, struct model *m, struct model_service *s) {
    bool has_allow = false, has_deny = false, rest_allowed = !r->has_only && (!r->has_end || r->end_allows);
    for (size_t i = 0; i < r->n; i++) {
        has_allow = has_allow || r->list[i].allows;
        has_deny = has_deny || !r->list[i].allows;
    }
    if (r->lost) {
        model_guard_lost(s, r->lost);
        return;
    }
    if (rest_allowed && !has_deny)
        return; /* they keep nobody out */
    if (model_has(s, "access", "allow") || model_has(s, "access", "deny")) {
        model_note(m, MODEL_LOST, r->line, "a second list, from this line on: both would have to hold");
        model_guard_lost(s, r->line);
        return;
    }
    for (size_t i = 0; i < r->n; i++)
        if (!r->list[i].allows || has_deny || !rest_allowed)
            model_add(m, s, "access", r->list[i].allows ? "allow" : "deny", r->list[i].text);
    if (rest_allowed && has_allow && has_deny)
        put_all(m, s, "allow"); /* a list to allow keeps out who is not in it */
    else if (!rest_allowed && !has_allow)
        put_all(m, s, "deny");
}
