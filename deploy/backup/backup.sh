#!/bin/sh
# Backs PostgreSQL up and brings it back; docs/operations.md says when to do which.
#
#   backup.sh run              follow the log, and make a base every BACKUP_EVERY seconds (a day); for a container
#   backup.sh follow           write the log to wal/ as it is written, for ever
#   backup.sh base             copy the whole server into base/, compressed, beside all work
#   backup.sh prune            keep the newest BACKUP_KEEP bases (2) and the log since the oldest of them
#   backup.sh restore DIR [T]  make DIR, which is empty, a server's files again: as of the end of the log, or of time T
#   backup.sh dump             write the database into dump/, for another version of PostgreSQL
#   backup.sh load DUMP        read such a dump into an empty database
#   backup.sh check            0 where the log is followed and the newest base is not older than two times BACKUP_EVERY
#
# PGHOST, PGPORT, PGUSER, PGDATABASE and PGPASSWORD or PGPASSWORD_FILE say where the server is, BACKUP_DIR where
# backups go.
set -eu
umask 077
to=${BACKUP_DIR:-/backup}
every=${BACKUP_EVERY:-86400}
slot=pairscope_backup
[ -z "${PGPASSWORD_FILE:-}" ] || { PGPASSWORD=$(cat "$PGPASSWORD_FILE"); export PGPASSWORD; }
ask() { psql -X -A -t -q -v ON_ERROR_STOP=1 -c "$1"; }
timeline() { ask "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)"; }
bases() { ls "$to/base" 2> /dev/null | grep -v '\.new$' | sort; }
newest() { bases | grep -- "-$1\$" | tail -n 1; }
older() { [ -n "$(find "$1" -maxdepth 0 -mmin "+$(($2 / 60))")" ]; }
stamp() { date -u +%Y%m%dT%H%M%SZ; }

follow() {
    # A server that was restored writes another line of time; behind a hole in the log, too, there is another directory.
    line=$(timeline)
    into=$(ls -d "$to/wal/$line"* 2> /dev/null | sort | tail -n 1)
    kept=$(ask "SELECT coalesce(wal_status, 'lost') FROM pg_replication_slots WHERE slot_name = '$slot'")
    if [ "$kept" = lost ] || { [ -z "$kept" ] && [ -n "$into" ]; }; then
        echo "the server has not kept the log for us: it begins anew, with a new base" >&2
        ask "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '$slot'"
        into=$to/wal/$line-$(stamp)
        touch "$to/due"
    fi
    into=${into:-$to/wal/$line}
    mkdir -p "$into"
    pg_receivewal -D "$into" --slot="$slot" --create-slot --if-not-exists
    exec pg_receivewal -D "$into" --slot="$slot" --synchronous --compress=1 --no-loop
}

base() {
    line=$(timeline)
    rm -rf "$to"/base/*.new
    mkdir -p "$to/base"
    pg_basebackup -D "$to/base/$line.new" --format=tar --compress=1 --wal-method=stream --checkpoint=fast --label=pairscope
    name=$(stamp)-$line  # when it was complete: a server can be brought to any time behind that
    while [ -e "$to/base/$name" ]; do sleep 0.2; name=$(stamp)-$line; done
    mv "$to/base/$line.new" "$to/base/$name"
    echo "base $name: $(du -sk "$to/base/$name" | cut -f 1) kB"
}

# The file of the log that a base begins with.
begins() {
    sed -n 's/.*"Timeline": \([0-9]*\), "Start-LSN": "\([0-9A-F]*\)\/\([0-9A-F]*\)".*/\1 \2 \3/p' "$1/backup_manifest" |
        head -n 1 | while read -r line high low; do printf '%08X%08X%08X' "$line" "0x$high" "$((0x$low >> 24))"; done
}

prune() {
    keep=${BACKUP_KEEP:-2}
    bases | sort -r | tail -n "+$((keep + 1))" | while read -r name; do
        rm -rf "${to:?}/base/$name"
    done
    oldest=$(bases | head -n 1)
    [ -n "$oldest" ] || return 0
    first=$(begins "$to/base/$oldest")
    for each in "$to"/wal/*/; do
        [ ! -d "$each" ] || pg_archivecleanup -x .gz "$each" "$first"
    done
    for each in "$to"/wal/*/*.partial; do  # where a follower ended that another line of time came behind
        [ ! -e "$each" ] || ! expr "$(basename "$each" | cut -c 9-24)" \< "$(echo "$first" | cut -c 9-24)" > /dev/null ||
            rm "$each"
    done
}

