# SPDX-License-Identifier: GPL-2.0-or-later
# --vm-user-data: what the guest is given at its first boot, who can read it, and that it goes with the job.
load lib

@test "user data is seen inside the guest, by nobody else, and is gone with the job" {
	local job host dir
	as_alice bash -c 'umask 077; printf "#!/bin/sh\n# secret-%s\necho \"user data ran\" >/run/ran\n" word >~/user-data'
	job=$(submit_tiny --vm-user-data=/home/alice/user-data)
	await_guest "$job"
	host=$(host_of "$job")
	assert_equal "user data in the guest" "$(in_guest "$job" 'cat /mnt/seed/user-data')" "$(as_alice cat user-data)"
	await "$(scaled 10)" in_guest "$job" 'cat /run/ran' >/dev/null || fail "the script did not run"
	assert_equal "the guest's host name" "$(in_guest "$job" hostname)" "vmjob-$job"
	on_as bob "$host" bash -c '! cat /var/lib/vmjob/guests/*/* /run/vmjob/*/* 2>/dev/null | grep -q secret-word' || fail "bob can read it"
	! on ctl scontrol show job "$job" | grep -q secret-word || fail "scontrol shows it to all"
	from_guest "$job" poweroff
	assert_end "$job" COMPLETED 0:0
	assert_nothing_left "$host" "$job"
	! on "$host" grep -rlq secret-word /var/lib/vmjob /run/vmjob /var/spool/slurmd || fail "it is still on the host"
}

@test "user data that is none is refused, and makes no job" {
	local before name
	before=$(on ctl squeue -h -t all -r -o %A | sort -n | tail -n 1)
	as_alice bash -c 'echo "neither script nor cloud-config" >~/words; head -c 100K /dev/zero | tr "\0" "#" >~/much; : >~/nothing; ln -sf /etc/shadow ~/link'
	for name in words much nothing nosuchfile; do
		refused "$name" as_alice sbatch "${blank_guest[@]}" --vm-user-data="/home/alice/$name"
	done
	assert_equal "the last job" "$(on ctl squeue -h -t all -r -o %A | sort -n | tail -n 1)" "$before"
}
