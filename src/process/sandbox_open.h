#pragma once

/* A sanitizer's build: it looks for leaks by ptrace, and what it reports goes to files, by calls that no role needs. */
#ifdef SANDBOX_OPEN
#define SANDBOX_IS_OPEN true
#else
#define SANDBOX_IS_OPEN false
#endif
