/* The demo application's page: one self-contained HTML document that shows what a request brought along. */
#pragma once

#include <jansson.h>
#include <stddef.h>

/* CONN_INFO as info_of_request() makes it; NONCE names our own style and script. Free the result. NULL: out of memory. */
char *page_write(const json_t *conn_info, const char *nonce, size_t *ret_len);
