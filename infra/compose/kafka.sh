#!/bin/sh
# Formats the broker's volume at the first start, with the one user that may log in, and starts the broker.
set -eu
properties=/etc/faceid/kafka.properties
# What it prints holds what the password is checked with.
/opt/kafka/bin/kafka-storage.sh format --ignore-formatted --standalone --cluster-id ZmFjZWlkLWNvbXBvc2UtMQ \
    --config "$properties" --add-scram "SCRAM-SHA-512=[name=faceid,password=$(cat /run/secrets/password)]" >/dev/null
exec /opt/kafka/bin/kafka-server-start.sh "$properties"
