/*
 * Last words: what a role writes to standard error is kept in a bounded memfd, and logged when it has ended. So no role has the
 * starter's standard error, and the message of the C library, a broken invariant or a failed start is not lost.
 */
#pragma once

struct super;
struct worker;

#define WORDS_MAX 4096

/* The descriptor for a new process, which may write WORDS_MAX bytes to it; -1 (errno). */
int words_new(void);

/* Logs its content in W's name, line by line, and closes it. */
void words_log(struct super *s, struct worker *w);
