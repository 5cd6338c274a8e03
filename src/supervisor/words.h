/*
 * Last words: what a role writes to standard error is kept in a little memory of its own, bounded, and told when it has ended.
 * So no role has the starter's standard error, and what the C library, a broken invariant or a failed start says is not lost.
 */
#pragma once

struct super;
struct worker;

#define WORDS_MAX 4096

/* The descriptor for a new process; -1 (errno). */
int words_new(void);

/* Tells what is in it in W's name, line by line, and closes it. */
void words_tell(struct super *s, struct worker *w);
