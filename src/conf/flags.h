/* The command line in the place of a file. */
#pragma once

struct load;
struct conf_flags;

/* The service "default", in the place of a file. */
void flags_read(struct load *l, const struct conf_flags *f);
