#!/bin/sh
# Starts the S3 server: a bucket is a folder of its volume.
set -eu
PATH=$PATH:/usr/local/bin:/app
ROOT_ACCESS_KEY=$(cat /run/secrets/access_key)
ROOT_SECRET_KEY=$(cat /run/secrets/secret_key)
export PATH ROOT_ACCESS_KEY ROOT_SECRET_KEY
exec versitygw --port :7070 --health /health --quiet posix /var/lib/faceid/objects
