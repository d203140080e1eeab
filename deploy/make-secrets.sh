#!/bin/sh
# Make what compose.yaml mounts, as root: a folder `secrets` with a password for PostgreSQL and a key of the service's
# own, and a folder `tokens` for its callers. It changes no secret that is there. The KrosAI key you add yourself.
set -eu
cd "$(dirname "$0")"
# Nobody else on this machine gets into the folder; the users of the containers have to read the files in it.
mkdir -p secrets tokens
chmod 0700 secrets tokens
chown 10001:10001 tokens
umask 022
[ -s secrets/postgres-password.txt ] || openssl rand -hex 32 > secrets/postgres-password.txt
[ -s secrets/state-keys.txt ] || openssl rand -base64 32 > secrets/state-keys.txt
# No TLS to the database: its network has no other members, and leaves this machine nowhere.
[ -s secrets/journal-url.txt ] \
    || echo "postgresql://kros:$(cat secrets/postgres-password.txt)@postgres/kros?sslmode=disable" > secrets/journal-url.txt
[ -e secrets/api-key.txt ] || : > secrets/api-key.txt
[ -s secrets/api-key.txt ] || echo "still to do: put the KrosAI key into $PWD/secrets/api-key.txt"
[ -s tokens/tokens.toml ] || echo "still to do: a token for each caller, as README.md says"
