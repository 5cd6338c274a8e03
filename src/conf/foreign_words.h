/* What OpenSSL and other proxies call things: for messages about words that are theirs. */
#pragma once

/* Our word for TEXT, or NULL. Static storage. Case is ignored. */
const char *foreign_word(const char *text);
