# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# The addresses of the bed's hosts. Guests have the upper half of the network.

host_address()
{
	case $1 in
	ctl) echo 10.77.0.1 ;;
	n*) echo "10.77.0.$((10 + ${1#n}))" ;;
	esac
}
