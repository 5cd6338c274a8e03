/* One packing of an address for all messages: family as 0, 4 or 6, then port and bytes. */
#pragma once

#include "base/addr.h"
#include "base/rd.h"
#include "base/wr.h"

#define ADDR_PACKED_MAX 19

void addr_pack(struct wr *w, const struct addr *a);

/* A family that is none leaves R bad and RET unspecified. */
void addr_unpack(struct rd *r, struct addr *ret);
