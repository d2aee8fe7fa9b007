#!/bin/sh
# fill-users.sh TEMPLATE SECRETS > USERS
# Prints `users.acl` as Redis wants it: the password of the user NAME is in SECRETS/NAME-password.
set -eu
template=$1
secrets=$2
edits='/^#/d;/^$/d'
for user in $(sed -n 's/.*#@\([a-z]*\)@.*/\1/p' "$template"); do
  file="$secrets/$user-password"
  if [ ! -s "$file" ]; then
    echo "fill-users: $file, the password of the Redis user $user, is missing or empty" >&2
    exit 78
  fi
  digest=$(tr -d '\r\n' <"$file" | sha256sum | cut -d ' ' -f 1)
  edits="$edits;s/#@$user@/#$digest/"
done
sed "$edits" "$template"
