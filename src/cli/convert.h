/* `tls-off convert FORMAT FILE`: a configuration of another proxy as one of ours. */
#pragma once

struct arguments;
extern const char convert_usage[];

/* The exit status: 0 all was taken, 1 something was not or the file cannot be read. */
int cmd_convert(const struct arguments *a);
