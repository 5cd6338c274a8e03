/* See proxy_header.h. Section numbers are those of proxy-protocol.txt. */
#include "relay/proxy_header.h"

#include <stdio.h>

#include "base/crc32c.h"
#include "base/text.h"
#include "tls/cert_alg.h"
#include "tls/hostname.h"
#include "tls/sig_scheme.h"
#include "tls/suite.h"

static const uint8_t signature[12] = "\r\n\r\n\0\r\nQUIT\n";

enum { V2_LOCAL = 0x20, V2_PROXY = 0x21, V2_UNSPEC = 0x00, V2_TCP4 = 0x11, V2_TCP6 = 0x21 };
enum { PP2_ALPN = 0x01, PP2_AUTHORITY = 0x02, PP2_CRC32C = 0x03, PP2_UNIQUE_ID = 0x05, PP2_SSL = 0x20 };
enum {
    PP2_SSL_VERSION = 0x21,
    PP2_SSL_CN = 0x22,
    PP2_SSL_CIPHER = 0x23,
    PP2_SSL_SIG_ALG = 0x24,
    PP2_SSL_KEY_ALG = 0x25,
    PP2_SSL_GROUP = 0x26,
    PP2_SSL_SIG_SCHEME = 0x27,
    PP2_SSL_CLIENT_CERT = 0x28,
};
enum { PP2_CLIENT_SSL = 0x01, PP2_CLIENT_CERT_CONN = 0x02, PP2_CLIENT_CERT_SESS = 0x04 };

/* 2.2.6: zero when the client presented a certificate and it was verified, not zero otherwise. */
enum { VERIFIED = 0, VERIFY_NO_CERTIFICATE = 1 };

#define SSL_BLOCK_MAX (768 + CONN_INFO_CERT_MAX)

/* Both ends in one family, as both versions demand: mixed ones as IPv6 with the IPv4 one mapped. */
struct ends {
    struct addr src, dst;
};

static struct addr mapped(const struct addr *a) {
    struct addr m = {.family = AF_INET6, .port = a->port};
    if (a->family == AF_INET6)
        return *a;
    if (a->family == AF_INET) {
        m.ip[10] = m.ip[11] = 0xff;
        memcpy(m.ip + 12, a->ip, 4);
    }
    return m;
}

/* An unknown destination is sent as the unspecified address: the source still matters to the backend. */
static struct ends ends_of(const struct conn_info *f) {
    struct ends e = {f->client, f->local};
    if (e.dst.family == AF_UNSPEC)
        e.dst = (struct addr){.family = e.src.family};
    if (e.src.family != e.dst.family)
        e = (struct ends){mapped(&e.src), mapped(&e.dst)};
    return e;
}

static void write_v1(struct wr *w, const struct conn_info *f) {
    char line[108], src[ADDR_TEXT_MAX], dst[ADDR_TEXT_MAX];
    struct text t = text_of(line, sizeof(line));
    if (addr_is_ip(&f->client)) {
        struct ends e = ends_of(f);
        text_addf(&t, "PROXY %s %s %s %u %u\r\n", e.src.family == AF_INET ? "TCP4" : "TCP6", addr_ip_text(&e.src, src),
                  addr_ip_text(&e.dst, dst), e.src.port, e.dst.port);
    } else {
        text_add(&t, "PROXY UNKNOWN\r\n");
    }
    wr_bytes(w, line, t.len);
}

static void write_tlv(struct wr *w, uint8_t type, struct span value) {
    wr_u8(w, type);
    wr_vec16(w, value);
}

static void write_name(struct wr *w, uint8_t type, const char *name) {
    if (name)
        write_tlv(w, type, span_str(name));
}

/* Names as haproxy has them. */
static void write_our_certificate(struct wr *w, const struct conn_info *f) {
    char key[CERT_ALG_KEY_MAX];
    const struct cert_alg alg = {f->cert_sig, f->cert_key, f->cert_key_bits};
    write_name(w, PP2_SSL_SIG_ALG, cert_alg_sig_name(alg.sig));
    write_name(w, PP2_SSL_KEY_ALG, cert_alg_key_name(&alg, key));
}

static void write_client(struct wr *w, unsigned tlvs, bool has_rules, const struct conn_info_client *c) {
    if (c->cn.len && (!has_rules || c->identity_source == IDENTITY_CN))
        write_tlv(w, PP2_SSL_CN, c->cn);
    if (tlvs & TLV_CLIENT_CERT && c->cert.len)
        write_tlv(w, PP2_SSL_CLIENT_CERT, c->cert);
}

