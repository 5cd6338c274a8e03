#include "base/addr.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool is_mapped(const struct addr *a) {
    return a->family == AF_INET6 && memcmp(a->ip, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

/* ::ffff:1.2.3.4 becomes 1.2.3.4. */
static void unmap(struct addr *a) {
    if (!is_mapped(a))
        return;
    uint8_t v4[4];
    memcpy(v4, a->ip + 12, sizeof(v4));
    memset(a->ip, 0, sizeof(a->ip));
    memcpy(a->ip, v4, sizeof(v4));
    a->family = AF_INET;
}

/* Reads an address as it is written; mapped ones stay IPv6. */
static int parse_written(struct span text, struct addr *ret) {
    char s[INET6_ADDRSTRLEN + 1];
    struct addr a = {.family = AF_INET};
    if (text.len == 0 || text.len >= sizeof(s) || memchr(text.p, 0, text.len))
        return ERR_FORMAT;
    memcpy(s, text.p, text.len);
    s[text.len] = 0;
    if (inet_pton(AF_INET, s, a.ip) != 1) {
        a.family = AF_INET6;
        if (inet_pton(AF_INET6, s, a.ip) != 1)
            return ERR_FORMAT;
    }
    *ret = a;
    return 0;
}

int addr_parse_ip(const char *text, struct addr *ret) {
    int err = parse_written(span_str(text), ret);
    if (err == 0)
        unmap(ret);
    return err;
}

int addr_parse(const char *text, struct addr *ret) {
    bool bracket = text[0] == '[';
    const char *ip = bracket ? text + 1 : text;
    const char *end = strchr(ip, bracket ? ']' : ':');
    if (!end)
        return ERR_FORMAT;
    const char *port = bracket ? end + 1 : end;
    struct addr a;
    uint64_t number;
    if (*port != ':' || strlen(port + 1) > 5 || text_parse_u64(port + 1, UINT16_MAX, &number) < 0)
        return ERR_FORMAT;
    if (parse_written(span_of(ip, (size_t)(end - ip)), &a) < 0 || (a.family == AF_INET6) != bracket)
        return ERR_FORMAT;
    unmap(&a);
    a.port = (uint16_t)number;
    *ret = a;
    return 0;
}

/* ---- processes ---- */

enum { PROCESS_UID, PROCESS_GID, PROCESS_PID };

static void put_be32(uint8_t *at, uint32_t v) {
    v = htonl(v);
    memcpy(at, &v, sizeof(v));
}

static uint32_t number_at(const uint8_t *at) {
    uint32_t v;
    memcpy(&v, at, sizeof(v));
    return ntohl(v);
}

struct addr addr_of_process(uint32_t uid, uint32_t gid, uint32_t pid) {
    struct addr a = {.family = AF_UNIX};
    put_be32(a.ip + 4 * PROCESS_UID, uid);
    put_be32(a.ip + 4 * PROCESS_GID, gid);
    put_be32(a.ip + 4 * PROCESS_PID, pid);
    return a;
}

/* ---- as text ---- */

const char *addr_ip_text(const struct addr *a, char to[static ADDR_TEXT_MAX]) {
    struct text t = text_of(to, ADDR_TEXT_MAX);
    if (a->family == AF_UNIX)
        text_addf(&t, "uid:%u", number_at(a->ip + 4 * PROCESS_UID));
    else if (!addr_is_ip(a) || !inet_ntop(a->family, a->ip, to, ADDR_TEXT_MAX)) {
        to[0] = '-';
        to[1] = 0;
    }
    return to;
}

const char *addr_text(const struct addr *a, char to[static ADDR_TEXT_MAX]) {
    char ip[ADDR_TEXT_MAX];
    struct text t = text_of(to, ADDR_TEXT_MAX);
    addr_ip_text(a, ip);
    if (a->family == AF_UNIX)
        text_addf(&t, "%s,gid:%u,pid:%u", ip, number_at(a->ip + 4 * PROCESS_GID), number_at(a->ip + 4 * PROCESS_PID));
    else if (a->family == AF_INET6)
        text_addf(&t, "[%s]:%u", ip, a->port);
    else if (a->family == AF_INET)
        text_addf(&t, "%s:%u", ip, a->port);
    else
        text_add(&t, "-");
    return to;
}

void addr_from_sockaddr(const struct sockaddr_storage *from, struct addr *ret) {
    struct addr a = {.family = AF_UNSPEC};
    if (from->ss_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, from, sizeof(in));
        a.family = AF_INET;
        a.port = ntohs(in.sin_port);
        memcpy(a.ip, &in.sin_addr, 4);
    } else if (from->ss_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, from, sizeof(in6));
        a.family = AF_INET6;
        a.port = ntohs(in6.sin6_port);
        memcpy(a.ip, &in6.sin6_addr, 16);
        a.scope = in6.sin6_scope_id;
        unmap(&a);
    }
    *ret = a;
}

socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ret) {
    MUST(addr_is_ip(a));
    memset(ret, 0, sizeof(*ret));
    if (a->family == AF_INET) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port)};
        memcpy(&in.sin_addr, a->ip, 4);
        memcpy(ret, &in, sizeof(in));
        return sizeof(in);
    }
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(a->port), .sin6_scope_id = a->scope};
    memcpy(&in6.sin6_addr, a->ip, 16);
    memcpy(ret, &in6, sizeof(in6));
    return sizeof(in6);
}

