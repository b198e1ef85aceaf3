#!/bin/bash
# PostgreSQL's list of permitted output plugins, and how it is written.
#
# Where it was seen: PostgreSQL 15.20 (Debian 12: 15.20-0+deb12u1); the setting came with 15.19.
# The likely guess: `ALTER SYSTEM SET output_plugin_libraries = 'pgoutput, wal2json'` permits two
#   plugins, as the same text in postgresql.conf does.
# What happens: ALTER SYSTEM takes the one literal for one name and writes it in double quotes. The
#   server then knows a library "pgoutput, wal2json", and neither plugin may be used. No warning.
#   Two values, pgoutput, wal2json, without a literal around both, permit both.
# What lanemap does: README and lanemap-route(1) give the command with separate values.
#
# Runs a server of its own in a temporary folder, from Debian's packages unpacked there. Ends with 0
# while that is so, with 1 when it has changed.
set -euo pipefail

version=15.20-0+deb12u1
root=$(mktemp -d)
trap '"$bin/pg_ctl" -D "$root/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$root"' EXIT
bin=$root/x/usr/lib/postgresql/15/bin
cd "$root"
apt-get -qq update
apt-get -qq download "postgresql-15=$version" "postgresql-client-15=$version" "libpq5=$version" \
    postgresql-15-wal2json 2>/dev/null
for package in ./*.deb; do dpkg-deb -x "$package" x; done
export LD_LIBRARY_PATH=$root/x/usr/lib/x86_64-linux-gnu PGHOST=$root PGUSER=postgres PGDATABASE=postgres
chmod 755 "$root"
install -d -o postgres "$root/data"
as_postgres() {
    setpriv --reuid=postgres --regid=postgres --clear-groups env HOME="$root" LC_ALL=C.UTF-8 "$@"
}
bin() {
    local program=$1
    shift
    as_postgres "$bin/$program" "$@"
}

bin postgres --version
bin initdb -D "$root/data" -U postgres -A trust -N -L "$root/x/usr/share/postgresql/15" >/dev/null
printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$root/data'" "wal_level = logical" |
    as_postgres tee -a "$root/data/postgresql.conf" >/dev/null
export PGHOST=$root/data
bin pg_ctl -D "$root/data" -l "$root/data/log" -w start >/dev/null

seen=
try() { # VALUE-AS-SQL
    local answer
    bin psql -Xqc "ALTER SYSTEM SET output_plugin_libraries = $1" -c 'SELECT pg_reload_conf()' >/dev/null
    sleep 1 # the postmaster reads it when it gets to it
    if answer=$(bin psql -XqAtc "SELECT 'made' FROM pg_create_logical_replication_slot('s', 'wal2json', true)" 2>&1)
    then :; else answer=${answer%%$'\n'*}; fi
    seen+="$1 -> $(bin psql -XqAtc 'SHOW output_plugin_libraries') -> $answer"$'\n'
}
try "'pgoutput, wal2json'"
try "pgoutput, wal2json"
printf '%s' "$seen"
[[ $seen == *"'pgoutput, wal2json' -> \"pgoutput, wal2json\" -> "*ERROR* ]] &&
    [[ $seen == *$'\n''pgoutput, wal2json -> pgoutput, wal2json -> made'* ]] ||
    { echo "this has changed"; exit 1; }
echo "as described"
