#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes ./configure (needs autoconf, automake, libtool, pkg-config).
cd "$(dirname "$0")" && mkdir -p m4 build-aux && exec autoreconf --install --force
