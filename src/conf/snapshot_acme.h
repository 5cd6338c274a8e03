/* What a snapshot has of acme. */
#pragma once

#include "conf/conf.h"
#include "conf/snapshot_form.h"

/* Of the conf itself, behind its services. */
void snapshot_acme(struct snapshot_io *io, struct conf_acme *a);
