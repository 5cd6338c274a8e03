/* The readers of the formats, see convert_format. */
#pragma once

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"
#include "convert/model.h"

MUST_CHECK int convert_hitch(struct model *m, struct span bytes, struct text *why);
MUST_CHECK int convert_stunnel(struct model *m, struct span bytes, struct text *why);
MUST_CHECK int convert_haproxy(struct model *m, struct span bytes, struct text *why);
MUST_CHECK int convert_nginx(struct model *m, struct span bytes, struct text *why);
