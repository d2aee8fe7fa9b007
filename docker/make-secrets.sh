#!/bin/sh
# make-secrets.sh [FOLDER]
# Makes up what compose.yaml asks for, each in a file of its own below FOLDER (docker/secrets).
# What is there already is left alone, so that a running stack keeps its passwords.
set -eu
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
chmod 0700 "$folder"     # keeps others on this machine out ...
umask 0222               # ... while users in containers, who see single files, may read them

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
keep() { [ -e "$folder/$1" ] || cat >"$folder/$1"; }
value() { cat "$folder/$1"; }

for name in flower-password grafana-password \
  redis-password-producer redis-password-worker redis-password-flower redis-password-keda; do
  random | keep "$name"
done
for user in producer worker flower; do
  printf 'redis://%s:%s@redis:6379/0' "$user" "$(value "redis-password-$user")" | keep "redis-url-$user"
done
for name in aws-credentials aws-credentials-admin; do
  printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$(random)" "$(random)" | keep "$name"
done

key() { sed -n "s/^$2 = //p" "$folder/$1"; }
identity() { # NAME FILE ACTIONS
  printf '{"name": "%s", "credentials": [{"accessKey": "%s", "secretKey": "%s"}], "actions": [%s]}' \
    "$1" "$(key "$2" aws_access_key_id)" "$(key "$2" aws_secret_access_key)" "$3"
}
printf '{"identities": [%s, %s]}\n' \
  "$(identity admin aws-credentials-admin '"Admin"')" \
  "$(identity bulkscore aws-credentials '"Read:lake", "Write:lake", "List:lake"')" | keep s3-identities