bool addr_equal(const struct addr *a, const struct addr *b) {
    return a->family == b->family && a->port == b->port && a->scope == b->scope && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

bool addr_is_any(const struct addr *a) {
    static const uint8_t zero[sizeof(a->ip)];
    return addr_is_ip(a) && memcmp(a->ip, zero, sizeof(zero)) == 0;
}

bool addr_is_loopback(const struct addr *a) {
    static const uint8_t one[16] = {[15] = 1};
    if (a->family == AF_INET)
        return a->ip[0] == 127;
    return a->family == AF_INET6 && memcmp(a->ip, one, sizeof(one)) == 0;
}

bool addr_is_link_local(const struct addr *a) {
    return a->family == AF_INET6 && a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80;
}

/* Whether the first BITS bits are equal. */
static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned bits) {
    unsigned whole = bits / 8;
    unsigned rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static bool host_bits_zero(const uint8_t *ip, unsigned bits, unsigned size) {
    for (unsigned i = bits; i < size; i++)
        if (ip[i / 8] & (0x80u >> i % 8))
            return false;
    return true;
}

int cidr_parse(const char *text, struct cidr *ret) {
    const char *slash = strchr(text, '/');
    struct addr net;
    size_t ip_len = slash ? (size_t)(slash - text) : strlen(text);
    if (parse_written(span_of(text, ip_len), &net) < 0)
        return ERR_FORMAT;
    unsigned size = net.family == AF_INET ? 32 : 128;
    uint64_t bits = size;
    if (slash && (strlen(slash + 1) > 3 || text_parse_u64(slash + 1, size, &bits) < 0))
        return ERR_FORMAT;
    if (!host_bits_zero(net.ip, (unsigned)bits, size))
        return ERR_FORMAT;
    if (is_mapped(&net)) { /* the zero host bits make it /96 or longer */
        unmap(&net);
        bits -= 96;
    }
    *ret = (struct cidr){net, (uint8_t)bits};
    return 0;
}

bool cidr_has(const struct cidr *c, const struct addr *a) {
    return c->net.family != AF_UNSPEC && c->net.family == a->family && same_prefix(c->net.ip, a->ip, c->bits);
}

/* ---- clients ---- */

/* A key that no network has: the first 8 bytes of a /64 and the length of what is around it are not zero with these. */
static const uint8_t user_prefix[12] = {[8] = 'u', 'i', 'd'};

void addr_client_key(const struct addr *a, uint8_t ret[static 16]) {
    memset(ret, 0, 16);
    if (a->family == AF_INET) {
        memcpy(ret, mapped_prefix, sizeof(mapped_prefix));
        memcpy(ret + 12, a->ip, 4);
    } else if (a->family == AF_INET6) {
        memcpy(ret, a->ip, 8);
    } else if (a->family == AF_UNIX) {
        memcpy(ret, user_prefix, sizeof(user_prefix));
        memcpy(ret + 12, a->ip + 4 * PROCESS_UID, 4);
    }
}

struct addr addr_of_client_key(const uint8_t key[static 16]) {
    struct addr a = {.family = AF_INET6};
    if (memcmp(key, user_prefix, sizeof(user_prefix)) == 0)
        return addr_of_process(number_at(key + 12), 0, 0);
    memcpy(a.ip, key, sizeof(a.ip));
    unmap(&a);
    return a;
}

const char *addr_client_text(const uint8_t key[static 16], char to[static ADDR_TEXT_MAX]) {
    struct text t = text_of(to, ADDR_TEXT_MAX);
    struct addr a = addr_of_client_key(key);
    char ip[ADDR_TEXT_MAX];
    if (a.family == AF_UNIX) {
        text_addf(&t, "uid:%u", number_at(key + 12));
        return to;
    }
    text_addf(&t, "%s%s", addr_ip_text(&a, ip), a.family == AF_INET6 ? "/64" : "");
    return to;
}

int addr_client_parse(const char *text, uint8_t ret_key[static 16]) {
    char ip[ADDR_TEXT_MAX];
    struct text t = text_of(ip, sizeof(ip));
    size_t len = strlen(text);
    uint64_t uid;
    struct addr a;
    if (strncmp(text, "uid:", 4) == 0) {
        if (text_parse_u64(text + 4, UINT32_MAX, &uid) < 0)
            return ERR_FORMAT;
        a = addr_of_process((uint32_t)uid, 0, 0);
    } else {
        text_add_span(&t, span_of(text, len > 3 && strcmp(text + len - 3, "/64") == 0 ? len - 3 : len));
        if (t.cut || addr_parse_ip(ip, &a) < 0)
            return ERR_FORMAT;
    }
    addr_client_key(&a, ret_key);
    return 0;
}

size_t addr_nets(const struct addr *a, struct addr_net ret[static ADDR_NETS]) {
    static const struct {
        uint8_t bits;
        uint32_t share;
    } around[] = {{56, ADDR_SHARE_56}, {48, ADDR_SHARE_48}};
    if (a->family == AF_UNSPEC)
        return 0;
    addr_client_key(a, ret[0].key);
    ret[0].share = 1;
    for (size_t i = 0; i < ARRAY_LEN(around) && a->family == AF_INET6; i++) {
        struct addr_net *n = &ret[1 + i];
        memset(n->key, 0, sizeof(n->key));
        memcpy(n->key, a->ip, around[i].bits / 8);
        n->key[15] = around[i].bits; /* zero in the key of a /64 */
        n->share = around[i].share;
    }
    return a->family == AF_INET6 ? ADDR_NETS : 1;
}
