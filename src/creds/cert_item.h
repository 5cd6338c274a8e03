/*
 * What one item of "certificates" names beside a pair: a directory, a file, or a pattern (glob(7): "*", "?", "[...]") of
 * either. The loader reads what it stands for now, the supervisor watches where that may change.
 */
#pragma once

#include <stdbool.h>

typedef void (*cert_item_fn)(void *ctx, const char *path);

bool cert_item_is_pattern(const char *item);

/* Every existing path that ITEM stands for, in order of name: ITEM itself when it is no pattern. False when out of memory. */
bool cert_item_each(const char *item, cert_item_fn fn, void *ctx);

/* Every directory of DIR that is not hidden, in order of name. False when DIR cannot be read (errno). */
bool cert_item_subdirs(const char *dir, cert_item_fn fn, void *ctx);

/* Every existing directory in which a change may change what ITEM stands for. */
void cert_item_places(const char *item, cert_item_fn fn, void *ctx);
