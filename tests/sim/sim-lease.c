/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lease protocol through many made-up lives of a cluster (lease-world.h): no volume ever has
 * two writers, and somebody gets each in the end. Then with mistakes made on purpose: each must be
 * found, else this test is worth nothing. TAP; seeds from $SIM_SEEDS.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease-world.h"

#define SEEDS       100000
#define MISTAKE_MAX 200000 /* seeds within which a mistake must show */

static struct world world;

static const struct {
	enum vmj_lease_mistake mistake;
	const char *what;
} mistakes[] = {
	{VMJ_MISTAKE_NO_RELIST, "not to list again after creating"},
	{VMJ_MISTAKE_NO_MARGIN, "to wait for a promise without a margin"},
	{VMJ_MISTAKE_NO_BOOT, "to take a confirmed death for any boot"},
	{VMJ_MISTAKE_NO_GENERATION, "to take any other boot for a later one"},
	{VMJ_MISTAKE_CLEAN_ALL, "to remove all other epochs at once"},
	{VMJ_MISTAKE_NO_DEAD, "not to look whether one is confirmed dead"},
	{VMJ_MISTAKE_NO_TERM, "to hold across a gap in one's promise"},
	{VMJ_MISTAKE_NO_DEADLINE, "not to keep one's promise"},
	{VMJ_MISTAKE_OLD_HOST, "to judge by an old record of a host"},
};

static bool run_all(uint64_t seeds)
{
	uint64_t takes = 0, takeovers = 0, bad = 0;

	for (uint64_t seed = 0; seed < seeds; seed++) {
		if (!world_run(&world, seed, 0, false) && bad++ < 10)
			printf("# seed %" PRIu64 ": %s\n", seed, world.violation);
		takes += world.takes;
		takeovers += world.takeovers;
	}
	printf("# leases taken %" PRIu64 ", from hosts that were gone %" PRIu64 "\n", takes,
	       takeovers);
	printf("# seeds %" PRIu64 ", violations %" PRIu64 "\n", seeds, bad);
	printf("%s 1 - the lease has one holder at most, and one in the end\n",
	       bad || takeovers < seeds / 10 ? "not ok" : "ok");
	return bad == 0 && takeovers >= seeds / 10;
}

static bool finds(unsigned int i)
{
	for (uint64_t seed = 0; seed < MISTAKE_MAX; seed++) {
		world_run(&world, seed, mistakes[i].mistake, false);
		if (!world.overlap)
			continue;
		printf("# seed %" PRIu64 ": %s\n", seed, world.violation);
		printf("ok %u - found: %s\n", i + 2, mistakes[i].what);
		return true;
	}
	printf("not ok %u - found: %s\n", i + 2, mistakes[i].what);
	return false;
}

static int trace(const char *seed, unsigned int with)
{
	bool well = world_run(&world, strtoull(seed, NULL, 10), with, true);

	printf("# %s\n", well ? "all is well" : world.violation);
	return well ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	const unsigned int n = sizeof(mistakes) / sizeof(mistakes[0]);
	const char *wanted = getenv("SIM_SEEDS");
	uint64_t seeds = wanted ? strtoull(wanted, NULL, 10) : SEEDS;
	bool well;

	if (argc >= 3 && !strcmp(argv[1], "--trace"))
		return trace(argv[2], argc > 3 ? (unsigned int)strtoul(argv[3], NULL, 0) : 0);
	if (argc > 1 || seeds == 0) {
		fprintf(stderr, "usage: %s [--trace SEED [MISTAKES]]; SIM_SEEDS=N\n", argv[0]);
		return 2;
	}
	printf("1..%u\n", n + 1);
	setlinebuf(stdout);
	well = run_all(seeds);
	for (unsigned int i = 0; i < n; i++)
		well = finds(i) && well;
	return well ? EXIT_SUCCESS : EXIT_FAILURE;
}
