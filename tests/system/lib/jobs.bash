# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# Jobs: submitting, waiting for a state, reading what Slurm says of them.

# What a user types after sbatch for a guest that boots nothing: no operating system on its disk, so it is there
# at once, costs no CPU time and ignores ACPI. Enough for most tests. And for one that boots in seconds.
blank_guest=(--vm-image=blank --vm-memory=32M --vm-script=none --wrap=true)
tiny_guest=(--vm-image=tiny --vm-memory=96M --vm-script=none --wrap=true)

# submit_as USER OPTION...: prints the job's id. It is cancelled when the test (or file, in setup_file) ends.
submit_as()
{
	local job
	job=$(on_as "$1" ctl sbatch --parsable --output=/home/%u/%j.out --chdir=/tmp "${@:2}") || return
	echo "$job" >>"${BATS_TEST_TMPDIR:-$BATS_FILE_TMPDIR}/jobs"
	echo "$job"
}

submit()
{
	submit_as alice "$@"
}

submit_blank()
{
	submit "${blank_guest[@]}" "$@"
}

submit_tiny()
{
	submit "${tiny_guest[@]}" "$@"
}

# job_value JOB KEY: a field of `scontrol show job`.
job_value()
{
	on ctl scontrol show job -o "$1" | tr ' ' '\n' | sed -n "s/^$2=//p" | head -n 1
}

# sacct_value JOB[.STEP] FIELD
sacct_value()
{
	on ctl sacct -n -P -j "$1" -o "jobidraw,$2" | sed -n "s/^$1|//p"
}

host_of()
{
	there ctl job_row "$1" %N
}

output_of()
{
	on ctl sh -c 'cat /home/*/"$1.out"' _ "$1"
}

cancel()
{
	on ctl scancel "$@"
}

# await_state JOB STATE[|STATE...] [SECONDS]
await_state()
{
	local seen
	seen=$(there ctl await "$(scaled "${3:-30}")" job_is "$1" "$2") ||
		fail "job $1 is not $2 within $(scaled "${3:-30}") s but $seen"
}

# assert_end JOB STATE EXITCODE [SECONDS]: awaits the job's end and compares it with sacct's record (which for a
# moment can have the state of a job that Slurm is still completing without its exit code).
assert_end()
{
	local seen
	seen=$(there ctl await "$(scaled "${4:-40}")" sacct_end "$1") ||
		fail "job $1 has not ended within $(scaled "${4:-40}") s: $(there ctl job_row "$1" '%T %r')"
	seen=$(there ctl await "$(scaled 5)" sacct_ends_as "$1" "$2|$3") ||
		fail "job $1 ended as $seen; expected $2|$3"
}

# assert_output JOB WORDS: the job's output file has this text.
assert_output()
{
	local text
	text=$(output_of "$1") || fail "job $1 has no output file"
	[[ $text == *"$2"* ]] || fail "the output of job $1 lacks '$2'; it is: $text"
}

# Cancels the jobs listed in a file and awaits that Slurm is done with them.
cancel_listed()
{
	local jobs
	[ -e "$1" ] || return 0
	mapfile -t jobs <"$1"
	on ctl scontrol resume "$(IFS=,; echo "${jobs[*]}")" >/dev/null 2>&1 || :
	cancel "${jobs[@]}" >/dev/null 2>&1 || :
	for job in "${jobs[@]}"; do
		there ctl await "$(scaled 60)" job_is_over "$job" >/dev/null ||
			echo "job $job does not end: $(there ctl job_row "$job" '%T %r')"
	done
}
