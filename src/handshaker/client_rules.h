/* Client authentication: from the credential store to libssl. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct handshaker;
struct conf_service;
struct creds;
struct client_auth;
struct text;

/* The rules for client certificates of S, from STORE; *RET is NULL where none are asked for. */
bool client_rules_make(const struct conf_service *s, const struct creds *store, uint32_t service, struct client_auth **ret,
                       struct text *why);

/* New rules for all services, or none of them. */
bool client_rules_take(struct handshaker *h, const struct creds *store, struct text *why);
