/*
 * What this instance shares with the others of its fleet, through a Redis server: the one role that speaks to it. It reaches
 * that Unix socket, has no files and no keys: what is secret comes to it sealed. Without the server all goes on with what
 * there is, and nobody waits.
 */
#pragma once

#include "process/role.h"

extern const struct role_table fleet_role;
