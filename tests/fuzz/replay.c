/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In place of libFuzzer, for builds without it: hands each file named to the target once. */
#include "fuzz.h"

#include "vmjob/base/cleanup.h"

#define SEED_MAX (1u << 20)

static void replay(const char *path)
{
	vmj_autofclose FILE *f = fopen(path, "rb");
	vmj_autofree uint8_t *data = malloc(SEED_MAX);

	must(f);
	must(data);
	LLVMFuzzerTestOneInput(data, fread(data, 1, SEED_MAX, f));
}

int main(int argc, char **argv)
{
	must(argc > 1);
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	printf("%d seeds\n", argc - 1);
	return 0;
}
