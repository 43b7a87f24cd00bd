#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
echo "Content-Type: text/plain"
echo
echo "name $(hostname)"
echo "uptime $(cut -d' ' -f1 /proc/uptime)"
echo "boot $(cat /proc/sys/kernel/random/boot_id)"
