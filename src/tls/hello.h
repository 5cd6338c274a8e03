/*
 * Our own bounded reader of the ClientHello (RFC 8446 4.1.2, RFC 5246 7.4.1.2, RFC 6066, RFC 7301), before any library sees it.
 *
 * It gives the requested name and protocol (SNI, ALPN), what the client can do (versions, suites, groups, signature
 * algorithms), who the client looks like (JA4), and refuses what is malformed. It keeps nothing between calls and allocates
 * nothing. hello_find.h finds the message among a client's first bytes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"

#define HELLO_NAME_MAX 255
#define HELLO_JA4_LEN  36

/* Spans borrow the message given to hello_parse(). Lists are the raw vectors, without their outer length. */
struct hello {
    struct span message; /* all of it */
    uint16_t legacy_version;
    struct span random; /* 32 bytes */
    struct span session_id;
    struct span suites;     /* u16 each */
    struct span groups;     /* supported_groups, u16 each; empty = none sent */
    struct span key_shares; /* the vector of KeyShareEntry (RFC 8446 4.2.8) */
    struct span sigalgs;    /* signature_algorithms, u16 each */
    struct span
        sigalgs_cert;     /* signature_algorithms_cert, u16 each; empty = none sent: those above hold for certificates, too */
    struct span versions; /* supported_versions, u16 each; empty = none sent */
    struct span alpn;     /* ProtocolName vectors (u8 length each); empty = none sent */
    char sni[HELLO_NAME_MAX + 1]; /* host_name in lower case, "" = none sent; letters, digits, '-', '_' and '.' only */
    struct span sni_other;        /* what was sent as host_name and is none: counts as none sent; no zero byte in it */
    struct span psk_identities;   /* pre_shared_key (RFC 8446 4.2.11): the vector of PskIdentity; empty = none sent */
    struct span psk_binders;      /* and of PskBinderEntry: the last bytes of the message */
    struct span psk_modes;        /* psk_key_exchange_modes, u8 each; empty = none sent */
    struct span cert_compression; /* compress_certificate (RFC 8879), u16 each; empty = none sent */
    struct span status_request;   /* (RFC 6066 8): all of it, for its length; empty = none sent */
    struct span authorities;      /* certificate_authorities (RFC 8446 4.2.4), the same; it is not read */
    struct span point_formats;    /* ec_point_formats (RFC 8422 5.1.2): all of it */
    bool wants_ocsp;              /* status_request for OCSP */
    bool has_point_formats;
    bool has_key_share;
    bool has_psk;
    bool has_psk_modes;
    bool has_early_data;
    uint16_t record_size_limit;  /* RFC 8449, 0 = none sent; plain bytes, in 1.3 with the content type */
    uint8_t max_fragment_length; /* RFC 6066 4 code (1-4), 0 = none sent */
    char ja4[HELLO_JA4_LEN + 1]; /* FoxIO JA4, "t13d1516h2_8daaf6152771_e5627efa2ab1" */
};

/*
 * Reads a whole ClientHello handshake message, in time linear in its length. ERR_HELLO_MALFORMED, or ERR_RECORD_ILLEGAL for
 * well-formed values that an RFC answers with illegal_parameter: an extension twice, two host names, pre_shared_key not last,
 * no null compression, any other in a TLS 1.3 hello, key shares that do not fit the groups, max_fragment_length and
 * record_size_limit out of range.
 */
MUST_CHECK int hello_parse(struct span message, struct hello *ret);

/*
 * Whether a hello that leads to TLS 1.3 has the extensions that it must have (RFC 8446 9.2, 4.2.9): 0 or ERR_HELLO_LACKS.
 */
MUST_CHECK int hello_judge_1_3(const struct hello *h);

/*
 * Whether one that leads to TLS 1.2 takes points as they are, uncompressed (RFC 8422 5.1.2): 0, ERR_RECORD_ILLEGAL, or
 * ERR_HELLO_MALFORMED.
 */
MUST_CHECK int hello_judge_1_2(const struct hello *h);

/* Whether a raw u16 list holds a value. */
bool hello_list_has(struct span list, uint16_t value);
