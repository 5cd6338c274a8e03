/* Defaults that come from the machine. */
#pragma once

struct load;

/* Of keys that are not set: workers, user, state directory, budgets, suites, groups. */
void load_environment(struct load *l);
