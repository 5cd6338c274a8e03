/*
 * The log file, opened by the supervisor for observers, which have no right to any file. Root's rights are used only where no
 * one else could have put anything in the way; everywhere else it is opened with the rights of the configured user alone.
 */
#pragma once

#include "base/defs.h"
#include "base/text.h"
#include "conf/conf.h"

/* The file of C (whose log_target is LOG_TO_FILE), created when missing. -1 with a sentence in WHY. */
MUST_CHECK int logfile_open(const struct conf *c, struct text *why);