/* The name that let the client in, of whatever kind. */
static void write_client_name(struct wr *w, const struct conn_info_client *c) {
    struct span kind = span_str(identity_source_text(c->identity_source));
    wr_u8(w, PROXY_HEADER_CLIENT);
    wr_u16(w, (uint16_t)(kind.len + 1 + c->name.len));
    wr_span(w, kind);
    wr_u8(w, ':');
    wr_span(w, c->name);
}

static void write_ssl(struct wr *w, unsigned tlvs, bool has_rules, const struct conn_info *f) {
    uint8_t mem[SSL_BLOCK_MAX];
    struct wr in = wr_of(mem, sizeof(mem));
    unsigned bits = PP2_CLIENT_SSL;
    if (f->id.verified)
        bits |= PP2_CLIENT_CERT_SESS | (f->resumed ? 0u : PP2_CLIENT_CERT_CONN);
    wr_u8(&in, (uint8_t)bits);
    wr_u32(&in, f->id.verified ? VERIFIED : VERIFY_NO_CERTIFICATE);
    write_tlv(&in, PP2_SSL_VERSION, span_str(f->tls_version == TLS_1_3 ? "TLSv1.3" : "TLSv1.2"));
    const struct suite *suite = suite_by_id(f->suite);
    const struct group *group = group_by_id(f->group);
    write_name(&in, PP2_SSL_CIPHER, suite ? suite->openssl_name : NULL);
    write_our_certificate(&in, f);
    write_name(&in, PP2_SSL_GROUP, group ? group->name : NULL);
    write_name(&in, PP2_SSL_SIG_SCHEME, sig_scheme_name(f->sig_scheme));
    if (f->id.verified)
        write_client(&in, tlvs, has_rules, &f->id);
    MUST(wr_end(&in));
    write_tlv(w, PP2_SSL, wr_written(&in));
}

/* Returns where the checksum goes, NULL when none is wanted. */
static uint8_t *write_tlvs(struct wr *w, const struct conf_service *service, const struct conn_info *f) {
    unsigned tlvs = service->proxy_tlvs;
    if (tlvs & TLV_ALPN && f->alpn.len)
        write_tlv(w, PP2_ALPN, f->alpn);
    char name[HOSTNAME_MAX + 1]; /* the connection info has whatever the client has sent */
    if (tlvs & TLV_AUTHORITY && hostname_asked(f->sni, name) == 0)
        write_tlv(w, PP2_AUTHORITY, span_str(name));
    if (tlvs & TLV_UNIQUE_ID)
        write_tlv(w, PP2_UNIQUE_ID, span_of(f->unique_id, sizeof(f->unique_id)));
    if (tlvs & TLV_SSL && f->tls_version)
        write_ssl(w, tlvs, service->nclient_allow > 0, f);
    if (tlvs & TLV_CLIENT_NAME && f->id.verified && f->id.name.len)
        write_client_name(w, &f->id);
    if (!(tlvs & TLV_CRC32C))
        return NULL;
    write_tlv(w, PP2_CRC32C, span_of("\0\0\0\0", 4));
    return w->bad ? NULL : w->p + w->len - 4;
}

static void write_addresses(struct wr *w, const struct conn_info *f) {
    struct ends e = ends_of(f);
    size_t n = e.src.family == AF_INET ? 4 : 16;
    wr_bytes(w, e.src.ip, n);
    wr_bytes(w, e.dst.ip, n);
    wr_u16(w, e.src.port);
    wr_u16(w, e.dst.port);
}

static void write_v2(struct wr *w, const struct conf_service *service, const struct conn_info *f) {
    size_t start = w->len;
    bool known = addr_is_ip(&f->client), somebody = f->client.family != AF_UNSPEC;
    wr_bytes(w, signature, sizeof(signature));
    wr_u8(w, somebody ? V2_PROXY : V2_LOCAL);
    wr_u8(w, !known ? V2_UNSPEC : ends_of(f).src.family == AF_INET ? V2_TCP4 : V2_TCP6);
    wr_u16(w, 0);
    /* A receiver of LOCAL discards the block, so it gets none. */
    if (!somebody)
        return;
    if (known) /* a process at a Unix socket has none, but all the rest */
        write_addresses(w, f);
    uint8_t *crc_at = write_tlvs(w, service, f);
    if (w->bad)
        return;
    struct wr at = wr_of(w->p + start + 14, 2);
    wr_u16(&at, (uint16_t)(w->len - start - 16));
    if (crc_at) {
        at = wr_of(crc_at, 4);
        wr_u32(&at, crc32c(w->p + start, w->len - start));
    }
}

void proxy_header_write(struct wr *w, const struct conf_service *service, const struct conn_info *f) {
    switch (service->proxy_send) {
    case PROXY_SEND_NONE:
        break;
    case PROXY_SEND_V1:
        write_v1(w, f);
        break;
    case PROXY_SEND_V2:
        write_v2(w, service, f);
        break;
    }
}
