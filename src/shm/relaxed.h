/* Values in shared memory that one process writes while others read them: each is whole, and nothing is said of their order. */
#pragma once

#define LOAD(p)     __atomic_load_n((p), __ATOMIC_RELAXED)
#define STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
