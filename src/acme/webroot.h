/* Answers of http-01 as files of another program's web server. */
#pragma once

#include "base/defs.h"
#include "base/span.h"

/* Makes ROOT/.well-known/acme-challenge/TOKEN, for everybody to read, and the directories above it. ERR_SYSTEM (errno). */
MUST_CHECK int webroot_put(const char *root, const char *token, struct span content);

/* The file alone: the directories may be others' too. */
void webroot_remove(const char *root, const char *token);
