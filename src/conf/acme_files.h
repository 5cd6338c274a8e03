/* Files of managed certificates. */
#pragma once

struct load;

/* The path of a file of theirs; "" where that is too long. */
const char *acme_file_below(struct load *l, const char *dir, const char *name);

/* Directories below the state directory, and a self-signed certificate in the place of each one that is not there yet. */
void acme_files(struct load *l);
