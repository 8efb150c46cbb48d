#!/bin/sh
# Starts MongoDB as a replica set of one, with passwords. Members of a set recognise one another by a key: with one
# member nobody else needs to know it, so it is made anew at each start.
set -eu
umask 077
head -c 96 /dev/urandom | base64 -w 0 >"$TMPDIR/member.key"
exec docker-entrypoint.sh mongod --replSet faceid --keyFile "$TMPDIR/member.key" --bind_ip_all --nounixsocket \
    --wiredTigerCacheSizeGB 0.5
