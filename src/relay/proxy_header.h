/*
 * The PROXY protocol header a backend gets (haproxy's proxy-protocol.txt, versions 1 and 2), with the TLVs of the service:
 * PP2_TYPE_ALPN, AUTHORITY, CRC32C, UNIQUE_ID, SSL (version, cipher; client certificate facts once they exist).
 */
#pragma once

#include "base/wr.h"
#include "conf/conf.h"
#include "wire/facts.h"

#define PROXY_HEADER_MAX 1024

/* Writes nothing when the service sends none. An unknown client gives UNKNOWN (v1) or LOCAL (v2). */
void proxy_header_write(struct wr *w, const struct conf_service *service, const struct facts *f);
