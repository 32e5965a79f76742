#!/bin/sh
# Makes what is secret once: deploy/.env and deploy/secrets/. What is there already stays as it is.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
random() { head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
digest() { printf %s "$1" | sha256sum | cut -d ' ' -f 1; }
# The directory is closed; a file in it is read by a container under another user.
keep() { [ -e "secrets/$1" ] || printf '%s' "$2" > "secrets/$1"; chmod 0644 "secrets/$1"; }

keep postgres_password "$(random)"
keep redis_password "$(random)"
keep metrics_key "$(random)"
keep operator_key "$(random)"
keep dashboard_key "$(random)"
keep grafana_password "$(random)"
keep pagerduty_key "put the integration key of the pager here"
keep pgbouncer_users "\"pairscope\" \"$(cat secrets/postgres_password)\""
if [ ! -e secrets/tls_certificate ]; then
    # A certificate of one's own, until that of the name at which people come takes its place.
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj "/CN=${1:-localhost}" \
        -addext "subjectAltName=DNS:${1:-localhost}" -keyout secrets/tls_key -out secrets/tls_certificate 2> /dev/null
    chmod 0644 secrets/tls_key secrets/tls_certificate
fi
if [ ! -e .env ]; then
    cat > .env << END
# Made by secrets.sh; README.md says what each is.
PAIRSCOPE_PUBLIC_URL=https://${1:-localhost}
POSTGRES_PASSWORD=$(cat secrets/postgres_password)
REDIS_PASSWORD=$(cat secrets/redis_password)
PAIRSCOPE_API_KEYS=sha256:$(digest "$(cat secrets/operator_key)"),sha256:$(digest "$(cat secrets/metrics_key)")
PAIRSCOPE_DASHBOARD_KEY=$(cat secrets/dashboard_key)
PAIRSCOPE_JWT_SECRET=$(random)
PAIRSCOPE_WEBHOOK_SECRET=whsec_$(head -c 32 /dev/urandom | base64 | tr -d '\n')
END
fi
echo "deploy/.env and deploy/secrets are there; the key of the API is in deploy/secrets/operator_key"
