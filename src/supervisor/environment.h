/*
 * The environment of each process: an allow list for each role. The starter's environment may hold secrets, and no role needs
 * them.
 */
#pragma once

#include "shm/roles.h"

/* The supervisor's own: only what some role needs is left of it. */
void environment_clean(void);

/* For exec; borrows from the supervisor's own, valid until the next call. */
char **environment_of(enum role role);
