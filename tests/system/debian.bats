# SPDX-License-Identifier: GPL-2.0-or-later
# A full Debian 12 with systemd and cloud-init, as the recipe makes it. Slow without KVM.
load lib

setup_file()
{
	on ctl bash -c 'cat >/tmp/debian12.qcow2 && vmjob image import /tmp/debian12.qcow2 --name debian12 --public' \
		<"$("$top/scripts/mkguest" debian12)" >/dev/null
	on ctl rm /tmp/debian12.qcow2
}

@test "Debian 12 boots, takes its name and address from cloud-init, and powers off when asked" {
	local job address
	job=$(submit --vm-image=debian12 --vm-memory=512M --vm-script=none --cpus-per-task=2 --vm-grace=4 --wrap=true)
	await_guest "$job" 240
	await "$(scaled 120)" name_is "$job" "vmjob-$job" >/dev/null || fail "its host name is $(in_guest "$job" hostname)"
	await "$(scaled 120)" in_guest "$job" 'sudo -u alice sudo -n true' >/dev/null || fail "alice is no user with sudo there"
	address=$(shown "$job" '.ports[0].address' | cut -d/ -f1)
	await "$(scaled 60)" on ctl ping -c 1 -W 1 "$address" >/dev/null || fail "$address does not answer"
	on_as alice ctl vmjob stop "$job"
	assert_end "$job" COMPLETED 0:0 240
	assert_output "$job" "powered off"
	assert_nothing_left "$(host_of "$job")" "$job"
}

name_is()
{
	[ "$(in_guest "$1" hostname)" = "$2" ]
}
