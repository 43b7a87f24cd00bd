# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Loaded by every *.bats here. A test sees a bed that is up (see run) with the images `tiny` and `blank`.

bats_require_minimum_version 1.5.0
top=$(realpath "$BATS_TEST_DIRNAME/../..")
build=$top/build
there_functions=$(<"$top/tests/system/lib/there.bash")
for part in there bed jobs guests storage; do
	# shellcheck disable=SC1090 # one of ours
	. "$top/tests/system/lib/$part.bash"
done

fail()
{
	printf '%s\n' "$*" >&2
	return 1
}

# assert_equal WHAT GOT EXPECTED
assert_equal()
{
	[ "$2" = "$3" ] || fail "$1 is '$2'; expected '$3'"
}

# keep NAME VALUE, kept NAME: hand a value from setup_file or one test to later ones of the file.
keep()
{
	printf '%s\n' "$2" >"$BATS_FILE_TMPDIR/kept-$1"
}

# keep_guest NAME OPTION...: a tiny guest that boots while other tests run; `kept NAME` is its job. On a machine too slow
# for several at once (VMJOB_ONE_BY_ONE) it is submitted when it is first asked for.
keep_guest()
{
	if [ -n "${VMJOB_ONE_BY_ONE-}" ]; then
		printf '%s\n' "${@:2}" >"$BATS_FILE_TMPDIR/later-$1"
	else
		keep "$1" "$(submit_tiny "${@:2}")"
	fi
}

kept()
{
	local later=$BATS_FILE_TMPDIR/later-$1 options
	if [ -e "$later" ]; then
		mapfile -t options <"$later"
		rm "$later"
		keep "$1" "$(BATS_TEST_TMPDIR='' submit_tiny "${options[@]}")" # it outlives the test
	fi
	cat "$BATS_FILE_TMPDIR/kept-$1"
}

# What a failed test prints besides its own words: the jobs it made, with their output, and the daemons' last lines.
show_logs()
{
	local job host
	for job in $(sort -u "$BATS_TEST_TMPDIR/jobs" "$BATS_FILE_TMPDIR/jobs" 2>/dev/null); do
		echo "--- job $job"
		on ctl sacct -n -j "$job" -o jobid,state%20,exitcode,nodelist,elapsed 2>&1
		output_of "$job" 2>&1 | tail -n 5
	done
	echo "--- nodes"
	on ctl sinfo -N -o '%N %T %E'
	for host in ctl $(hosts); do
		echo "--- $host"
		on "$host" awk -v since="[$test_began" '$1 >= since && /error|vmjobd/' \
			/var/log/slurm/slurmctld.log /var/log/slurm/slurmd.log 2>/dev/null | tail -n 5
		on "$host" tail -n 8 /var/log/bed/vmjobd.log 2>/dev/null
	done
}

setup()
{
	test_began=$(date +%FT%T)
}

teardown()
{
	[ -n "${BATS_TEST_COMPLETED:-}" ] || [ -n "${BATS_TEST_SKIPPED:-}" ] || show_logs || :
	cancel_listed "$BATS_TEST_TMPDIR/jobs"
	remove_volumes "$BATS_TEST_TMPDIR/volumes"
}

teardown_file()
{
	cancel_listed "$BATS_FILE_TMPDIR/jobs"
	remove_volumes "$BATS_FILE_TMPDIR/volumes"
}
