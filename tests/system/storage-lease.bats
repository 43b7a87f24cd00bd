# SPDX-License-Identifier: GPL-2.0-or-later
# Leases: one writer, whatever happens; QEMU's own locks do not cross hosts here.
load lib

setup_file()
{
	keep holder "$(hosts | sed -n 3p)"
	keep other "$(hosts | sed -n 4p)"
	new_volume precious --size=16M
}

teardown()
{
	[ -n "${BATS_TEST_COMPLETED:-}" ] || show_logs || :
	cancel_listed "$BATS_TEST_TMPDIR/jobs"
	bed power-on "$(kept holder)"
	mend_node "$(kept holder)"
	remove_volumes "$BATS_TEST_TMPDIR/volumes"
}

# race HOST PEER: see lib/race.py.
race()
{
	on_as alice "$1" python3 -c "$(cat "$top/scripts/agent_client.py" "$top/tests/system/lib/race.py")" 1000 raced "$2"
}

@test "two hosts race 1,000 times for one volume: exactly one wins each time" {
	local first both
	will_have_volume alice raced
	race "$(kept holder)" - >"$BATS_TEST_TMPDIR/first" 3>&- &
	first=$!
	race "$(kept other)" "$(kept holder)" >"$BATS_TEST_TMPDIR/second"
	wait "$first"
	both=$(paste -d' ' "$BATS_TEST_TMPDIR/first" "$BATS_TEST_TMPDIR/second" | sort | uniq -c)
	echo "# $(kept holder) $(kept other):" $both >&3
	assert_equal "rounds with one winner" "$(awk '/ (won lost|lost won)$/ { n += $1 } END { print n + 0 }' <<<"$both")" 1000
	[[ $both == *"won lost"* && $both == *"lost won"* ]] || fail "there was no race: $both"
	assert_storage_clean
}

@test "a host without power keeps its volume from the others until it is confirmed dead" {
	local job again
	job=$(submit_blank --no-requeue --nodelist="$(kept holder)" --vm-disk=volume=precious)
	await_domain "$job" running
	bed power-cut "$(kept holder)"
	again=$(submit_blank --nodelist="$(kept other)" --vm-disk=volume=precious)
	assert_end "$again" FAILED 1:0
	assert_output "$again" "job $job on $(kept holder) since"
	on ctl vmjob host confirm-dead --yes --force "$(kept holder)"
	again=$(submit_blank --nodelist="$(kept other)" --vm-disk=volume=precious --vm-grace=0:01)
	await_domain "$again" running
	# It comes back and finds itself out of its lease: the other guest goes on.
	bed power-on "$(kept holder)"
	domain_is "$again" "$(kept other)" running || fail "the guest that took over is gone"
	assert_equal "who has the lease" "$(volume_value precious .lease.job)" "$again"
}

@test "a host that has started again holds nothing of its earlier life" {
	local job again
	job=$(submit_blank --no-requeue --nodelist="$(kept holder)" --vm-disk=volume=precious)
	await_domain "$job" running
	bed power-cut "$(kept holder)"
	bed power-on "$(kept holder)"
	again=$(submit_blank --nodelist="$(kept other)" --vm-disk=volume=precious --vm-grace=0:01)
	await_domain "$again" running
	assert_storage_clean
}

@test "confirming a host dead that lives is refused, and so is one that nobody knows" {
	refused "$(kept other)" on ctl vmjob host confirm-dead --yes "$(kept other)"
	refused nosuchhost on ctl vmjob host confirm-dead --yes nosuchhost
	refused '' as_alice vmjob host confirm-dead --yes --force "$(kept other)"
}

@test "vmjobd killed and started again holds its guests' volumes still" {
	local job again
	job=$(submit_blank --nodelist="$(kept holder)" --vm-disk=volume=precious --vm-grace=0:01)
	await_domain "$job" running
	kill_daemon "$(kept holder)" vmjobd
	again=$(submit_blank --nodelist="$(kept other)" --vm-disk=volume=precious)
	assert_end "$again" FAILED 1:0
	assert_output "$again" "job $job on $(kept holder) since"
	cancel "$job"
	assert_end "$job" CANCELLED 0:0
	assert_equal "held" "$(volume_value precious .lease.held)" false
}
