/* The certificates in use: GET /certificates.json, and the list in the state (status.h). */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define STATUS_CERTIFICATES_MAX 1000 /* shown, those that expire first */

struct creds;
struct admin;
struct http_request;
struct http_reply;

void certificates_answer(struct admin *a, const struct http_request *q, struct http_reply *r);
void status_certificates(struct admin *a, json_t *list, size_t limit);

/* The entries whose leaf expires first, soonest first, at most MAX; how many. */
size_t status_expiring(const struct creds *c, uint32_t *list, size_t max);
