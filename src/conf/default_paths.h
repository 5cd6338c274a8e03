/*
 * Where state and admin socket are when nobody says: the directories that the service manager made for this unit
 * ($STATE_DIRECTORY, $RUNTIME_DIRECTORY, systemd.exec(5)), root's, or the user's (XDG Base Directory Specification). The
 * configuration and the commands that look for the socket call the same functions.
 */
#pragma once

#include "base/text.h"

/* T is cut when the path is too long. */
void default_state_dir(struct text *t);

/* In STATE_DIR where the user has no directory for sockets. */
void default_admin_socket(struct text *t, const char *state_dir);
