/* What `tls-off doctor` tries: each in a process of its own, several at a time, with the rights of those who do it later. */
#pragma once

#include <sys/types.h>

#define DOCTOR_TRY_MAX 255 /* the largest result */

struct doctor_try {
    pid_t pid;
    int error; /* there is no process: why */
};

/* Begins TRY(WHAT), which returns 0 .. DOCTOR_TRY_MAX. It becomes USER before, unless that is NULL: root's reach further. */
void doctor_try_begin(struct doctor_try *t, const char *user, int (*try)(const void *what), const void *what);

/* What TRY returned. An errno when it could not be done: ETIMEDOUT after 15 seconds. To be called once. */
int doctor_try_end(struct doctor_try *t);
