/*
 * What is known of a session: gathered by the handshaker, part of the hand-off message, sent to the backend in the PROXY
 * header and to the operator in the log event. One struct, one packing, so that no two places can name things differently.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/defs.h"
#include "base/rd.h"
#include "base/wr.h"
#include "creds/identity_source.h"

#define CONN_INFO_UNIQUE_ID_LEN 16
#define CONN_INFO_JA4_MAX       36
#define CONN_INFO_NAME_MAX      512 /* of the verified client */
#define CONN_INFO_SERIAL_MAX    32
#define CONN_INFO_CERT_MAX      8192 /* of the client's certificate, DER */
#define CONN_INFO_LEAN_MAX      2080 /* packed, without that certificate */
#define CONN_INFO_PACKED_MAX    (CONN_INFO_LEAN_MAX + CONN_INFO_CERT_MAX)

/* A client whose certificate was verified, in this connection or in the one that this one resumes. */
struct conn_info_client {
    bool verified;           /* false: none was sent, and all the rest is empty */
    uint8_t identity_source; /* enum identity_source */
    struct span name;        /* 1 to CONN_INFO_NAME_MAX bytes, unless the source is none */
    struct span cn;          /* of the subject, UTF-8, at most 255 bytes */
    struct span serial;      /* big-endian, at most CONN_INFO_SERIAL_MAX bytes */
    uint8_t fingerprint[32]; /* SHA-256 of the certificate */
    struct span cert;        /* DER, at most CONN_INFO_CERT_MAX bytes; only where the service's PROXY header wants it */
};

/* What our certificates have for the requested server name: the label of stats by name, so that clients cannot make
 * up names. */
enum matched_name { SERVED_NO_NAME, SERVED_OTHER, SERVED_WILDCARD, SERVED_EXACT, SERVED_COUNT };

#define MATCHED_NAME_MAX 260

/* Who made the handshake. */
enum handshake_maker { MADE_BY_UNKNOWN, MADE_BY_LIBSSL, MADE_BY_OWN, MADE_BY_COUNT };

/* "libssl", "own": as in the metric's label and in the status. "" = not known. Static. */
const char *handshake_maker_text(unsigned maker);

struct conn_info {
    uint8_t unique_id[CONN_INFO_UNIQUE_ID_LEN];
    uint16_t service;     /* index into conf.services */
    struct addr client;   /* as the PROXY header says when one is accepted */
    struct addr peer;     /* the other end of the TCP connection, when it is another than CLIENT; else AF_UNSPEC */
    struct addr local;    /* the address the client reached */
    uint16_t tls_version; /* 0 = passthrough, or the handshake did not come so far */
    uint16_t suite;
    uint16_t group;
    bool resumed;
    uint64_t start_wall_us;
    uint64_t start_mono_us; /* TCP connection accepted */
    uint32_t handshake_us;
    struct span sni;     /* as the client sent it, so maybe no host name; at most 255 bytes */
    struct span alpn;    /* at most 255 bytes */
    struct span ja4;     /* at most CONN_INFO_JA4_MAX bytes */
    uint16_t sig_scheme; /* with which we signed, as in the IANA registry; 0 = resumed, nothing was signed */
    uint8_t cert_sig;    /* how our certificate is signed and what key it has: the numbers of tls/cert_alg.h */
    uint8_t cert_key;
    uint16_t cert_key_bits;
    struct conn_info_client id;
    uint8_t matched_name;  /* enum matched_name */
    struct span cert_file; /* of the certificate that was presented, at most 255 bytes, else its end; empty = not known */
    uint8_t made_by;       /* enum handshake_maker; unknown: passthrough, none was begun, or an older build has not said */
};

/* A field is added at the end, and is all zero when it is not known. Anyone who sends it says how long all of it is. */
void conn_info_pack(struct wr *w, const struct conn_info *f);

/*
 * R has what was packed and nothing else, up to its end. An older build, or the generation before, may have written less: then
 * what is missing is not known. What a later one has behind stays in R. Spans borrow what R reads. An overrun or a value out of
 * range leaves R bad.
 */
void conn_info_unpack(struct rd *r, struct conn_info *ret);

/* "www.example.org", "*.example.org", "other", "" (none requested), in TO or elsewhere. */
struct span conn_info_served_name(enum matched_name as, struct span sni, char to[static MATCHED_NAME_MAX]);
