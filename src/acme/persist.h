/*
 * dns-persist-01 (draft-ietf-acme-dns-persist-02, and -01 where an issuer's directory has nothing of -02): a record that stays
 * names issuer and account. Operators publish it before there is a challenge, so a challenge is judged by what the directory
 * said.
 */
#pragma once

#include <jansson.h>

#include "acme/ca.h"
#include "base/text.h"

/* What DIRECTORY says about records: taken into C, in place of what it said before. */
void persist_take_directory(struct ca *c, const json_t *directory);

/* The issuer's name in records; "" = the directory says none. */
const char *persist_domain(const struct ca *c);

/* Whether a record for persist_domain() answers this challenge; else what is wrong with it is added to WHY. */
MUST_CHECK bool persist_answers(const struct ca *c, const json_t *challenge, struct text *why);
