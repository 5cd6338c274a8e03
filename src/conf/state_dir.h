/* What lies in the state directory, and whether it can. */
#pragma once

#include "conf/loader.h"

#define SELFSIGNED_CERT "self-signed.crt" /* as tls/selfsigned.h has it */
#define SELFSIGNED_KEY  "self-signed.key"

/* Whether service I names no certificates and gets the self-signed one. */
bool load_is_selfsigned(const struct load *l, size_t i);

/*
 * Whether PATH, absolute, is there, or this user could make it with all the directories above it that are missing; why not is
 * added to WHY: "/x: Permission denied". Makes nothing.
 */
bool can_be_made(const char *path, struct text *why);

/* Makes what is above the state directory, or says why a start could not. */
void state_dir_settle(struct load *l);