run() {
    sh "$0" follow &
    following=$!
    trap 'kill $following 2> /dev/null' EXIT
    trap 'exit 0' INT TERM
    while kill -0 $following 2> /dev/null; do
        last=$(newest "$(timeline)")
        if [ -z "$last" ] || [ -e "$to/due" ] || older "$to/base/$last" "$every"; then
            rm -f "$to/due"
            base
            prune
        fi
        sleep "${BACKUP_LOOK:-30}" &
        wait $!
    done
    echo "the log is not followed any more" >&2
    exit 1
}

restore() {
    data=$1 until=${2:-}
    [ -z "$(ls -A "$data")" ] || { echo "$data is not empty" >&2; exit 1; }
    moment=$(date -u -d "${until:-9999-01-01}" +%Y%m%d%H%M%S)
    name=  # the newest base that was complete then
    for each in $(bases); do
        complete=$(echo "$each" | cut -d Z -f 1 | tr -d T)
        [ "$complete" -ge "$moment" ] || name=$each
    done
    [ -n "$name" ] || { echo "no base in $to/base that is old enough" >&2; exit 1; }
    tar -xzf "$to/base/$name/base.tar.gz" -C "$data"
    tar -xzf "$to/base/$name/pg_wal.tar.gz" -C "$data/pg_wal"
    cp "$to/base/$name/backup_manifest" "$data/"
    pg_verifybackup --quiet "$data"
    script=$(cd "$(dirname "$0")" && pwd)/$(basename "$0")
    cp "$data/postgresql.auto.conf" "$data/postgresql.auto.conf.kept"
    cat >> "$data/postgresql.auto.conf" << END
restore_command = 'BACKUP_DIR="$(cd "$to" && pwd)" sh "$script" fetch "%f" "%p"'
recovery_target_time = '$until'
recovery_target_action = 'promote'
END
    touch "$data/recovery.signal"
    chmod 0700 "$data"
    # A server that nobody can reach reads the log, and is stopped when it is through.
    door=$(mktemp -d)
    apart="-c listen_addresses='' -c unix_socket_directories='$door' -c port=5432"
    pg_ctl -D "$data" -W -l "$data/restore.log" -o "$apart -c hot_standby=off -c logging_collector=off" start > /dev/null
    while ! pg_isready -q -h "$door" -p 5432; do
        sleep 0.2
        [ ! -s "$data/restore.log" ] || pg_ctl -D "$data" status > /dev/null ||
            { tail -n 5 "$data/restore.log" >&2; exit 1; }
    done
    pg_ctl -D "$data" -w -t 3600 -m fast stop > /dev/null
    mv "$data/postgresql.auto.conf.kept" "$data/postgresql.auto.conf"
    sed -n 's/.*last completed transaction was/base '"$name"' and the log; the last transaction was/p' "$data/restore.log"
    rm -r "$data/restore.log" "$door"
    echo "$data is whole; start the server on it, then make a base"
}

# Give the server a file of the log, the last one too, which was being written; the rest of that one is empty.
fetch() {
    for each in "$to"/wal/*/"$1".gz; do
        [ -f "$each" ] && { gzip -dc "$each" > "$2"; return; }
    done
    for each in "$to"/wal/*/"$1".gz.partial; do
        [ -f "$each" ] || continue
        { gzip -dc "$each" 2> /dev/null || true; head -c 16777216 /dev/zero; } | head -c 16777216 > "$2"
        return
    done
    return 1
}

dump() {
    name=$(stamp)
    mkdir -p "$to/dump"
    pg_dump --format=directory --jobs=2 --compress=1 --file="$to/dump/$name"
    echo "dump $name: $(du -sk "$to/dump/$name" | cut -f 1) kB"
}

load() {
    [ "$(ask "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")" = 0 ] ||
        { echo "the database is not empty: dropdb and createdb first" >&2; exit 1; }
    pg_restore --jobs=2 --no-owner --exit-on-error --dbname="${PGDATABASE:-$PGUSER}" "$1"
    ask "ANALYZE"
}

check() {
    [ "$(ask "SELECT active FROM pg_replication_slots WHERE slot_name = '$slot'")" = t ]
    last=$(newest "$(timeline)")
    [ -n "$last" ] && ! older "$to/base/$last" "$((2 * every))"
}

case ${1:-} in
    run | follow | base | prune | restore | fetch | dump | load | check) "$@" ;;
    *) sed -n '4,11s/^#   //p' "$0" >&2; exit 2 ;;
esac
