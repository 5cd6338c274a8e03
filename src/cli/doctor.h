/* `tls-off doctor`: what of this machine and of a configuration stands in the way of serving well, and what to do about it. */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include "base/defs.h"
#include "conf/conf.h"
#include "creds/creds.h"

struct arguments;
extern const char doctor_usage[];

/* The exit status: 0 nothing is wrong (advice included), 1 something is. */
int cmd_doctor(const struct arguments *a);

enum finding_level { FINDING_GOOD, FINDING_ADVICE, FINDING_WRONG, FINDING_LEVELS };

struct doctor {
    unsigned count[FINDING_LEVELS];
    json_t *findings; /* an array; NULL: each is a line on stdout */
};

/* TODO: what to do about it, NULL when nothing is. */
void doctor_say(struct doctor *d, enum finding_level level, const char *area, const char *todo, const char *fmt, ...)
    PRINTF_LIKE(5, 6);

/* The machine: kernel, limits, clock, libraries that are opened at run time. */
void doctor_machine(struct doctor *d);

/* What the configuration names: the user, the state directory, backends. */
void doctor_configuration(struct doctor *d, const struct conf *c);

/* Chains against the system's CA certificates, and their time. */
void doctor_certificates(struct doctor *d, const struct creds *creds);
