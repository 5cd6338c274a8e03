/*
 * The role that exports spans of sessions, as OTLP over HTTP, to a collector. It has no keys and no sessions: the observer
 * sends it events, and nobody waits for it.
 */
#pragma once

#include "process/role.h"

extern const struct role_table exporter_role;
