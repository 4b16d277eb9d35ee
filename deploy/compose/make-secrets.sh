#!/bin/sh
# Make what the stack needs to start, in the folder `secrets` beside this file: an authority with certificates for
# development, a password for each team, and one for the administrator of Grafana. What is there already stays.
#
#     sh make-secrets.sh [DNS-NAME...]     names beside the services' own, under which services or browsers come
#
# A team is a file in ../grafana/datasources. Needs openssl.
set -eu
umask 077
cd "$(dirname "$0")"
names=$*
mkdir -p secrets/authority
cd secrets

# Containers run as users of their own, so files are readable to all. The folder around them is ours alone.
publish() { chmod 0644 "$@"; }

if [ ! -e authority/tls.key ]; then
  # From a file of its own: what openssl's default adds differs from one system to the next.
  cat > authority/request.cnf <<'END'
[req]
distinguished_name = name
x509_extensions = authority
prompt = no
[name]
CN = tracemw development
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
END
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -config authority/request.cnf \
    -keyout authority/tls.key -out authority/tls.crt 2>/dev/null
  rm authority/request.cnf
fi

# certify NAME USAGE: a certificate that is good for a year, for one service.
certify() {
  [ -e "$1/tls.crt" ] && return
  mkdir -p "$1"
  alternatives="DNS:$1,DNS:$1.observability.svc,DNS:localhost,IP:127.0.0.1"
  for name in $names; do alternatives="$alternatives,DNS:$name"; done
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" \
    -keyout "$1/tls.key" -out "$1/request.pem" 2>/dev/null
  cat > "$1/extensions" <<END
subjectAltName = $alternatives
extendedKeyUsage = $2
keyUsage = critical,digitalSignature
basicConstraints = critical,CA:FALSE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
END
  openssl x509 -req -in "$1/request.pem" -CA authority/tls.crt -CAkey authority/tls.key -CAcreateserial -days 365 \
    -extfile "$1/extensions" -out "$1/tls.crt" 2>/dev/null
  rm "$1/request.pem" "$1/extensions"
  cp authority/tls.crt "$1/ca.crt"
  publish "$1/tls.key" "$1/tls.crt" "$1/ca.crt"
}
certify collector serverAuth,clientAuth # the only one that Tempo takes spans from
certify tempo serverAuth
certify loki serverAuth
certify grafana serverAuth
mkdir -p trust
cp authority/tls.crt trust/ca.crt
publish trust/ca.crt

password() { openssl rand -hex 24; }  # an empty file is what a run has left that was ended

mkdir -p grafana-passwords collector-teams teams
for name in admin-password secret-key; do
  [ -s "grafana-passwords/$name" ] || password | tr -d '\n' > "grafana-passwords/$name"
  publish "grafana-passwords/$name"
done

: > collector-teams/teams.htpasswd
for file in ../../grafana/datasources/*.yaml; do
  team=$(basename "$file" .yaml)
  [ "$team" = operators ] && continue
  [ -s "teams/$team" ] || password > "teams/$team"
  printf '%s:%s\n' "$team" "$(openssl passwd -apr1 -stdin < "teams/$team")" >> collector-teams/teams.htpasswd
  # What services of the team start with.
  printf 'OTEL_EXPORTER_OTLP_HEADERS=authorization=Basic%%20%s\n' \
    "$(printf '%s:%s' "$team" "$(cat "teams/$team")" | openssl base64 -A)" > "teams/$team.env"
done
publish collector-teams/teams.htpasswd
echo "Passwords are in $(pwd): grafana-passwords/admin-password for the user admin, teams/*.env for services."
