/*
 * Socket addresses: reading, printing, networks, and the key under which limits and stats know a client.
 * IPv4-mapped IPv6 addresses are turned into IPv4 at the door (addr_from_sockaddr), so one client has one name.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/defs.h"
#include "base/span.h"

/*
 * AF_UNSPEC = no address known. AF_UNIX = a process of this machine, at a Unix socket: its user, group and process number when
 * it connected, 4 bytes each in IP. Its user is what addresses are to others: who the client is.
 */
struct addr {
    uint16_t family; /* AF_INET, AF_INET6, AF_UNIX, AF_UNSPEC */
    uint16_t port;   /* host order */
    uint8_t ip[16];  /* network order; IPv4 in the first 4 */
    uint32_t
        scope; /* of a link-local IPv6 address: number of the interface on this machine; it is neither packed nor printed */
};

#define ADDR_TEXT_MAX 64 /* longest text with port and brackets, end included */

/* "1.2.3.4:80" or "[::1]:80"; the port is required, 0 allowed. ERR_FORMAT. */
MUST_CHECK int addr_parse(const char *text, struct addr *ret);

/* "1.2.3.4" or "::1" without a port. ERR_FORMAT. */
MUST_CHECK int addr_parse_ip(const char *text, struct addr *ret);

/* Writes "ip:port", "[ip]:port", "uid:0,gid:0,pid:1" of a process, or "-" when unknown; returns TO. */
const char *addr_text(const struct addr *a, char to[static ADDR_TEXT_MAX]);

/* The same without port and brackets; of a process "uid:0". */
const char *addr_ip_text(const struct addr *a, char to[static ADDR_TEXT_MAX]);

/* IPv4 or IPv6. */
static inline bool addr_is_ip(const struct addr *a) {
    return a->family == AF_INET || a->family == AF_INET6;
}

/* A process of this machine, as SO_PEERCRED has it. */
struct addr addr_of_process(uint32_t uid, uint32_t gid, uint32_t pid);

/* AF_UNIX and others give AF_UNSPEC. */
void addr_from_sockaddr(const struct sockaddr_storage *from, struct addr *ret);

/* Returns the length for bind() and connect(). The address must be one of IP. */
socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ret);

/* Address, port and scope. */
bool addr_equal(const struct addr *a, const struct addr *b);

/* 0.0.0.0 or [::], whatever the port. */
bool addr_is_any(const struct addr *a);

bool addr_is_loopback(const struct addr *a);

/* fe80::/10, which means something together with an interface only (RFC 4291 2.5.6). */
bool addr_is_link_local(const struct addr *a);

/* A network: "10.0.0.0/8", "2001:db8::/32", or one bare address. Of the family AF_UNIX: every process of this machine. */
struct cidr {
    struct addr net; /* host bits are zero */
    uint8_t bits;
};

/* ERR_FORMAT: no address, a prefix length out of range, or host bits set. */
MUST_CHECK int cidr_parse(const char *text, struct cidr *ret);
bool cidr_has(const struct cidr *c, const struct addr *a);

/* The client for limits and stats: an IPv4 address, the /64 of an IPv6 address (as 16 bytes, IPv4 mapped), or a user. */
void addr_client_key(const struct addr *a, uint8_t ret[static 16]);

/* The client that has that key, without a port; of a /64 its first address. */
struct addr addr_of_client_key(const uint8_t key[static 16]);

/* That key as text: "192.0.2.1", "2001:db8::/64", "uid:1000"; returns TO. And such a text, or an address, as key: ERR_FORMAT.
 */
const char *addr_client_text(const uint8_t key[static 16], char to[static ADDR_TEXT_MAX]);
MUST_CHECK int addr_client_parse(const char *text, uint8_t ret_key[static 16]);

/*
 * The networks whose limits an address counts in: an IPv4 address itself; of an IPv6 address the /64, and around it the /56 and
 * the /48, which one customer may have as a whole; of a process its user. SHARE: how many times what a single client may have.
 * None for an unknown address.
 */
#define ADDR_NETS     3
#define ADDR_SHARE_56 4
#define ADDR_SHARE_48 32
struct addr_net {
    uint8_t key[16]; /* different for different networks, whatever their length */
    uint32_t share;
};
size_t addr_nets(const struct addr *a, struct addr_net ret[static ADDR_NETS]);
