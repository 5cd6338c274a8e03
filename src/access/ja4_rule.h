/*
 * Patterns for JA4 fingerprints of clients: three parts with '_' between, each letters, digits and '*', which stands for any
 * characters of its part: "t13d*_8daaf6152771_*".
 */
#pragma once

#include <stdbool.h>

#include "base/defs.h"
#include "base/text.h"

#define JA4_RULE_MAX 64 /* bytes */

/* 0, or ERR_FORMAT with what was expected in WHY: no pattern, or one that no fingerprint can have. */
MUST_CHECK int ja4_rule_check(const char *rule, struct text *why);

/* Whether RULE, which has been checked, takes a fingerprint of three parts. */
bool ja4_rule_takes(const char *rule, const char *ja4);
